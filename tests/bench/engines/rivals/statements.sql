/* patients_by_id */
SELECT p.id::text, r.mrn, p.gender, p.birth_date AS "birthDate"
FROM registration AS r
JOIN patient AS p ON p.id = r.patient_id
WHERE r.patient_id = ANY($1::uuid[]);

/* names_of_patients */
SELECT patient_id::text AS parent, use, family, given
FROM patient_name
WHERE patient_id = ANY($1::uuid[])
ORDER BY patient_id, position;

/* encounters_of_patients */
SELECT parents.id::text AS parent, facts.*
FROM unnest($1::uuid[]) AS parents (id)
CROSS JOIN LATERAL (
    SELECT id::text, status, class_code AS class, period_start AS "periodStart", period_end AS "periodEnd",
        department_id::text AS "departmentId", provider_id::text AS "providerId", patient_id::text AS "patientId"
    FROM encounter AS e
    WHERE e.patient_id = parents.id
    ORDER BY e.sort_time DESC, e.id DESC
    LIMIT $2::int
) AS facts;

/* conditions_of_patients */
SELECT parents.id::text AS parent, facts.*
FROM unnest($1::uuid[]) AS parents (id)
CROSS JOIN LATERAL (
    SELECT id::text, clinical_status AS "clinicalStatus", code_text AS "codeText", onset AS "onsetDateTime",
        recorded_date AS "recordedDate"
    FROM condition AS c
    WHERE c.patient_id = parents.id AND ($3::text[] IS NULL OR c.clinical_status = ANY($3::text[]))
    ORDER BY c.sort_time DESC, c.id DESC
    LIMIT $2::int
) AS facts;

/* allergy_intolerances_of_patients */
SELECT parents.id::text AS parent, facts.*
FROM unnest($1::uuid[]) AS parents (id)
CROSS JOIN LATERAL (
    SELECT id::text, criticality, no_known_allergy AS "noKnownAllergy", code_text AS "codeText"
    FROM allergy_intolerance AS a
    WHERE a.patient_id = parents.id
    ORDER BY a.sort_time DESC, a.id DESC
    LIMIT $2::int
) AS facts;

/* medication_requests_of_patients */
SELECT parents.id::text AS parent, facts.*
FROM unnest($1::uuid[]) AS parents (id)
CROSS JOIN LATERAL (
    SELECT id::text, status, intent, authored_on AS "authoredOn", medication_id::text AS "medicationId"
    FROM medication_request AS m
    WHERE m.patient_id = parents.id AND ($3::text[] IS NULL OR m.status = ANY($3::text[]))
    ORDER BY m.sort_time DESC, m.id DESC
    LIMIT $2::int
) AS facts;

/* lab_results_of_patients */
SELECT parents.id::text AS parent, facts.*
FROM unnest($1::uuid[]) AS parents (id)
CROSS JOIN LATERAL (
    SELECT id::text, status, effective AS "effectiveDateTime", issued, value_number::float8 AS value, value_unit AS unit,
        lab_test_id::text AS "labTestId"
    FROM lab_result AS l
    WHERE l.patient_id = parents.id
    ORDER BY l.sort_time DESC, l.id DESC
    LIMIT $2::int
) AS facts;

/* departments_by_id */
SELECT id::text, name FROM department WHERE id = ANY($1::uuid[]);

/* providers_by_id */
SELECT id::text, npi FROM provider WHERE id = ANY($1::uuid[]);

/* medications_by_id */
SELECT id::text, code_text AS "codeText" FROM medication WHERE id = ANY($1::uuid[]);

/* lab_tests_by_id */
SELECT id::text, code, code_text AS "codeText" FROM lab_test WHERE id = ANY($1::uuid[]);

/* inpatients */
SELECT id::text, status, class_code AS class, period_start AS "periodStart", period_end AS "periodEnd",
    department_id::text AS "departmentId", provider_id::text AS "providerId", patient_id::text AS "patientId"
FROM inpatient AS e
WHERE (e.sort_time, e.id) < ($1::timestamptz, $2::uuid)
ORDER BY e.sort_time DESC, e.id DESC
LIMIT $3::int;

/* patients_of_facility */
SELECT p.id::text, r.mrn, p.gender, p.birth_date AS "birthDate"
FROM registration AS r
JOIN patient AS p ON p.id = r.patient_id
WHERE r.patient_id < $1::uuid
ORDER BY r.patient_id DESC
LIMIT $2::int;

/* patients_by_search */
SELECT p.id::text, r.mrn, p.gender, p.birth_date AS "birthDate"
FROM access.search_patients($1::text[], NULL, 2, 'ffffffff-ffff-ffff-ffff-ffffffffffff', $2::int) AS m
JOIN registration AS r ON r.patient_id = m.patient_id
JOIN patient AS p ON p.id = m.patient_id
ORDER BY m.score DESC, m.patient_id DESC;
