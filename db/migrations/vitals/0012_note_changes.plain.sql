-- Notes of the hours that statements touch, for streams of devices: every batch of a ward's monitors notes the same hours.

SET ROLE caregraph_owner;
SET search_path = vitals, public;

-- No caller reads or writes notes: those of a caller's statement too are the owner's.
ALTER FUNCTION note_change() SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION note_change() FROM PUBLIC;
CREATE POLICY noted ON vital_sign_change FOR INSERT TO caregraph_owner WITH CHECK (true);

CREATE INDEX vital_sign_change_of_hour ON vital_sign_change (facility_id, patient_id, code, hour);

-- As 0003, and each hour is computed once however often it was noted: takes every note of the hours of up to `notes_max` notes.
-- Gives the number of hours.
CREATE OR REPLACE FUNCTION roll_up(notes_max int) RETURNS int LANGUAGE plpgsql SET search_path = vitals, pg_catalog, pg_temp AS $$
DECLARE
    notes vital_sign_change[];
BEGIN
    -- One at a time: of two, the one with the older snapshot must not write last.
    PERFORM pg_advisory_xact_lock(hashtext('vitals.roll_up'));
    WITH hours AS MATERIALIZED (
        SELECT DISTINCT facility_id, patient_id, code, hour FROM (SELECT * FROM vital_sign_change LIMIT notes_max) AS first
    ), taken AS (
        DELETE FROM vital_sign_change AS c USING hours AS h
        WHERE (c.facility_id, c.patient_id, c.code, c.hour) = (h.facility_id, h.patient_id, h.code, h.hour)
    )
    SELECT array_agg(ROW(facility_id, patient_id, code, hour)::vital_sign_change) INTO notes FROM hours;

    DELETE FROM vital_sign_hourly AS r USING unnest(notes) AS n
    WHERE (r.facility_id, r.patient_id, r.code, r.bucket) = (n.facility_id, n.patient_id, n.code, n.hour);
    INSERT INTO vital_sign_hourly (facility_id, patient_id, code, unit, bucket, min, max, sum, count)
    SELECT n.facility_id, n.patient_id, n.code, coalesce(v.value_code, v.value_unit), n.hour,
        min(v.value), max(v.value), sum(v.value), count(v.value)
    FROM unnest(notes) AS n
    JOIN vital_sign AS v ON v.facility_id = n.facility_id AND v.patient_id = n.patient_id AND v.code = n.code
        AND v.sort_time >= n.hour AND v.sort_time < n.hour + interval '1 hour'
    WHERE v.value IS NOT NULL AND v.status IS DISTINCT FROM 'entered-in-error'
    GROUP BY 1, 2, 3, 4, 5;

    DELETE FROM vital_sign_daily AS r USING unnest(notes) AS n
    WHERE (r.facility_id, r.patient_id, r.code, r.bucket)
        = (n.facility_id, n.patient_id, n.code, date_trunc('day', n.hour, 'UTC'));
    INSERT INTO vital_sign_daily (facility_id, patient_id, code, unit, bucket, min, max, sum, count)
    SELECT n.facility_id, n.patient_id, n.code, h.unit, n.day, min(h.min), max(h.max), sum(h.sum), sum(h.count)
    FROM (SELECT DISTINCT facility_id, patient_id, code, date_trunc('day', hour, 'UTC') AS day FROM unnest(notes)) AS n
    JOIN vital_sign_hourly AS h ON h.facility_id = n.facility_id AND h.patient_id = n.patient_id AND h.code = n.code
        AND h.bucket >= n.day AND h.bucket < n.day + interval '1 day'
    GROUP BY 1, 2, 3, 4, 5;
    RETURN coalesce(cardinality(notes), 0);
END $$;
RESET ROLE;
