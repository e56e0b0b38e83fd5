"""Three facilities, 600 patients with births on both sides of every boundary, and what happened to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID, uuid5

DAY = date(2026, 3, 1)
"""Day of the first extraction: in a common year, on the birthday of who was born on 29 February."""

FACILITIES = [(UUID(int=number), f"R{number}") for number in (1, 2, 3)]

BOUNDARY_BIRTHS = [
    None,
    "1936",
    "1935",
    "1936-03",
    "1936-02",
    "1936-02-28",
    "1936-02-29",
    "1936-03-01",
    "1936-03-02",
    "1946",
    "1950",
    "1955-07",
    "2016-03-01",
    "2016-03-02",
    "2016-02-29",
    "2026-02-28",
    "2026-03-01",
    "2026-03-02",
    "2026",
    "2030-01-01",
    "2149-12-31",
]


@dataclass(frozen=True, slots=True)
class Person:
    """A patient of the network, as a cohort sees one."""

    id: UUID
    gender: str | None
    birth_date: str | None
    deceased: bool | None = None
    deceased_date_time: str | None = None


def _births(number: int) -> str | None:
    if number < len(BOUNDARY_BIRTHS):
        return BOUNDARY_BIRTHS[number]
    return (date(1930, 1, 1) + timedelta(days=number * 97 % 33000)).isoformat()


PATIENTS = [
    Person(
        uuid5(FACILITIES[0][0], str(number)), ("male", "female")[number % 2] if number % 50 else None, _births(number)
    )
    for number in range(600)
]

# The patients' numbers come back from their order by id, so that every row below follows from the ids alone.
_NUMBERED = "(SELECT id, row_number() OVER (ORDER BY id) AS n FROM patient) AS p"
_FACILITY = "format('00000000-0000-0000-0000-00000000000%s', 1 + n % 3)::uuid"

SEED = (
    f"INSERT INTO registration SELECT {_FACILITY}, id, 'M' || n FROM {_NUMBERED}",
    f"""INSERT INTO condition (id, facility_id, patient_id, code_system, code, code_display, sort_time)
    SELECT gen_random_uuid(), {_FACILITY}, id, 'http://snomed.info/sct', 'c' || abs(hashtext(n || '-' || j)) % 8,
           'Condition', now()
    FROM {_NUMBERED}, generate_series(1, 3) AS j""",
    f"""INSERT INTO encounter (id, facility_id, patient_id, status, class_code, sort_time)
    SELECT gen_random_uuid(), {_FACILITY}, id, 'finished',
           CASE WHEN n * j % 97 = 0 THEN 'HH'
               ELSE (ARRAY['AMB', 'IMP', 'EMER'])[1 + abs(hashtext(n || '-' || j)) % 3] END,
           timestamptz '2020-06-01Z' + j * interval '1 year'
    FROM {_NUMBERED}, generate_series(1, 5) AS j""",
    """INSERT INTO lab_test (id, code_system, code)
    SELECT md5('t' || i)::uuid, 'http://loinc.org', 'l' || i FROM generate_series(0, 9) AS i""",
    f"""INSERT INTO lab_result (id, facility_id, patient_id, lab_test_id, status, sort_time)
    SELECT gen_random_uuid(), {_FACILITY}, id, md5('t' || n * j % 10)::uuid, 'final',
           timestamptz '2024-01-01Z' + j * interval '90 days'
    FROM {_NUMBERED}, generate_series(1, 8) AS j""",
)
"""What happened, as statements in the schema `clinical`."""

MORE_ENCOUNTERS = f"""INSERT INTO encounter (id, facility_id, patient_id, status, class_code, sort_time)
SELECT gen_random_uuid(), {_FACILITY}, id, 'finished', 'AMB', '2026-01-01Z' FROM {_NUMBERED}"""
