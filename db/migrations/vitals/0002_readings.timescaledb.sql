-- TimescaleDB: a hypertable and its continuous aggregates. The order matters: aggregates are refused once row-level
-- security is on, and security of the aggregates' own rows does not exist, so profiles see them through guarding views.

CREATE EXTENSION IF NOT EXISTS timescaledb;
-- Chunks and materialised rows lie there without row-level security; reads through the tables need no USAGE on it.
REVOKE USAGE ON SCHEMA _timescaledb_internal FROM PUBLIC;
GRANT USAGE ON SCHEMA _timescaledb_internal TO caregraph_owner;

SET ROLE caregraph_owner;
SET search_path = vitals, public;

-- No range checks and no uniqueness of patient, code and instant: outliers and repeated readings are data.
CREATE TABLE vital_sign (
    id uuid NOT NULL,
    position smallint NOT NULL,
    facility_id uuid NOT NULL,
    patient_id uuid NOT NULL,
    encounter_id uuid,
    device_id text,
    status text,
    code_system text,
    code text,
    code_display text,
    panel_code text,
    value numeric,
    value_unit text,
    value_code text,
    data_absent_reason text,
    effective access.fhir_date_time,
    sort_time timestamptz NOT NULL,
    PRIMARY KEY (id, position, sort_time)
);
CREATE INDEX vital_sign_of_patient ON vital_sign (facility_id, patient_id, sort_time DESC, id DESC, position DESC);
CREATE INDEX vital_sign_of_patient_code ON vital_sign (facility_id, patient_id, code, sort_time DESC, id DESC, position DESC);
CREATE INDEX vital_sign_of_encounter ON vital_sign (facility_id, encounter_id, sort_time DESC, id DESC, position DESC);
SELECT create_hypertable('vital_sign', by_range('sort_time', interval '1 hour'), create_default_indexes => false);

-- Hourly chunks are for live readings. Decades of charted history in hourly chunks would be a chunk for every visit, and
-- planning grows with chunks; so the past, and the years from 2040 on, get a few wide ones before the first reading. A
-- new chunk is cut where it meets another: the current hour and the last one of 2039 are made first, as those edges.
DO $$
DECLARE
    place record;
BEGIN
    FOR place IN
        SELECT interval '1 hour' AS width, now() AS at
        UNION ALL SELECT '1 hour', '2039-12-31T23:30Z'
        UNION ALL SELECT '900000 days', '2040-06-01T00:00Z'
        UNION ALL SELECT '1461 days', now() - interval '1 hour'
        UNION ALL SELECT '1461 days', '1971-01-01T00:00Z'::timestamptz + n * interval '1461 days'
            FROM generate_series(0, (date_part('year', now())::int - 1971) / 4) AS n
        UNION ALL SELECT '900000 days', '0001-01-01T00:00Z'
    LOOP
        PERFORM set_chunk_time_interval('vitals.vital_sign', place.width);
        INSERT INTO vitals.vital_sign (id, position, facility_id, patient_id, sort_time)
        VALUES (gen_random_uuid(), 0, gen_random_uuid(), gen_random_uuid(), place.at);
    END LOOP;
    PERFORM set_chunk_time_interval('vitals.vital_sign', interval '1 hour');
    DELETE FROM vitals.vital_sign;
END $$;

-- Values that are not entered in error, by unit (UCUM code, else the unit as shown). Never in real time: the rows that
-- are not materialised yet would be read as the aggregates' owner. Their chunks are wide, as they hold history too.
CREATE MATERIALIZED VIEW vital_sign_by_hour
    WITH (timescaledb.continuous, timescaledb.materialized_only = true, timescaledb.create_group_indexes = false,
        timescaledb.chunk_interval = '366 days') AS
SELECT facility_id, patient_id, code, coalesce(value_code, value_unit) AS unit, time_bucket('1 hour', sort_time) AS bucket,
    min(value) AS min, max(value) AS max, sum(value) AS sum, count(value) AS count
FROM vital_sign
WHERE code IS NOT NULL AND value IS NOT NULL AND status IS DISTINCT FROM 'entered-in-error'
GROUP BY 1, 2, 3, 4, 5
WITH NO DATA;
CREATE INDEX ON vital_sign_by_hour (facility_id, patient_id, code, bucket);

CREATE MATERIALIZED VIEW vital_sign_by_day
    WITH (timescaledb.continuous, timescaledb.materialized_only = true, timescaledb.create_group_indexes = false,
        timescaledb.chunk_interval = '3660 days') AS
SELECT facility_id, patient_id, code, unit, time_bucket('1 day', bucket) AS bucket,
    min(min) AS min, max(max) AS max, sum(sum) AS sum, sum(count)::bigint AS count
FROM vital_sign_by_hour
GROUP BY 1, 2, 3, 4, 5
WITH NO DATA;
CREATE INDEX ON vital_sign_by_day (facility_id, patient_id, code, bucket);

CREATE VIEW vital_sign_hourly WITH (security_barrier) AS
SELECT * FROM vital_sign_by_hour WHERE facility_id = (SELECT access.facility_id());
CREATE VIEW vital_sign_daily WITH (security_barrier) AS
SELECT * FROM vital_sign_by_day WHERE facility_id = (SELECT access.facility_id());
GRANT SELECT ON vital_sign_hourly, vital_sign_daily TO caregraph_view;

SELECT access.guard('vital_sign');
-- A refresh runs as the owner: under forced security it would see no reading and wipe what is materialised. Nobody logs
-- in as the owner; for the same reason there is no refresh policy (its jobs need a login): `python -m workers rollup` it is.
ALTER TABLE vital_sign NO FORCE ROW LEVEL SECURITY;

RESET ROLE;
