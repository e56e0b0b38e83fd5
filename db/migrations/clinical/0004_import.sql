-- The importer's memory: references that did not resolve, resources that wait for their patient, and what was imported.
-- Profiles see none of it.

SET ROLE caregraph_owner;
SET search_path = clinical, public;

CREATE TABLE unresolved_reference (
    resource_type text NOT NULL,
    resource_id uuid NOT NULL,
    element text NOT NULL,
    reference text NOT NULL,
    target_type text NOT NULL,
    target_id uuid,
    system text,
    value text,
    PRIMARY KEY (resource_type, resource_id, element, reference)
);
CREATE INDEX unresolved_reference_by_target ON unresolved_reference (target_type, target_id);
CREATE INDEX unresolved_reference_by_identifier ON unresolved_reference (target_type, value, system) WHERE value IS NOT NULL;
COMMENT ON TABLE unresolved_reference IS 'references kept as text because their target was never seen; tried again at the end of every import';

CREATE TABLE deferred_resource (
    resource_type text NOT NULL,
    resource_id uuid NOT NULL,
    waits_for text NOT NULL CHECK (waits_for IN ('patient', 'encounter', 'facility', 'practitioner', 'reference')),
    written boolean NOT NULL,
    resource text NOT NULL CHECK (resource IS JSON OBJECT),
    PRIMARY KEY (resource_type, resource_id)
);
COMMENT ON TABLE deferred_resource IS 'resources that wait for something not known yet: kept whole, tried again at the end of every import';
COMMENT ON COLUMN deferred_resource.resource IS 'as text, because documents of the notes store keep the order of their fields';
COMMENT ON COLUMN deferred_resource.written IS 'whether its rows are there already, without what it waits for';
CREATE INDEX deferred_resource_not_written ON deferred_resource (resource_type, resource_id) WHERE NOT written;

-- What conditional references (Practitioner?identifier=system|value) resolve through. The system urn:caregraph:row leads
-- from the row id of a FHIR resource to the row that stands for it: an Organization known by identifier first, the
-- provider of a PractitionerRole.
CREATE TABLE resource_identifier (
    resource_type text NOT NULL,
    system text NOT NULL,
    value text NOT NULL,
    resource_id uuid NOT NULL,
    PRIMARY KEY (resource_type, value, system)
);

CREATE TABLE patient_source (
    patient_id uuid PRIMARY KEY REFERENCES patient,
    mrn text NOT NULL,
    facility_id uuid REFERENCES facility
);
COMMENT ON TABLE patient_source IS 'number of the patient in the source (type MR, else the FHIR id) and facility of managingOrganization';

CREATE TABLE practitioner_role (
    id uuid PRIMARY KEY,
    facility_id uuid NOT NULL REFERENCES facility,
    provider_id uuid NOT NULL REFERENCES provider,
    department_id uuid REFERENCES department,
    role jsonb CHECK (jsonb_typeof(role) = 'object'),
    specialty jsonb CHECK (jsonb_typeof(specialty) = 'object')
);
CREATE INDEX practitioner_role_of_provider ON practitioner_role (facility_id, provider_id);
COMMENT ON TABLE practitioner_role IS 'every PractitionerRole; provider_role has one of each provider and facility, whatever the order of imports';

CREATE TABLE report_result (
    report_id uuid NOT NULL,
    result_id uuid NOT NULL,
    PRIMARY KEY (report_id, result_id)
);
CREATE INDEX report_result_by_result ON report_result (result_id);
COMMENT ON TABLE report_result IS 'DiagnosticReport.result: links a report and its results in whatever order they come';

CREATE TABLE observation_place (
    resource_id uuid PRIMARY KEY,
    place text NOT NULL CHECK (place IN ('lab_result', 'observation', 'vital_sign')),
    sort_time timestamptz NOT NULL
);
COMMENT ON TABLE observation_place IS 'table and partition of each imported Observation, so that a corrected one does not leave its old row behind';

CREATE TABLE note_text (
    patient_id uuid NOT NULL,
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    resource_type text NOT NULL CHECK (resource_type IN ('DocumentReference', 'DiagnosticReport')),
    resource_id uuid NOT NULL,
    PRIMARY KEY (patient_id, sha256)
);
COMMENT ON TABLE note_text IS 'which resource brought a text, so that a text that comes in a report and in a document is kept once';

-- The importer finds the facility of a patient without an encounter at hand through these.
CREATE INDEX registration_of_patient ON registration (patient_id);

SELECT access.guard('unresolved_reference', 'false');
SELECT access.guard('deferred_resource', 'false');
SELECT access.guard('resource_identifier', 'false');
SELECT access.guard('patient_source', 'false');
SELECT access.guard('practitioner_role', 'false');
SELECT access.guard('report_result', 'false');
SELECT access.guard('observation_place', 'false');
SELECT access.guard('note_text', 'false');
RESET ROLE;
