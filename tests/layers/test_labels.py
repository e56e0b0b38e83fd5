"""Sensitivity labels: every label of a row is needed, what nobody labelled is restricted, in SQL and in MongoDB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from db.caller import Caller, PurposeOfUse
from db.notes_schema import CARE_PLANS, CLINICAL_NOTES, GOALS, PATIENT_SUMMARIES, Collection
from db.policy import ROLES
from tests.layers.hospital import Hospital
from tests.notes.documents import care_plan, goal, note, summary
from tests.people import CONDITION

CODES = {"75544000": ["ETH"], "86406008": ["HIV"], "44054006": []}
"""SNOMED CT codes and what they imply; diabetes implies nothing."""

SEEN = [
    ([], {"R", "HIV"}, True),
    ([], set[str](), True),
    (["HIV"], {"HIV"}, True),
    (["HIV"], {"R"}, False),
    (["HIV", "PSY"], {"HIV", "PSY"}, True),
    (["HIV", "PSY"], {"HIV"}, False),
    (["HIV", "PSY"], {"PSY", "R"}, False),
    (["PSYTHPN"], {"PSY"}, False),
    (["R"], {"R"}, True),
    (["R"], {"HIV"}, False),
    (["HIV", "R"], {"HIV"}, False),
    (None, {"R"}, True),
    (None, {"HIV", "PSY", "ETH"}, False),
    (None, set[str](), False),
]
"""Labels of a row, labels that a caller may see, and whether the caller sees the row; None is unlabelled."""
CASES = pytest.mark.parametrize(("labels", "shown", "is_seen"), SEEN)

KINDS: dict[str, tuple[str, str]] = {
    "encounter": ("status, class_code, code, code_system", "'finished', 'AMB', $4, 'http://snomed.info/sct'"),
    "condition": ("code, code_system", "$4, 'http://snomed.info/sct'"),
    "procedure": ("status, code, code_system", "'completed', $4, 'http://snomed.info/sct'"),
    "allergy_intolerance": ("code, code_system", "$4, 'http://snomed.info/sct'"),
    "immunization": ("status, code, code_system", "'completed', $4, 'http://snomed.info/sct'"),
    "observation": ("status, code, code_system", "'final', $4, 'http://snomed.info/sct'"),
    "diagnostic_report": ("status, code, code_system", "'final', $4, 'http://snomed.info/sct'"),
}
"""Labelled tables with a code of their own: columns and values of a row beside what all have."""
DOCUMENTS = {CLINICAL_NOTES.name: note, CARE_PLANS.name: care_plan, GOALS.name: goal}
DRUG = "INSERT INTO clinical.medication (id, code_system, code) VALUES ($1, $2, $3)"
TEST = "INSERT INTO clinical.lab_test (id, code_system, code) VALUES ($1, $2, $3)"
ORDER = """
INSERT INTO clinical.medication_request (id, facility_id, patient_id, medication_id, status, intent, sort_time)
VALUES ($1, $2, $3, $4, 'active', 'order', now()) RETURNING label"""
GIVEN = """
INSERT INTO clinical.medication_administration (id, facility_id, patient_id, medication_id, status, sort_time)
VALUES ($1, $2, $3, $4, 'completed', now()) RETURNING label"""
RESULT = """
INSERT INTO clinical.lab_result (id, facility_id, patient_id, lab_test_id, status, sort_time)
VALUES ($1, $2, $3, $4, 'final', now()) RETURNING label"""
RXNORM, LOINC = "http://www.nlm.nih.gov/research/umls/rxnorm", "http://loinc.org"


def reader_of(hospital: Hospital, shown: set[str]) -> Caller:
    """A physician who may see just these labels."""
    physician = hospital.caller("physician")
    return replace(physician, role=replace(physician.role, labels=frozenset(shown)))


async def add(hospital: Hospital, table: str, patient: UUID, labels: Sequence[str] | None) -> UUID:
    """A row of a labelled table: without labels its code is harmless, unlabelled it has no code."""
    columns, values = KINDS[table]
    key = uuid4()
    code = None if labels is None else "44054006"
    await hospital.write(
        f"INSERT INTO clinical.{table} (id, facility_id, patient_id, sort_time, security, {columns}) "
        f"VALUES ($1, $2, $3, now(), $5, {values})",
        key,
        hospital.id,
        patient,
        code,
        list(labels or ()),
    )
    return key


@CASES
@pytest.mark.parametrize("table", KINDS)
async def test_a_row_needs_all_of_its_labels(
    hospital: Hospital, table: str, labels: list[str] | None, shown: set[str], is_seen: bool
) -> None:
    key = await add(hospital, table, await hospital.patient(), labels)
    async with hospital.reading(reader_of(hospital, shown)) as reader:
        sql: Any = f"/* labelled */ SELECT id FROM {table} WHERE id = $1"
        found = await reader.clinical.fetch(sql, key)
    assert bool(found) is is_seen


@CASES
@pytest.mark.parametrize("collection", [CLINICAL_NOTES, CARE_PLANS, GOALS], ids=lambda each: each.name)
async def test_a_document_needs_all_of_its_labels(
    hospital: Hospital, collection: Collection, labels: list[str] | None, shown: set[str], is_seen: bool
) -> None:
    made = DOCUMENTS[collection.name](hospital.id, uuid4(), security=labels)
    await hospital.stores.notes.worker_upsert(collection, [made])
    async with hospital.reading(reader_of(hospital, shown)) as reader:
        found = await reader.notes.find("labelled", collection, {"_id": made["_id"]})
    assert bool(found) is is_seen


@CASES
async def test_a_part_of_a_summary_needs_all_of_its_labels(
    hospital: Hospital, labels: list[str] | None, shown: set[str], is_seen: bool
) -> None:
    made = summary(hospital.id, uuid4())
    lists = (
        *("active_conditions", "active_medications", "allergies"),
        *("last_encounters", "latest_results", "care_plans"),
    )
    for name in lists:
        made[name].append({**made[name][0], "id": str(uuid4()), "security": labels})
    await hospital.stores.notes.worker_upsert(PATIENT_SUMMARIES, [made])
    async with hospital.reading(reader_of(hospital, shown)) as reader:
        [found] = await reader.notes.find("labelled", PATIENT_SUMMARIES, {"_id": made["_id"]})
    assert [len(found[name]) for name in lists] == [2 if is_seen else 1] * len(lists)


async def test_a_document_that_was_stored_without_the_field_is_restricted(hospital: Hospital) -> None:
    made = note(hospital.id, uuid4())
    del made["security"]
    store = hospital.stores.notes
    await store.open(CLINICAL_NOTES).database.command("collMod", CLINICAL_NOTES.name, validator={})
    await store.worker_upsert(CLINICAL_NOTES, [made])
    await store.ensure()
    for shown, count in (({"R"}, 1), (ROLES["physician"].labels - {"R"}, 0)):
        async with hospital.reading(reader_of(hospital, set(shown))) as reader:
            assert len(await reader.notes.find("labelled", CLINICAL_NOTES, {"_id": made["_id"]})) == count


@pytest.mark.parametrize(("code", "expected"), CODES.items())
async def test_a_code_implies_its_labels(hospital: Hospital, code: str, expected: list[str]) -> None:
    patient = await hospital.patient()
    sql = CONDITION + " RETURNING label"
    [(label,)] = await hospital.write(sql, uuid4(), hospital.id, patient, code, None, [])
    assert label == expected
    [(label,)] = await hospital.write(sql, uuid4(), hospital.id, patient, code, None, ["SDV"])
    assert label == sorted(["SDV", *expected])


@pytest.mark.parametrize(
    ("sql", "thing", "system", "code", "expected"),
    [
        (ORDER, DRUG, RXNORM, "351264", ["ETH"]),
        (GIVEN, DRUG, RXNORM, "864706", ["ETH"]),
        (ORDER, DRUG, RXNORM, "860975", []),
        (ORDER, DRUG, None, None, None),
        (RESULT, TEST, LOINC, "20447-9", ["HIV"]),
        (RESULT, TEST, LOINC, "0-0", []),
    ],
)
async def test_a_drug_or_a_test_implies_the_labels_of_its_rows(
    hospital: Hospital, sql: str, thing: str, system: str | None, code: str | None, expected: list[str] | None
) -> None:
    key = uuid4()
    await hospital.write(thing, key, system, code)
    [(label,)] = await hospital.write(sql, uuid4(), hospital.id, await hospital.patient(), key)
    assert label == expected


async def test_a_patient_sees_own_labels_without_psychotherapy_notes(hospital: Hospital) -> None:
    me = await hospital.patient()
    stored = {label: note(hospital.id, me, security=[label]) for label in ("ETH", "HIV", "PSYTHPN")}
    await hospital.stores.notes.worker_upsert(CLINICAL_NOTES, list(stored.values()))
    async with hospital.reading(hospital.caller("patient", PurposeOfUse.PATRQT, patient_id=me)) as reader:
        found = await reader.notes.find("labelled", CLINICAL_NOTES, {"metadata.patient_id": str(me)})
    shown = {label for label, document in stored.items() if document["_id"] in [one["_id"] for one in found]}
    assert shown == {"ETH", "HIV"}
