-- Laboratory results as series beside the vital signs: a copy that `python -m workers sync series` keeps. Only numbers, and
-- only results without sensitivity label: labels are judged where the consents are, in the clinical database. Alike in both
-- flavours: a patient has a hundred thousand readings for each result, so that one table and one index do.

SET ROLE caregraph_owner;
SET search_path = vitals, public;

CREATE TABLE lab_series (
    result_id uuid PRIMARY KEY,
    facility_id uuid NOT NULL,
    patient_id uuid NOT NULL,
    code text NOT NULL,
    unit text,
    status text NOT NULL,
    value numeric NOT NULL,
    comparator text,
    sort_time timestamptz NOT NULL,
    as_of timestamptz NOT NULL
);
CREATE INDEX lab_series_of_patient_code ON lab_series (facility_id, patient_id, code, sort_time DESC, result_id DESC);
COMMENT ON COLUMN lab_series.unit IS 'UCUM code, else the unit as shown';
COMMENT ON COLUMN lab_series.as_of IS 'when the result was read in the clinical database, by its clock';
SELECT access.declare('lab_series', 'result_id CLINICAL, facility_id NONE, patient_id NONE, code CLINICAL, unit CLINICAL, status NONE,
    value CLINICAL, comparator CLINICAL, sort_time DATE, as_of NONE');
SELECT access.guard('lab_series');
SELECT access.guard_told('lab_series');

CREATE TABLE copy (
    name text PRIMARY KEY,
    as_of timestamptz NOT NULL
);
COMMENT ON TABLE copy IS 'up to when each copy in this database has what its source has, by the clock of the source';
SELECT access.declare('copy', 'name NONE, as_of NONE');
SELECT access.guard('copy', 'true');
RESET ROLE;
