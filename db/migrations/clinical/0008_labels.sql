-- Sensitivity labels of rows: what the source said (FHIR meta.security), and what the codes imply. A row of a labelled kind
-- for which neither says anything has none (NULL): it is restricted, label R.

SET ROLE caregraph_owner;
SET search_path = clinical, public;

-- Codes that imply a label (HL7 v3-ActCode).
CREATE TABLE sensitive_code (
    system text NOT NULL,
    code text NOT NULL,
    label text NOT NULL CHECK (label IN ('ETH', 'HIV', 'PSY', 'PSYTHPN', 'SDV', 'SEX', 'STD')),
    display text NOT NULL,
    PRIMARY KEY (code, system, label)
);
COMMENT ON TABLE sensitive_code IS 'no value set is complete: what a source labels itself comes in the column security';
INSERT INTO sensitive_code (system, code, label, display) VALUES
    ('http://snomed.info/sct', '7200002', 'ETH', 'Alcoholism'),
    ('http://snomed.info/sct', '15167005', 'ETH', 'Alcohol abuse'),
    ('http://snomed.info/sct', '66590003', 'ETH', 'Alcohol dependence'),
    ('http://snomed.info/sct', '5602001', 'ETH', 'Harmful pattern of use of opioid'),
    ('http://snomed.info/sct', '75544000', 'ETH', 'Opioid dependence'),
    ('http://snomed.info/sct', '6525002', 'ETH', 'Dependent drug abuse'),
    ('http://snomed.info/sct', '191816009', 'ETH', 'Drug dependence'),
    ('http://snomed.info/sct', '26416006', 'ETH', 'Drug abuse'),
    ('http://snomed.info/sct', '361055000', 'ETH', 'Misuses drugs'),
    ('http://snomed.info/sct', '55680006', 'ETH', 'Drug overdose'),
    ('http://snomed.info/sct', '56876005', 'ETH', 'Drug rehabilitation and detoxification'),
    ('http://snomed.info/sct', '385989002', 'ETH', 'Substance use therapy'),
    ('http://hl7.org/fhir/sid/icd-10-cm', 'F10.20', 'ETH', 'Alcohol dependence, uncomplicated'),
    ('http://hl7.org/fhir/sid/icd-10-cm', 'F11.20', 'ETH', 'Opioid dependence, uncomplicated'),
    ('http://hl7.org/fhir/sid/icd-10-cm', 'F19.20', 'ETH', 'Other psychoactive substance dependence'),
    ('http://www.nlm.nih.gov/research/umls/rxnorm', '351264', 'ETH', 'buprenorphine / naloxone'),
    ('http://www.nlm.nih.gov/research/umls/rxnorm', '1010600', 'ETH', 'buprenorphine / naloxone oral strip'),
    ('http://www.nlm.nih.gov/research/umls/rxnorm', '864706', 'ETH', 'methadone'),
    ('http://snomed.info/sct', '86406008', 'HIV', 'Human immunodeficiency virus infection'),
    ('http://snomed.info/sct', '62479008', 'HIV', 'Acquired immune deficiency syndrome'),
    ('http://snomed.info/sct', '165816005', 'HIV', 'Human immunodeficiency virus positive'),
    ('http://hl7.org/fhir/sid/icd-10-cm', 'B20', 'HIV', 'Human immunodeficiency virus disease'),
    ('http://hl7.org/fhir/sid/icd-10-cm', 'Z21', 'HIV', 'Asymptomatic HIV infection status'),
    ('http://loinc.org', '20447-9', 'HIV', 'HIV 1 RNA [#/volume] (viral load)'),
    ('http://loinc.org', '24467-3', 'HIV', 'CD3+CD4+ cells [#/volume]'),
    ('http://loinc.org', '56888-1', 'HIV', 'HIV 1+2 Ab+HIV1 p24 Ag'),
    ('http://snomed.info/sct', '370143000', 'PSY', 'Major depressive disorder'),
    ('http://snomed.info/sct', '36923009', 'PSY', 'Major depression, single episode'),
    ('http://snomed.info/sct', '47505003', 'PSY', 'Posttraumatic stress disorder'),
    ('http://snomed.info/sct', '58214004', 'PSY', 'Schizophrenia'),
    ('http://snomed.info/sct', '13746004', 'PSY', 'Bipolar disorder'),
    ('http://snomed.info/sct', '225337009', 'PSY', 'Suicide risk assessment'),
    ('http://snomed.info/sct', '706893006', 'SDV', 'Victim of intimate partner abuse'),
    ('http://snomed.info/sct', '397940009', 'SDV', 'Victim of child abuse'),
    ('http://snomed.info/sct', '386639001', 'SEX', 'Termination of pregnancy'),
    ('http://snomed.info/sct', '714812005', 'SEX', 'Induced termination of pregnancy'),
    ('http://snomed.info/sct', '15628003', 'STD', 'Gonorrhea'),
    ('http://snomed.info/sct', '76272004', 'STD', 'Syphilis'),
    ('http://snomed.info/sct', '105629000', 'STD', 'Chlamydial infection'),
    ('http://loinc.org', '28635-8', 'PSY', 'Psychiatry initial evaluation note'),
    ('http://loinc.org', '34788-0', 'PSY', 'Psychiatry consult note');

-- Labels that codes imply, sorted; {} where they imply none, NULL where there is no code to judge by.
CREATE FUNCTION labels_of(code_system text, code text, translation jsonb) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = clinical, pg_catalog, pg_temp AS $$
BEGIN
    IF code IS NULL AND NOT jsonb_path_exists(coalesce(translation, '[]'), '$[*].code') THEN
        RETURN NULL;
    END IF;
    RETURN ARRAY(
        SELECT DISTINCT s.label
        FROM (
            SELECT code_system, code
            UNION ALL
            SELECT one ->> 'system', one ->> 'code' FROM jsonb_array_elements(coalesce(translation, '[]')) AS one
        ) AS c (system, code)
        JOIN clinical.sensitive_code AS s ON s.code = c.code AND s.system = c.system
        ORDER BY s.label);
END $$;

-- Sets NEW.label from what the source said and from the row's own code, its medication's or its test's.
CREATE FUNCTION label_row() RETURNS trigger LANGUAGE plpgsql SET search_path = clinical, pg_catalog, pg_temp AS $$
DECLARE
    implied text[];
BEGIN
    IF TG_ARGV[0] = 'medication' THEN
        SELECT labels_of(m.code_system, m.code, m.code_translation) INTO implied FROM medication AS m WHERE m.id = NEW.medication_id;
    ELSIF TG_ARGV[0] = 'lab_test' THEN
        SELECT labels_of(t.code_system, t.code, NULL) INTO implied FROM lab_test AS t WHERE t.id = NEW.lab_test_id;
    ELSE
        implied := labels_of(NEW.code_system, NEW.code, NEW.code_translation);
    END IF;
    IF implied IS NULL AND NEW.security = '{}' THEN
        NEW.label := NULL;
    ELSE
        NEW.label := ARRAY(SELECT DISTINCT one FROM unnest(NEW.security || implied) AS one ORDER BY one);
    END IF;
    RETURN NEW;
END $$;

-- What is there already is labelled by the owner, who is under row-level security too where it is forced.
ALTER TABLE medication NO FORCE ROW LEVEL SECURITY;
ALTER TABLE lab_test NO FORCE ROW LEVEL SECURITY;
DO $$
DECLARE
    labelled text;
    source text;
    chart CONSTANT text := 'facility_id = (SELECT access.facility_id())
        AND ((SELECT access.sees_all()) OR patient_id IN (SELECT access.reached((SELECT value FROM access.policy_proof))))
        AND patient_id NOT IN (SELECT access.denied((SELECT value FROM access.policy_proof)))';
    label CONSTANT text := ' AND (label = ''{}''
        OR coalesce(label, ''{R}'') <@ (SELECT access.clearance()) AND patient_id NOT IN (SELECT access.excepted((SELECT value FROM access.policy_proof)))
        OR patient_id IN (SELECT access.excepted((SELECT value FROM access.policy_proof))) AND access.opens(patient_id, label, (SELECT value FROM access.policy_proof)))';
BEGIN
    FOR labelled, source IN VALUES
        ('encounter', 'own'), ('condition', 'own'), ('procedure', 'own'), ('allergy_intolerance', 'own'),
        ('immunization', 'own'), ('observation', 'own'), ('diagnostic_report', 'own'), ('lab_result', 'lab_test'),
        ('medication_request', 'medication'), ('medication_administration', 'medication')
    LOOP
        EXECUTE format('ALTER TABLE clinical.%I ADD COLUMN security text[] NOT NULL DEFAULT ''{}'', ADD COLUMN label text[]', labelled);
        EXECUTE format('CREATE TRIGGER label BEFORE INSERT OR UPDATE ON clinical.%I FOR EACH ROW EXECUTE FUNCTION clinical.label_row(%L)', labelled, source);
        EXECUTE format('ALTER TABLE clinical.%I NO FORCE ROW LEVEL SECURITY', labelled);
        EXECUTE format('UPDATE clinical.%I SET security = ''{}''', labelled);
        EXECUTE format('ALTER TABLE clinical.%I FORCE ROW LEVEL SECURITY', labelled);
        PERFORM access.guard_more(format('clinical.%I', labelled)::regclass, chart || label);
    END LOOP;
    FOREACH labelled IN ARRAY ARRAY['care_team', 'consent', 'appointment'] LOOP
        PERFORM access.guard_more(format('clinical.%I', labelled)::regclass, chart);
    END LOOP;
END $$;
SELECT access.declare('encounter', 'security NONE, label NONE');
SELECT access.declare('condition', 'security NONE, label NONE');
SELECT access.declare('procedure', 'security NONE, label NONE');
SELECT access.declare('allergy_intolerance', 'security NONE, label NONE');
SELECT access.declare('immunization', 'security NONE, label NONE');
SELECT access.declare('observation', 'security NONE, label NONE');
SELECT access.declare('diagnostic_report', 'security NONE, label NONE');
SELECT access.declare('lab_result', 'security NONE, label NONE');
SELECT access.declare('medication_request', 'security NONE, label NONE');
SELECT access.declare('medication_administration', 'security NONE, label NONE');
ALTER TABLE medication FORCE ROW LEVEL SECURITY;
ALTER TABLE lab_test FORCE ROW LEVEL SECURITY;
SELECT access.guard('sensitive_code', 'true');
SELECT access.guard_more('care_team_participant', 'facility_id = (SELECT access.facility_id())
    AND (SELECT true FROM clinical.care_team AS t WHERE t.id = care_team_participant.care_team_id)');

-- Who is registered is found by everybody who may look at the facility's patients; patient, names and identifiers follow.
SELECT access.guard_more('registration', 'facility_id = (SELECT access.facility_id())
    AND ((SELECT access.finds_all()) OR patient_id IN (SELECT access.reached((SELECT value FROM access.policy_proof))))
    AND ((SELECT access.finds_denied()) OR patient_id NOT IN (SELECT access.denied((SELECT value FROM access.policy_proof))))');
RESET ROLE;
