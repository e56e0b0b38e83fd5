-- What an extraction for research reads of the images, as of the vital signs (vitals/0015): of the facilities that its transaction
-- names. The objects themselves are in the archive.

GRANT USAGE ON SCHEMA imaging TO caregraph_research;
GRANT SELECT ON imaging.imaging_study, imaging.imaging_series, imaging.imaging_instance TO caregraph_research;
DO $$
DECLARE
    opened text;
BEGIN
    FOREACH opened IN ARRAY ARRAY['imaging_study', 'imaging_series', 'imaging_instance'] LOOP
        EXECUTE format('CREATE POLICY research ON imaging.%I FOR SELECT TO caregraph_research USING '
            '(facility_id = ANY ((SELECT string_to_array(current_setting(''app.research_facilities'', true), '',''))::uuid[]))', opened);
    END LOOP;
END $$;
