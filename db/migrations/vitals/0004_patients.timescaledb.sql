-- Readings and continuous aggregates of the patients whose records the caller may see.

SET ROLE caregraph_owner;
SET search_path = vitals, public;
SELECT access.guard_told('vital_sign');
CREATE OR REPLACE VIEW vital_sign_hourly WITH (security_barrier) AS
SELECT * FROM vital_sign_by_hour
WHERE facility_id = (SELECT access.facility_id())
    AND ((SELECT access.told_all()) OR patient_id IN (SELECT access.told_reached()))
    AND patient_id NOT IN (SELECT access.told_denied());
CREATE OR REPLACE VIEW vital_sign_daily WITH (security_barrier) AS
SELECT * FROM vital_sign_by_day
WHERE facility_id = (SELECT access.facility_id())
    AND ((SELECT access.told_all()) OR patient_id IN (SELECT access.told_reached()))
    AND patient_id NOT IN (SELECT access.told_denied());
RESET ROLE;
