-- Dates of the tables of research in exported changes, as Debezium has them (io.debezium.time.Date); else as access/0016.

SET ROLE caregraph_owner;
CREATE OR REPLACE FUNCTION feed.columns_of(recorded jsonb, relation oid, key_only boolean) RETURNS json
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
    SELECT json_object_agg(c.name, CASE a.atttypid
            WHEN 'jsonb'::regtype THEN to_jsonb(nullif(c.value, 'null')::text)
            WHEN 'numeric'::regtype THEN to_jsonb(c.value #>> '{}')
            WHEN 'bytea'::regtype THEN to_jsonb(substr(c.value #>> '{}', 3))
            WHEN 'date'::regtype THEN to_jsonb((c.value #>> '{}')::date - date '1970-01-01')
            WHEN 'timestamptz'::regtype THEN to_jsonb(replace(to_jsonb((c.value #>> '{}')::timestamptz) #>> '{}', '+00:00', 'Z'))
            WHEN 'tstzrange'::regtype THEN to_jsonb((c.value #>> '{}')::tstzrange)
            ELSE c.value
        END ORDER BY a.attnum)
    FROM jsonb_each(recorded) AS c (name, value)
    LEFT JOIN pg_attribute AS a ON a.attrelid = relation AND a.attname = c.name AND NOT a.attisdropped
    WHERE NOT key_only OR a.attnum = ANY (SELECT unnest(i.indkey) FROM pg_index AS i WHERE i.indrelid = relation AND i.indisprimary)
$$;
RESET ROLE;
