-- The policies as before (0008), each asking for less. Most callers see every chart of their facility, because nobody there
-- denies them anything: one question answers that. Otherwise one set of patients is compared with instead of two, and each
-- set is named once: a statement sets it up for every table, and every partition of one, wanted or not.

CREATE OR REPLACE FUNCTION access.sees_all() RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    said text := access.verified('app.context', 'v2', 15);
BEGIN
    RETURN split_part(said, '|', 7) = 'FACILITY' AND split_part(said, '|', 9) = '';
END $$;
CREATE OR REPLACE FUNCTION access.clearance() RETURNS text[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN string_to_array(split_part(access.verified('app.context', 'v2', 15), '|', 11), '.');
END $$;

-- Whether the caller finds every patient who is registered at the facility, and those too whose consent closes the chart.
CREATE FUNCTION access.finds_everybody() RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller access.caller := access.context();
BEGIN
    RETURN access.finds_all_to(caller) AND access.finds_denied_to(caller);
END $$;

-- For policies, which prove themselves. Whether every chart of the facility is open to the caller for certain: nothing
-- narrows the reach, and no denial of everything is about a purpose and a recipient that the caller may have. Where there is
-- one, access.apart tells whether it applies.
CREATE FUNCTION access.charts_open(proof uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    said text := access.verified('app.context', 'v2', 15);
    here text := split_part(said, '|', 2);
BEGIN
    IF split_part(said, '|', 7) IS DISTINCT FROM 'FACILITY' OR split_part(said, '|', 9) <> '' THEN
        RETURN false;
    END IF;
    RETURN proof = (SELECT value FROM access.policy_proof) AND NOT EXISTS (
        SELECT FROM clinical.consent_rule AS c
        WHERE c.facility_id = here::uuid AND c.type = 'deny' AND c.labels IS NULL
            AND (c.purposes IS NULL OR c.purposes && ARRAY[split_part(said, '|', 5), 'TREAT', 'ETREAT'])
            AND (c.recipients IS NULL OR c.recipients && ARRAY[split_part(said, '|', 4), split_part(said, '|', 8),
                coalesce(nullif(split_part(said, '|', 10), ''), here)]));
END $$;

-- Patients of whom the opposite of access.sees_all holds: who sees all does not see those who deny it, and who does not sees
-- those whom they reach and who don't.
CREATE FUNCTION access.apart(proof uuid) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller access.caller := access.context();
BEGIN
    IF proof IS DISTINCT FROM (SELECT value FROM access.policy_proof) THEN
        RETURN;
    ELSIF caller.reach = 'FACILITY' AND caller.patient_id IS NULL THEN
        RETURN QUERY SELECT p FROM access.denied_to(caller) AS p;
    ELSE
        RETURN QUERY SELECT p FROM access.reached_by(caller) AS p WHERE p NOT IN (SELECT d FROM access.denied_to(caller) AS d);
    END IF;
END $$;
ALTER FUNCTION access.finds_everybody() OWNER TO caregraph_search;
ALTER FUNCTION access.charts_open(uuid) OWNER TO caregraph_search;
ALTER FUNCTION access.apart(uuid) OWNER TO caregraph_search;

SET ROLE caregraph_owner;
DO $$
DECLARE
    guarded text;
    chart CONSTANT text := 'facility_id = (SELECT access.facility_id())
        AND ((SELECT access.charts_open(value) FROM access.policy_proof)
            OR (patient_id IN (SELECT access.apart(value) FROM access.policy_proof)) <> (SELECT access.sees_all()))';
    label CONSTANT text := ' AND (label = ''{}''
        OR CASE WHEN patient_id IN (SELECT access.excepted(value) FROM access.policy_proof)
            THEN access.opens(patient_id, label, (SELECT value FROM access.policy_proof))
            ELSE coalesce(label, ''{R}'') <@ (SELECT access.clearance()) END)';
BEGIN
    FOREACH guarded IN ARRAY ARRAY['encounter', 'condition', 'procedure', 'allergy_intolerance', 'immunization', 'observation',
        'diagnostic_report', 'lab_result', 'medication_request', 'medication_administration']
    LOOP
        PERFORM access.guard_more(format('clinical.%I', guarded)::regclass, chart || label);
    END LOOP;
    FOREACH guarded IN ARRAY ARRAY['care_team', 'consent', 'appointment'] LOOP
        PERFORM access.guard_more(format('clinical.%I', guarded)::regclass, chart);
    END LOOP;
END $$;

SELECT access.guard_more('clinical.registration', 'facility_id = (SELECT access.facility_id())
    AND ((SELECT access.finds_everybody())
        OR ((SELECT access.finds_all()) OR patient_id IN (SELECT access.reached(value) FROM access.policy_proof))
            AND ((SELECT access.finds_denied()) OR patient_id NOT IN (SELECT access.denied(value) FROM access.policy_proof)))');

-- Who is seen through a registration or a role is seen where that is: its own policy says at whose facility. Each is one row
-- there, by the primary key (0001).
SELECT access.guard_more('clinical.patient',
    '(SELECT true FROM clinical.registration AS r WHERE r.patient_id = patient.id)');
SELECT access.guard_more('clinical.patient_name',
    '(SELECT true FROM clinical.registration AS r WHERE r.patient_id = patient_name.patient_id)');
SELECT access.guard_more('clinical.patient_identifier',
    '(SELECT true FROM clinical.registration AS r WHERE r.patient_id = patient_identifier.patient_id)');
SELECT access.guard_more('clinical.provider',
    '(SELECT true FROM clinical.provider_role AS r WHERE r.provider_id = provider.id)');
RESET ROLE;
