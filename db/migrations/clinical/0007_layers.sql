-- Layers on top of the facility: reach (department, treatment relationship, exchange), consent, break-glass.
--
-- Everything here is decided for one caller, so that the same rules answer for the caller of a request and, in
-- explanations, for another one. Sets are made once for each statement; their readers run past row-level security.

SET ROLE caregraph_owner;
SET search_path = clinical, public;

-- What active consents say, by rule (FHIR R4 Consent.provision); kept by trigger. NULL means any. A rule without labels is about
-- everything; a recipient is the id of a provider or facility, or an access profile.
CREATE TABLE consent_rule (
    consent_id uuid NOT NULL REFERENCES consent ON DELETE CASCADE,
    position smallint NOT NULL,
    facility_id uuid NOT NULL REFERENCES facility,
    patient_id uuid NOT NULL REFERENCES patient,
    type text NOT NULL CHECK (type IN ('permit', 'deny')),
    purposes text[],
    recipients text[],
    labels text[],
    period tstzrange NOT NULL DEFAULT '(,)',
    PRIMARY KEY (consent_id, position)
);
CREATE INDEX consent_rule_of_patient ON consent_rule (facility_id, patient_id);
CREATE INDEX consent_rule_denials ON consent_rule (facility_id) INCLUDE (patient_id) WHERE type = 'deny' AND labels IS NULL;
CREATE INDEX consent_rule_labels ON consent_rule (facility_id) INCLUDE (patient_id) WHERE labels IS NOT NULL;
CREATE INDEX consent_rule_recipients ON consent_rule USING gin (facility_id, recipients) WHERE type = 'permit';
SELECT access.guard('consent_rule', 'false');

-- Emergency access to one patient's chart (purpose ETREAT); it ends by itself, or when a privacy officer closes it.
CREATE TABLE break_glass_grant (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    facility_id uuid NOT NULL REFERENCES facility,
    patient_id uuid NOT NULL REFERENCES patient,
    subject text NOT NULL,
    profile text NOT NULL,
    reason text NOT NULL CHECK (length(reason) BETWEEN 10 AND 500),
    granted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    reviewed_at timestamptz,
    reviewed_by text,
    review text CHECK (length(review) <= 2000),
    closed_at timestamptz,
    CHECK (expires_at <= granted_at + interval '4 hours')
);
CREATE INDEX break_glass_grant_of_subject ON break_glass_grant (facility_id, subject, expires_at);
CREATE INDEX break_glass_grant_newest ON break_glass_grant (facility_id, granted_at DESC, id DESC);
SELECT access.guard('break_glass_grant', 'false');

-- What finds the patients whom a provider treats or a department has, now.
CREATE INDEX care_team_participant_of_provider ON care_team_participant (facility_id, provider_id);
CREATE INDEX encounter_current_of_provider ON encounter (facility_id, provider_id, (coalesce(end_time, 'infinity')));
CREATE INDEX encounter_current_of_department ON encounter (facility_id, department_id, (coalesce(end_time, 'infinity')));
GRANT SELECT ON encounter, appointment, care_team, care_team_participant, consent_rule, break_glass_grant TO caregraph_search;
GRANT SELECT ON consent TO caregraph_search;
RESET ROLE;

-- An encounter is current while it lasts and for 30 days after it: results arrive, letters are written.
CREATE FUNCTION access.is_current(status text, end_time timestamptz) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN end_time IS NULL THEN status IN ('arrived', 'triaged', 'in-progress', 'onleave')
        ELSE end_time > now() - interval '30 days' AND status NOT IN ('planned', 'cancelled', 'entered-in-error') END
$$;

-- Patients with whom a provider, or anybody of a department, or (both NULL) anybody of the facility has a treatment
-- relationship: an active care team, a current encounter, an appointment from 7 days ahead until 30 days after it.
CREATE FUNCTION access.treated(at_facility uuid, of_provider uuid, of_department uuid) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.patient_id
    FROM clinical.care_team_participant AS p
    JOIN clinical.care_team AS t ON t.id = p.care_team_id
    WHERE p.facility_id = at_facility AND p.provider_id = of_provider AND t.facility_id = at_facility AND t.status = 'active'
    UNION ALL
    SELECT e.patient_id
    FROM clinical.encounter AS e
    WHERE e.facility_id = at_facility AND e.provider_id = of_provider
        AND coalesce(e.end_time, 'infinity') > now() - interval '30 days' AND access.is_current(e.status, e.end_time)
    UNION ALL
    SELECT e.patient_id
    FROM clinical.encounter AS e
    WHERE e.facility_id = at_facility AND e.department_id = of_department
        AND coalesce(e.end_time, 'infinity') > now() - interval '30 days' AND access.is_current(e.status, e.end_time)
    UNION ALL
    SELECT a.patient_id
    FROM clinical.appointment AS a
    WHERE a.facility_id = at_facility AND a.provider_id = of_provider
        AND a.sort_time BETWEEN now() - interval '30 days' AND now() + interval '7 days'
        AND a.status NOT IN ('cancelled', 'noshow', 'entered-in-error', 'proposed', 'waitlist')
    UNION ALL
    SELECT a.patient_id
    FROM clinical.appointment AS a
    WHERE a.facility_id = at_facility AND a.department_id = of_department
        AND a.sort_time BETWEEN now() - interval '30 days' AND now() + interval '7 days'
        AND a.status NOT IN ('cancelled', 'noshow', 'entered-in-error', 'proposed', 'waitlist')
$$;

-- Patients for whom a caller broke the glass, while it lasts. Never away from home.
CREATE FUNCTION access.glass_broken(caller access.caller) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, pg_temp AS $$
    SELECT g.patient_id
    FROM clinical.break_glass_grant AS g
    WHERE g.facility_id = caller.facility_id AND g.subject = caller.subject AND g.profile = caller.profile
        AND g.expires_at > clock_timestamp() AND g.closed_at IS NULL AND caller.home_facility_id IS NULL
$$;

-- For what a caller asks about one patient: ETREAT under a broken glass, and only then; who says ETREAT without one treats.
CREATE FUNCTION access.purpose_for(caller access.caller, broken boolean) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN broken THEN 'ETREAT' WHEN caller.purpose = 'ETREAT' THEN 'TREAT' ELSE caller.purpose END
$$;

-- Whether a rule of a consent is about this caller now.
CREATE FUNCTION access.applies(rule clinical.consent_rule, caller access.caller, purpose text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT (rule.purposes IS NULL OR purpose = ANY (rule.purposes))
        AND (rule.recipients IS NULL OR rule.recipients && ARRAY[caller.profile, caller.provider_id::text,
            coalesce(caller.home_facility_id, caller.facility_id)::text])
        AND rule.period @> now()
$$;

-- Patients of the caller's facility whose consent forbids the caller everything.
CREATE FUNCTION access.denied_to(caller access.caller) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.patient_id
    FROM clinical.consent_rule AS c
    WHERE c.facility_id = caller.facility_id AND c.type = 'deny' AND c.labels IS NULL AND caller.profile <> 'patient'
        AND access.applies(c, caller, access.purpose_for(caller, c.patient_id IN (SELECT access.glass_broken(caller))))
$$;

-- Patients who let the caller's own facility, where they are registered and treated, see this facility's records.
CREATE FUNCTION access.exchanged_to(caller access.caller) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.patient_id
    FROM clinical.consent_rule AS c
    JOIN clinical.registration AS here ON here.facility_id = caller.facility_id AND here.patient_id = c.patient_id
    JOIN clinical.registration AS home ON home.facility_id = caller.home_facility_id AND home.patient_id = c.patient_id
    WHERE c.facility_id = caller.facility_id AND c.type = 'permit' AND c.labels IS NULL
        AND c.recipients @> ARRAY[caller.home_facility_id::text] AND access.applies(c, caller, access.purpose_for(caller, false))
        AND caller.purpose IN ('TREAT', 'ETREAT')
        AND (c.patient_id IN (SELECT access.treated(caller.home_facility_id, caller.provider_id, caller.department_id))
            OR caller.provider_id IS NULL AND caller.department_id IS NULL AND EXISTS (
                SELECT FROM clinical.encounter AS e
                WHERE e.facility_id = caller.home_facility_id AND e.patient_id = c.patient_id
                    AND access.is_current(e.status, e.end_time)))
$$;

-- Patients whose charts a caller of a narrow reach sees; nothing narrows the reach FACILITY but a patient of its own.
CREATE FUNCTION access.reached_by(caller access.caller) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF caller.reach = 'FACILITY' THEN
        RETURN QUERY SELECT caller.patient_id WHERE caller.patient_id IS NOT NULL;
    ELSIF caller.reach = 'EXCHANGE' THEN
        RETURN QUERY SELECT p FROM access.exchanged_to(caller) AS p WHERE p = coalesce(caller.patient_id, p);
    ELSIF caller.reach = 'DEPARTMENT' THEN
        RETURN QUERY SELECT p FROM access.treated(caller.facility_id, NULL, caller.department_id) AS p
            WHERE p = coalesce(caller.patient_id, p);
    ELSIF caller.reach = 'RELATIONSHIP' THEN
        RETURN QUERY SELECT p FROM access.treated(caller.facility_id, caller.provider_id, NULL) AS p
            WHERE p = coalesce(caller.patient_id, p)
            UNION ALL
            SELECT p FROM access.glass_broken(caller) AS p WHERE p = coalesce(caller.patient_id, p);
    END IF;
END $$;

-- Labels that a caller may see of one patient: the role's, what the patient permits, what a broken glass lifts; without
-- what the patient denies.
CREATE FUNCTION access.clearance_to(caller access.caller, of_patient uuid) RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH glass AS (SELECT of_patient IN (SELECT access.glass_broken(caller)) AS broken),
    rule AS (
        SELECT c.type, c.labels
        FROM clinical.consent_rule AS c, glass
        WHERE c.facility_id = caller.facility_id AND c.patient_id = of_patient AND c.labels IS NOT NULL
            AND access.applies(c, caller, access.purpose_for(caller, glass.broken))
    )
    SELECT coalesce(array_agg(DISTINCT label), '{}')
    FROM (
        SELECT unnest(caller.labels)
        UNION SELECT unnest(caller.lifts) FROM glass WHERE broken
        UNION SELECT unnest(rule.labels) FROM rule WHERE type = 'permit'
    ) AS open (label)
    WHERE caller.profile = 'patient'
        OR NOT EXISTS (SELECT FROM rule WHERE type = 'deny' AND open.label = ANY (rule.labels))
$$;

-- Patients of whom the caller's clearance may differ from the role's.
CREATE FUNCTION access.excepted_for(caller access.caller) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.patient_id FROM clinical.consent_rule AS c WHERE c.facility_id = caller.facility_id AND c.labels IS NOT NULL
    UNION ALL SELECT access.glass_broken(caller)
$$;

-- What stands between a caller and a patient's chart: OPEN, RELATIONSHIP or CONSENT.
CREATE FUNCTION access.standing_of(caller access.caller, patients uuid[]) RETURNS TABLE (patient_id uuid, standing text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT p, CASE
        WHEN p IN (SELECT access.denied_to(caller)) THEN 'CONSENT'
        WHEN caller.reach = 'FACILITY' AND caller.patient_id IS NULL OR p IN (SELECT access.reached_by(caller)) THEN 'OPEN'
        ELSE 'RELATIONSHIP' END
    FROM unnest(patients) AS p
$$;

-- Whether a caller finds every registered patient, and those too whose consent closes the chart: who treats must find the
-- patient, who registers must not do so twice, and a privacy officer answers for all.
CREATE FUNCTION access.finds_all_to(caller access.caller) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT caller.reach IN ('FACILITY', 'RELATIONSHIP') AND caller.patient_id IS NULL
$$;
CREATE FUNCTION access.finds_denied_to(caller access.caller) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT caller.home_facility_id IS NULL AND (caller.purpose IN ('TREAT', 'ETREAT', 'PATRQT')
        OR caller.profile IN ('registrar', 'privacy_officer'))
$$;

ALTER FUNCTION access.finds_all_to(access.caller) OWNER TO caregraph_search;
ALTER FUNCTION access.finds_denied_to(access.caller) OWNER TO caregraph_search;
ALTER FUNCTION access.treated(uuid, uuid, uuid) OWNER TO caregraph_search;
ALTER FUNCTION access.glass_broken(access.caller) OWNER TO caregraph_search;
ALTER FUNCTION access.denied_to(access.caller) OWNER TO caregraph_search;
ALTER FUNCTION access.exchanged_to(access.caller) OWNER TO caregraph_search;
ALTER FUNCTION access.reached_by(access.caller) OWNER TO caregraph_search;
ALTER FUNCTION access.clearance_to(access.caller, uuid) OWNER TO caregraph_search;
ALTER FUNCTION access.excepted_for(access.caller) OWNER TO caregraph_search;
ALTER FUNCTION access.standing_of(access.caller, uuid[]) OWNER TO caregraph_search;
-- They take any caller: only functions that verify the context may call them.
REVOKE ALL ON FUNCTION access.finds_all_to(access.caller), access.finds_denied_to(access.caller),
    access.treated(uuid, uuid, uuid), access.glass_broken(access.caller), access.denied_to(access.caller),
    access.exchanged_to(access.caller), access.reached_by(access.caller), access.clearance_to(access.caller, uuid),
    access.excepted_for(access.caller), access.standing_of(access.caller, uuid[]) FROM PUBLIC;

-- The same for the caller of this transaction.
CREATE FUNCTION access.sees_all() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.reach = 'FACILITY' AND c.patient_id IS NULL FROM access.context() AS c
$$;
CREATE FUNCTION access.finds_all() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT access.finds_all_to(access.context())
$$;
CREATE FUNCTION access.finds_denied() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT access.finds_denied_to(access.context())
$$;
CREATE FUNCTION access.clearance() RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ SELECT (access.context()).labels $$;

-- Policies read their tables as the views' owner, but call functions as who is logged in. So that nobody can ask these who
-- said no, a policy proves itself with a value that only the views' owner can read.
CREATE TABLE access.policy_proof (only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row), value uuid NOT NULL DEFAULT gen_random_uuid());
INSERT INTO access.policy_proof DEFAULT VALUES;
REVOKE ALL ON access.policy_proof FROM PUBLIC;
GRANT SELECT ON access.policy_proof TO caregraph_view, caregraph_search;
CREATE FUNCTION access.proven(proof uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT proof = (SELECT value FROM access.policy_proof)
$$;
CREATE FUNCTION access.reached(proof uuid) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
    SELECT p FROM access.reached_by(access.context()) AS p WHERE access.proven(proof)
$$;
CREATE FUNCTION access.denied(proof uuid) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
    SELECT p FROM access.denied_to(access.context()) AS p WHERE access.proven(proof)
$$;
CREATE FUNCTION access.excepted(proof uuid) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
    SELECT p FROM access.excepted_for(access.context()) AS p WHERE access.proven(proof)
$$;
CREATE FUNCTION access.opens(of_patient uuid, label text[], proof uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT access.proven(proof) AND coalesce(label, '{R}') <@ access.clearance_to(access.context(), of_patient)
$$;
ALTER FUNCTION access.sees_all() OWNER TO caregraph_search;
ALTER FUNCTION access.finds_all() OWNER TO caregraph_search;
ALTER FUNCTION access.finds_denied() OWNER TO caregraph_search;
ALTER FUNCTION access.clearance() OWNER TO caregraph_search;
ALTER FUNCTION access.proven(uuid) OWNER TO caregraph_search;
ALTER FUNCTION access.reached(uuid) OWNER TO caregraph_search;
ALTER FUNCTION access.denied(uuid) OWNER TO caregraph_search;
ALTER FUNCTION access.excepted(uuid) OWNER TO caregraph_search;
ALTER FUNCTION access.opens(uuid, text[], uuid) OWNER TO caregraph_search;
REVOKE ALL ON FUNCTION access.proven(uuid) FROM PUBLIC;

-- Standing of patients, of those whom the caller finds. Silent where there is no verified context.
CREATE FUNCTION access.standings(patients uuid[]) RETURNS TABLE (patient_id uuid, standing text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.patient_id, s.standing
    FROM access.context() AS c, access.standing_of(c, patients) AS s
    JOIN clinical.registration AS r ON r.patient_id = s.patient_id
    WHERE r.facility_id = c.facility_id
        AND (access.finds_all() OR s.standing = 'OPEN') AND (access.finds_denied() OR s.standing <> 'CONSENT')
$$;
ALTER FUNCTION access.standings(uuid[]) OWNER TO caregraph_search;

-- Whose records the caller may see, for the stores beside this one. For the application alone: it names who said no.
CREATE FUNCTION access.patients()
RETURNS TABLE (reached uuid[], denied uuid[], excepted uuid[], clearances text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN NOT access.sees_all() THEN ARRAY(SELECT DISTINCT p FROM access.reached_by(c) AS p) END,
        ARRAY(SELECT DISTINCT p FROM access.denied_to(c) AS p),
        ARRAY(SELECT DISTINCT p FROM access.excepted_for(c) AS p ORDER BY p),
        ARRAY(SELECT array_to_string(access.clearance_to(c, p), '.')
            FROM (SELECT DISTINCT p FROM access.excepted_for(c) AS p) AS e (p) ORDER BY p)
    FROM access.context() AS c
    WHERE c.facility_id IS NOT NULL AND access.by_application()
$$;
ALTER FUNCTION access.patients() OWNER TO caregraph_search;
