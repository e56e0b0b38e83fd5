-- A patient is registered at few facilities, which the planner does not know: it takes facility and patient for independent of
-- each other and expects one result of a patient, so that the index by time seems as good as the one by test, and all of a
-- patient's results were read for the latest one of a test. As if there were one facility, its estimate is a patient's results.

SET ROLE caregraph_owner;
DO $$
DECLARE
    leaf regclass;
BEGIN
    FOR leaf IN SELECT relid FROM pg_partition_tree('clinical.lab_result') WHERE isleaf LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN facility_id SET (n_distinct = 1)', leaf);
    END LOOP;
END $$;
ANALYZE clinical.lab_result (facility_id);
RESET ROLE;
