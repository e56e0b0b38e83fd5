-- Patients beside the demo's ($2 of them, at facility $1): each has a stay that lasts, 12 visits, 15 conditions, 5 allergies,
-- 15 orders and 120 results. Their ids are the highest and their admissions the latest: they fill the first pages.

CREATE TEMP TABLE added ON COMMIT DROP AS
SELECT n, ('ffff' || substr(md5('patient ' || n), 5))::uuid AS patient_id, md5('encounter ' || n)::uuid AS encounter_id,
    $1::uuid AS facility_id
FROM generate_series(1, $2::int) AS n;
INSERT INTO patient (id, gender, birth_date)
SELECT patient_id, (ARRAY['female', 'male'])[1 + n % 2], (date '1930-01-01' + n * 97)::text FROM added;
INSERT INTO registration (facility_id, patient_id, mrn)
SELECT facility_id, patient_id, 'B' || lpad(n::text, 6, '0') FROM added;
INSERT INTO patient_name (patient_id, position, use, family, given)
SELECT patient_id, 0, 'official', (ARRAY['Garcia', 'Nguyen', 'Okafor', 'Lindqvist', 'Haddad', 'Kowalski', 'Tanaka', 'Moreau'])[1 + n % 8],
    ARRAY[(ARRAY['Ana', 'Ben', 'Chi', 'Dora', 'Emil', 'Fay', 'Goran'])[1 + n % 7]] FROM added;
INSERT INTO encounter (id, facility_id, patient_id, department_id, provider_id, status, class_code, code_system, code,
    code_display, code_text, period_start, sort_time)
SELECT a.encounter_id, a.facility_id, a.patient_id, d.ids[1 + a.n % cardinality(d.ids)], p.ids[1 + a.n % cardinality(p.ids)],
    'in-progress', 'IMP', 'http://snomed.info/sct', '32485007', 'Hospital admission', 'Hospital admission',
    to_char(t.at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), t.at
FROM added AS a
CROSS JOIN LATERAL (SELECT timestamptz '2026-07-01 09:00Z' + a.n * interval '1 minute' AS at) AS t
CROSS JOIN (SELECT array_agg(id ORDER BY id) AS ids FROM department WHERE facility_id = $1 AND physical_type = 'wa') AS d
CROSS JOIN (SELECT array_agg(provider_id ORDER BY provider_id) AS ids FROM provider_role WHERE facility_id = $1) AS p;
INSERT INTO encounter (id, facility_id, patient_id, department_id, provider_id, status, class_code, period_start,
    period_end, sort_time, end_time)
SELECT md5(format('visit %s of %s', v, a.n))::uuid, a.facility_id, a.patient_id, e.department_id, e.provider_id, 'finished', 'AMB',
    to_char(t.at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), to_char(t.at + interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), t.at,
    t.at + interval '1 hour'
FROM added AS a
JOIN encounter AS e ON e.id = a.encounter_id
CROSS JOIN generate_series(1, 12) AS v
CROSS JOIN LATERAL (SELECT timestamptz '2026-06-01Z' - v * interval '61 days' + a.n * interval '7 minutes' AS at) AS t;
INSERT INTO condition (id, facility_id, patient_id, encounter_id, clinical_status, verification_status, code_system, code,
    code_display, code_text, onset, recorded_date, sort_time)
SELECT md5(format('condition %s of %s', c, a.n))::uuid, a.facility_id, a.patient_id, a.encounter_id,
    CASE WHEN c % 2 = 0 THEN 'active' ELSE 'resolved' END, 'confirmed', 'http://snomed.info/sct', (44054000 + c)::text,
    'Finding ' || c, 'Finding ' || c, (date '2026-05-01' - c * 37 - a.n)::text, (date '2026-05-02' - c * 37 - a.n)::text,
    date '2026-05-01' - c * 37 - a.n
FROM added AS a CROSS JOIN generate_series(1, 15) AS c;
INSERT INTO allergy_intolerance (id, facility_id, patient_id, encounter_id, clinical_status, verification_status, type,
    criticality, code_system, code, code_display, code_text, sort_time)
SELECT md5(format('allergy %s of %s', c, a.n))::uuid, a.facility_id, a.patient_id, a.encounter_id, 'active', 'confirmed', 'allergy',
    (ARRAY['low', 'high'])[1 + c % 2], 'http://snomed.info/sct', (91936000 + c)::text, 'Substance ' || c, 'Substance ' || c,
    date '2020-01-01' - c * 11 - a.n
FROM added AS a CROSS JOIN generate_series(1, 5) AS c;
INSERT INTO medication_request (id, facility_id, patient_id, encounter_id, medication_id, status, intent, authored_on, sort_time)
SELECT md5(format('order %s of %s', c, a.n))::uuid, a.facility_id, a.patient_id, a.encounter_id,
    m.ids[1 + (a.n + c) % cardinality(m.ids)], CASE WHEN c % 3 = 0 THEN 'completed' ELSE 'active' END, 'order',
    to_char(t.at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), t.at
FROM added AS a
CROSS JOIN generate_series(1, 15) AS c
CROSS JOIN LATERAL (SELECT timestamptz '2026-06-30Z' - c * interval '9 days' - a.n * interval '3 minutes' AS at) AS t
CROSS JOIN (SELECT array_agg(id ORDER BY id) AS ids FROM medication AS m WHERE code_text IS NOT NULL AND NOT EXISTS (
    SELECT FROM sensitive_code AS s WHERE s.code = m.code)) AS m;
INSERT INTO lab_result (id, facility_id, patient_id, encounter_id, lab_test_id, status, effective, issued, value_number,
    value_unit, value_code, value_system, sort_time)
SELECT md5(format('lab %s of %s', c, a.n))::uuid, a.facility_id, a.patient_id, a.encounter_id,
    l.ids[1 + (a.n + c) % cardinality(l.ids)], 'final', to_char(t.at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    to_char(t.at + interval '40 minutes', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), round((3 + (a.n * 31 + c * 17) % 900) / 7.0, 1), 'mmol/L',
    'mmol/L', 'http://unitsofmeasure.org', t.at
FROM added AS a
CROSS JOIN generate_series(1, 120) AS c
CROSS JOIN LATERAL (SELECT timestamptz '2026-07-01Z' - c * interval '31 hours' - a.n * interval '1 minute' AS at) AS t
CROSS JOIN (SELECT array_agg(id ORDER BY id) AS ids FROM lab_test AS l WHERE code IS NOT NULL AND NOT EXISTS (
    SELECT FROM sensitive_code AS s WHERE s.code = l.code)) AS l;
