-- Plain PostgreSQL: hourly and daily rollups as tables. A trigger notes the hours that a statement touches, in the same
-- transaction; `python -m workers rollup` computes those hours, and their days, anew.

SET ROLE caregraph_owner;
SET search_path = vitals, public;

CREATE TABLE vital_sign_hourly (
    facility_id uuid NOT NULL,
    patient_id uuid NOT NULL,
    code text NOT NULL,
    unit text,
    bucket timestamptz NOT NULL,
    min numeric NOT NULL,
    max numeric NOT NULL,
    sum numeric NOT NULL,
    count bigint NOT NULL,
    UNIQUE NULLS NOT DISTINCT (facility_id, patient_id, code, bucket, unit)
);
COMMENT ON TABLE vital_sign_hourly IS 'values that are not entered in error, by hour (UTC) and unit (UCUM code, else the unit as shown)';
CREATE TABLE vital_sign_daily (LIKE vital_sign_hourly INCLUDING INDEXES);
COMMENT ON TABLE vital_sign_daily IS 'the same by day (UTC)';

-- Without a key, on purpose: a note that is already there may be taken by a rollup that does not yet see our reading.
CREATE TABLE vital_sign_change (
    facility_id uuid NOT NULL,
    patient_id uuid NOT NULL,
    code text NOT NULL,
    hour timestamptz NOT NULL
);
SELECT access.guard('vital_sign_hourly');
SELECT access.guard('vital_sign_daily');
SELECT access.guard('vital_sign_change', 'false');

CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO vitals.vital_sign_change
    SELECT DISTINCT facility_id, patient_id, code, date_trunc('hour', sort_time, 'UTC') FROM changed WHERE code IS NOT NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER inserted AFTER INSERT ON vital_sign REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_change();
CREATE TRIGGER updated_from AFTER UPDATE ON vital_sign REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_change();
CREATE TRIGGER updated_to AFTER UPDATE ON vital_sign REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_change();
CREATE TRIGGER deleted AFTER DELETE ON vital_sign REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_change();

-- Takes up to `notes_max` notes and computes their hours and days anew; the number of notes taken. The notes are taken
-- in an earlier snapshot than the readings are read in, so a reading that is missed has its own note still.
CREATE FUNCTION roll_up(notes_max int) RETURNS int LANGUAGE plpgsql SET search_path = vitals, pg_catalog, pg_temp AS $$
DECLARE
    notes vital_sign_change[];
BEGIN
    -- One at a time: of two, the one with the older snapshot must not write last.
    PERFORM pg_advisory_xact_lock(hashtext('vitals.roll_up'));
    WITH taken AS (
        DELETE FROM vital_sign_change AS c
        WHERE ctid = ANY (ARRAY(SELECT ctid FROM vital_sign_change LIMIT notes_max))
        RETURNING c
    )
    SELECT array_agg(c) INTO notes FROM taken;

    DELETE FROM vital_sign_hourly AS r USING unnest(notes) AS n
    WHERE (r.facility_id, r.patient_id, r.code, r.bucket) = (n.facility_id, n.patient_id, n.code, n.hour);
    INSERT INTO vital_sign_hourly (facility_id, patient_id, code, unit, bucket, min, max, sum, count)
    SELECT n.facility_id, n.patient_id, n.code, coalesce(v.value_code, v.value_unit), n.hour,
        min(v.value), max(v.value), sum(v.value), count(v.value)
    FROM (SELECT DISTINCT facility_id, patient_id, code, hour FROM unnest(notes)) AS n
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
