-- The chart: encounters and what happened in them. FHIR R4: Encounter, Condition, Procedure, AllergyIntolerance,
-- Immunization, Medication*, DiagnosticReport, Observation (laboratory and other), CareTeam, Consent, Appointment.
--
-- Every fact has `sort_time`: the instant that orders it and that ranges filter (0001-01-02 where the source has none).
-- Its main concept is `code_system, code, code_display, code_text`; further codings of the same concept are `code_translation`.
-- Access paths lead with facility_id, so that the policy is an index condition.

SET ROLE caregraph_owner;
SET search_path = clinical, public;

CREATE TABLE encounter (
    id uuid PRIMARY KEY,
    facility_id uuid NOT NULL REFERENCES facility,
    patient_id uuid NOT NULL REFERENCES patient,
    department_id uuid REFERENCES department,
    provider_id uuid REFERENCES provider,
    part_of_id uuid REFERENCES encounter,
    status text NOT NULL,
    class_code text,
    code_system text, code text, code_display text, code_text text,
    code_translation jsonb CHECK (is_objects(code_translation)),
    period_start access.fhir_date_time,
    period_end access.fhir_date_time,
    sort_time timestamptz NOT NULL,
    end_time timestamptz,
    details jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(details) = 'object')
);
COMMENT ON COLUMN encounter.details IS 'reason (CodeableConcepts), hospitalization (admitSource, dischargeDisposition), participants, locations: what varies by class';
CREATE INDEX encounter_of_patient ON encounter (facility_id, patient_id, sort_time DESC, id DESC);
CREATE INDEX encounter_of_provider ON encounter (facility_id, provider_id, sort_time DESC, id DESC);
CREATE INDEX encounter_part_of ON encounter (facility_id, part_of_id, sort_time DESC, id DESC) WHERE part_of_id IS NOT NULL;
CREATE INDEX encounter_inpatient ON encounter (facility_id, department_id, sort_time DESC, id DESC)
    WHERE status = 'in-progress' AND end_time IS NULL AND class_code IN ('IMP', 'ACUTE', 'NONAC', 'SS', 'OBSENC');
SELECT access.declare('encounter', 'id NONE, facility_id NONE, patient_id NONE, department_id NONE, provider_id NONE, part_of_id NONE,
    status NONE, class_code NONE, code_system CLINICAL, code CLINICAL, code_display CLINICAL, code_text CLINICAL, code_translation CLINICAL,
    period_start DATE, period_end DATE, sort_time DATE, end_time DATE, details DETAILS');
SELECT access.guard('encounter');

CREATE TABLE condition (
    id uuid PRIMARY KEY,
    facility_id uuid NOT NULL REFERENCES facility,
    patient_id uuid NOT NULL REFERENCES patient,
    encounter_id uuid REFERENCES encounter,
    clinical_status text,
    verification_status text,
    category text[] NOT NULL DEFAULT '{}',
    severity jsonb CHECK (jsonb_typeof(severity) = 'object'),
    code_system text, code text, code_display text, code_text text,
    code_translation jsonb CHECK (is_objects(code_translation)),
    body_site jsonb CHECK (is_objects(body_site)),
    onset access.fhir_date_time,
    abatement access.fhir_date_time,
    recorded_date access.fhir_date_time,
    note text,
    sort_time timestamptz NOT NULL
);
CREATE INDEX condition_of_patient ON condition (facility_id, patient_id, sort_time DESC, id DESC);
CREATE INDEX condition_of_patient_code ON condition (facility_id, patient_id, code, sort_time DESC, id DESC);
CREATE INDEX condition_of_encounter ON condition (facility_id, encounter_id, sort_time DESC, id DESC);
SELECT access.declare('condition', 'id CLINICAL, facility_id NONE, patient_id NONE, encounter_id NONE, clinical_status CLINICAL,
    verification_status CLINICAL, category CLINICAL, severity CLINICAL, code_system CLINICAL, code CLINICAL, code_display CLINICAL,
    code_text CLINICAL, code_translation CLINICAL, body_site CLINICAL, onset DATE, abatement DATE, recorded_date DATE, note FREE_TEXT, sort_time DATE');
SELECT access.guard('condition');

CREATE TABLE procedure (
    id uuid PRIMARY KEY,
    facility_id uuid NOT NULL REFERENCES facility,
    patient_id uuid NOT NULL REFERENCES patient,
    encounter_id uuid REFERENCES encounter,
    provider_id uuid REFERENCES provider,
    status text NOT NULL,
    code_system text, code text, code_display text, code_text text,
    code_translation jsonb CHECK (is_objects(code_translation)),
    reason jsonb NOT NULL DEFAULT '[]' CHECK (is_objects(reason)),
    reason_condition_id uuid[] NOT NULL DEFAULT '{}',
    body_site jsonb CHECK (is_objects(body_site)),
    performed_start access.fhir_date_time,
    performed_end access.fhir_date_time,
    sort_time timestamptz NOT NULL
);
CREATE INDEX procedure_of_patient ON procedure (facility_id, patient_id, sort_time DESC, id DESC);
CREATE INDEX procedure_of_patient_code ON procedure (facility_id, patient_id, code, sort_time DESC, id DESC);
CREATE INDEX procedure_of_encounter ON procedure (facility_id, encounter_id, sort_time DESC, id DESC);
SELECT access.declare('procedure', 'id CLINICAL, facility_id NONE, patient_id NONE, encounter_id NONE, provider_id NONE, status NONE,
    code_system CLINICAL, code CLINICAL, code_display CLINICAL, code_text CLINICAL, code_translation CLINICAL, reason CLINICAL,
    reason_condition_id CLINICAL, body_site CLINICAL, performed_start DATE, performed_end DATE, sort_time DATE');
SELECT access.guard('procedure');

CREATE TABLE allergy_intolerance (
    id uuid PRIMARY KEY,
    facility_id uuid NOT NULL REFERENCES facility,
    patient_id uuid NOT NULL REFERENCES patient,
    encounter_id uuid REFERENCES encounter,
    clinical_status text,
    verification_status text,
    type text,
    category text[] NOT NULL DEFAULT '{}',
    criticality text,
    code_system text, code text, code_display text, code_text text,
    code_translation jsonb CHECK (is_objects(code_translation)),
    no_known_allergy boolean NOT NULL DEFAULT false,
    onset access.fhir_date_time,
    recorded_date access.fhir_date_time,
    reaction jsonb NOT NULL DEFAULT '[]' CHECK (is_objects(reaction)),
    note text,
    sort_time timestamptz NOT NULL
);
COMMENT ON COLUMN allergy_intolerance.no_known_allergy IS 'a coded statement that there is none (SNOMED CT 716186003 and its children): not an allergy';
CREATE INDEX allergy_intolerance_of_patient ON allergy_intolerance (facility_id, patient_id, sort_time DESC, id DESC);
SELECT access.declare('allergy_intolerance', 'id CLINICAL, facility_id NONE, patient_id NONE, encounter_id NONE, clinical_status CLINICAL,
    verification_status CLINICAL, type CLINICAL, category CLINICAL, criticality CLINICAL, code_system CLINICAL, code CLINICAL,
    code_display CLINICAL, code_text CLINICAL, code_translation CLINICAL, no_known_allergy CLINICAL, onset DATE, recorded_date DATE,
    reaction FRAGMENT, note FREE_TEXT, sort_time DATE');
SELECT access.guard('allergy_intolerance');

CREATE TABLE immunization (
    id uuid PRIMARY KEY,
    facility_id uuid NOT NULL REFERENCES facility,
    patient_id uuid NOT NULL REFERENCES patient,
    encounter_id uuid REFERENCES encounter,
    status text NOT NULL,
    code_system text, code text, code_display text, code_text text,
    code_translation jsonb CHECK (is_objects(code_translation)),
    occurrence access.fhir_date_time,
    occurrence_text text,
    primary_source boolean,
    lot_number text,
    dose_quantity jsonb CHECK (jsonb_typeof(dose_quantity) = 'object'),
    sort_time timestamptz NOT NULL
);
CREATE INDEX immunization_of_patient ON immunization (facility_id, patient_id, sort_time DESC, id DESC);
CREATE INDEX immunization_of_encounter ON immunization (facility_id, encounter_id, sort_time DESC, id DESC);
SELECT access.declare('immunization', 'id CLINICAL, facility_id NONE, patient_id NONE, encounter_id NONE, status NONE, code_system CLINICAL,
    code CLINICAL, code_display CLINICAL, code_text CLINICAL, code_translation CLINICAL, occurrence DATE, occurrence_text FREE_TEXT,
    primary_source NONE, lot_number OTHER_IDENTIFIER, dose_quantity CLINICAL, sort_time DATE');
SELECT access.guard('immunization');

-- A catalogue without patients: one row for each concept that was prescribed, or for each Medication resource.
CREATE TABLE medication (
    id uuid PRIMARY KEY,
    code_system text, code text, code_display text, code_text text,
    code_translation jsonb CHECK (is_objects(code_translation)),
    form jsonb CHECK (jsonb_typeof(form) = 'object'),
    ingredient jsonb NOT NULL DEFAULT '[]' CHECK (is_objects(ingredient))
);
CREATE INDEX medication_by_code ON medication (code);
SELECT access.declare('medication', 'id NONE, code_system NONE, code NONE, code_display NONE, code_text NONE, code_translation NONE, form NONE, ingredient NONE');
SELECT access.guard('medication', 'true');

CREATE TABLE medication_request (
    id uuid PRIMARY KEY,
    facility_id uuid NOT NULL REFERENCES facility,
    patient_id uuid NOT NULL REFERENCES patient,
    encounter_id uuid REFERENCES encounter,
    medication_id uuid REFERENCES medication,
    provider_id uuid REFERENCES provider,
    status text NOT NULL,
    intent text NOT NULL,
    priority text,
    authored_on access.fhir_date_time,
    reason jsonb NOT NULL DEFAULT '[]' CHECK (is_objects(reason)),
    reason_condition_id uuid[] NOT NULL DEFAULT '{}',
    dosage jsonb NOT NULL DEFAULT '[]' CHECK (is_objects(dosage)),
    dispense jsonb CHECK (jsonb_typeof(dispense) = 'object'),
    sort_time timestamptz NOT NULL
);
CREATE INDEX medication_request_of_patient ON medication_request (facility_id, patient_id, sort_time DESC, id DESC);
CREATE INDEX medication_request_of_encounter ON medication_request (facility_id, encounter_id, sort_time DESC, id DESC);
SELECT access.declare('medication_request', 'id CLINICAL, facility_id NONE, patient_id NONE, encounter_id NONE, medication_id CLINICAL,
    provider_id NONE, status CLINICAL, intent CLINICAL, priority CLINICAL, authored_on DATE, reason CLINICAL, reason_condition_id CLINICAL, dosage FRAGMENT,
    dispense CLINICAL, sort_time DATE');
SELECT access.guard('medication_request');

CREATE TABLE medication_administration (
    id uuid PRIMARY KEY,
    facility_id uuid NOT NULL REFERENCES facility,
    patient_id uuid NOT NULL REFERENCES patient,
    encounter_id uuid REFERENCES encounter,
    medication_id uuid REFERENCES medication,
    medication_request_id uuid REFERENCES medication_request,
    status text NOT NULL,
    effective_start access.fhir_date_time,
    effective_end access.fhir_date_time,
    dosage jsonb CHECK (jsonb_typeof(dosage) = 'object'),
    sort_time timestamptz NOT NULL
);
CREATE INDEX medication_administration_of_patient ON medication_administration (facility_id, patient_id, sort_time DESC, id DESC);
CREATE INDEX medication_administration_of_request ON medication_administration (facility_id, medication_request_id, sort_time DESC, id DESC);
CREATE INDEX medication_administration_of_encounter ON medication_administration (facility_id, encounter_id, sort_time DESC, id DESC);
SELECT access.declare('medication_administration', 'id CLINICAL, facility_id NONE, patient_id NONE, encounter_id NONE, medication_id CLINICAL,
    medication_request_id NONE, status CLINICAL, effective_start DATE, effective_end DATE, dosage FRAGMENT, sort_time DATE');
SELECT access.guard('medication_administration');

CREATE TABLE care_team (
    id uuid PRIMARY KEY,
    facility_id uuid NOT NULL REFERENCES facility,
    patient_id uuid NOT NULL REFERENCES patient,
    encounter_id uuid REFERENCES encounter,
    status text,
    name text,
    category jsonb NOT NULL DEFAULT '[]' CHECK (is_objects(category)),
    period_start access.fhir_date_time,
    period_end access.fhir_date_time,
    sort_time timestamptz NOT NULL
);
CREATE INDEX care_team_of_patient ON care_team (facility_id, patient_id, sort_time DESC, id DESC);
CREATE TABLE care_team_participant (
    care_team_id uuid NOT NULL REFERENCES care_team ON DELETE CASCADE,
    facility_id uuid NOT NULL REFERENCES facility,
    position smallint NOT NULL,
    provider_id uuid REFERENCES provider,
    member text,
    role jsonb CHECK (jsonb_typeof(role) = 'object'),
    PRIMARY KEY (facility_id, care_team_id, position)
);
COMMENT ON COLUMN care_team_participant.member IS 'FHIR type of a member that is not a provider: Patient, RelatedPerson, Organization';
SELECT access.declare('care_team', 'id CLINICAL, facility_id NONE, patient_id NONE, encounter_id NONE, status NONE, name CLINICAL, category CLINICAL,
    period_start DATE, period_end DATE, sort_time DATE');
SELECT access.declare('care_team_participant', 'care_team_id NONE, facility_id NONE, position NONE, provider_id NONE, member NONE, role NONE');
SELECT access.guard('care_team');
SELECT access.guard('care_team_participant');

CREATE TABLE consent (
    id uuid PRIMARY KEY,
    facility_id uuid NOT NULL REFERENCES facility,
    patient_id uuid NOT NULL REFERENCES patient,
    status text NOT NULL,
    scope jsonb CHECK (jsonb_typeof(scope) = 'object'),
    category jsonb NOT NULL DEFAULT '[]' CHECK (is_objects(category)),
    date_time access.fhir_date_time,
    provision jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(provision) = 'object'),
    sort_time timestamptz NOT NULL
);
CREATE INDEX consent_of_patient ON consent (facility_id, patient_id, sort_time DESC, id DESC);
SELECT access.declare('consent', 'id NONE, facility_id NONE, patient_id NONE, status NONE, scope NONE, category NONE, date_time DATE, provision NONE, sort_time DATE');
SELECT access.guard('consent');

CREATE TABLE appointment (
    id uuid PRIMARY KEY,
    facility_id uuid NOT NULL REFERENCES facility,
    patient_id uuid NOT NULL REFERENCES patient,
    provider_id uuid REFERENCES provider,
    department_id uuid REFERENCES department,
    status text NOT NULL,
    code_system text, code text, code_display text, code_text text,
    code_translation jsonb CHECK (is_objects(code_translation)),
    description text,
    start_date_time access.fhir_date_time NOT NULL,
    end_date_time access.fhir_date_time NOT NULL,
    sort_time timestamptz NOT NULL,
    end_time timestamptz NOT NULL CHECK (end_time > sort_time),
    CONSTRAINT appointment_provider_is_free EXCLUDE USING gist (provider_id WITH =, tstzrange(sort_time, end_time) WITH &&)
        WHERE (status NOT IN ('cancelled', 'noshow', 'entered-in-error', 'waitlist', 'proposed'))
);
CREATE INDEX appointment_of_patient ON appointment (facility_id, patient_id, sort_time DESC, id DESC);
CREATE INDEX appointment_of_provider ON appointment (facility_id, provider_id, sort_time DESC, id DESC);
CREATE INDEX appointment_of_department ON appointment (facility_id, department_id, sort_time DESC, id DESC);
SELECT access.declare('appointment', 'id NONE, facility_id NONE, patient_id NONE, provider_id NONE, department_id NONE, status NONE,
    code_system CLINICAL, code CLINICAL, code_display CLINICAL, code_text CLINICAL, code_translation CLINICAL, description FREE_TEXT,
    start_date_time DATE, end_date_time DATE, sort_time DATE, end_time DATE');
SELECT access.guard('appointment');

RESET ROLE;
