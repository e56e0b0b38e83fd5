-- What an extraction reads, as a login of its own (db/roles.py): for one project, named in its transaction, the facilities that
-- have approved it, without patients who refuse research, without rows whose labels the project may not get. And the vault:
-- which research id stands for whom, which the warehouse never sees (45 CFR 164.514(c)).

CREATE SCHEMA vault AUTHORIZATION caregraph_owner;
SET ROLE caregraph_owner;
CREATE TABLE vault.surrogate (
    project_id uuid NOT NULL REFERENCES clinical.research_project,
    patient_id uuid NOT NULL REFERENCES clinical.patient,
    research_id bigint NOT NULL CHECK (research_id > 0),
    shift_days smallint NOT NULL CHECK (shift_days BETWEEN -365 AND 365 AND shift_days <> 0),
    PRIMARY KEY (project_id, patient_id),
    UNIQUE (project_id, research_id)
);
COMMENT ON COLUMN vault.surrogate.research_id IS 'random, not derived from anything about the patient; the same in all datasets of a project';
COMMENT ON COLUMN vault.surrogate.shift_days IS 'days by which a limited data set moves the dates of this patient, all alike';

CREATE TABLE vault.member (
    extraction_id uuid NOT NULL REFERENCES clinical.research_extraction,
    partition int NOT NULL,
    facility_id uuid NOT NULL,
    patient_id uuid NOT NULL,
    research_id bigint NOT NULL,
    PRIMARY KEY (extraction_id, partition, patient_id, facility_id)
);
COMMENT ON TABLE vault.member IS 'whose records each version was made of: by it the holders of a patient''s records are found';
CREATE INDEX member_of_patient ON vault.member (patient_id, extraction_id);
RESET ROLE;
GRANT USAGE ON SCHEMA vault, clinical, access TO caregraph_research;
GRANT SELECT, INSERT ON vault.surrogate TO caregraph_research;
GRANT SELECT, INSERT, DELETE ON vault.member TO caregraph_research;

-- A random number of 63 bits: hashed from a random UUID of 122, so that nothing about a patient is in it.
CREATE FUNCTION vault.random_id() RETURNS bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT greatest(hashtextextended(gen_random_uuid()::text, 0) & 9223372036854775807, 1)
$$;
-- From 1 to 365 days, forwards or backwards.
CREATE FUNCTION vault.random_shift() RETURNS smallint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT (CASE WHEN drawn % 2 = 0 THEN 1 ELSE -1 END * (1 + drawn / 2 % 365))::smallint FROM (SELECT vault.random_id()) AS d (drawn)
$$;
REVOKE ALL ON FUNCTION vault.random_id(), vault.random_shift() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION vault.random_id(), vault.random_shift() TO caregraph_research;

-- Of the project of `app.research_project`: what it may read now. Nothing where it is not approved.
CREATE FUNCTION access.research_facilities() RETURNS uuid[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(f.facility_id), '{}')
    FROM clinical.research_project AS p
    JOIN clinical.research_facility AS f ON f.project_id = p.id
    WHERE p.id = nullif(current_setting('app.research_project', true), '')::uuid AND p.status = 'APPROVED'
        AND f.approved_at IS NOT NULL AND f.revoked_at IS NULL
$$;
CREATE FUNCTION access.research_labels() RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT labels FROM clinical.research_project
        WHERE id = nullif(current_setting('app.research_project', true), '')::uuid), '{}')
$$;
-- Patients who refuse: by a rule against research or against everything, of all records or of some, which is read as all.
CREATE FUNCTION access.research_denied() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER ROWS 1000 SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.patient_id
    FROM clinical.consent_rule AS c
    WHERE c.facility_id = ANY (access.research_facilities()) AND c.type = 'deny'
        AND (c.purposes IS NULL OR 'HRESCH' = ANY (c.purposes))
        AND (c.recipients IS NULL OR c.recipients && ARRAY['analyst', c.facility_id::text,
            (SELECT p.facility_id::text FROM clinical.research_project AS p
             WHERE p.id = nullif(current_setting('app.research_project', true), '')::uuid)])
        AND c.period @> now()
$$;
ALTER FUNCTION access.research_facilities() OWNER TO caregraph_search;
ALTER FUNCTION access.research_labels() OWNER TO caregraph_search;
ALTER FUNCTION access.research_denied() OWNER TO caregraph_search;
REVOKE ALL ON FUNCTION access.research_facilities(), access.research_labels(), access.research_denied() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION access.research_facilities(), access.research_labels(), access.research_denied() TO caregraph_research;

-- Codes below a code, where a terminology is given (python -m workers hierarchy); of ICD-10-CM a code's own letters say it.
SET ROLE caregraph_owner;
CREATE TABLE clinical.code_descendant (
    system text NOT NULL,
    code text NOT NULL,
    descendant text NOT NULL,
    PRIMARY KEY (system, code, descendant)
);
COMMENT ON TABLE clinical.code_descendant IS 'every code below a code, at any distance; without the code itself';
GRANT SELECT, INSERT, DELETE ON clinical.code_descendant TO caregraph_worker;
GRANT SELECT ON clinical.code_descendant, clinical.lab_test, clinical.medication, clinical.research_project, clinical.research_facility
    TO caregraph_research;
GRANT SELECT ON access.zip3 TO caregraph_research;
DO $$
DECLARE
    opened text;
    here CONSTANT text := 'facility_id = ANY ((SELECT access.research_facilities())::uuid[]) AND patient_id NOT IN (SELECT access.research_denied())';
    registered CONSTANT text := 'EXISTS (SELECT FROM clinical.registration AS r WHERE r.patient_id = %I.%I)';
BEGIN
    FOREACH opened IN ARRAY ARRAY['encounter', 'condition', 'procedure', 'medication_request', 'medication_administration', 'lab_result'] LOOP
        EXECUTE format('CREATE POLICY research ON clinical.%I FOR SELECT TO caregraph_research USING (%s AND '
            '(label = ''{}'' OR coalesce(label, ''{R}'') <@ (SELECT access.research_labels())::text[]))', opened, here);
        EXECUTE format('GRANT SELECT ON clinical.%I TO caregraph_research', opened);
    END LOOP;
    EXECUTE format('CREATE POLICY research ON clinical.registration FOR SELECT TO caregraph_research USING (%s)', here);
    EXECUTE format('CREATE POLICY research ON clinical.patient FOR SELECT TO caregraph_research USING (' || registered || ')', 'patient', 'id');
    FOREACH opened IN ARRAY ARRAY['patient_name', 'patient_identifier'] LOOP
        EXECUTE format('CREATE POLICY research ON clinical.%I FOR SELECT TO caregraph_research USING (' || registered || ')',
            opened, opened, 'patient_id');
    END LOOP;
    FOREACH opened IN ARRAY ARRAY['registration', 'patient', 'patient_name', 'patient_identifier'] LOOP
        EXECUTE format('GRANT SELECT ON clinical.%I TO caregraph_research', opened);
    END LOOP;
    -- Catalogues, and the state of its own work: neither is about patients.
    CREATE POLICY research ON clinical.lab_test FOR SELECT TO caregraph_research USING (true);
    CREATE POLICY research ON clinical.medication FOR SELECT TO caregraph_research USING (true);
    CREATE POLICY research ON clinical.research_project FOR SELECT TO caregraph_research USING (true);
    CREATE POLICY research ON clinical.research_facility FOR SELECT TO caregraph_research USING (true);
    FOREACH opened IN ARRAY ARRAY['research_dataset', 'research_extraction', 'research_partition'] LOOP
        EXECUTE format('CREATE POLICY research ON clinical.%I TO caregraph_research USING (true) WITH CHECK (true)', opened);
    END LOOP;
    GRANT SELECT ON clinical.research_dataset TO caregraph_research;
    GRANT SELECT, UPDATE ON clinical.research_extraction TO caregraph_research;
    GRANT SELECT, INSERT, DELETE ON clinical.research_partition TO caregraph_research;
END $$;
RESET ROLE;

-- What the application is told of the vault; nobody else is told anything.
GRANT USAGE ON SCHEMA vault TO caregraph_search;
GRANT SELECT ON vault.surrogate, vault.member, clinical.research_extraction, clinical.research_reidentification TO caregraph_search;

-- Whether a version holds a research id of a project of the caller: to a privacy officer only where that is a patient whose
-- records of this facility are in it.
CREATE FUNCTION access.research_holds(of_extraction uuid, of_research_id bigint) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM access.context() AS c
        JOIN clinical.research_extraction AS e ON e.id = of_extraction
        JOIN vault.surrogate AS s ON s.project_id = e.project_id AND s.research_id = of_research_id
        JOIN vault.member AS m ON m.patient_id = s.patient_id AND m.extraction_id = e.id
        WHERE access.by_application() AND e.project_id IN (SELECT access.research_projects())
            AND (c.profile = 'analyst' OR m.facility_id = c.facility_id))
$$;
-- Whom research ids stand for: of requests that a privacy officer of the caller's facility granted, to its privacy officers.
CREATE FUNCTION access.research_reidentified(ids uuid[]) RETURNS TABLE (id uuid, patient_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.id, s.patient_id
    FROM access.context() AS c
    JOIN clinical.research_reidentification AS r ON r.decided_facility_id = c.facility_id
    JOIN vault.surrogate AS s ON s.project_id = r.project_id AND s.research_id = r.research_id
    JOIN clinical.registration AS g ON g.facility_id = c.facility_id AND g.patient_id = s.patient_id
    WHERE access.by_application() AND c.profile = 'privacy_officer' AND c.home_facility_id IS NULL
        AND r.id = ANY (ids) AND r.granted
$$;
-- Published versions that hold a patient's records of the caller's facility, newest first, for its privacy officer.
CREATE FUNCTION access.research_holdings(of_patient uuid, before_time timestamptz, before_id uuid, rows_max int)
RETURNS TABLE (extraction_id uuid, patient_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.id, of_patient
    FROM access.context() AS c
    JOIN clinical.research_extraction AS e ON e.state = 'PUBLISHED'
    WHERE access.by_application() AND c.profile = 'privacy_officer' AND c.home_facility_id IS NULL
        AND (e.requested_at, e.id) < (before_time, before_id)
        AND EXISTS (SELECT FROM vault.member AS m
            WHERE m.patient_id = of_patient AND m.extraction_id = e.id AND m.facility_id = c.facility_id)
    ORDER BY e.requested_at DESC, e.id DESC
    LIMIT rows_max
$$;
ALTER FUNCTION access.research_holds(uuid, bigint) OWNER TO caregraph_search;
ALTER FUNCTION access.research_reidentified(uuid[]) OWNER TO caregraph_search;
ALTER FUNCTION access.research_holdings(uuid, timestamptz, uuid, int) OWNER TO caregraph_search;
REVOKE ALL ON FUNCTION access.research_holds(uuid, bigint), access.research_reidentified(uuid[]),
    access.research_holdings(uuid, timestamptz, uuid, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION access.research_holds(uuid, bigint) TO caregraph_writer;
GRANT EXECUTE ON FUNCTION access.research_reidentified(uuid[]), access.research_holdings(uuid, timestamptz, uuid, int)
    TO caregraph_privacy_officer;
