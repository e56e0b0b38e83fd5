-- Writers who register patients and keep their consents: the search that comes before a registration, names and identifiers
-- that are replaced, and the triggers that keep search and rules in step, which write where no writer may.

-- Rows of a name are at every facility where the patient is registered; rules decide who sees the chart. So both triggers
-- run as the reader whom row-level security does not bind, on tables of their own.
GRANT INSERT, DELETE ON clinical.patient_search, clinical.patient_word, clinical.consent_rule TO caregraph_search;
GRANT INSERT ON clinical.name_word TO caregraph_search;
GRANT SELECT ON clinical.patient_name, clinical.patient_identifier TO caregraph_search;
ALTER FUNCTION clinical.refresh_patient_search() SECURITY DEFINER;
ALTER FUNCTION clinical.refresh_patient_search() OWNER TO caregraph_search;
ALTER FUNCTION clinical.refresh_consent_rules() SECURITY DEFINER;
ALTER FUNCTION clinical.refresh_consent_rules() OWNER TO caregraph_search;

-- Medical record numbers of patients who come without one.
SET ROLE caregraph_owner;
CREATE SEQUENCE clinical.mrn_number;
GRANT USAGE ON SEQUENCE clinical.mrn_number TO caregraph_writer;

-- Letters and digits of an identifier's value: people write the same number with hyphens, blanks, or without.
CREATE FUNCTION clinical.normal_identifier(value text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $$
    SELECT regexp_replace(lower(value), '[^a-z0-9]', '', 'g')
$$;
CREATE INDEX patient_identifier_by_value ON clinical.patient_identifier (clinical.normal_identifier(value), kind);

-- Patients have several names and identifiers, which are replaced as a whole: who may insert them may take them away.
DO $$
DECLARE
    replaced text;
BEGIN
    FOREACH replaced IN ARRAY ARRAY['patient_name', 'patient_identifier'] LOOP
        EXECUTE format('GRANT DELETE ON clinical.%I TO caregraph_writer', replaced);
        EXECUTE format('CREATE POLICY writer_delete ON clinical.%1$I FOR DELETE TO caregraph_writer
            USING ((SELECT access.by_application() AND has_table_privilege(current_user, ''clinical.%1$I'', ''INSERT''))
                AND (SELECT true FROM clinical.registration AS r WHERE r.patient_id = %1$I.patient_id))', replaced);
    END LOOP;
END $$;

-- A consent may name any facility of the network; which there are is no secret.
CREATE POLICY writer_directory ON clinical.facility FOR SELECT TO caregraph_writer USING ((SELECT access.by_application()));
RESET ROLE;

-- Patients of the caller's facility who may be the one that is to be registered, best first: by the search for each of the
-- names (lists of words) and the birth date, and by identifiers (kind, system, value), of which an equal one scores 1; one
-- authority issues all social security numbers. For the application alone: who asks may see four digits of such a value.
--
-- Without the month of birth only whole names count; a name without a letter from a to z finds everybody, so it is not asked.
CREATE FUNCTION access.possible_duplicates(names jsonb, birth text, identifiers jsonb, score_min numeric, rows_max int)
RETURNS TABLE (patient_id uuid, score numeric)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT f.patient_id, max(f.score)
    FROM (
        SELECT s.patient_id, s.score
        FROM jsonb_array_elements(names) AS n (words)
        CROSS JOIN LATERAL (SELECT ARRAY(SELECT jsonb_array_elements_text(n.words)) AS terms) AS asked
        CROSS JOIN LATERAL access.search_patients(asked.terms, CASE WHEN length(birth) >= 7 THEN birth END, 2,
            'ffffffff-ffff-ffff-ffff-ffffffffffff', rows_max) AS s
        WHERE clinical.normal_name(array_to_string(asked.terms, ' ')) <> '' AND (length(birth) >= 7 OR s.score = 1)
        UNION ALL
        SELECT i.patient_id, 1
        FROM jsonb_to_recordset(identifiers) AS g (kind text, system text, value text)
        JOIN clinical.patient_identifier AS i
            ON clinical.normal_identifier(i.value) = clinical.normal_identifier(g.value) AND i.kind = g.kind
                AND (i.kind = 'SSN' OR coalesce(i.system = g.system, true))
        JOIN clinical.registration AS r ON r.facility_id = access.facility_id() AND r.patient_id = i.patient_id
        WHERE clinical.normal_identifier(g.value) <> ''
    ) AS f
    WHERE access.by_application()
    GROUP BY f.patient_id
    HAVING max(f.score) >= score_min
    ORDER BY max(f.score) DESC, f.patient_id DESC
    LIMIT rows_max
$$;
ALTER FUNCTION access.possible_duplicates(jsonb, text, jsonb, numeric, int) OWNER TO caregraph_search;
REVOKE ALL ON FUNCTION access.possible_duplicates(jsonb, text, jsonb, numeric, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION access.possible_duplicates(jsonb, text, jsonb, numeric, int) TO caregraph_writer;
