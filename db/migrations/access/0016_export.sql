-- What the export reads: rows before and after, of changes that the feed has. audit.change is closed to every login but the
-- administrator's (0010), and stays so: this function alone looks into it, for the login of the export, event by event.

GRANT USAGE ON SCHEMA feed TO caregraph_export;
SET ROLE caregraph_owner;
SET search_path = feed, public;

-- A recorded row, or its key alone, as Debezium's PostgreSQL connector maps types: jsonb as text of JSON, numeric as text
-- (decimal.handling.mode=string), bytea as hex digits (binary.handling.mode=hex), timestamptz and its ranges in UTC. In the
-- order of the table's columns.
CREATE FUNCTION columns_of(recorded jsonb, relation oid, key_only boolean) RETURNS json
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
    SELECT json_object_agg(c.name, CASE a.atttypid
            WHEN 'jsonb'::regtype THEN to_jsonb(nullif(c.value, 'null')::text)
            WHEN 'numeric'::regtype THEN to_jsonb(c.value #>> '{}')
            WHEN 'bytea'::regtype THEN to_jsonb(substr(c.value #>> '{}', 3))
            WHEN 'timestamptz'::regtype THEN to_jsonb(replace(to_jsonb((c.value #>> '{}')::timestamptz) #>> '{}', '+00:00', 'Z'))
            WHEN 'tstzrange'::regtype THEN to_jsonb((c.value #>> '{}')::tstzrange)
            ELSE c.value
        END ORDER BY a.attnum)
    FROM jsonb_each(recorded) AS c (name, value)
    LEFT JOIN pg_attribute AS a ON a.attrelid = relation AND a.attname = c.name AND NOT a.attisdropped
    WHERE NOT key_only OR a.attnum = ANY (SELECT unnest(i.indkey) FROM pg_index AS i WHERE i.indrelid = relation AND i.indisprimary)
$$;

-- The changes that these events of the feed are about, each row that one is about in its place. Row by row through the index of
-- the record, however many are asked for.
CREATE FUNCTION changes(sequences bigint[]) RETURNS TABLE (
    seq bigint, place bigint, transaction_id bigint, occurred_at timestamptz, patient_id uuid,
    schema_name text, table_name text, key text, before text, after text
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.seq, k.place, e.transaction_id::text::bigint, e.occurred_at, e.patient_id,
        r.relnamespace::regnamespace::text, e.table_name, feed.columns_of(coalesce(c.after, c.before), r.oid, true)::text,
        feed.columns_of(c.before, r.oid, false)::text, feed.columns_of(c.after, r.oid, false)::text
    FROM feed.event AS e
    CROSS JOIN LATERAL unnest(e.row_keys) WITH ORDINALITY AS k (key, place)
    CROSS JOIN LATERAL (
        SELECT c.before, c.after FROM audit.change AS c
        WHERE c.table_name = e.table_name AND c.row_key = k.key AND c.occurred_at = e.occurred_at
            AND c.transaction_id = e.transaction_id AND c.operation = e.operation
        OFFSET 0  -- keeps the planner from looking for the statement first and for the row among all of its rows
    ) AS c
    JOIN pg_class AS r ON r.relname = e.table_name
    JOIN pg_trigger AS t ON t.tgrelid = r.oid AND t.tgname = 'audit_insert'
    WHERE e.seq = ANY (sequences)
    ORDER BY e.seq, k.place
$$;
RESET ROLE;
REVOKE ALL ON FUNCTION feed.columns_of(jsonb, oid, boolean), feed.changes(bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION feed.changes(bigint[]) TO caregraph_export;
