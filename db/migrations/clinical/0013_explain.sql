-- Explanations: what stands between a caller and one patient's chart, for the caller of a request or, asked by a privacy
-- officer, for another one of the same facility. The rules are those that the policies use (0007_layers.sql).

-- Nothing for a patient who is not registered at the caller's facility. `found`: whether the patient exists for the caller.
-- `unbroken`: the standing without the grants of break-glass, which name a subject.
CREATE FUNCTION access.explained_to(caller access.caller, of_patient uuid)
RETURNS TABLE (found boolean, standing text, unbroken text, broken boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    anonymous access.caller := caller;
BEGIN
    anonymous.subject := NULL;
    RETURN QUERY
    SELECT (access.finds_all_to(caller) OR s.standing = 'OPEN') AND (access.finds_denied_to(caller) OR s.standing <> 'CONSENT'),
        s.standing, u.standing, of_patient IN (SELECT access.glass_broken(caller))
    FROM clinical.registration AS r,
        access.standing_of(caller, ARRAY[of_patient]) AS s,
        access.standing_of(anonymous, ARRAY[of_patient]) AS u
    WHERE r.facility_id = caller.facility_id AND r.patient_id = of_patient;
END $$;

-- For the caller of this transaction, of a patient whom the caller finds.
CREATE FUNCTION access.explained(of_patient uuid)
RETURNS TABLE (found boolean, standing text, unbroken text, broken boolean)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.* FROM access.context() AS c, access.explained_to(c, of_patient) AS e WHERE e.found
$$;

-- For somebody else of the caller's facility: a privacy officer asks, through the application. Of patients whose consent keeps
-- the officer out too, because it answers with rules and never with a record.
CREATE FUNCTION access.explained_for(of_patient uuid, department_id uuid, profile text, purpose text, subject text, reach text,
    provider_id uuid, patient_id uuid, labels text[], lifts text[])
RETURNS TABLE (found boolean, standing text, unbroken text, broken boolean)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.*
    FROM access.context() AS c,
        access.explained_to((c.facility_id, $2, $3, $4, $5, $6, $7, $8, NULL, $9, $10)::access.caller, of_patient) AS e
    WHERE c.profile = 'privacy_officer' AND c.patient_id IS NULL AND c.home_facility_id IS NULL AND access.by_application()
$$;

ALTER FUNCTION access.explained_to(access.caller, uuid) OWNER TO caregraph_search;
ALTER FUNCTION access.explained(uuid) OWNER TO caregraph_search;
ALTER FUNCTION access.explained_for(uuid, uuid, text, text, text, text, uuid, uuid, text[], text[]) OWNER TO caregraph_search;
REVOKE ALL ON FUNCTION access.explained_to(access.caller, uuid),
    access.explained_for(uuid, uuid, text, text, text, text, uuid, uuid, text[], text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION access.explained_for(uuid, uuid, text, text, text, text, uuid, uuid, text[], text[])
    TO caregraph_privacy_officer;
