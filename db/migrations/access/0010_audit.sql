-- The record of every write to a PHI table (45 CFR 164.312(b)): append-only, in monthly partitions, the same in the clinical,
-- imaging and vitals databases. Before and after hold PHI, so no login reads it: an investigator is granted caregraph_owner
-- by the administrator for the time of the investigation (SET ROLE caregraph_owner).
--
-- Not hash-chained, unlike audit.event: one chain would make writers of all tables wait for each other.

CREATE SCHEMA audit AUTHORIZATION caregraph_owner;
SET ROLE caregraph_owner;
SET search_path = audit, public;

CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: audited rows are recorded, and records stay', TG_OP, TG_RELID::regclass
        USING ERRCODE = 'insufficient_privilege';
END $$;

-- Refuses TRUNCATE; of a partition it must be told for each, other than what is refused by row.
CREATE FUNCTION refuse_truncate(kept regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse()', kept);
END $$;

-- Refuses to change or take away rows, for the owner too. Who disables a trigger leaves the normal operation: of events,
-- `python -m workers audit verify` then shows what was done.
CREATE FUNCTION append_only(kept regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION audit.refuse()', kept);
    PERFORM audit.refuse_truncate(kept);
END $$;

CREATE FUNCTION month_of(at timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$ SELECT date_trunc('month', at, 'UTC') $$;

-- Makes the partition of a month where it is missing. Attached, not created in place: writers of other months go on.
CREATE FUNCTION ensure_month(parent regclass, at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first timestamptz := audit.month_of(at);
    following timestamptz := audit.month_of(first + interval '32 days');
    name text := split_part(parent::text, '.', 2) || to_char(first AT TIME ZONE 'UTC', '_YYYY_MM');
BEGIN
    IF to_regclass('audit.' || name) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('audit.ensure_month'));
    IF to_regclass('audit.' || name) IS NULL THEN
        EXECUTE format('CREATE TABLE audit.%I (LIKE %s INCLUDING ALL)', name, parent);
        EXECUTE format('ALTER TABLE %s ATTACH PARTITION audit.%I FOR VALUES FROM (%L) TO (%L)', parent, name, first, following);
        PERFORM audit.refuse_truncate(format('audit.%I', name)::regclass);
    END IF;
END $$;

-- Makes the partitions of this month and of so many to come, of every partitioned table of the audit; their number.
CREATE FUNCTION ensure_months(ahead int) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(audit.ensure_month(t.oid::regclass, audit.month_of(now()) + n * interval '31 days'))
    FROM pg_class AS t, generate_series(0, ahead) AS n
    WHERE t.relnamespace = 'audit'::regnamespace AND t.relkind = 'p'
$$;

CREATE TABLE change (
    occurred_at timestamptz NOT NULL,
    transaction_id xid8 NOT NULL,
    actor text NOT NULL,
    login text NOT NULL,
    table_name text NOT NULL,
    operation text NOT NULL CHECK (operation IN ('INSERT', 'UPDATE', 'DELETE')),
    row_key text,
    before jsonb,
    after jsonb,
    row_count bigint
) PARTITION BY RANGE (occurred_at);
COMMENT ON COLUMN change.actor IS 'subject of the verified context, else app.actor of the process, else the login';
COMMENT ON COLUMN change.login IS 'login role: what no setting can forge';
COMMENT ON COLUMN change.row_key IS 'values of the primary key, joined by slashes; of a counted statement the facility';
COMMENT ON COLUMN change.row_count IS 'rows of a counted statement, whose rows are not kept; NULL where unknown';
CREATE INDEX change_of_row ON change (table_name, row_key, occurred_at);
SELECT append_only('audit.change');
SELECT ensure_months(2);

CREATE FUNCTION actor() RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((access.context()).subject, nullif(current_setting('app.actor', true), ''), session_user)
$$;

-- Records the rows of one statement, in one statement; those that an UPDATE left as they were are none of it.
-- Arguments: the key's columns, as a list for USING, and as arguments for concat_ws.
CREATE FUNCTION record_rows() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    at timestamptz := clock_timestamp();
    written text := CASE TG_OP
        WHEN 'INSERT' THEN format('SELECT concat_ws(''/'', %s), NULL::jsonb, to_jsonb(n) FROM new_rows AS n', TG_ARGV[1])
        WHEN 'DELETE' THEN format('SELECT concat_ws(''/'', %s), to_jsonb(o), NULL::jsonb FROM old_rows AS o', TG_ARGV[1])
        ELSE format('SELECT concat_ws(''/'', %s), to_jsonb(o), to_jsonb(n) FROM old_rows AS o FULL JOIN new_rows AS n USING (%s) OFFSET 0',
            TG_ARGV[1], TG_ARGV[0])
        END;
BEGIN
    PERFORM audit.ensure_month('audit.change', at);
    EXECUTE format('INSERT INTO audit.change (occurred_at, transaction_id, actor, login, table_name, operation, row_key, before, after, row_count)
        SELECT $1, pg_current_xact_id(), $2, session_user, $3, $4, w.key, w.before, w.after, 1
        FROM (%s) AS w (key, before, after)
        WHERE w.before IS DISTINCT FROM w.after', written)
    USING at, audit.actor(), TG_TABLE_NAME, TG_OP;
    RETURN NULL;
END $$;

-- Watches a table: every INSERT, UPDATE and DELETE is recorded row by row. Statement triggers with transition tables, so
-- that a bulk write costs one more statement. Called by the table's owner.
CREATE FUNCTION watch(watched regclass) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    columns text;
    trigger text := 'CREATE TRIGGER audit_%s AFTER %1$s ON %s REFERENCING %s FOR EACH STATEMENT EXECUTE FUNCTION audit.record_rows(%L, %L)';
BEGIN
    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.place) INTO STRICT columns
    FROM pg_index AS i
    CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
    JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE i.indrelid = watched AND i.indisprimary;
    EXECUTE format(trigger, 'insert', watched, 'NEW TABLE AS new_rows', columns, columns);
    EXECUTE format(trigger, 'update', watched, 'OLD TABLE AS old_rows NEW TABLE AS new_rows', columns, columns);
    EXECUTE format(trigger, 'delete', watched, 'OLD TABLE AS old_rows', columns, columns);
    PERFORM audit.refuse_truncate(watched);
END $$;

RESET ROLE;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA audit FROM PUBLIC;
