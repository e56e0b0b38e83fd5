-- TimescaleDB: hourly chunks that nothing is written to any more become daily, and daily ones monthly. A read of the
-- newest readings probes every chunk until its page is full: with 1,018 chunks it took twenty times as long as with 66.

SET ROLE caregraph_owner;
SET search_path = vitals, public;

-- Merges the chunks within each day or month (`unit`) that is not within two days of now, one transaction for each.
-- Only neighbours can be merged: a row in every hour, taken away at once, makes the chunks that are missing between, of
-- a day at most; other sessions never see that width.
CREATE PROCEDURE widen_chunks(unit text) LANGUAGE plpgsql AS $$
DECLARE
    width interval := '1 ' || unit;
    period timestamptz;
    parts regclass[];
BEGIN
    FOR period IN
        SELECT start
        FROM timescaledb_information.chunks, date_trunc(unit, range_start, 'UTC') AS start
        WHERE hypertable_schema = 'vitals' AND hypertable_name = 'vital_sign' AND range_end <= start + width
            AND NOT (start < now() + interval '2 days' AND start + width > now() - interval '2 days')
        GROUP BY start
        HAVING count(*) > 1
    LOOP
        PERFORM set_chunk_time_interval('vitals.vital_sign', interval '1 day');
        INSERT INTO vitals.vital_sign (id, position, facility_id, patient_id, status, sort_time)
        SELECT gen_random_uuid(), 0, gen_random_uuid(), gen_random_uuid(), 'placeholder', hour
        FROM generate_series(period, period + width - interval '1 hour', interval '1 hour') AS hour;
        DELETE FROM vitals.vital_sign
        WHERE status = 'placeholder' AND sort_time >= period AND sort_time < period + width;
        PERFORM set_chunk_time_interval('vitals.vital_sign', interval '1 hour');
        SELECT array_agg(format('%I.%I', chunk_schema, chunk_name)::regclass ORDER BY range_start) INTO parts
        FROM timescaledb_information.chunks
        WHERE hypertable_schema = 'vitals' AND hypertable_name = 'vital_sign'
            AND range_start >= period AND range_end <= period + width;
        CALL merge_chunks(parts);
        COMMIT;
    END LOOP;
END $$;
RESET ROLE;
