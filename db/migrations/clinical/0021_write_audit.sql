-- Every write to a table that holds PHI is recorded (audit.change): to all tables under row-level security but these.

SET ROLE caregraph_owner;
DO $$
DECLARE
    watched regclass;
BEGIN
    FOR watched IN
        SELECT oid::regclass FROM pg_class
        WHERE relnamespace = 'clinical'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
            AND relname <> ALL ('{
                facility, department, provider, provider_role, practitioner_role, medication, lab_test,
                patient_search,
                resource_identifier, report_result, observation_place, note_text, demo_load
            }')
        -- Places and staff and catalogues; what a trigger makes of names; the importer's memory of ids and digests.
    LOOP
        PERFORM audit.watch(watched);
    END LOOP;
END $$;
RESET ROLE;
