-- Standings as before (0007), with plans that a session keeps: an SQL function is planned anew in every statement. The sets
-- are read once, and not at all where the reach needs none.

CREATE OR REPLACE FUNCTION access.standings(patients uuid[]) RETURNS TABLE (patient_id uuid, standing text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    caller access.caller := access.context();
    reaches_all boolean := caller.reach = 'FACILITY' AND caller.patient_id IS NULL;
    denied uuid[];
    reached uuid[];
    finds_all boolean;
    finds_denied boolean;
BEGIN
    IF caller.facility_id IS NULL THEN
        RETURN;
    END IF;
    denied := ARRAY(SELECT access.denied_to(caller));
    finds_all := access.finds_all_to(caller);
    finds_denied := access.finds_denied_to(caller);
    IF NOT reaches_all THEN
        reached := ARRAY(SELECT access.reached_by(caller));
    END IF;
    RETURN QUERY
    SELECT s.patient_id, s.standing
    FROM (
        SELECT p AS patient_id, CASE
            WHEN p = ANY (denied) THEN 'CONSENT'
            WHEN reaches_all OR p = ANY (reached) THEN 'OPEN'
            ELSE 'RELATIONSHIP' END AS standing
        FROM unnest(patients) AS p
    ) AS s
    JOIN clinical.registration AS r ON r.facility_id = caller.facility_id AND r.patient_id = s.patient_id
    WHERE (finds_all OR s.standing = 'OPEN') AND (finds_denied OR s.standing <> 'CONSENT');
END $$;
