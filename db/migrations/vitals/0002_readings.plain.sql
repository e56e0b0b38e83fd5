-- Plain PostgreSQL: native partitions of one year.

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
) PARTITION BY RANGE (sort_time);
CREATE INDEX vital_sign_of_patient ON vital_sign (facility_id, patient_id, sort_time DESC, id DESC, position DESC);
CREATE INDEX vital_sign_of_patient_code ON vital_sign (facility_id, patient_id, code, sort_time DESC, id DESC, position DESC);
CREATE INDEX vital_sign_of_encounter ON vital_sign (facility_id, encounter_id, sort_time DESC, id DESC, position DESC);
SELECT access.guard('vital_sign');

-- No DEFAULT partition: it would keep the planner from reading partitions newest first and stopping when a page is full.
DO $$
BEGIN
    FOR year IN 2000..2039 LOOP
        EXECUTE format('CREATE TABLE vitals.vital_sign_%s PARTITION OF vitals.vital_sign FOR VALUES FROM (%L) TO (%L)',
            year, make_date(year, 1, 1), make_date(year + 1, 1, 1));
    END LOOP;
END $$;
CREATE TABLE vital_sign_before PARTITION OF vital_sign FOR VALUES FROM (MINVALUE) TO ('2000-01-01');
CREATE TABLE vital_sign_after PARTITION OF vital_sign FOR VALUES FROM ('2040-01-01') TO (MAXVALUE);

RESET ROLE;
