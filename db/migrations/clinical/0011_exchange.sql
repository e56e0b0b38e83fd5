-- Treatment across facilities: where else a patient is registered who lets those who treat them here see those records.

GRANT SELECT ON clinical.facility TO caregraph_search;

CREATE FUNCTION access.exchanges(patients uuid[])
RETURNS TABLE (patient_id uuid, facility_id uuid, code text, name text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.patient_id, f.id, f.code, f.name
    FROM access.context() AS c
    JOIN clinical.registration AS r ON r.patient_id = ANY (patients) AND r.facility_id <> c.facility_id
    JOIN clinical.facility AS f ON f.id = r.facility_id
    WHERE c.home_facility_id IS NULL
        AND EXISTS (
            SELECT FROM access.exchanged_to((f.id, c.department_id, c.profile, c.purpose, c.subject, 'EXCHANGE',
                c.provider_id, c.patient_id, c.facility_id, c.labels, c.lifts)::access.caller) AS p
            WHERE p = r.patient_id)
    ORDER BY r.patient_id, f.code
$$;
ALTER FUNCTION access.exchanges(uuid[]) OWNER TO caregraph_search;
