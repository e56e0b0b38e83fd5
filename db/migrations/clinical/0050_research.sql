-- Research: projects and who approved them, datasets, the extractions that make their versions, and what counts have cost.
-- A project reads a facility's records only where that facility's own privacy officer has approved it there.

SET ROLE caregraph_owner;
SET search_path = clinical, public;

CREATE TABLE research_project (
    id uuid PRIMARY KEY,
    facility_id uuid NOT NULL REFERENCES facility,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    aim text NOT NULL CHECK (length(aim) BETWEEN 1 AND 2000),
    status text NOT NULL DEFAULT 'PROPOSED' CHECK (status IN ('PROPOSED', 'APPROVED', 'REVOKED')),
    methods text[] NOT NULL DEFAULT '{}' CHECK (methods <@ '{SAFE_HARBOR, LIMITED, TRUSTED}'),
    data_use_agreement text,
    data_use_expires date,
    irb_approval text,
    irb_expires date,
    irb_kinds text[] NOT NULL DEFAULT '{}' CHECK (irb_kinds <@ '{DATE, GEOGRAPHY, MEDICAL_RECORD_NUMBER}'),
    labels text[] NOT NULL DEFAULT '{}',
    k int NOT NULL DEFAULT 11 CHECK (k BETWEEN 11 AND 1000),
    l int NOT NULL DEFAULT 2 CHECK (l BETWEEN 1 AND 100),
    epsilon numeric NOT NULL DEFAULT 0 CHECK (epsilon BETWEEN 0 AND 20),
    proposed_by text NOT NULL,
    proposed_at timestamptz NOT NULL DEFAULT now(),
    approved_by text CHECK (approved_by <> proposed_by),
    approved_at timestamptz,
    revoked_by text,
    revoked_at timestamptz,
    version int NOT NULL DEFAULT 1,
    CHECK (status <> 'APPROVED' OR approved_by IS NOT NULL AND approved_at IS NOT NULL),
    CHECK (status <> 'REVOKED' OR revoked_by IS NOT NULL AND revoked_at IS NOT NULL),
    CHECK (NOT 'LIMITED' = ANY (methods) OR data_use_agreement IS NOT NULL AND data_use_expires IS NOT NULL),
    CHECK (NOT 'TRUSTED' = ANY (methods) OR irb_approval IS NOT NULL AND irb_expires IS NOT NULL)
);
COMMENT ON COLUMN research_project.facility_id IS 'the home facility: its members work there, its privacy officer approves';
COMMENT ON COLUMN research_project.labels IS 'sensitivity labels of rows that the project may get besides those without';
COMMENT ON COLUMN research_project.epsilon IS 'privacy budget of noisy counts (differential privacy), over the life of the project';
CREATE INDEX research_project_of_facility ON research_project (facility_id, proposed_at DESC, id DESC);

CREATE TABLE research_facility (
    project_id uuid NOT NULL REFERENCES research_project,
    facility_id uuid NOT NULL REFERENCES facility,
    approved_by text,
    approved_at timestamptz,
    revoked_by text,
    revoked_at timestamptz,
    PRIMARY KEY (project_id, facility_id),
    CHECK ((approved_by IS NULL) = (approved_at IS NULL) AND (revoked_by IS NULL) = (revoked_at IS NULL))
);
COMMENT ON TABLE research_facility IS 'whose records a project asks for; read only while approved there and not revoked';
CREATE INDEX research_facility_by_facility ON research_facility (facility_id, project_id);

CREATE TABLE research_member (
    project_id uuid NOT NULL REFERENCES research_project,
    facility_id uuid NOT NULL REFERENCES facility,
    subject text NOT NULL,
    added_by text NOT NULL,
    added_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, subject)
);
CREATE INDEX research_member_of_subject ON research_member (facility_id, subject);

-- What a project asked for; each extraction of it makes a version.
CREATE TABLE research_dataset (
    id uuid PRIMARY KEY,
    facility_id uuid NOT NULL REFERENCES facility,
    project_id uuid NOT NULL REFERENCES research_project,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    method text NOT NULL CHECK (method IN ('SAFE_HARBOR', 'LIMITED', 'TRUSTED')),
    definition jsonb NOT NULL CHECK (jsonb_typeof(definition) = 'object'),
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (project_id, name)
);
CREATE INDEX research_dataset_of_project ON research_dataset (project_id, requested_at DESC, id DESC);

-- The making of one version. A published version never changes.
CREATE TABLE research_extraction (
    id uuid PRIMARY KEY,
    facility_id uuid NOT NULL REFERENCES facility,
    project_id uuid NOT NULL REFERENCES research_project,
    dataset_id uuid NOT NULL REFERENCES research_dataset,
    version int NOT NULL CHECK (version > 0),
    state text NOT NULL DEFAULT 'QUEUED'
        CHECK (state IN ('QUEUED', 'RUNNING', 'PUBLISHED', 'QUARANTINED', 'FAILED', 'CANCELLED')),
    stage text NOT NULL DEFAULT 'SELECT' CHECK (stage IN ('SELECT', 'PLAN', 'EXTRACT', 'LOAD', 'VALIDATE', 'DONE')),
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    cancelled_by text,
    as_of date NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')::date,
    started_at timestamptz,
    finished_at timestamptz,
    partitions int,
    partitions_done int NOT NULL DEFAULT 0,
    rows_done bigint NOT NULL DEFAULT 0,
    rows_estimate bigint,
    plan jsonb,
    report jsonb,
    sha256 text CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    error text,
    UNIQUE (dataset_id, version),
    CHECK (state NOT IN ('PUBLISHED', 'QUARANTINED') OR report IS NOT NULL)
);
COMMENT ON COLUMN research_extraction.as_of IS 'day on which ages count and consents hold';
COMMENT ON COLUMN research_extraction.plan IS 'levels of generalisation, tables and columns; no row about anybody';
COMMENT ON COLUMN research_extraction.error IS 'code of what ended it, never a text of a store';
CREATE INDEX research_extraction_of_project ON research_extraction (project_id, requested_at DESC, id DESC);
CREATE INDEX research_extraction_of_dataset ON research_extraction (dataset_id, requested_at DESC, id DESC);

CREATE TABLE research_partition (
    extraction_id uuid NOT NULL REFERENCES research_extraction,
    partition int NOT NULL,
    facts jsonb NOT NULL CHECK (jsonb_typeof(facts) = 'object'),
    finished_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (extraction_id, partition)
);
COMMENT ON COLUMN research_partition.facts IS 'of each table: rows read and written, digest of the file, counts of what changed by rule, findings';

-- What counts of cohorts have cost, charged before the answer is made.
CREATE TABLE research_charge (
    id uuid PRIMARY KEY,
    facility_id uuid NOT NULL REFERENCES facility,
    project_id uuid NOT NULL REFERENCES research_project,
    subject text NOT NULL,
    epsilon numeric NOT NULL CHECK (epsilon > 0),
    charged_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    question bytea NOT NULL CHECK (length(question) = 32),
    answer jsonb CHECK (jsonb_typeof(answer) = 'array')
);
COMMENT ON COLUMN research_charge.question IS 'HMAC of what was asked and of the day: asked again, it has the answer that it had';
COMMENT ON COLUMN research_charge.answer IS 'cells as they were shown, with noise and the small ones left out; NULL until they are made';
CREATE INDEX research_charge_of_project ON research_charge (project_id, charged_at DESC, id DESC);

-- Who asked whom a research id stands for, why, and who else agreed.
CREATE TABLE research_reidentification (
    id uuid PRIMARY KEY,
    facility_id uuid NOT NULL REFERENCES facility,
    project_id uuid NOT NULL REFERENCES research_project,
    extraction_id uuid NOT NULL REFERENCES research_extraction,
    research_id bigint NOT NULL,
    reason text NOT NULL CHECK (length(reason) BETWEEN 10 AND 2000),
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    decided_by text CHECK (decided_by <> requested_by),
    decided_at timestamptz,
    decided_facility_id uuid REFERENCES facility,
    granted boolean,
    version int NOT NULL DEFAULT 1,
    CHECK (num_nonnulls(decided_by, decided_at, decided_facility_id, granted) IN (0, 4))
);
COMMENT ON COLUMN research_reidentification.decided_facility_id IS 'where the patient is registered: whose privacy officer decides, and is told';
CREATE INDEX research_reidentification_of_project ON research_reidentification (project_id, requested_at DESC, id DESC);
RESET ROLE;

-- Which projects the caller has to do with: a privacy officer with those of the facility and those that ask for its records, a
-- member with one's own, for research only.
CREATE FUNCTION access.research_projects() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.id FROM access.context() AS c JOIN clinical.research_project AS p ON p.facility_id = c.facility_id
    WHERE c.profile = 'privacy_officer' AND c.home_facility_id IS NULL
    UNION
    SELECT f.project_id FROM access.context() AS c JOIN clinical.research_facility AS f ON f.facility_id = c.facility_id
    WHERE c.profile = 'privacy_officer' AND c.home_facility_id IS NULL
    UNION
    SELECT m.project_id
    FROM access.context() AS c
    JOIN clinical.research_member AS m ON m.facility_id = c.facility_id AND m.subject = c.subject
    WHERE c.profile = 'analyst' AND c.purpose = 'HRESCH' AND c.home_facility_id IS NULL
$$;
-- Those of them in which the caller may do something now: approved, not revoked, and the caller a member.
CREATE FUNCTION access.research_open() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.id
    FROM access.context() AS c
    JOIN clinical.research_member AS m ON m.facility_id = c.facility_id AND m.subject = c.subject
    JOIN clinical.research_project AS p ON p.id = m.project_id
    WHERE c.profile = 'analyst' AND c.purpose = 'HRESCH' AND c.home_facility_id IS NULL AND p.status = 'APPROVED'
$$;
-- Whether the caller proposed a project: who does is its first member.
CREATE FUNCTION access.research_proposed(of_project uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM access.context() AS c
        JOIN clinical.research_project AS p ON p.facility_id = c.facility_id AND p.proposed_by = c.subject
        WHERE p.id = of_project AND p.status = 'PROPOSED' AND c.profile = 'analyst' AND c.purpose = 'HRESCH')
$$;
ALTER FUNCTION access.research_proposed(uuid) OWNER TO caregraph_search;
ALTER FUNCTION access.research_projects() OWNER TO caregraph_search;
ALTER FUNCTION access.research_open() OWNER TO caregraph_search;
GRANT SELECT ON clinical.research_project, clinical.research_facility, clinical.research_member TO caregraph_search;

SET ROLE caregraph_owner;
DO $$
DECLARE
    guarded text;
    mine CONSTANT text := 'project_id IN (SELECT access.research_projects())';
BEGIN
    PERFORM access.declare('research_project', 'id NONE, facility_id NONE, name NONE, aim NONE, status NONE, methods NONE,
        data_use_agreement NONE, data_use_expires NONE, irb_approval NONE, irb_expires NONE, irb_kinds NONE, labels NONE, k NONE, l NONE,
        epsilon NONE, proposed_by NONE, proposed_at NONE, approved_by NONE, approved_at NONE, revoked_by NONE, revoked_at NONE, version NONE');
    PERFORM access.declare('research_facility', 'project_id NONE, facility_id NONE, approved_by NONE, approved_at NONE, revoked_by NONE,
        revoked_at NONE');
    PERFORM access.declare('research_member', 'project_id NONE, facility_id NONE, subject NONE, added_by NONE, added_at NONE');
    PERFORM access.declare('research_dataset', 'id NONE, facility_id NONE, project_id NONE, name NONE, method NONE, definition NONE,
        requested_by NONE, requested_at NONE');
    PERFORM access.declare('research_extraction', 'id NONE, facility_id NONE, project_id NONE, dataset_id NONE, version NONE, state NONE,
        stage NONE, requested_by NONE, requested_at NONE, cancelled_by NONE, as_of NONE, started_at NONE, finished_at NONE,
        partitions NONE, partitions_done NONE, rows_done NONE, rows_estimate NONE, plan NONE, report NONE, sha256 NONE, error NONE');
    PERFORM access.declare('research_charge', 'id NONE, facility_id NONE, project_id NONE, subject NONE, epsilon NONE, charged_at NONE,
        question NONE, answer NONE');
    PERFORM access.declare('research_reidentification', 'id NONE, facility_id NONE, project_id NONE, extraction_id NONE, research_id NONE,
        reason NONE, requested_by NONE, requested_at NONE, decided_by NONE, decided_at NONE, decided_facility_id NONE, granted NONE,
        version NONE');
    PERFORM access.guard('clinical.research_project', 'id IN (SELECT access.research_projects())');
    FOREACH guarded IN ARRAY ARRAY['research_facility', 'research_member', 'research_dataset', 'research_extraction', 'research_charge',
        'research_reidentification']
    LOOP
        PERFORM access.guard(format('clinical.%I', guarded)::regclass, mine);
    END LOOP;
    -- Nobody but the workers: it is a note of the machinery.
    PERFORM access.guard('clinical.research_partition', 'false');
END $$;
CREATE TRIGGER version BEFORE UPDATE ON clinical.research_project FOR EACH ROW EXECUTE FUNCTION clinical.count_version();
CREATE TRIGGER version BEFORE UPDATE ON clinical.research_reidentification FOR EACH ROW EXECUTE FUNCTION clinical.count_version();

-- Writes of callers. A member proposes, asks and counts; a privacy officer approves, revokes and decides.
DO $$
DECLARE
    here CONSTANT text := 'facility_id = (SELECT access.facility_id())';
    self CONSTANT text := '(SELECT (access.context()).subject)';
    officer CONSTANT text := '(SELECT (access.context()).profile) = ''privacy_officer''';
    mine CONSTANT text := 'project_id IN (SELECT access.research_projects())';
    home CONSTANT text := 'project_id IN (SELECT p.id FROM clinical.research_project AS p WHERE p.facility_id = (SELECT access.facility_id()))';
    open CONSTANT text := 'project_id IN (SELECT access.research_open())';
BEGIN
    PERFORM access.open_to_writers('clinical.research_project',
        'id IN (SELECT access.research_projects())',
        here || ' AND (' || officer || ' OR status = ''PROPOSED'' AND methods = ''{}'' AND epsilon = 0 AND proposed_by = ' || self
            || ' AND (SELECT (access.context()).purpose) = ''HRESCH'')');
    PERFORM access.open_to_writers('clinical.research_facility', mine,
        mine || ' AND (approved_by IS NULL AND revoked_by IS NULL OR ' || here || ' AND ' || officer || ')');
    PERFORM access.open_to_writers('clinical.research_member', mine, here || ' AND (' || officer || ' AND ' || home
        || ' OR subject = ' || self || ' AND access.research_proposed(project_id))');
    EXECUTE format('CREATE POLICY writer_delete ON clinical.research_member FOR DELETE TO caregraph_writer
        USING ((SELECT access.by_application()) AND %s)', concat_ws(' AND ', here, officer, home));
    GRANT DELETE ON clinical.research_member TO caregraph_writer;
    PERFORM access.open_to_writers('clinical.research_dataset', mine, here || ' AND ' || open || ' AND requested_by = ' || self);
    PERFORM access.open_to_writers('clinical.research_extraction', mine, here || ' AND (' || officer || ' OR ' || open || ')');
    PERFORM access.open_to_writers('clinical.research_charge', mine, here || ' AND ' || open || ' AND subject = ' || self);
    PERFORM access.open_to_writers('clinical.research_reidentification', mine,
        mine || ' AND (' || open || ' AND requested_by = ' || self || ' AND granted IS NULL OR ' || officer || ' AND decided_by = ' || self
            || ' AND decided_' || here || ')');
END $$;
RESET ROLE;
GRANT EXECUTE ON FUNCTION access.research_projects(), access.research_open(), access.research_proposed(uuid) TO caregraph_view, caregraph_writer;
SELECT audit.watch(format('clinical.%I', watched)::regclass)
FROM unnest('{research_project, research_facility, research_member, research_dataset, research_reidentification}'::text[]) AS watched;

-- How far an extraction is, told to the feed without its rows: they change too often to be recorded one by one, and what the
-- feed names by key the export looks for in the record.
SET ROLE caregraph_owner;
CREATE FUNCTION feed.tell_extraction() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    at timestamptz := clock_timestamp();
BEGIN
    PERFORM feed.ensure_day(at);
    INSERT INTO feed.event (occurred_at, facility_id, table_name, operation) VALUES (at, NEW.facility_id, TG_TABLE_NAME, TG_OP);
    PERFORM pg_notify('feed', '');
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION feed.tell_extraction() FROM PUBLIC;
CREATE TRIGGER tell AFTER UPDATE ON clinical.research_extraction FOR EACH ROW
    WHEN ((OLD.state, OLD.stage, OLD.partitions, OLD.partitions_done, OLD.rows_done)
        IS DISTINCT FROM (NEW.state, NEW.stage, NEW.partitions, NEW.partitions_done, NEW.rows_done))
    EXECUTE FUNCTION feed.tell_extraction();
RESET ROLE;
