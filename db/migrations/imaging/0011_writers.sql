-- Writes of imaging: who may, and uploads, which are objects on their way into the archive. FHIR R4: ImagingStudy.

GRANT USAGE ON SCHEMA imaging TO caregraph_writer;
SET ROLE caregraph_owner;
SET search_path = imaging, public;

CREATE INDEX imaging_study_by_uid ON imaging_study (facility_id, study_uid);
CREATE INDEX imaging_series_by_uid ON imaging_series (facility_id, series_uid);
CREATE INDEX imaging_instance_by_uid ON imaging_instance (facility_id, instance_uid);
-- Walked side by side with the archive's own list, which goes by bytes (workers/sweep.py).
CREATE INDEX imaging_instance_by_key ON imaging_instance (s3_key COLLATE "C") WHERE s3_key IS NOT NULL;

CREATE TABLE imaging_upload (
    id uuid PRIMARY KEY,
    facility_id uuid NOT NULL,
    patient_id uuid NOT NULL,
    encounter_id uuid,
    subject text NOT NULL,
    size_bytes bigint NOT NULL CHECK (size_bytes BETWEEN 1 AND 5368709120),
    sha256 text CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    multipart_id text,
    state text NOT NULL DEFAULT 'begun' CHECK (state IN ('begun', 'completing', 'completed', 'quarantined', 'expired')),
    reason text CHECK (reason IN ('NOT_DICOM', 'PATIENT_MISMATCH', 'UID_MISSING', 'UID_TAKEN', 'SIZE_MISMATCH', 'DIGEST_MISMATCH')),
    imaging_study_id uuid,
    begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    leased_until timestamptz,
    version int NOT NULL DEFAULT 1,
    CHECK ((state = 'quarantined') = (reason IS NOT NULL)),
    CHECK ((state = 'completing') = (leased_until IS NOT NULL)),
    CHECK ((state = 'completed') = (imaging_study_id IS NOT NULL))
);
COMMENT ON COLUMN imaging_upload.subject IS 'who began it: nobody else may complete it';
COMMENT ON COLUMN imaging_upload.sha256 IS 'of the object, in hexadecimal, where the client gave it';
COMMENT ON COLUMN imaging_upload.multipart_id IS 'of the archive, for an object that is sent in parts';
COMMENT ON COLUMN imaging_upload.state IS 'completing: the client has sent all, and the object is being read and moved to its place';
COMMENT ON COLUMN imaging_upload.expires_at IS 'until when the client may send and complete it';
COMMENT ON COLUMN imaging_upload.leased_until IS 'until when somebody is at completing it; who comes later goes on';
COMMENT ON COLUMN imaging_upload.imaging_study_id IS 'study that the object became part of';
CREATE INDEX imaging_upload_under_way ON imaging_upload (state, expires_at) WHERE state IN ('begun', 'completing');
SELECT access.declare('imaging_upload', 'id NONE, facility_id NONE, patient_id NONE, encounter_id NONE, subject NONE, size_bytes NONE,
    sha256 OTHER_IDENTIFIER, multipart_id URL, state NONE, reason NONE, imaging_study_id NONE, begun_at DATE, expires_at NONE,
    leased_until NONE, version NONE');
SELECT access.guard('imaging_upload');
SELECT access.guard_told('imaging_upload');
SELECT audit.watch('imaging_upload');

CREATE FUNCTION count_version() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.version := OLD.version + CASE WHEN NEW IS DISTINCT FROM OLD THEN 1 ELSE 0 END;
    RETURN NEW;
END $$;
CREATE TRIGGER version BEFORE UPDATE ON imaging_upload FOR EACH ROW EXECUTE FUNCTION count_version();

-- As access.guard_told; series and instances through their study.
DO $$
DECLARE
    here CONSTANT text := 'facility_id = (SELECT access.facility_id())';
    told CONSTANT text := here || ' AND ((SELECT access.told_all()) OR patient_id IN (SELECT access.told_reached()))
        AND patient_id NOT IN (SELECT access.told_denied())';
    own CONSTANT text := told || ' AND subject = (SELECT (access.context()).subject)';
    of_study CONSTANT text := here || ' AND (SELECT true FROM imaging.imaging_study AS s WHERE s.id = imaging_study_id)';
    of_series CONSTANT text := here || ' AND (SELECT true FROM imaging.imaging_series AS s WHERE s.id = imaging_series_id)';
BEGIN
    PERFORM access.open_to_writers('imaging.imaging_study', told, told);
    PERFORM access.open_to_writers('imaging.imaging_series', of_study, of_study);
    PERFORM access.open_to_writers('imaging.imaging_instance', of_series, of_series);
    PERFORM access.open_to_writers('imaging.imaging_upload', own, own);
END $$;

-- How far the sweeper has come in the archive's list: the key behind which the next pass goes on.
CREATE TABLE sweep (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    after text NOT NULL DEFAULT ''
);
INSERT INTO sweep DEFAULT VALUES;
GRANT SELECT, UPDATE ON sweep TO caregraph_worker;
RESET ROLE;
