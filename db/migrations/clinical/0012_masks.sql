-- Age of a patient: in the masked views only, made of the birth date (db/views.py); and what a scrubber must know.

SET ROLE caregraph_owner;
SELECT access.declare('patient', 'age AGE');
RESET ROLE;

-- What a text about a patient must lose. For scrubbing in the application only: without the application's proof there are
-- no rows, and none of patients whom the caller may not see, because it reads as the owner of the masked views does.
CREATE FUNCTION access.scrub_seeds(patients uuid[])
RETURNS TABLE (patient_id uuid, names text[], identifiers text[], contacts text[], places text[], birth_date text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.patient_id,
        ARRAY(
            SELECT concat_ws(' ', array_to_string(n.given, ' '), n.family)
            FROM clinical.patient_name AS n WHERE n.patient_id = r.patient_id
            UNION SELECT n.text FROM clinical.patient_name AS n WHERE n.patient_id = r.patient_id AND n.text IS NOT NULL
            UNION SELECT concat_ws(' ', c.one #>> '{name,given,0}', c.one #>> '{name,family}') FROM jsonb_array_elements(p.contact) AS c (one)
            UNION SELECT v #>> '{}' FROM jsonb_path_query(p.contact, '$[*].name.text') AS v
            UNION SELECT v #>> '{}' FROM jsonb_path_query(p.contact, '$[*].name.given[*]') AS v),
        ARRAY(
            SELECT r.mrn
            UNION SELECT i.value FROM clinical.patient_identifier AS i WHERE i.patient_id = r.patient_id
            UNION SELECT r.patient_id::text),
        ARRAY(
            SELECT v #>> '{}' FROM jsonb_path_query(p.telecom, '$[*].value') AS v
            UNION SELECT v #>> '{}' FROM jsonb_path_query(p.contact, '$[*].telecom[*].value') AS v),
        ARRAY(
            SELECT v #>> '{}'
            FROM (SELECT p.address AS one UNION ALL SELECT jsonb_path_query_array(p.contact, '$[*].address[*]')) AS a
            CROSS JOIN LATERAL (
                SELECT jsonb_path_query(a.one, '$[*].line[*]') UNION SELECT jsonb_path_query(a.one, '$[*].city')
                UNION SELECT jsonb_path_query(a.one, '$[*].district') UNION SELECT jsonb_path_query(a.one, '$[*].postalCode')
                UNION SELECT jsonb_path_query(a.one, '$[*].text')) AS parts (v)),
        p.birth_date::text
    FROM clinical.registration AS r
    JOIN clinical.patient AS p ON p.id = r.patient_id
    WHERE r.facility_id = (SELECT access.facility_id()) AND r.patient_id = ANY (patients) AND (SELECT access.by_application())
$$;
REVOKE EXECUTE ON FUNCTION access.scrub_seeds(uuid[]) FROM PUBLIC;
ALTER FUNCTION access.scrub_seeds(uuid[]) OWNER TO caregraph_view;
GRANT EXECUTE ON FUNCTION access.scrub_seeds(uuid[]) TO caregraph_owner;
