"""Statements that make the chart in the clinical database: visits, and what happened in them.

Labels of sensitivity are made by concept, with the function that the tables' trigger asks for each row.
"""

from __future__ import annotations

from typing import LiteralString

UNTIL = "timestamptz '2026-11-01 08:00Z'"
"""When the records end."""
SNOMED = "'http://snomed.info/sct'"

# Few concepts are common and some carry a label; `n` is what draws choose by.
CONCEPTS = f"""
CREATE UNLOGGED TABLE scale.concept (kind text, n int, system text, code text, display text, label text[]);
INSERT INTO scale.concept (kind, n, system, code, display)
SELECT kind, row_number() OVER (PARTITION BY kind ORDER BY rank) - 1, system, code, display
FROM (
    SELECT kind, n AS rank, {SNOMED}, (kind_code + n)::text, initcap(kind) || ' ' || n
    FROM (VALUES ('encounter', 8, 308335000), ('condition', 300, 800000000), ('procedure', 120, 810000000),
        ('allergy', 60, 820000000), ('immunization', 30, 830000000)) AS sized (kind, size, kind_code),
        generate_series(0, size - 1) AS n
    UNION ALL
    SELECT 'condition', 60 + row_number() OVER (ORDER BY code) * 5, system, code, display
    FROM clinical.sensitive_code WHERE system = {SNOMED}
    UNION ALL
    SELECT kind, n, 'http://loinc.org', kind_code + n || '-' || n % 10, initcap(kind) || ' ' || n
    FROM (VALUES ('test', 191, 30000), ('report', 24, 50000), ('observation', 40, 60000)) AS sized (kind, size,
        kind_code),
        generate_series(0, size - 1) AS n
    UNION ALL VALUES ('test', 150, 'http://loinc.org', '20447-9', 'HIV 1 RNA [#/volume] (viral load)')
    UNION ALL
    SELECT 'medication', n, 'http://www.nlm.nih.gov/research/umls/rxnorm', (200000 + n)::text, 'Medication ' || n
    FROM generate_series(0, 299) AS n
    UNION ALL VALUES ('medication', 40, 'http://www.nlm.nih.gov/research/umls/rxnorm', '864706', 'methadone')
) AS every (kind, rank, system, code, display);
UPDATE scale.concept SET label = clinical.labels_of(system, code, NULL);
INSERT INTO clinical.lab_test (id, code_system, code, code_display)
SELECT scale.key('test', n), system, code, display FROM scale.concept WHERE kind = 'test';
INSERT INTO clinical.medication (id, code_system, code, code_display)
SELECT scale.key('medication', n), system, code, display FROM scale.concept WHERE kind = 'medication';
CREATE FUNCTION scale.drawn(kind text, u float8) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT scale.skewed(u, CASE kind WHEN 'encounter' THEN 8 WHEN 'condition' THEN 300 WHEN 'procedure' THEN 120
        WHEN 'allergy' THEN 60 WHEN 'immunization' THEN 30 WHEN 'report' THEN 24 WHEN 'observation' THEN 40
            ELSE 301 END, 6)
$$;
ANALYZE scale.concept;
"""

# Some patients come often, most seldom; the network grew. Who came in the last days may still lie there.
VISITS = f"""
CREATE UNLOGGED TABLE scale.visit AS
SELECT e.n, scale.key('encounter', e.n) AS id, p.id AS patient_id, scale.key('facility', place) AS facility_id,
    scale.key('department', place * 100 + CASE WHEN kind = 'IMP' THEN floor(scale.u(27, e.n) * 12)::int
        WHEN kind = 'EMER' THEN 12 ELSE 13 + floor(scale.u(27, e.n) * ({{departments}} - 13))::int END)
            AS department_id,
    scale.key('provider', place * {{providers}} + floor(scale.u(26, e.n) * {{providers}})::int) AS provider_id,
    kind AS class_code, start, CASE WHEN ended < {UNTIL} OR kind <> 'IMP' THEN ended END AS ended
FROM (
    SELECT n, 1 + scale.skewed(scale.u(20, n), {{patients}}, {{patients}} * 0.05 + 1) AS p,
        CASE WHEN scale.u(22, n) < 0.70 THEN 'AMB' WHEN scale.u(22, n) < 0.82 THEN 'EMER' ELSE 'IMP' END AS kind,
        date_trunc('second', {UNTIL} - interval '4380 days' * power(scale.u(23, n), 1.5)) AS start
    FROM generate_series(1, {{encounters}}) AS n
) AS e
JOIN scale.person AS p ON p.n = e.p
CROSS JOIN LATERAL (SELECT
    CASE WHEN p.second IS NOT NULL AND scale.u(21, e.n) < 0.3 THEN p.second ELSE p.home END,
    start + CASE kind WHEN 'IMP' THEN interval '9 days' * scale.u(24, e.n) + interval '6 hours'
        ELSE interval '40 minutes' END
) AS drawn (place, ended)
ORDER BY start;
ANALYZE scale.visit;
"""

ENCOUNTERS = """
INSERT INTO clinical.encounter (id, facility_id, patient_id, department_id, provider_id, status, class_code,
    code_system,
    code, code_display, period_start, period_end, sort_time, end_time, details, label)
SELECT v.id, v.facility_id, v.patient_id, v.department_id, v.provider_id,
    CASE WHEN ended IS NULL THEN 'in-progress' ELSE 'finished' END, class_code, c.system, c.code, c.display,
    scale.iso(start), scale.iso(ended), start, ended,
    '{{"reason": [{{"text": "Reason for the visit"}}]}}', c.label
FROM scale.visit AS v
JOIN scale.concept AS c ON c.kind = 'encounter' AND c.n = scale.drawn('encounter', scale.u(25, v.n));
"""


def facts(table: LiteralString, kind: LiteralString, share: LiteralString, columns: str, values: str) -> str:
    """Statement that makes a table of facts with codes of their own: `share` is how many there are for each visit."""
    return f"""
INSERT INTO clinical.{table} (id, facility_id, patient_id, encounter_id, code_system, code, code_display, label,
    sort_time, {columns})
SELECT scale.key('{table}', i.n), v.facility_id, v.patient_id, v.id, c.system, c.code, c.display, c.label, at, {values}
FROM generate_series(1, greatest(1, ({{encounters}} * {share})::int)) AS i (n)
JOIN scale.visit AS v ON v.n = 1 + floor(scale.u(hashtext('{table}') % 100 + 200, i.n) * {{encounters}})::int
JOIN scale.concept AS c ON c.kind = '{kind}' AND c.n = scale.drawn('{kind}', scale.u(hashtext('{table}') % 100 + 400,
    i.n))
CROSS JOIN LATERAL (SELECT date_trunc('second', v.start + interval '1 hour' * scale.u(30, i.n))) AS timed (at);
"""


FACTS = [
    facts(
        "condition",
        "condition",
        "0.8",
        "clinical_status, verification_status, category, onset, recorded_date",
        "CASE WHEN scale.u(31, i.n) < 0.4 THEN 'active' ELSE 'resolved' END, 'confirmed', '{{encounter-diagnosis}}', "
        "scale.iso(at), scale.iso(at)",
    ),
    facts("procedure", "procedure", "0.4", "status, performed_start", "'completed', scale.iso(at)"),
    facts(
        "allergy_intolerance",
        "allergy",
        "0.1",
        "clinical_status, type, category, criticality, recorded_date, reaction",
        "'active', 'allergy', '{{medication}}', 'low', scale.iso(at), "
        '\'[{{"manifestation": [{{"text": "Hives"}}], "severity": "mild"}}]\'',
    ),
    facts("immunization", "immunization", "0.3", "status, occurrence", "'completed', scale.iso(at)"),
    facts(
        "observation",
        "observation",
        "0.4",
        "status, category, effective, value_number, value_unit",
        "'final', '{{survey}}', scale.iso(at), floor(scale.u(31, i.n) * 30)::numeric, '{{score}}'",
    ),
]

MEDICATIONS = """
INSERT INTO clinical.medication_request (id, facility_id, patient_id, encounter_id, medication_id, provider_id, status,
    intent, authored_on, dosage, sort_time, label)
SELECT scale.key('request', i.n), v.facility_id, v.patient_id, v.id, scale.key('medication', c.n), v.provider_id,
    CASE WHEN scale.u(41, i.n) < 0.35 THEN 'active' ELSE 'completed' END, 'order', scale.iso(v.start),
    '[{{"text": "1 tablet twice a day", "timing": {{"repeat": {{"frequency": 2, "period": 1, "periodUnit": "d"}}}}}}]',
    v.start, c.label
FROM generate_series(1, {encounters}) AS i (n)
JOIN scale.visit AS v ON v.n = 1 + floor(scale.u(42, i.n) * {encounters})::int
JOIN scale.concept AS c ON c.kind = 'medication' AND c.n = scale.drawn('medication', scale.u(43, i.n));
INSERT INTO clinical.medication_administration (id, facility_id, patient_id, encounter_id, medication_id,
    medication_request_id, status, effective_start, sort_time, label)
SELECT scale.key('administration', i.n), v.facility_id, v.patient_id, v.id, scale.key('medication', c.n),
    scale.key('request', r.n), 'completed', scale.iso(at), at, c.label
FROM generate_series(1, greatest(1, {encounters} / 2)) AS i (n)
CROSS JOIN LATERAL (SELECT 1 + floor(scale.u(44, i.n) * {encounters})::int) AS r (n)
JOIN scale.visit AS v ON v.n = 1 + floor(scale.u(42, r.n) * {encounters})::int
JOIN scale.concept AS c ON c.kind = 'medication' AND c.n = scale.drawn('medication', scale.u(43, r.n))
CROSS JOIN LATERAL (SELECT date_trunc('second', v.start + interval '1 day' * scale.u(45, i.n))) AS timed (at);
"""

# A report for each panel, in the order in which they came, as an analyzer's results come in.
PANELS = """
CREATE UNLOGGED TABLE scale.panel AS
SELECT i.n, scale.key('report', i.n) AS id, v.facility_id, v.patient_id, v.id AS encounter_id,
    scale.drawn('report', scale.u(51, i.n)) AS kind,
    date_trunc('second', v.start + interval '20 hours' * scale.u(52, i.n)) AS at
FROM generate_series(1, {panels}) AS i (n)
JOIN scale.visit AS v ON v.n = 1 + floor(scale.u(50, i.n) * {encounters})::int
ORDER BY at;
ANALYZE scale.panel;
INSERT INTO clinical.diagnostic_report (id, facility_id, patient_id, encounter_id, status, category, code_system, code,
    code_display, effective, issued, sort_time, label)
SELECT p.id, facility_id, patient_id, encounter_id, 'final', '[{{"coding": [{{"code": "LAB"}}]}}]', c.system, c.code,
    c.display, scale.iso(at), scale.iso(at), at, c.label
FROM scale.panel AS p
JOIN scale.concept AS c ON c.kind = 'report' AND c.n = p.kind;
"""

LABS = """
INSERT INTO clinical.lab_result (id, facility_id, patient_id, encounter_id, lab_test_id, diagnostic_report_id, status,
    effective, issued, value_number, value_unit, value_code, value_system, interpretation, reference_range,
        sort_time, label)
SELECT scale.key('lab', p.n * {panel} + i), facility_id, patient_id, encounter_id, t.id, p.id,
    CASE WHEN scale.u(53, p.n * {panel} + i) < 0.02 THEN 'corrected' ELSE 'final' END, time, time,
    round((10 + t.n + 40 * scale.u(54, p.n * {panel} + i))::numeric, 1), 'mmol/L', 'mmol/L', 'http://unitsofmeasure.org',
    CASE WHEN scale.u(55, p.n * {panel} + i) < 0.1 THEN '[{{"coding": [{{"code": "H"}}]}}]'::jsonb END,
    '[{{"low": {{"value": 20}}, "high": {{"value": 40}}}}]', at, t.label
FROM scale.panel AS p
CROSS JOIN LATERAL (SELECT scale.iso(at)) AS written (time)
CROSS JOIN generate_series(0, {panel} - 1) AS i
JOIN scale.test AS t ON t.n = p.kind * {panel} + i
WHERE at {half} timestamptz '2024-01-01Z';
"""
"""The newest partition has about as many results as those before it: two sessions write one half each."""
TESTS = """
CREATE UNLOGGED TABLE scale.test AS
SELECT n, scale.key('test', n) AS id, label FROM scale.concept WHERE kind = 'test';
ANALYZE scale.test;
"""

SCHEDULE = f"""
INSERT INTO clinical.care_team (id, facility_id, patient_id, encounter_id, status, name, period_start, sort_time)
SELECT scale.key('team', n), facility_id, patient_id, id, CASE WHEN scale.u(61, n) < 0.3 THEN 'active'
    ELSE 'inactive' END,
    'Care team', scale.iso(start), start
FROM scale.visit WHERE scale.u(60, n) < 0.1;
INSERT INTO clinical.care_team_participant (care_team_id, facility_id, position, provider_id)
SELECT scale.key('team', v.n), v.facility_id, place, r.provider_id
FROM scale.visit AS v
CROSS JOIN generate_series(0, 2) AS place
JOIN (SELECT row_number() OVER (PARTITION BY facility_id ORDER BY provider_id) - 1 AS n, *
    FROM clinical.provider_role) AS r
    ON r.facility_id = v.facility_id AND r.n = (v.n + place * 7) % {{providers}}
WHERE scale.u(60, v.n) < 0.1;
INSERT INTO clinical.appointment (id, facility_id, patient_id, provider_id, department_id, status, code_system, code,
    code_display, start_date_time, end_date_time, sort_time, end_time)
SELECT scale.key('appointment', timed.n), facility_id, patient_id, provider_id, department_id,
    CASE WHEN at < {UNTIL} THEN 'fulfilled' ELSE 'booked' END, c.system, c.code, c.display, scale.iso(at),
    scale.iso(at + interval '30 minutes'), at, at + interval '30 minutes'
FROM (
    SELECT *, date_trunc('day', {UNTIL}, 'UTC') - interval '14 days' + interval '9 hours'
        + place / 12 * interval '1 day' + place % 12 * interval '30 minutes' AS at
    FROM (SELECT *, row_number() OVER (PARTITION BY provider_id ORDER BY n) - 1 AS place
        FROM scale.visit WHERE scale.u(62, n) < 0.2) AS booked
) AS timed,
    (SELECT * FROM scale.concept WHERE kind = 'encounter' AND n = 0) AS c;
"""

# With its triggers: rules are made of consents.
CONSENTS = """
INSERT INTO clinical.consent (id, facility_id, patient_id, status, scope, date_time, provision, sort_time)
SELECT scale.key('consent', n), scale.key('facility', home), id, 'active', '{{"text": "Privacy"}}', '2024-05-01',
    CASE WHEN scale.u(71, n) < 0.1 THEN '{{"type": "deny"}}'
        WHEN scale.u(71, n) < 0.3
            THEN '{{"type": "deny", "actor": [{{"role": {{"coding": [{{"code": "billing"}}]}}}}]}}'
        WHEN scale.u(71, n) < 0.5 THEN '{{"type": "permit", "securityLabel": [{{"code": "ETH"}}]}}'
        ELSE '{{"type": "permit"}}' END::jsonb, '2024-05-01Z'
FROM scale.person WHERE n <= {patients} AND scale.u(70, n) < 0.025;
"""
