-- What a laboratory result said before it was finalized or corrected: each state that another one took the place of.

SET ROLE caregraph_owner;
SET search_path = clinical, public;

CREATE TABLE lab_result_version (
    LIKE lab_result,
    superseded_at access.fhir_date_time NOT NULL,
    PRIMARY KEY (id, version)
);
COMMENT ON COLUMN lab_result_version.id IS 'that of the result, which is in lab_result';
SELECT access.declare('lab_result_version', 'id CLINICAL, facility_id NONE, patient_id NONE, encounter_id NONE, lab_test_id CLINICAL,
    diagnostic_report_id NONE, status NONE, effective DATE, issued DATE, value_number CLINICAL, value_comparator CLINICAL,
    value_unit CLINICAL, value_code CLINICAL, value_system CLINICAL, value_concept CLINICAL, value_text FREE_TEXT, value_date_time DATE,
    data_absent_reason CLINICAL, component FRAGMENT, member_id CLINICAL, interpretation CLINICAL, reference_range CLINICAL,
    specimen CLINICAL, note FREE_TEXT, sort_time DATE, security NONE, label NONE, version NONE, superseded_at DATE');

-- Who sees a result sees what it was: its chart, its labels of today. One row of each id: LIMIT lets the planner know.
SELECT access.guard('lab_result_version');
SELECT access.guard_more('lab_result_version', 'facility_id = (SELECT access.facility_id())
    AND (SELECT true FROM clinical.lab_result AS r WHERE r.id = lab_result_version.id LIMIT 1)');
CREATE POLICY kept ON lab_result_version FOR INSERT TO caregraph_owner WITH CHECK (true);
REVOKE UPDATE, DELETE ON lab_result_version FROM caregraph_worker;
SELECT audit.watch('lab_result_version');
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON lab_result_version FOR EACH ROW EXECUTE FUNCTION audit.refuse();

-- Keeps what rows of one statement were. Where only its place changes (facility, encounter, report, labels) a result says
-- what it said. By statement, because a row that moves to another partition fires no row trigger of an update.
CREATE FUNCTION keep_superseded() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    place CONSTANT text[] := '{facility_id, patient_id, encounter_id, diagnostic_report_id, security, label, version}';
BEGIN
    INSERT INTO clinical.lab_result_version
    SELECT kept.*
    FROM old_rows AS o
    JOIN new_rows AS n ON n.id = o.id AND n.version > o.version
    CROSS JOIN LATERAL jsonb_populate_record(NULL::clinical.lab_result_version, to_jsonb(o) || jsonb_build_object(
        'superseded_at', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))) AS kept
    WHERE to_jsonb(o) - place <> to_jsonb(n) - place;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION keep_superseded() FROM PUBLIC;
CREATE TRIGGER history AFTER UPDATE ON lab_result REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION keep_superseded();
RESET ROLE;
