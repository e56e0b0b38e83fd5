"""Statements that make the records of tests.bench.research_data, in the order in which they are run.

What is drawn comes from a hash of a stream and a number (tests.bench.scale.people), so that rows are the same in every
run, whatever the order in which they are made. Labels of sensitivity are made by concept, with the function that the
tables' trigger asks for each row. `OFFSET 0` keeps the planner from writing an expression out wherever it is named.
"""

from __future__ import annotations

STAGED = """
CREATE FUNCTION scale.patients() RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT {patients} $$;
CREATE FUNCTION scale.ending() RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT {until} $$;
CREATE UNLOGGED TABLE scale.listed (kind text, place int, system text, code text, display text, unit text, low float8,
    high float8);
CREATE UNLOGGED TABLE scale.home (n int, state text, zip text, city text);
"""

# Tests keep their order, which makes panels; of the rest those without a place of their own come by chance.
CONCEPTS = """
INSERT INTO scale.listed
SELECT CASE WHEN system = 'http://loinc.org' THEN 'test' WHEN system LIKE '%rxnorm' THEN 'medication'
        WHEN code IN ('56876005', '385989002', '386639001', '714812005', '225337009') THEN 'procedure'
        ELSE 'condition' END,
    1000, system, code, display, CASE code WHEN '20447-9' THEN '{copies}/mL' WHEN '24467-3' THEN '/uL' END, 400, 1200
FROM clinical.sensitive_code AS s
WHERE NOT EXISTS (SELECT FROM scale.listed AS l WHERE l.code = s.code AND l.system = s.system)
    AND (system <> 'http://loinc.org' OR label = 'HIV');
CREATE UNLOGGED TABLE scale.concept AS
SELECT kind, n, scale.key(kind, n) AS id, system, code, display, clinical.labels_of(system, code, NULL) AS label,
    unit, low, high - low AS width, CASE WHEN high < 2 THEN 2 WHEN high < 100 THEN 1 ELSE 0 END AS digits,
    jsonb_build_array(jsonb_build_object('low', jsonb_build_object('value', low, 'unit', unit),
        'high', jsonb_build_object('value', high, 'unit', unit))) AS reference,
    jsonb_build_object('reason', jsonb_build_array(jsonb_build_object('text', display))) AS details
FROM (SELECT (row_number() OVER (PARTITION BY kind ORDER BY place, md5(code)) - 1)::int AS n, * FROM scale.listed) AS l;
INSERT INTO clinical.lab_test (id, code_system, code, code_display)
SELECT id, system, code, display FROM scale.concept WHERE kind = 'test';
INSERT INTO clinical.medication (id, code_system, code, code_display)
SELECT id, system, code, display FROM scale.concept WHERE kind = 'medication';
ANALYZE scale.concept;
"""

# 0 to size - 1, where the k-th is drawn in proportion to 1 / (k + flatness) ^ 2.5: the last of some hundred are rare.
DRAWN = """
CREATE FUNCTION scale.ranked(u float8, size float8, flatness float8) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT least(size - 1, floor(flatness * (power(1 - u * (1 - power(1 + size / flatness, -1.5)), -1 / 1.5) - 1)))::int
$$;
CREATE FUNCTION scale.drawn(kind text, u float8) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT scale.ranked(u, CASE kind {sizes} END, CASE kind {flatness} END)
$$;
"""

PERSONS = """
CREATE UNLOGGED TABLE scale.person AS
SELECT p.n, scale.key('patient', p.n) AS id, home, CASE WHEN second <> home THEN second END AS second, sex, age, born,
    died, least(died, scale.ending()) AS until, s.name AS family, g.name AS given, m.name AS middle
FROM (
    SELECT i AS n, scale.skewed(scale.u(2, i), 3, 0.6) AS home,
        CASE WHEN scale.u(3, i) < 0.08 THEN scale.skewed(scale.u(4, i), 3, 0.6) END AS second,
        CASE WHEN scale.u(5, i) < 0.51 THEN 'female' WHEN scale.u(5, i) < 0.995 THEN 'male'
            WHEN scale.u(5, i) < 0.998 THEN 'other' ELSE 'unknown' END AS sex,
        CASE WHEN u < 0.20 THEN u / 0.20 * 18 WHEN u < 0.45 THEN 18 + (u - 0.20) / 0.25 * 27
            WHEN u < 0.73 THEN 45 + (u - 0.45) / 0.28 * 20 WHEN u < 0.95 THEN 65 + (u - 0.73) / 0.22 * 20
            ELSE 85 + 16 * power((u - 0.95) / 0.05, 2) END AS age
    FROM generate_series(1, scale.patients()) AS i, LATERAL (SELECT scale.u(1, i)) AS drawn (u)
) AS p
CROSS JOIN LATERAL (SELECT scale.ending()::date - floor(age * 365.2425)::int) AS birth (born)
CROSS JOIN LATERAL (SELECT CASE WHEN scale.u(6, p.n) < CASE WHEN age < 45 THEN 0.02 WHEN age < 65 THEN 0.05
        WHEN age < 85 THEN 0.16 ELSE 0.40 END
    THEN greatest(born + 1, scale.ending() - floor(2190 * scale.u(7, p.n)) * interval '1 day') END) AS death (died)
JOIN scale.surname AS s ON s.n = scale.skewed(scale.u(8, p.n), (SELECT count(*)::int FROM scale.surname), 15)
JOIN scale.given AS g ON g.n = scale.skewed(scale.u(9, p.n), (SELECT count(*)::int FROM scale.given), 8)
JOIN scale.given AS m ON m.n = scale.skewed(scale.u(10, p.n), (SELECT count(*)::int FROM scale.given), 8);
CREATE INDEX ON scale.person (n);
ANALYZE scale.person;
"""

# Partial dates of birth, unknown sexes, foreign and missing addresses: as registries have them.
PATIENTS = """
INSERT INTO clinical.patient (id, gender, birth_date, deceased, deceased_date_time, marital_status, race, ethnicity,
    birth_sex, address, telecom, contact, communication)
SELECT id, sex,
    CASE WHEN scale.u(11, p.n) >= 0.005 THEN to_char(born, CASE WHEN scale.u(11, p.n) < 0.025 THEN 'YYYY'
        WHEN scale.u(11, p.n) < 0.05 THEN 'YYYY-MM' ELSE 'YYYY-MM-DD' END) END,
    died IS NOT NULL,
    CASE WHEN scale.u(12, p.n) < 0.5 THEN to_char(died, 'YYYY-MM-DD')
        WHEN scale.u(12, p.n) < 0.9 THEN scale.iso(died) END,
    CASE WHEN age >= 18 THEN jsonb_build_object('text', (ARRAY['Married', 'Never Married', 'Divorced', 'Widowed'])
        [1 + floor(4 * power(scale.u(13, p.n), 1.5))::int]) END,
    CASE WHEN r < 0.61 THEN 'White' WHEN r < 0.76 THEN 'Black or African American' WHEN r < 0.83 THEN 'Asian'
        WHEN r < 0.92 THEN 'Other Race' WHEN r < 0.935 THEN 'American Indian or Alaska Native'
        WHEN r < 0.94 THEN 'Native Hawaiian or Other Pacific Islander' END,
    CASE WHEN scale.u(15, p.n) < 0.18 THEN 'Hispanic or Latino'
        WHEN scale.u(15, p.n) < 0.95 THEN 'Not Hispanic or Latino' END,
    CASE sex WHEN 'female' THEN 'F' WHEN 'male' THEN 'M' ELSE 'UNK' END,
    CASE WHEN a < 0.01 THEN '[]'
        WHEN a < 0.015 THEN '[{"city": "Toronto", "state": "ON", "postalCode": "M5V 2T6", "country": "CA"}]'
        ELSE jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
            'line', jsonb_build_array(format('%s %s Street', 1 + p.n % 999, s.name)), 'city', h.city, 'state', h.state,
            'postalCode', CASE WHEN a >= 0.02 THEN h.zip
                || CASE WHEN a > 0.9 THEN to_char(p.n % 10000, 'FM"-"0000') ELSE '' END END, 'country', 'US'))) END,
    jsonb_build_array(jsonb_build_object('system', 'phone', 'use', 'home',
        'value', format('%s-555-%s', 200 + p.n % 700, to_char(p.n / 700 % 10000, 'FM0000'))))
        || CASE WHEN scale.u(17, p.n) < 0.6 THEN jsonb_build_array(jsonb_build_object('system', 'email',
            'value', format('%s.%s@example.org', lower(given), p.n))) ELSE '[]' END,
    CASE WHEN scale.u(18, p.n) < 0.3 THEN jsonb_build_array(jsonb_build_object(
        'relationship', '[{"text": "Next of kin"}]'::jsonb,
        'name', jsonb_build_object('family', family, 'given', jsonb_build_array(middle)),
        'telecom', jsonb_build_array(jsonb_build_object('system', 'phone',
            'value', '800-555-' || to_char(p.n % 10000, 'FM0000'))))) ELSE '[]' END,
    jsonb_build_array(jsonb_build_object('language', jsonb_build_object('text',
        CASE WHEN scale.u(19, p.n) < 0.12 THEN 'Spanish' ELSE 'English' END)))
FROM scale.person AS p
CROSS JOIN LATERAL (SELECT scale.u(14, p.n), scale.u(16, p.n)) AS drawn (r, a)
JOIN scale.home AS h ON h.n = scale.skewed(scale.u(20, p.n), 100, 4)
JOIN scale.surname AS s ON s.n = p.n % 60;
INSERT INTO clinical.registration (facility_id, patient_id, mrn)
SELECT scale.key('facility', place), id, to_char(n::bigint * 48271 % 99999989, 'FM"M"00000000')
FROM scale.person, unnest(ARRAY[home, second]) AS place
WHERE place IS NOT NULL;
INSERT INTO clinical.patient_name (patient_id, position, use, family, given)
SELECT id, 0, 'official', family, CASE WHEN scale.u(21, n) < 0.3 THEN ARRAY[given, middle] ELSE ARRAY[given] END
FROM scale.person
UNION ALL
SELECT p.id, 1, 'maiden', s.name, ARRAY[given]
FROM scale.person AS p
JOIN scale.surname AS s ON s.n = scale.skewed(scale.u(22, p.n), 84, 15)
WHERE sex = 'female' AND age > 25 AND scale.u(23, p.n) < 0.1;
INSERT INTO clinical.patient_identifier (patient_id, position, kind, system, value)
SELECT id, place, (ARRAY['SSN', 'LICENSE_NUMBER', 'HEALTH_PLAN_NUMBER'])[place + 1], 'urn:bench:' || place,
    CASE place WHEN 0 THEN format('%s-%s-%s', 900 + n / 900000, 10 + n / 10000 % 90, to_char(n % 10000, 'FM0000'))
        WHEN 1 THEN to_char(n, 'FM"S9"0000000') ELSE to_char(n::bigint * 7919 % 99999989, 'FM"HP"000000000') END
FROM scale.person, generate_series(0, 2) AS place;
"""

# Everybody comes once; of the other visits some have many more than others. Nobody comes before birth or after death.
VISITS = """
CREATE UNLOGGED TABLE scale.visit AS
SELECT e.n, e.p, scale.key('encounter', e.n) AS id, p.id AS patient_id, scale.key('facility', place) AS facility_id,
    scale.key('department', place * 100 + CASE kind WHEN 'IMP' THEN e.n % 12 WHEN 'EMER' THEN 12
        ELSE 13 + e.n % 7 END) AS department_id,
    scale.key('provider', place * 120 + e.n % 120) AS provider_id, kind, start, start + lasted AS ended
FROM (
    SELECT i AS n, CASE WHEN i <= scale.patients() THEN i
            ELSE 1 + scale.skewed(scale.u(31, i), scale.patients(), scale.patients() * 0.05 + 1) END AS p,
        CASE WHEN i % 25 < 3 THEN 'IMP' WHEN i % 25 < 7 THEN 'EMER' ELSE 'AMB' END AS kind
    FROM generate_series(1, 6 * scale.patients()) AS i
) AS e
JOIN scale.person AS p ON p.n = e.p
CROSS JOIN LATERAL (SELECT CASE WHEN second IS NOT NULL AND scale.u(32, e.n) < 0.3 THEN second ELSE home END,
    greatest(born, date_trunc('second', until - interval '10 days' - power(scale.u(33, e.n), 1.3)
        * least(interval '3650 days', until - interval '10 days' - born))),
    CASE kind WHEN 'IMP' THEN interval '6 hours' + make_interval(secs => floor(777600 * power(scale.u(34, e.n), 2)))
        WHEN 'EMER' THEN interval '4 hours' ELSE interval '40 minutes' END OFFSET 0) AS drawn (place, start, lasted)
ORDER BY start;
ANALYZE scale.visit;
"""

ENCOUNTERS = """
INSERT INTO clinical.encounter (id, facility_id, patient_id, department_id, provider_id, status, class_code,
    code_system, code, code_display, period_start, period_end, sort_time, end_time, details, label)
SELECT v.id, facility_id, patient_id, department_id, provider_id, 'finished', v.kind, t.system, t.code, t.display,
    scale.iso(start), scale.iso(ended), start, ended, coalesce(r.details, '{}'), t.label
FROM scale.visit AS v
JOIN scale.concept AS t ON t.kind = v.kind
    AND t.n = CASE v.kind WHEN 'AMB' THEN scale.drawn('AMB', scale.u(41, v.n)) ELSE 0 END
LEFT JOIN scale.concept AS r ON r.kind = 'condition' AND r.label = '{}'
    AND r.n = scale.drawn('condition', scale.u(42, v.n));
"""

# A patient's few codes come back again and again; remarks name whom they are about.
CONDITIONS = """
INSERT INTO clinical.condition (id, facility_id, patient_id, encounter_id, clinical_status, verification_status,
    category, code_system, code, code_display, onset, abatement, recorded_date, note, sort_time, label)
SELECT scale.key('condition', i), facility_id, patient_id, v.id,
    CASE WHEN scale.u(51, i) < 0.6 THEN 'active' ELSE 'resolved' END,
    CASE WHEN scale.u(52, i) < 0.005 THEN 'entered-in-error' ELSE 'confirmed' END,
    CASE WHEN scale.u(53, i) < 0.3 THEN '{problem-list-item}' ELSE '{encounter-diagnosis}' END::text[],
    c.system, c.code, c.display, to_char(start, CASE WHEN scale.u(53, i) < 0.8 THEN 'YYYY-MM-DD' ELSE 'YYYY' END),
    CASE WHEN scale.u(51, i) >= 0.6 THEN to_char(ended + interval '5 days', 'YYYY-MM-DD') END, scale.iso(start),
    CASE WHEN scale.u(54, i) < 0.03 THEN format('%s %s was told on %s', p.given, p.family, start::date) END, start,
    c.label
FROM scale.visit AS v
JOIN scale.person AS p ON p.n = v.p
CROSS JOIN generate_series(v.n::bigint * 2, v.n::bigint * 2 + CASE v.n % 3 WHEN 0 THEN 0 ELSE 1 END) AS i
JOIN scale.concept AS c ON c.kind = 'condition'
    AND c.n = scale.drawn('condition', scale.u(55, v.p * 8::bigint + i % (2 + v.p % 5)));
"""

PROCEDURES = """
INSERT INTO clinical.procedure (id, facility_id, patient_id, encounter_id, provider_id, status, code_system, code,
    code_display, performed_start, performed_end, sort_time, label)
SELECT scale.key('procedure', v.n), facility_id, patient_id, v.id, provider_id, 'completed', c.system, c.code,
    c.display, scale.iso(start), scale.iso(start + interval '30 minutes'), start, c.label
FROM scale.visit AS v
JOIN scale.concept AS c ON c.kind = 'procedure' AND c.n = scale.drawn('procedure', scale.u(61, v.n))
WHERE v.n % 6 > 0;
"""

# Two orders of each inpatient, given seven times each, and one of some others.
MEDICATIONS = """
CREATE UNLOGGED TABLE scale.ordered AS
SELECT i AS n, scale.key('request', i) AS id, c.id AS medication_id, c.label,
    v.id AS encounter_id, v.patient_id, v.facility_id, v.provider_id, v.kind, v.start, v.ended
FROM scale.visit AS v
CROSS JOIN generate_series(v.n::bigint * 2, v.n::bigint * 2 + CASE v.kind WHEN 'IMP' THEN 1 ELSE 0 END) AS i
JOIN scale.concept AS c ON c.kind = 'medication'
    AND c.n = scale.drawn('medication', scale.u(62, v.p * 8::bigint + i % (2 + v.p % 4)))
WHERE v.kind = 'IMP' OR v.n % 10 < 3;
INSERT INTO clinical.medication_request (id, facility_id, patient_id, encounter_id, medication_id, provider_id, status,
    intent, authored_on, dosage, sort_time, label)
SELECT id, facility_id, patient_id, encounter_id, medication_id, provider_id,
    CASE WHEN scale.u(63, n) < 0.35 THEN 'active' ELSE 'completed' END, 'order', scale.iso(start),
    '[{"text": "Twice a day", "timing": {"repeat": {"frequency": 2, "period": 1, "periodUnit": "d"}}}]', start, label
FROM scale.ordered;
INSERT INTO clinical.medication_administration (id, facility_id, patient_id, encounter_id, medication_id,
    medication_request_id, status, effective_start, dosage, sort_time, label)
SELECT scale.key('administration', g), facility_id, patient_id, encounter_id, medication_id, id, 'completed',
    scale.iso(at), '{"dose": {"value": 1, "unit": "tablet"}, "route": {"text": "Oral"}}', at, label
FROM scale.ordered AS o
CROSS JOIN generate_series(o.n * 7, o.n * 7 + 6) AS g
CROSS JOIN LATERAL (SELECT date_trunc('second', start + (ended - start) * (g % 7 + scale.u(64, g)) / 7) OFFSET 0)
    AS given (at)
WHERE kind = 'IMP';
"""

# Panels of eight tests that stand together, of two visits in five.
LAB_RESULTS = """
INSERT INTO clinical.lab_result (id, facility_id, patient_id, encounter_id, lab_test_id, status, effective, issued,
    value_number, value_unit, value_code, value_system, value_concept, interpretation, reference_range, sort_time,
    label)
SELECT scale.key('lab', r), facility_id, patient_id, v.id, t.id,
    CASE WHEN scale.u(71, r) < 0.02 THEN 'corrected' ELSE 'final' END, time, time, value, unit, unit,
    CASE WHEN unit IS NOT NULL THEN 'http://unitsofmeasure.org' END,
    CASE WHEN unit IS NULL THEN '{"text": "Negative"}'::jsonb END,
    CASE WHEN value > low + width THEN '[{"coding": [{"code": "H"}]}]'
        WHEN value < low THEN '[{"coding": [{"code": "L"}]}]'
        WHEN value IS NOT NULL THEN '[{"coding": [{"code": "N"}]}]' END::jsonb, reference, at, t.label
FROM scale.visit AS v
CROSS JOIN LATERAL (SELECT date_trunc('second', start + (ended - start) * scale.u(72, v.n)) OFFSET 0) AS taken (at)
CROSS JOIN LATERAL (SELECT scale.iso(at), scale.drawn('panel', scale.u(73, v.n)) * 8 OFFSET 0) AS panel (time, first)
CROSS JOIN generate_series(v.n::bigint * 8, v.n::bigint * 8 + 7) AS r
JOIN scale.concept AS t ON t.kind = 'test' AND t.n = first + r % 8
CROSS JOIN LATERAL (SELECT CASE WHEN unit IS NOT NULL AND scale.u(74, r) >= 0.01 THEN round(abs(low + width
    * (0.5 + 0.7 * (scale.u(75, r) + scale.u(76, r) + scale.u(77, r) - 1.5)))::numeric, digits) END OFFSET 0)
    AS measured (value)
WHERE v.n % 12 < 5;
"""

# With its triggers: rules are made of consents.
CONSENTS = """
INSERT INTO clinical.consent (id, facility_id, patient_id, status, scope, date_time, provision, sort_time)
SELECT scale.key('consent', n), scale.key('facility', home), id, 'active', '{"text": "Research"}', '2024-05-01',
    jsonb_build_object('type', CASE WHEN scale.u(81, n) < 0.02 THEN 'deny' ELSE 'permit' END,
        'purpose', '[{"code": "HRESCH"}]'::jsonb), '2024-05-01Z'
FROM scale.person WHERE scale.u(81, n) < 0.04;
"""

INPATIENTS = "SELECT n, id, patient_id, facility_id, start, ended FROM scale.visit WHERE kind = 'IMP' ORDER BY start"
"""Whom monitors know, in the columns of tests.bench.scale.beside.STAGE."""

READINGS = """
INSERT INTO vitals.vital_sign (id, position, facility_id, patient_id, encounter_id, device_id, status, code_system,
    code, code_display, panel_code, value, value_unit, value_code, effective, sort_time)
SELECT md5(i || code || v.n)::uuid, 0, facility_id, patient_id, v.id, 'monitor-' || v.n % 1000, 'final',
    'http://loinc.org', code, display, panel, round((low + width * scale.u(stream, v.n * 2::bigint + i))::numeric),
    unit, unit, scale.iso(at), at
FROM scale.visit AS v
CROSS JOIN generate_series(0, 1) AS i
CROSS JOIN LATERAL (SELECT date_trunc('hour', start) + interval '1 hour' + i * interval '20 minutes' OFFSET 0)
    AS timed (at)
CROSS JOIN (VALUES (1, '8867-4', 'Heart rate', NULL, 50, 70, '/min'),
    (2, '59408-5', 'Oxygen saturation', NULL, 90, 10, '%'),
    (3, '8480-6', 'Systolic blood pressure', '85354-9', 95, 60, 'mm[Hg]'),
    (4, '8462-4', 'Diastolic blood pressure', '85354-9', 55, 35, 'mm[Hg]'))
    AS sign (stream, code, display, panel, low, width, unit);
INSERT INTO vitals.vital_sign_hourly (facility_id, patient_id, code, unit, bucket, min, max, sum, count)
SELECT facility_id, patient_id, code, value_code, date_trunc('hour', sort_time, 'UTC'), min(value), max(value),
    sum(value), count(value)
FROM vitals.vital_sign GROUP BY 1, 2, 3, 4, 5;
INSERT INTO vitals.vital_sign_daily (facility_id, patient_id, code, unit, bucket, min, max, sum, count)
SELECT facility_id, patient_id, code, unit, date_trunc('day', bucket, 'UTC'), min(min), max(max), sum(sum), sum(count)
FROM vitals.vital_sign_hourly GROUP BY 1, 2, 3, 4, 5;
"""
DROPPED = "SET client_min_messages = warning; DROP SCHEMA scale CASCADE"
