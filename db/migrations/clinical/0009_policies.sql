-- Rows that are visible through another row: looked up by its primary key for each candidate. As EXISTS the planner may
-- instead read all registrations (or roles) of the facility into a hash table; a scalar subquery it never does.

SET ROLE caregraph_owner;
ALTER POLICY facility ON clinical.patient USING ((SELECT true FROM clinical.registration AS r
    WHERE r.facility_id = (SELECT access.facility_id()) AND r.patient_id = patient.id));
ALTER POLICY facility ON clinical.patient_name USING ((SELECT true FROM clinical.registration AS r
    WHERE r.facility_id = (SELECT access.facility_id()) AND r.patient_id = patient_name.patient_id));
ALTER POLICY facility ON clinical.patient_identifier USING ((SELECT true FROM clinical.registration AS r
    WHERE r.facility_id = (SELECT access.facility_id()) AND r.patient_id = patient_identifier.patient_id));
ALTER POLICY facility ON clinical.provider USING ((SELECT true FROM clinical.provider_role AS r
    WHERE r.facility_id = (SELECT access.facility_id()) AND r.provider_id = provider.id));
RESET ROLE;
