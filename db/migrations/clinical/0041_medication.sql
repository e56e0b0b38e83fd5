-- Medication that is ordered and given here: no order of a caller's without a complete dosage, no dose twice for one due time,
-- and no order against an allergy that is not overridden.

SET ROLE caregraph_owner;
SET search_path = clinical, public;

-- Orders. What other systems send often lacks the dosage, and a chart that leaves such an order out would be worse than one
-- that shows it. So the constraint binds the orders that callers make: theirs are `ordered_here`, because their policy lets
-- them insert no others, and an order stays what it was.

-- A list of FHIR Dosage each of which can be followed: an amount in UCUM, a route, and how often or that it is as needed.
CREATE FUNCTION is_complete_dosage(dosage jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(bool_and(
        coalesce(one @@ '$.doseAndRate[0].doseQuantity.value > 0'
            AND one @@ '$.doseAndRate[0].doseQuantity.system == "http://unitsofmeasure.org"'
            AND one @? '$.doseAndRate[0].doseQuantity.code'
            AND (one @? '$.route.text' OR one @? '$.route.coding[*].code')
            AND (one @@ '$.asNeededBoolean == true' OR one @@
                '$.timing.repeat.frequency > 0 && $.timing.repeat.period > 0 && exists($.timing.repeat.periodUnit)'), false)), false)
    FROM jsonb_array_elements(dosage) AS one
$$;

ALTER TABLE medication_request
    ADD COLUMN ordered_here boolean NOT NULL DEFAULT false,
    ADD COLUMN status_reason jsonb CHECK (jsonb_typeof(status_reason) = 'object'),
    ADD COLUMN allergy_override_reason text CHECK (length(allergy_override_reason) BETWEEN 10 AND 500),
    ADD CONSTRAINT ordered_with_dosage
        CHECK (NOT ordered_here OR medication_id IS NOT NULL AND is_complete_dosage(dosage));
COMMENT ON COLUMN medication_request.ordered_here IS 'whether a caller made it, as opposed to an import';
COMMENT ON COLUMN medication_request.status_reason IS 'why it has its status (FHIR MedicationRequest.statusReason)';
COMMENT ON COLUMN medication_request.allergy_override_reason IS 'why it was ordered in spite of an allergy; NULL where there was none';
SELECT access.declare('medication_request', 'ordered_here NONE, status_reason CLINICAL, allergy_override_reason FREE_TEXT');

CREATE POLICY ordered_here ON medication_request AS RESTRICTIVE FOR INSERT TO caregraph_writer WITH CHECK (ordered_here);

CREATE FUNCTION keep_ordered_here() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.ordered_here := OLD.ordered_here;
    RETURN NEW;
END $$;
CREATE TRIGGER ordered_here BEFORE UPDATE OF ordered_here ON medication_request FOR EACH ROW EXECUTE FUNCTION keep_ordered_here();

-- Doses. A dose reaches the patient once for each due time. What did not reach the patient leaves the due time open (FHIR
-- R4 MedicationAdministration.status: not-done is "prior to any impact on the subject", on-hold is "expected to continue
-- later"): who refused a dose, or was asleep, may take it after all, and both are true and stay in the record.
ALTER TABLE medication_administration
    ADD COLUMN due access.fhir_date_time,
    ADD COLUMN due_time timestamptz,
    ADD COLUMN status_reason jsonb CHECK (jsonb_typeof(status_reason) = 'object'),
    ADD CONSTRAINT due_has_time CHECK ((due IS NULL) = (due_time IS NULL));
COMMENT ON COLUMN medication_administration.due IS 'when the order wants the dose; NULL for one that was as needed, or came without';
COMMENT ON COLUMN medication_administration.due_time IS 'its instant';
COMMENT ON COLUMN medication_administration.status_reason IS 'why it was not given, or is wrong (FHIR MedicationAdministration.statusReason)';
CREATE UNIQUE INDEX medication_administration_once ON medication_administration (medication_request_id, due_time)
    WHERE status NOT IN ('not-done', 'on-hold', 'preparation', 'entered-in-error');
SELECT access.declare('medication_administration', 'due DATE, due_time DATE, status_reason CLINICAL');

-- Allergens: substances by class, with codes as FHIR tokens (system|code). An allergy to one of a class is taken for one to
-- all of it: a refusal too many can be overridden, a reaction can not.
CREATE TABLE allergen (
    class text NOT NULL,
    name text NOT NULL CHECK (name ~ '^[a-z0-9]+( [a-z0-9]+)*$'),
    codes text[] NOT NULL,
    PRIMARY KEY (class, name)
);
COMMENT ON TABLE allergen IS 'no value set is complete: what has no code here is compared by name';
INSERT INTO allergen (class, name, codes)
SELECT class, name, ARRAY(SELECT 'http://www.nlm.nih.gov/research/umls/rxnorm|' || code FROM unnest(rxnorm) AS code)
    || ARRAY(SELECT 'http://snomed.info/sct|' || code FROM unnest(snomed) AS code)
FROM (VALUES
    ('penicillins', 'penicillin', '{70618}'::text[], '{764146007, 373270004, 91936005}'::text[]),
    ('penicillins', 'penicillins', '{}', '{}'),
    ('penicillins', 'amoxicillin', '{723, 19711}', '{372687004, 294505008}'),
    ('penicillins', 'ampicillin', '{733}', '{387170002}'),
    ('penicillins', 'benzylpenicillin', '{7980}', '{323389000}'),
    ('penicillins', 'phenoxymethylpenicillin', '{7984}', '{56723006}'),
    ('penicillins', 'dicloxacillin', '{3356}', '{}'),
    ('penicillins', 'flucloxacillin', '{}', '{387544009}'),
    ('penicillins', 'nafcillin', '{7233}', '{}'),
    ('penicillins', 'oxacillin', '{7773}', '{}'),
    ('penicillins', 'piperacillin', '{8339, 74169}', '{372836004}'),
    ('cephalosporins', 'cephalosporin', '{}', '{764147003, 294532003}'),
    ('cephalosporins', 'cephalosporins', '{}', '{}'),
    ('cephalosporins', 'cefaclor', '{2176}', '{387270009}'),
    ('cephalosporins', 'cefadroxil', '{2177}', '{}'),
    ('cephalosporins', 'cefazolin', '{2180}', '{387470007}'),
    ('cephalosporins', 'cefdinir', '{25037}', '{}'),
    ('cephalosporins', 'cefepime', '{20481}', '{96048006}'),
    ('cephalosporins', 'cefotaxime', '{2186}', '{}'),
    ('cephalosporins', 'cefpodoxime', '{20489}', '{387534007}'),
    ('cephalosporins', 'ceftazidime', '{2191}', '{387200005}'),
    ('cephalosporins', 'ceftriaxone', '{2193}', '{372670001}'),
    ('cephalosporins', 'cefuroxime', '{2194}', '{372833007}'),
    ('cephalosporins', 'cephalexin', '{2231}', '{}'),
    ('sulfonamides', 'sulfa', '{}', '{}'),
    ('sulfonamides', 'sulfonamide', '{}', '{387406002, 115556009}'),
    ('sulfonamides', 'sulfonamides', '{}', '{}'),
    ('sulfonamides', 'sulfadiazine', '{10171}', '{74523009}'),
    ('sulfonamides', 'sulfamethoxazole', '{10180, 10831}', '{363528007}'),
    ('sulfonamides', 'sulfasalazine', '{9524}', '{387248006}'),
    ('macrolides', 'macrolide', '{}', '{}'),
    ('macrolides', 'azithromycin', '{18631}', '{387531004}'),
    ('macrolides', 'clarithromycin', '{21212}', '{387487009}'),
    ('macrolides', 'erythromycin', '{4053, 310149}', '{372694001}'),
    ('quinolones', 'quinolone', '{}', '{}'),
    ('quinolones', 'ciprofloxacin', '{2551}', '{372840008}'),
    ('quinolones', 'levofloxacin', '{82122}', '{387552007}'),
    ('quinolones', 'moxifloxacin', '{139462}', '{412439003}'),
    ('quinolones', 'ofloxacin', '{7623}', '{387551000}'),
    ('tetracyclines', 'tetracycline', '{10395}', '{372809001}'),
    ('tetracyclines', 'doxycycline', '{3640}', '{372478003}'),
    ('tetracyclines', 'minocycline', '{6980}', '{372653009}'),
    ('NSAIDs', 'nsaid', '{}', '{372665008}'),
    ('NSAIDs', 'nsaids', '{}', '{}'),
    ('NSAIDs', 'aspirin', '{1191}', '{387458008, 293586001}'),
    ('NSAIDs', 'acetylsalicylic acid', '{}', '{}'),
    ('NSAIDs', 'celecoxib', '{140587}', '{116081000}'),
    ('NSAIDs', 'diclofenac', '{3355}', '{7034005}'),
    ('NSAIDs', 'ibuprofen', '{5640}', '{387207008}'),
    ('NSAIDs', 'indomethacin', '{5781}', '{373513008}'),
    ('NSAIDs', 'ketorolac', '{35827}', '{372501008}'),
    ('NSAIDs', 'meloxicam', '{41493}', '{}'),
    ('NSAIDs', 'naproxen', '{7258}', '{372588000}'),
    ('opioids', 'opioid', '{}', '{404642006}'),
    ('opioids', 'opioids', '{}', '{}'),
    ('opioids', 'opiate', '{}', '{}'),
    ('opioids', 'buprenorphine', '{1819, 351264, 1010600}', '{387173000}'),
    ('opioids', 'codeine', '{2670}', '{387494007}'),
    ('opioids', 'fentanyl', '{4337}', '{373492002}'),
    ('opioids', 'hydrocodone', '{5489}', '{372671002}'),
    ('opioids', 'hydromorphone', '{3423}', '{44508008}'),
    ('opioids', 'meperidine', '{6754}', '{387298007}'),
    ('opioids', 'methadone', '{6813, 864706}', '{387286002}'),
    ('opioids', 'morphine', '{7052}', '{373529000}'),
    ('opioids', 'oxycodone', '{7804}', '{55452001}'),
    ('opioids', 'tramadol', '{10689}', '{386858008}'),
    ('ACE inhibitors', 'ace inhibitor', '{}', '{372733002}'),
    ('ACE inhibitors', 'ace inhibitors', '{}', '{}'),
    ('ACE inhibitors', 'captopril', '{1998}', '{387160004}'),
    ('ACE inhibitors', 'enalapril', '{3827}', '{372658000}'),
    ('ACE inhibitors', 'lisinopril', '{29046}', '{386873009}'),
    ('ACE inhibitors', 'ramipril', '{35296}', '{386872004}'),
    ('statins', 'statin', '{}', '{372912004}'),
    ('statins', 'atorvastatin', '{83367}', '{373444002}'),
    ('statins', 'pravastatin', '{42463}', '{373566006}'),
    ('statins', 'rosuvastatin', '{301542}', '{700067006}'),
    ('statins', 'simvastatin', '{36567}', '{387584000}'),
    ('heparins', 'heparin', '{5224}', '{372877000}'),
    ('heparins', 'enoxaparin', '{67108}', '{108983001}'),
    ('amide anaesthetics', 'bupivacaine', '{1815}', '{387150008}'),
    ('amide anaesthetics', 'lidocaine', '{6387}', '{387480006}'),
    ('glycopeptides', 'vancomycin', '{11124}', '{372735009}')
) AS listed (class, name, rxnorm, snomed);
SELECT access.guard('allergen', 'true');
SELECT audit.watch('allergen');

-- Of a list of CodeableConcepts: codes as FHIR tokens; texts in words between blanks, without those that only say allergy.
CREATE FUNCTION codes_of(concepts jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(concat(c ->> 'system', '|', c ->> 'code')), '{}')
    FROM jsonb_path_query(concepts, '$[*].coding[*] ? (exists(@.code))') AS c
$$;
CREATE FUNCTION words_of(concepts jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(' ' || words || ' '), '{}')
    FROM (SELECT jsonb_path_query(concepts, '$[*].coding[*].display') UNION ALL SELECT jsonb_path_query(concepts, '$[*].text')) AS t (said)
    CROSS JOIN LATERAL (SELECT btrim(regexp_replace(regexp_replace(lower(said #>> '{}'),
        '\m(allergy|allergic|hypersensitivity|intolerance|adverse reaction)( to)?\M', ' ', 'g'), '[^[:alnum:]]+', ' ', 'g'))) AS s (words)
    WHERE length(words) > 3
$$;
CREATE FUNCTION classes_of(codes text[], words text[]) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(DISTINCT a.class), '{}')
    FROM clinical.allergen AS a
    WHERE a.codes && $1 OR EXISTS (SELECT FROM unnest($2) AS said WHERE position(' ' || a.name || ' ' IN said) > 0)
$$;

-- All that a row of allergy_intolerance or medication calls its substance: its concept, and what reactions and ingredients say.
CREATE FUNCTION concepts_of(code_system text, code text, display text, text text, translation jsonb, more jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('text', text,
        'coding', jsonb_build_array(jsonb_build_object('system', code_system, 'code', code, 'display', display)) || coalesce(translation, '[]'))))
        || more
$$;
RESET ROLE;

-- Active allergies of a patient to a medication or its class, for the application alone: those too that the caller may not
-- see, because what harms the patient does not ask who may know of it. Of these there is a row without an id.
CREATE FUNCTION access.allergies_against(of_patient uuid, ordered uuid) RETURNS TABLE (id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH ordered AS MATERIALIZED (
        SELECT clinical.codes_of(c) AS codes, clinical.words_of(c) AS words,
            clinical.classes_of(clinical.codes_of(c), clinical.words_of(c)) AS classes
        FROM clinical.medication AS m
        CROSS JOIN LATERAL clinical.concepts_of(m.code_system, m.code, m.code_display, m.code_text, m.code_translation,
            jsonb_path_query_array(m.ingredient, '$[*].itemCodeableConcept')) AS c
        WHERE m.id = $2
    )
    SELECT CASE WHEN access.row_is_open(a.patient_id, a.label) THEN a.id END
    FROM clinical.allergy_intolerance AS a
    CROSS JOIN ordered AS o
    CROSS JOIN LATERAL clinical.concepts_of(a.code_system, a.code, a.code_display, a.code_text, a.code_translation,
        jsonb_path_query_array(a.reaction, '$[*].substance')) AS c
    CROSS JOIN LATERAL (SELECT clinical.codes_of(c) AS codes, clinical.words_of(c) AS words) AS to_
    WHERE (SELECT access.by_application()) AND access.chart_is_open(of_patient)
        AND a.patient_id = of_patient AND a.facility_id = (SELECT access.facility_id())
        AND NOT a.no_known_allergy AND coalesce(a.clinical_status, 'active') = 'active'
        AND coalesce(a.verification_status, '') NOT IN ('refuted', 'entered-in-error')
        AND (to_.codes && o.codes OR clinical.classes_of(to_.codes, to_.words) && o.classes
            OR EXISTS (SELECT FROM unnest(to_.words) AS w, unnest(o.words) AS v WHERE position(w IN v) > 0 OR position(v IN w) > 0))
    ORDER BY a.sort_time, a.id
$$;

-- An order, locked against stops and other administrations to the end of the transaction. Who may administer but not order
-- may not lock it otherwise.
CREATE FUNCTION access.order_to_administer(request uuid) RETURNS SETOF clinical.medication_request
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM clinical.medication_request AS r
    WHERE (SELECT access.by_application()) AND r.id = request AND r.facility_id = (SELECT access.facility_id())
        AND access.row_is_open(r.patient_id, r.label)
    FOR NO KEY UPDATE
$$;
GRANT SELECT ON clinical.allergen, clinical.medication, clinical.allergy_intolerance, clinical.medication_request TO caregraph_search;
-- What a row's lock demands; the function changes nothing.
GRANT UPDATE (status) ON clinical.medication_request TO caregraph_search;
ALTER FUNCTION access.allergies_against(uuid, uuid) OWNER TO caregraph_search;
ALTER FUNCTION access.order_to_administer(uuid) OWNER TO caregraph_search;
REVOKE ALL ON FUNCTION access.allergies_against(uuid, uuid), access.order_to_administer(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION access.allergies_against(uuid, uuid), access.order_to_administer(uuid) TO caregraph_writer;
