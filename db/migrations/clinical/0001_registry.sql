-- Who and where: facilities, departments, providers, patients and their registrations.
-- FHIR R4: Organization, Location, Practitioner, PractitionerRole, Patient.

CREATE EXTENSION IF NOT EXISTS btree_gist;
CREATE EXTENSION IF NOT EXISTS btree_gin;
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS unaccent;

CREATE SCHEMA clinical AUTHORIZATION caregraph_owner;
GRANT USAGE ON SCHEMA clinical TO caregraph_view, caregraph_worker, caregraph_search;
SET ROLE caregraph_owner;
SET search_path = clinical, public;

-- JSONB shapes: arrays or objects of the FHIR types; deeper validation is the importer's.
CREATE FUNCTION is_objects(value jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT jsonb_typeof(value) = 'array' AND NOT jsonb_path_exists(value, '$[*] ? (@.type() != "object")')
$$;

CREATE TABLE facility (
    id uuid PRIMARY KEY,
    code text NOT NULL UNIQUE CHECK (code ~ '^[A-Z0-9][A-Z0-9-]{0,31}$'),
    name text NOT NULL,
    type jsonb CHECK (jsonb_typeof(type) = 'object'),
    address jsonb CHECK (jsonb_typeof(address) = 'object'),
    telecom jsonb NOT NULL DEFAULT '[]' CHECK (is_objects(telecom))
);
SELECT access.declare('facility', 'id NONE, code NONE, name NONE, type NONE, address NONE, telecom NONE');
SELECT access.guard('facility', 'id = (SELECT access.facility_id())');

CREATE TABLE department (
    id uuid PRIMARY KEY,
    facility_id uuid NOT NULL REFERENCES facility,
    parent_id uuid REFERENCES department,
    code text,
    name text NOT NULL,
    type jsonb CHECK (jsonb_typeof(type) = 'object'),
    physical_type text
);
CREATE INDEX department_by_facility ON department (facility_id, name, id);
SELECT access.declare('department', 'id NONE, facility_id NONE, parent_id NONE, code NONE, name NONE, type NONE, physical_type NONE');
SELECT access.guard('department');

CREATE TABLE provider (
    id uuid PRIMARY KEY,
    npi text,
    family text,
    given text[] NOT NULL DEFAULT '{}',
    prefix text[] NOT NULL DEFAULT '{}',
    gender text,
    qualification jsonb NOT NULL DEFAULT '[]' CHECK (is_objects(qualification)),
    telecom jsonb NOT NULL DEFAULT '[]' CHECK (is_objects(telecom)),
    active boolean NOT NULL DEFAULT true
);
CREATE TABLE provider_role (
    facility_id uuid NOT NULL REFERENCES facility,
    provider_id uuid NOT NULL REFERENCES provider,
    department_id uuid REFERENCES department,
    role jsonb CHECK (jsonb_typeof(role) = 'object'),
    specialty jsonb CHECK (jsonb_typeof(specialty) = 'object'),
    PRIMARY KEY (facility_id, provider_id)
);
SELECT access.declare('provider', 'id NONE, npi NONE, family NONE, given NONE, prefix NONE, gender NONE, qualification NONE, telecom NONE, active NONE');
SELECT access.declare('provider_role', 'facility_id NONE, provider_id NONE, department_id NONE, role NONE, specialty NONE');
SELECT access.guard('provider_role');
-- Rows that are visible through another row: looked up by its primary key for each candidate. As EXISTS the planner may
-- instead read all registrations (or roles) of the facility into a hash table; a scalar subquery it never does.
SELECT access.guard('provider', '(SELECT true FROM clinical.provider_role AS r
    WHERE r.facility_id = (SELECT access.facility_id()) AND r.provider_id = provider.id)');

CREATE TABLE patient (
    id uuid PRIMARY KEY,
    active boolean NOT NULL DEFAULT true,
    gender text CHECK (gender IN ('male', 'female', 'other', 'unknown')),
    birth_date access.fhir_date,
    deceased boolean,
    deceased_date_time access.fhir_date_time,
    marital_status jsonb CHECK (jsonb_typeof(marital_status) = 'object'),
    multiple_birth int,
    race text,
    ethnicity text,
    birth_sex text,
    address jsonb NOT NULL DEFAULT '[]' CHECK (is_objects(address)),
    telecom jsonb NOT NULL DEFAULT '[]' CHECK (is_objects(telecom)),
    contact jsonb NOT NULL DEFAULT '[]' CHECK (is_objects(contact)),
    communication jsonb NOT NULL DEFAULT '[]' CHECK (is_objects(communication))
);
CREATE TABLE registration (
    facility_id uuid NOT NULL REFERENCES facility,
    patient_id uuid NOT NULL REFERENCES patient,
    mrn text NOT NULL CHECK (mrn <> ''),
    PRIMARY KEY (facility_id, patient_id),
    UNIQUE (facility_id, mrn)
);
CREATE TABLE patient_name (
    patient_id uuid NOT NULL REFERENCES patient,
    position smallint NOT NULL,
    use text,
    family text,
    given text[] NOT NULL DEFAULT '{}',
    prefix text[] NOT NULL DEFAULT '{}',
    suffix text[] NOT NULL DEFAULT '{}',
    text text,
    PRIMARY KEY (patient_id, position)
);
CREATE TABLE patient_identifier (
    patient_id uuid NOT NULL REFERENCES patient,
    position smallint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('MEDICAL_RECORD_NUMBER', 'SSN', 'LICENSE_NUMBER', 'HEALTH_PLAN_NUMBER', 'ACCOUNT_NUMBER', 'OTHER_IDENTIFIER')),
    type jsonb CHECK (jsonb_typeof(type) = 'object'),
    system text,
    value text NOT NULL,
    PRIMARY KEY (patient_id, position)
);
-- Registrations decide who sees a patient; the index of the registration leads with the facility.
SELECT access.declare('registration', 'facility_id NONE, patient_id NONE, mrn MEDICAL_RECORD_NUMBER');
SELECT access.declare('patient', 'id NONE, active NONE, gender NONE, birth_date DATE, deceased NONE, deceased_date_time DATE,
    marital_status NONE, multiple_birth NONE, race NONE, ethnicity NONE, birth_sex NONE, address GEOGRAPHY, telecom BY_SYSTEM,
    contact CONTACT, communication NONE');
SELECT access.declare('patient_name', 'patient_id NONE, position NONE, use NONE, family NAME, given NAME, prefix NAME, suffix NAME, text NAME');
SELECT access.declare('patient_identifier', 'patient_id NONE, position NONE, kind NONE, type NONE, system NONE, value BY_KIND');
SELECT access.guard('registration');
SELECT access.guard('patient', '(SELECT true FROM clinical.registration AS r
    WHERE r.facility_id = (SELECT access.facility_id()) AND r.patient_id = patient.id)');
SELECT access.guard('patient_name', '(SELECT true FROM clinical.registration AS r
    WHERE r.facility_id = (SELECT access.facility_id()) AND r.patient_id = patient_name.patient_id)');
SELECT access.guard('patient_identifier', '(SELECT true FROM clinical.registration AS r
    WHERE r.facility_id = (SELECT access.facility_id()) AND r.patient_id = patient_identifier.patient_id)');

RESET ROLE;
