-- The change feed: the trigger that records a write (audit.change) also says, in the same transaction, whose records changed.
-- One event for each statement, table and patient, without a value. Each database has its own.
--
-- Readers go from snapshot to snapshot: what one sees that the one before did not has been committed between them. So no
-- transaction is skipped however late it commits, and none is read twice (db/feed.py).

CREATE SCHEMA feed AUTHORIZATION caregraph_owner;
GRANT USAGE ON SCHEMA feed TO caregraph_worker;
SET ROLE caregraph_owner;
SET search_path = feed, public;

CREATE SEQUENCE event_seq;
CREATE TABLE event (
    seq bigint NOT NULL DEFAULT nextval('feed.event_seq'),
    transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
    occurred_at timestamptz NOT NULL,
    facility_id uuid,
    patient_id uuid,
    department_ids uuid[] NOT NULL DEFAULT '{}',
    table_name text NOT NULL,
    operation text NOT NULL CHECK (operation IN ('INSERT', 'UPDATE', 'DELETE')),
    row_keys text[] NOT NULL DEFAULT '{}',
    since timestamptz,
    until timestamptz
) PARTITION BY RANGE (occurred_at);
COMMENT ON COLUMN event.seq IS 'order of writing: of two events about one row the later one has the greater';
COMMENT ON COLUMN event.occurred_at IS 'as audit.change has it, whose rows (transaction, table, key) hold before and after';
COMMENT ON COLUMN event.facility_id IS 'NULL for what belongs to a patient wherever registered (patient, patient_name, …)';
COMMENT ON COLUMN event.department_ids IS 'departments that the rows were or are in';
COMMENT ON COLUMN event.row_keys IS 'keys of the rows, as audit.change has them';
COMMENT ON COLUMN event.since IS 'of readings the time of the oldest and, in until, of the newest; NULL otherwise';
CREATE INDEX event_by_transaction ON event (transaction_id);
CREATE INDEX event_by_seq ON event (seq);
CREATE INDEX event_of_patient ON event (patient_id, seq);

-- How far each reader has come: all that `done` sees is done, and of what `reading` sees beyond it the events up to `seq`.
CREATE TABLE consumer (
    name text PRIMARY KEY CHECK (name ~ '^[a-z][a-z_-]{0,62}$'),
    done pg_snapshot NOT NULL DEFAULT pg_current_snapshot(),
    reading pg_snapshot,
    seq bigint NOT NULL DEFAULT 0,
    as_of timestamptz NOT NULL DEFAULT statement_timestamp(),
    reading_as_of timestamptz,
    acknowledged_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON COLUMN consumer.as_of IS 'when the snapshot `done` was taken, by this clock: what was committed before it is done';

-- The partition of a UTC day, made where it is missing; attached, so that writers of other days go on. Who waited for
-- another session's looks into pg_class: to_regclass, asked before in this transaction, goes on saying what it said.
CREATE FUNCTION ensure_day(at timestamptz) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first timestamptz := date_trunc('day', at, 'UTC');
    name text := 'event' || to_char(at AT TIME ZONE 'UTC', '_YYYY_MM_DD');
BEGIN
    IF to_regclass('feed.' || name) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('feed.ensure_day'));
    IF NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'feed'::regnamespace AND relname = name) THEN
        EXECUTE format('CREATE TABLE feed.%I (LIKE feed.event INCLUDING ALL)', name);
        EXECUTE format('ALTER TABLE feed.event ATTACH PARTITION feed.%I FOR VALUES FROM (%L) TO (%L)', name, first, first + interval '1 day');
    END IF;
END $$;

-- Whether a reader has yet to do an event of a partition.
CREATE FUNCTION is_awaited(partition regclass) RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    awaited boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM feed.consumer AS c, %s AS e WHERE NOT pg_visible_in_snapshot(e.transaction_id, c.done))', partition)
        INTO awaited;
    RETURN awaited;
END $$;

-- Drops the partitions of days that ended before `before` and of which every reader has done all; their number. A partition
-- is looked at again once it is locked: a transaction that was still open may have committed events into it. What can't be
-- locked within a second is left to the next pass.
CREATE FUNCTION drop_done(before timestamptz) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    partition regclass;
    dropped int := 0;
BEGIN
    FOR partition IN
        SELECT inhrelid::regclass FROM pg_inherits
        WHERE inhparent = 'feed.event'::regclass
            AND to_timestamp(right(inhrelid::regclass::text, 10) || ' UTC', 'YYYY_MM_DD TZ') + interval '1 day' <= before
    LOOP
        CONTINUE WHEN feed.is_awaited(partition);
        BEGIN
            EXECUTE format('LOCK TABLE feed.event, %s IN ACCESS EXCLUSIVE MODE', partition);
            CONTINUE WHEN feed.is_awaited(partition);
            EXECUTE format('DROP TABLE %s', partition);
            dropped := dropped + 1;
        EXCEPTION WHEN lock_not_available THEN
            EXIT;
        END;
    END LOOP;
    RETURN dropped;
END $$;

-- Makes the partitions of today and tomorrow, so that no transaction of a caller has to: others would wait for its end.
CREATE FUNCTION prepare_days() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT feed.ensure_day(clock_timestamp()), feed.ensure_day(clock_timestamp() + interval '1 day')
$$;
RESET ROLE;

GRANT SELECT ON feed.event TO caregraph_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON feed.consumer TO caregraph_worker;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA feed FROM PUBLIC;
GRANT EXECUTE ON FUNCTION feed.drop_done(timestamptz), feed.prepare_days() TO caregraph_worker;

-- As 0010, and who waited for another session's partition sees it, as above.
CREATE OR REPLACE FUNCTION audit.ensure_month(parent regclass, at timestamptz) RETURNS void
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
    IF NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'audit'::regnamespace AND relname = name) THEN
        EXECUTE format('CREATE TABLE audit.%I (LIKE %s INCLUDING ALL)', name, parent);
        EXECUTE format('ALTER TABLE %s ATTACH PARTITION audit.%I FOR VALUES FROM (%L) TO (%L)', parent, name, first, following);
        PERFORM audit.refuse_truncate(format('audit.%I', name)::regclass);
    END IF;
END $$;
ALTER FUNCTION audit.ensure_month(regclass, timestamptz) OWNER TO caregraph_owner;

-- As 0010, and one event of the feed for each patient of the statement.
SET ROLE caregraph_owner;
CREATE OR REPLACE FUNCTION audit.record_rows() RETURNS trigger
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
    PERFORM audit.ensure_month('audit.change', at), feed.ensure_day(at);
    EXECUTE format('WITH recorded AS (
            INSERT INTO audit.change (occurred_at, transaction_id, actor, login, table_name, operation, row_key, before, after, row_count)
            SELECT $1, pg_current_xact_id(), $2, session_user, $3, $4, w.key, w.before, w.after, 1
            FROM (%s) AS w (key, before, after)
            WHERE w.before IS DISTINCT FROM w.after
            RETURNING row_key, before, after
        )
        INSERT INTO feed.event (occurred_at, facility_id, patient_id, department_ids, table_name, operation, row_keys)
        SELECT $1, (r.one ->> ''facility_id'')::uuid, r.patient_id,
            ARRAY(SELECT DISTINCT d FROM unnest(array_agg(r.one ->> ''department_id'') || array_agg(r.before ->> ''department_id'')) AS d
                WHERE d IS NOT NULL)::uuid[],
            $3, $4, array_agg(r.row_key)
        FROM (SELECT row_key, before, coalesce(after, before) AS one,
                (coalesce(after, before) ->> CASE $3 WHEN ''patient'' THEN ''id'' ELSE ''patient_id'' END)::uuid AS patient_id
            FROM recorded) AS r
        GROUP BY 2, 3', written)
    USING at, audit.actor(), TG_TABLE_NAME, TG_OP;
    PERFORM pg_notify('feed', '');
    RETURN NULL;
END $$;
RESET ROLE;
