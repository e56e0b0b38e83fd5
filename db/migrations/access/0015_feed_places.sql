-- Retention and freshness of the change feed.

SET ROLE caregraph_owner;
SET search_path = feed, public;

-- When the snapshots of a place were taken, by this database's clock: all that was committed before is in them.
ALTER TABLE consumer ADD COLUMN as_of timestamptz NOT NULL DEFAULT statement_timestamp(), ADD COLUMN reading_as_of timestamptz;
COMMENT ON COLUMN consumer.as_of IS 'what was committed before it is done';

-- Whether a reader has yet to do an event of a partition.
CREATE FUNCTION is_awaited(partition regclass) RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    awaited boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM feed.consumer AS c, %s AS e WHERE NOT pg_visible_in_snapshot(e.transaction_id, c.done))', partition)
        INTO awaited;
    RETURN awaited;
END $$;

-- As 0014, but a partition is looked at again once it is locked: a transaction that was still open may have committed events
-- into it. What can't be locked within a second is left to the next pass.
CREATE OR REPLACE FUNCTION drop_done(before timestamptz) RETURNS int
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
REVOKE ALL ON FUNCTION feed.prepare_days(), feed.is_awaited(regclass) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION feed.prepare_days() TO caregraph_worker;
