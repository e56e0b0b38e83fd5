"""What the imaging and vitals databases and the notes store hold of the visits: statements, and documents of notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from loaders.search_terms import terms
from tests.bench.scale.chart import UNTIL

VISITS = (
    "SELECT n, id, patient_id, facility_id, start, ended FROM scale.visit WHERE n % $1 = 0 OR ended IS NULL ORDER BY n"
)
"""Visits with records beside the clinical database, and everybody who lies in a bed."""

STAGE = """
CREATE SCHEMA scale;
CREATE UNLOGGED TABLE scale.visit (n int, id uuid, patient_id uuid, facility_id uuid, start timestamptz,
    ended timestamptz);
CREATE FUNCTION scale.u(stream int, n bigint) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (hashint8extended(n, {seed}::bigint * 1000 + stream) & 4503599627370495)::float8 / 4503599627370496
$$;
CREATE FUNCTION scale.iso(instant timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT to_char(instant, 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
$$;
"""

IMAGING = """
INSERT INTO imaging.imaging_study (id, facility_id, patient_id, encounter_id, study_uid, status, started, modality,
    description, number_of_series, number_of_instances, sort_time)
SELECT md5('study' || n)::uuid, facility_id, patient_id, id, '2.25.' || n, 'available', scale.iso(start),
    ARRAY[(ARRAY['DX', 'CT', 'MR', 'US'])[1 + floor(4 * power(scale.u(1, n), 2))::int]], 'Study', 1 + n % 3,
        3 * (1 + n % 3), start
FROM scale.visit WHERE scale.u(2, n) < 0.5;
INSERT INTO imaging.imaging_series (id, facility_id, imaging_study_id, series_uid, number, modality,
    number_of_instances)
SELECT md5('series' || n * 10 + i)::uuid, facility_id, md5('study' || n)::uuid, '2.25.' || n || '.' || i, i, 'CT', 3
FROM scale.visit, generate_series(1, 1 + n % 3) AS i
WHERE scale.u(2, n) < 0.5;
INSERT INTO imaging.imaging_instance (id, facility_id, imaging_series_id, instance_uid, number)
SELECT md5('instance' || n * 100 + i * 10 + k)::uuid, facility_id, md5('series' || n * 10 + i)::uuid,
    '2.25.' || n || '.' || i || '.' || k, k
FROM scale.visit, generate_series(1, 1 + n % 3) AS i, generate_series(1, 3) AS k
WHERE scale.u(2, n) < 0.5;
"""

# Monitors of who lies in a bed, four times an hour until the end; one charted set of each other visit.
VITALS = f"""
CREATE UNLOGGED TABLE scale.sign (n int, code text, display text, unit text, low numeric, width numeric);
INSERT INTO scale.sign VALUES (0, '8867-4', 'Heart rate', '/min', 50, 70), (1, '9279-1', 'Respiratory rate', '/min',
    10, 12),
    (2, '59408-5', 'Oxygen saturation', '%', 90, 10), (3, '8310-5', 'Body temperature', 'Cel', 36, 3),
    (4, '8480-6', 'Systolic blood pressure', 'mm[Hg]', 95, 60), (5, '8462-4', 'Diastolic blood pressure', 'mm[Hg]',
        55, 35);
INSERT INTO vitals.vital_sign (id, position, facility_id, patient_id, encounter_id, device_id, status, code_system,
    code,
    code_display, panel_code, value, value_unit, value_code, effective, sort_time)
SELECT md5('sign' || v.n || '/' || i || '/' || s.n)::uuid, 0, facility_id, patient_id, id, 'monitor-' || v.n % 1000,
    'final',
    'http://loinc.org', s.code, s.display, NULL, round(s.low + s.width * scale.u(s.n + 10,
    v.n * 100000::bigint + i)::numeric, 1),
    s.unit, s.unit, scale.iso(at), at
FROM scale.visit AS v
CROSS JOIN generate_series(1, CASE WHEN ended IS NULL THEN least(5000, greatest(1, {{readings}} / 6 / {{beds}}))
    ELSE 1 END) AS i
CROSS JOIN LATERAL (SELECT CASE WHEN ended IS NULL THEN {UNTIL} - i * interval '15 minutes'
    ELSE start + interval '5 minutes' END)
    AS timed (at)
CROSS JOIN scale.sign AS s;
INSERT INTO vitals.vital_sign_hourly (facility_id, patient_id, code, unit, bucket, min, max, sum, count)
SELECT facility_id, patient_id, code, value_code, date_trunc('hour', sort_time, 'UTC'), min(value), max(value),
    sum(value), count(value)
FROM vitals.vital_sign GROUP BY 1, 2, 3, 4, 5;
INSERT INTO vitals.vital_sign_daily (facility_id, patient_id, code, unit, bucket, min, max, sum, count)
SELECT facility_id, patient_id, code, unit, date_trunc('day', bucket, 'UTC'), min(min), max(max), sum(sum), sum(count)
FROM vitals.vital_sign_hourly GROUP BY 1, 2, 3, 4, 5;
"""

SENTENCES = (
    "Patient was seen with chest pain and shortness of breath since yesterday.",
    "No fever, no cough; appetite is good.",
    "Blood pressure is well controlled on the present medication.",
    "Wound is dry and clean, sutures were removed without complications.",
    "Laboratory results were discussed; potassium is slightly low.",
    "Plan: continue as before, see again in two weeks, return earlier if pneumonia is suspected.",
)
TYPES = (("11506-3", "Progress note"), ("34117-2", "History and physical note"), ("18842-5", "Discharge summary"))


def notes(visits: Sequence[Any], count: int) -> Iterator[dict[str, Any]]:
    """Up to `count` documents of clinical_notes, one of each visit, those of who lies in a bed first."""
    for visit in sorted(visits, key=lambda visit: visit["ended"] is not None)[:count]:
        yield _note(visit["n"], visit)


def _note(n: int, visit: Any) -> dict[str, Any]:
    written: datetime = visit["start"] + timedelta(hours=1)
    text = " ".join(SENTENCES[(n // 5 + i * (1 + n % 4)) % len(SENTENCES)] for i in range(20))
    code, display = TYPES[n // 5 % len(TYPES)]
    key = f"00000000-0000-4000-8000-{n:012x}"
    return {
        "_id": key,
        "metadata": {
            "facility_id": str(visit["facility_id"]),
            "patient_id": str(visit["patient_id"]),
            "encounter_id": str(visit["id"]),
        },
        "security": [],
        "status": "current",
        "doc_status": "final",
        "type": {"coding": [{"system": "http://loinc.org", "code": code, "display": display}]},
        "category": [],
        "date": written.isoformat().replace("+00:00", "Z"),
        "sort_time": written,
        "title": display,
        "author": [],
        "sections": [],
        "text": text,
        "search_terms": terms(text),
        "signatures": [],
        "amendments": [],
        "relates_to": [],
    }
