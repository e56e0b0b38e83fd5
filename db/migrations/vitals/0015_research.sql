-- What an extraction for research reads of the vital signs: as a login of its own, of the facilities that its transaction names.
-- Which those may be is decided where the approvals are, in the clinical database (clinical/0051).

GRANT USAGE ON SCHEMA vitals TO caregraph_research;
GRANT SELECT ON vitals.vital_sign TO caregraph_research;
CREATE POLICY research ON vitals.vital_sign FOR SELECT TO caregraph_research
    USING (facility_id = ANY ((SELECT string_to_array(current_setting('app.research_facilities', true), ','))::uuid[]));
