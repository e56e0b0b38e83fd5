-- Vital signs: one row for each component of an Observation (a blood pressure has two), from monitors and from charting.
-- FHIR R4: Observation of category vital-signs. What follows is in two flavours behind the same names: `.timescaledb.sql`
-- where that extension is available, `.plain.sql` where it is not. Patients and encounters live in another database, so
-- there are no foreign keys.

CREATE SCHEMA vitals AUTHORIZATION caregraph_owner;
GRANT USAGE ON SCHEMA vitals TO caregraph_view, caregraph_worker;

SELECT access.declare('vital_sign', 'id NONE, position NONE, facility_id NONE, patient_id NONE, encounter_id NONE, device_id DEVICE,
    status NONE, code_system CLINICAL, code CLINICAL, code_display CLINICAL, panel_code CLINICAL, value CLINICAL, value_unit CLINICAL,
    value_code CLINICAL, data_absent_reason CLINICAL, effective DATE, sort_time DATE');
SELECT access.declare('vital_sign_hourly', 'facility_id NONE, patient_id NONE, code CLINICAL, unit CLINICAL, bucket DATE,
    min CLINICAL, max CLINICAL, sum CLINICAL, count NONE');
SELECT access.declare('vital_sign_daily', 'facility_id NONE, patient_id NONE, code CLINICAL, unit CLINICAL, bucket DATE,
    min CLINICAL, max CLINICAL, sum CLINICAL, count NONE');
