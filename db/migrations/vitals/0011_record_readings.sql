-- Recording of readings, by callers and by `python -m workers ingest`: each sequence of a device once, and told to the feed.
-- Alike in both flavours.

SET ROLE caregraph_owner;
SET search_path = vitals, public;

-- Which sequences of a device have been recorded, 65,536 of them in a row. A reading's key has its time in it, so that only
-- this shows that a sequence comes again with another time. Costs one update for each device and statement, wherever the
-- readings lie in time; a device that counts without gaps has one range in a row.
CREATE TABLE device_sequence (
    facility_id uuid NOT NULL,
    device_id text NOT NULL,
    block bigint NOT NULL,
    series uuid NOT NULL DEFAULT gen_random_uuid(),
    seen int8multirange NOT NULL,
    before int8multirange NOT NULL DEFAULT '{}',
    PRIMARY KEY (facility_id, device_id, block)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
COMMENT ON COLUMN device_sequence.block IS 'sequence / 65536';
COMMENT ON COLUMN device_sequence.series IS 'ids of the readings but for their last four digits: neighbours in the index, and nothing of the device';
COMMENT ON COLUMN device_sequence.before IS 'seen before the statement that wrote last: what of its readings is new';
SELECT access.guard('device_sequence', 'false');

GRANT USAGE ON SCHEMA vitals TO caregraph_writer;
SELECT access.open_to_writers('device_sequence', 'facility_id = (SELECT access.facility_id())', 'facility_id = (SELECT access.facility_id())');
GRANT INSERT, UPDATE ON device_sequence TO caregraph_writer;

-- As access.guard_told.
SELECT access.open_to_writers('vital_sign', told, told)
FROM (VALUES ('facility_id = (SELECT access.facility_id())
    AND ((SELECT access.told_all()) OR patient_id IN (SELECT access.told_reached()))
    AND patient_id NOT IN (SELECT access.told_denied())')) AS policy (told);

-- Id of a device's reading: the series of its block, and the place in it.
CREATE FUNCTION reading_id(series uuid, sequence bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (left(series::text, 32) || lpad(to_hex(sequence & 65535), 4, '0'))::uuid
$$;
GRANT EXECUTE ON FUNCTION reading_id(uuid, bigint) TO caregraph_writer, caregraph_worker;

-- Leaves an event of the feed for each patient of readings that a statement recorded, whose columns these are. A hypertable
-- has no transition tables, so that no trigger can. Above 100 keys the event's range of time stands for them.
CREATE FUNCTION feed.tell_readings(facilities uuid[], patients uuid[], ids uuid[], times timestamptz[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    at timestamptz := clock_timestamp();
BEGIN
    IF facilities IS NULL THEN
        RETURN;
    END IF;
    IF session_user <> 'caregraph_worker'
        AND (access.by_application() AND facilities <@ ARRAY[access.facility_id()]) IS NOT TRUE
    THEN
        RAISE EXCEPTION 'readings of another facility' USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM feed.ensure_day(at);
    INSERT INTO feed.event (occurred_at, facility_id, patient_id, table_name, operation, row_keys, since, until)
    SELECT at, r.facility_id, r.patient_id, 'vital_sign', 'INSERT',
        CASE WHEN count(*) <= 100 THEN array_agg(r.id || '/0') ELSE '{}' END, min(r.sort_time), max(r.sort_time)
    FROM unnest(facilities, patients, ids, times) AS r (facility_id, patient_id, id, sort_time)
    GROUP BY r.facility_id, r.patient_id;
    PERFORM pg_notify('feed', '');
END $$;
REVOKE ALL ON FUNCTION feed.tell_readings(uuid[], uuid[], uuid[], timestamptz[]) FROM PUBLIC;
GRANT USAGE ON SCHEMA feed TO caregraph_writer;
GRANT EXECUTE ON FUNCTION feed.tell_readings(uuid[], uuid[], uuid[], timestamptz[]) TO caregraph_writer, caregraph_worker;
RESET ROLE;
