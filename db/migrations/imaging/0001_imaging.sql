-- Imaging studies, their series and instances; pixels are objects of the archive. FHIR R4: ImagingStudy.
--
-- A database of its own, so patients and encounters of the clinical database are ids without foreign keys. Children carry
-- their facility in the key, so that none can hang under a study of another facility.

CREATE SCHEMA imaging AUTHORIZATION caregraph_owner;
GRANT USAGE ON SCHEMA imaging TO caregraph_view, caregraph_worker;
SET ROLE caregraph_owner;
SET search_path = imaging, public;

-- JSONB shape: an array of FHIR objects; deeper validation is the importer's.
CREATE FUNCTION is_objects(value jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT jsonb_typeof(value) = 'array' AND NOT jsonb_path_exists(value, '$[*] ? (@.type() != "object")')
$$;

CREATE TABLE imaging_study (
    id uuid PRIMARY KEY,
    facility_id uuid NOT NULL,
    patient_id uuid NOT NULL,
    encounter_id uuid,
    study_uid text,
    accession_number text,
    status text NOT NULL,
    started access.fhir_date_time,
    modality text[] NOT NULL DEFAULT '{}',
    description text,
    procedure jsonb NOT NULL DEFAULT '[]' CHECK (is_objects(procedure)),
    body_site jsonb NOT NULL DEFAULT '[]' CHECK (is_objects(body_site)),
    number_of_series int CHECK (number_of_series >= 0),
    number_of_instances int CHECK (number_of_instances >= 0),
    sort_time timestamptz NOT NULL,
    UNIQUE (facility_id, id)
);
COMMENT ON COLUMN imaging_study.study_uid IS 'DICOM Study Instance UID, without the urn:oid: of FHIR';
COMMENT ON COLUMN imaging_study.modality IS 'codes of the DICOM modality of the series (CT, MR, DX, …)';
COMMENT ON COLUMN imaging_study.procedure IS 'list of CodeableConcept: procedureCode';
COMMENT ON COLUMN imaging_study.body_site IS 'list of Coding: distinct bodySite of the series';
COMMENT ON COLUMN imaging_study.sort_time IS 'instant of started; 0001-01-01T00:00Z where the source has none';
CREATE INDEX imaging_study_of_facility ON imaging_study (facility_id, sort_time DESC, id DESC);
CREATE INDEX imaging_study_of_patient ON imaging_study (facility_id, patient_id, sort_time DESC, id DESC);
CREATE INDEX imaging_study_of_encounter ON imaging_study (facility_id, encounter_id, sort_time DESC, id DESC);
SELECT access.declare('imaging_study', 'id NONE, facility_id NONE, patient_id NONE, encounter_id NONE, study_uid OTHER_IDENTIFIER,
    accession_number OTHER_IDENTIFIER, status NONE, started DATE, modality CLINICAL, description FREE_TEXT, procedure CLINICAL,
    body_site CLINICAL, number_of_series NONE, number_of_instances NONE, sort_time DATE');
SELECT access.guard('imaging_study');

CREATE TABLE imaging_series (
    id uuid PRIMARY KEY,
    facility_id uuid NOT NULL,
    imaging_study_id uuid NOT NULL,
    series_uid text,
    number int,
    modality text,
    body_site jsonb CHECK (jsonb_typeof(body_site) = 'object'),
    description text,
    started access.fhir_date_time,
    number_of_instances int CHECK (number_of_instances >= 0),
    UNIQUE (facility_id, id),
    FOREIGN KEY (facility_id, imaging_study_id) REFERENCES imaging_study (facility_id, id) ON DELETE CASCADE ON UPDATE CASCADE
);
COMMENT ON COLUMN imaging_series.body_site IS 'Coding';
CREATE INDEX imaging_series_of_study ON imaging_series (facility_id, imaging_study_id, number, id);
SELECT access.declare('imaging_series', 'id NONE, facility_id NONE, imaging_study_id NONE, series_uid OTHER_IDENTIFIER, number NONE,
    modality CLINICAL, body_site CLINICAL, description FREE_TEXT, started DATE, number_of_instances NONE');
SELECT access.guard('imaging_series');

CREATE TABLE imaging_instance (
    id uuid PRIMARY KEY,
    facility_id uuid NOT NULL,
    imaging_series_id uuid NOT NULL,
    instance_uid text,
    sop_class text,
    number int,
    title text,
    s3_key text CHECK (starts_with(s3_key, 'imaging/' || facility_id || '/')),
    size_bytes bigint CHECK (size_bytes >= 0),
    storage_class text CHECK (storage_class IN ('STANDARD', 'INTELLIGENT_TIERING', 'STANDARD_IA', 'ONEZONE_IA', 'GLACIER_IR', 'GLACIER', 'DEEP_ARCHIVE')),
    restore_state text CHECK (restore_state IN ('in-progress', 'completed')),
    restore_expires timestamptz,
    stored_at timestamptz,
    UNIQUE (facility_id, s3_key),
    CHECK (restore_expires IS NOT NULL OR restore_state IS DISTINCT FROM 'completed'),
    CHECK ((s3_key IS NULL) = (storage_class IS NULL) AND (s3_key IS NULL) = (stored_at IS NULL)),
    FOREIGN KEY (facility_id, imaging_series_id) REFERENCES imaging_series (facility_id, id) ON DELETE CASCADE ON UPDATE CASCADE
);
COMMENT ON COLUMN imaging_instance.s3_key IS 'key of the object in the archive; NULL before it is stored and after it expired';
COMMENT ON COLUMN imaging_instance.sop_class IS 'DICOM SOP Class UID, without the urn:oid: of FHIR';
COMMENT ON COLUMN imaging_instance.restore_expires IS 'when the restored copy goes away: a date of the archive, not of the patient';
COMMENT ON COLUMN imaging_instance.stored_at IS 'from when lifecycle ages count';
CREATE INDEX imaging_instance_of_series ON imaging_instance (facility_id, imaging_series_id, number, id);
-- What the lifecycle worker walks through, over all facilities.
CREATE INDEX imaging_instance_by_tier ON imaging_instance (storage_class, stored_at);
CREATE INDEX imaging_instance_by_age ON imaging_instance (stored_at);
CREATE INDEX imaging_instance_by_restore ON imaging_instance (restore_state, id) WHERE restore_state IS NOT NULL;
SELECT access.declare('imaging_instance', 'id NONE, facility_id NONE, imaging_series_id NONE, instance_uid OTHER_IDENTIFIER, sop_class CLINICAL,
    number NONE, title FREE_TEXT, s3_key URL, size_bytes NONE, storage_class NONE, restore_state NONE, restore_expires NONE, stored_at DATE');
SELECT access.guard('imaging_instance');

RESET ROLE;
