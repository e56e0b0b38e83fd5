-- Every write to studies, series and instances is recorded (audit.change).

SET ROLE caregraph_owner;
SELECT audit.watch('imaging.imaging_study'), audit.watch('imaging.imaging_series'), audit.watch('imaging.imaging_instance');
RESET ROLE;
