-- Laboratory: tests (a catalogue), reports (panels) and results partitioned by time; other observations (social history,
-- survey, …). Vital signs live in the vitals database. FHIR R4: Observation, DiagnosticReport.

SET ROLE caregraph_owner;
SET search_path = clinical, public;

CREATE TABLE lab_test (
    id uuid PRIMARY KEY,
    code_system text, code text, code_display text, code_text text,
    UNIQUE NULLS NOT DISTINCT (code_system, code, code_text)
);
CREATE INDEX lab_test_by_code ON lab_test (code);
COMMENT ON TABLE lab_test IS 'one row for each (system, code), or text where there is no code; grouped by code, never by display';
SELECT access.declare('lab_test', 'id NONE, code_system NONE, code NONE, code_display NONE, code_text NONE');
SELECT access.guard('lab_test', 'true');

CREATE TABLE diagnostic_report (
    id uuid PRIMARY KEY,
    facility_id uuid NOT NULL REFERENCES facility,
    patient_id uuid NOT NULL REFERENCES patient,
    encounter_id uuid REFERENCES encounter,
    status text NOT NULL,
    category jsonb NOT NULL DEFAULT '[]' CHECK (is_objects(category)),
    code_system text, code text, code_display text, code_text text,
    code_translation jsonb CHECK (is_objects(code_translation)),
    effective access.fhir_date_time,
    issued access.fhir_date_time,
    sort_time timestamptz NOT NULL
);
CREATE INDEX diagnostic_report_of_patient ON diagnostic_report (facility_id, patient_id, sort_time DESC, id DESC);
CREATE INDEX diagnostic_report_of_encounter ON diagnostic_report (facility_id, encounter_id, sort_time DESC, id DESC);
SELECT access.declare('diagnostic_report', 'id CLINICAL, facility_id NONE, patient_id NONE, encounter_id NONE, status NONE, category CLINICAL,
    code_system CLINICAL, code CLINICAL, code_display CLINICAL, code_text CLINICAL, code_translation CLINICAL, effective DATE, issued DATE, sort_time DATE');
SELECT access.guard('diagnostic_report');

-- Value: one of quantity (exact decimal, comparator, unit as shown, UCUM code), concept, text, date-time; or a reason for its
-- absence; or nothing (a panel: its values are the members or components). No range checks: real outliers are data.
CREATE TABLE lab_result (
    id uuid NOT NULL,
    facility_id uuid NOT NULL REFERENCES facility,
    patient_id uuid NOT NULL REFERENCES patient,
    encounter_id uuid REFERENCES encounter,
    lab_test_id uuid NOT NULL REFERENCES lab_test,
    diagnostic_report_id uuid,
    status text NOT NULL,
    effective access.fhir_date_time,
    issued access.fhir_date_time,
    value_number numeric, value_comparator text, value_unit text, value_code text, value_system text,
    value_concept jsonb CHECK (jsonb_typeof(value_concept) = 'object'),
    value_text text,
    value_date_time access.fhir_date_time,
    data_absent_reason jsonb CHECK (jsonb_typeof(data_absent_reason) = 'object'),
    component jsonb CHECK (is_objects(component)),
    member_id uuid[] CHECK (cardinality(member_id) > 0),
    interpretation jsonb CHECK (is_objects(interpretation)),
    reference_range jsonb CHECK (is_objects(reference_range)),
    specimen text,
    note text,
    sort_time timestamptz NOT NULL,
    PRIMARY KEY (id, sort_time)
) PARTITION BY RANGE (sort_time);
CREATE INDEX lab_result_of_patient ON lab_result (facility_id, patient_id, sort_time DESC, id DESC);
CREATE INDEX lab_result_of_patient_test ON lab_result (facility_id, patient_id, lab_test_id, sort_time DESC, id DESC);
CREATE INDEX lab_result_of_encounter ON lab_result (facility_id, encounter_id, sort_time DESC, id DESC);
CREATE INDEX lab_result_of_report ON lab_result (facility_id, diagnostic_report_id, sort_time DESC, id DESC);
SELECT access.declare('lab_result', 'id CLINICAL, facility_id NONE, patient_id NONE, encounter_id NONE, lab_test_id CLINICAL,
    diagnostic_report_id NONE, status NONE, effective DATE, issued DATE, value_number CLINICAL, value_comparator CLINICAL,
    value_unit CLINICAL, value_code CLINICAL, value_system CLINICAL, value_concept CLINICAL, value_text FREE_TEXT, value_date_time DATE,
    data_absent_reason CLINICAL, component FRAGMENT, member_id CLINICAL, interpretation CLINICAL, reference_range CLINICAL,
    specimen CLINICAL, note FREE_TEXT, sort_time DATE');
SELECT access.guard('lab_result');

-- Width of the partitions: see docs/decisions for the measurement. Outside the years below everything still has a place.
DO $$
BEGIN
    FOR year IN 2000..2036 BY 4 LOOP
        EXECUTE format('CREATE TABLE clinical.lab_result_%s PARTITION OF clinical.lab_result FOR VALUES FROM (%L) TO (%L)',
            year, make_date(year, 1, 1), make_date(year + 4, 1, 1));
    END LOOP;
END $$;
CREATE TABLE lab_result_before PARTITION OF lab_result FOR VALUES FROM (MINVALUE) TO ('2000-01-01');
CREATE TABLE lab_result_after PARTITION OF lab_result FOR VALUES FROM ('2040-01-01') TO (MAXVALUE);

CREATE TABLE observation (
    id uuid PRIMARY KEY,
    facility_id uuid NOT NULL REFERENCES facility,
    patient_id uuid NOT NULL REFERENCES patient,
    encounter_id uuid REFERENCES encounter,
    status text NOT NULL,
    category text[] NOT NULL DEFAULT '{}',
    code_system text, code text, code_display text, code_text text,
    code_translation jsonb CHECK (is_objects(code_translation)),
    effective access.fhir_date_time,
    issued access.fhir_date_time,
    value_number numeric, value_comparator text, value_unit text, value_code text, value_system text,
    value_concept jsonb CHECK (jsonb_typeof(value_concept) = 'object'),
    value_text text,
    value_date_time access.fhir_date_time,
    data_absent_reason jsonb CHECK (jsonb_typeof(data_absent_reason) = 'object'),
    component jsonb CHECK (is_objects(component)),
    member_id uuid[] CHECK (cardinality(member_id) > 0),
    interpretation jsonb CHECK (is_objects(interpretation)),
    reference_range jsonb CHECK (is_objects(reference_range)),
    note text,
    sort_time timestamptz NOT NULL
);
CREATE INDEX observation_of_patient ON observation (facility_id, patient_id, sort_time DESC, id DESC);
CREATE INDEX observation_of_patient_code ON observation (facility_id, patient_id, code, sort_time DESC, id DESC);
CREATE INDEX observation_of_encounter ON observation (facility_id, encounter_id, sort_time DESC, id DESC);
SELECT access.declare('observation', 'id CLINICAL, facility_id NONE, patient_id NONE, encounter_id NONE, status NONE, category CLINICAL,
    code_system CLINICAL, code CLINICAL, code_display CLINICAL, code_text CLINICAL, code_translation CLINICAL, effective DATE, issued DATE,
    value_number CLINICAL, value_comparator CLINICAL, value_unit CLINICAL, value_code CLINICAL, value_system CLINICAL,
    value_concept CLINICAL, value_text FREE_TEXT, value_date_time DATE, data_absent_reason CLINICAL, component FRAGMENT,
    member_id CLINICAL, interpretation CLINICAL, reference_range CLINICAL, note FREE_TEXT, sort_time DATE');
SELECT access.guard('observation');

RESET ROLE;
