-- The version of a row that clients update: 1 when it is made, one more for each change. Who updates says which version was
-- seen, so that nobody's change is lost (resolvers/write.py).

SET ROLE caregraph_owner;
SET search_path = clinical, public;

CREATE FUNCTION count_version() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.version := OLD.version + CASE WHEN NEW IS DISTINCT FROM OLD THEN 1 ELSE 0 END;
    RETURN NEW;
END $$;

DO $$
DECLARE
    versioned text;
BEGIN
    FOREACH versioned IN ARRAY ARRAY['patient', 'encounter', 'condition', 'procedure', 'allergy_intolerance', 'immunization',
        'medication_request', 'medication_administration', 'appointment', 'consent', 'diagnostic_report', 'lab_result', 'observation']
    LOOP
        EXECUTE format('ALTER TABLE clinical.%I ADD COLUMN version int NOT NULL DEFAULT 1', versioned);
        -- After the trigger that labels a row: triggers fire in the order of their names.
        EXECUTE format('CREATE TRIGGER version BEFORE UPDATE ON clinical.%I FOR EACH ROW EXECUTE FUNCTION clinical.count_version()', versioned);
    END LOOP;
END $$;
SELECT access.declare('patient', 'version NONE');
SELECT access.declare('encounter', 'version NONE');
SELECT access.declare('condition', 'version NONE');
SELECT access.declare('procedure', 'version NONE');
SELECT access.declare('allergy_intolerance', 'version NONE');
SELECT access.declare('immunization', 'version NONE');
SELECT access.declare('medication_request', 'version NONE');
SELECT access.declare('medication_administration', 'version NONE');
SELECT access.declare('appointment', 'version NONE');
SELECT access.declare('consent', 'version NONE');
SELECT access.declare('diagnostic_report', 'version NONE');
SELECT access.declare('lab_result', 'version NONE');
SELECT access.declare('observation', 'version NONE');
RESET ROLE;
