-- Readings and rollups of the patients whose records the caller may see.

SET ROLE caregraph_owner;
SELECT access.guard_told('vitals.vital_sign');
SELECT access.guard_told('vitals.vital_sign_hourly');
SELECT access.guard_told('vitals.vital_sign_daily');
RESET ROLE;
