"""Consents: what a patient denies or permits, to whom, for what, of which label and when, in every store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from db.caller import Caller, PurposeOfUse
from db.notes_schema import CLINICAL_NOTES, PATIENT_SUMMARIES
from tests.layers.hospital import STORES, Hospital
from tests.notes.documents import note, summary
from tests.people import People

EACH = pytest.mark.parametrize("store", STORES)
TODAY = datetime.now(UTC)
YESTERDAY, TOMORROW = (f"{TODAY + timedelta(days=days):%Y-%m-%d}" for days in (-1, 1))
AN_HOUR_AGO = f"{TODAY - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
HIV, OPIOIDS = "86406008", "75544000"

WITHDRAW = "UPDATE clinical.consent SET status = 'inactive' WHERE id = $1"
CHANGE = "UPDATE clinical.consent SET provision = $2 WHERE id = $1"
DELETE = "DELETE FROM clinical.consent WHERE id = $1"
RULES = """SELECT type, purposes, recipients, labels, lower(period)::text AS start, upper(period)::text AS "end"
FROM clinical.consent_rule WHERE consent_id = $1 ORDER BY position"""
CONDITIONS = "/* conditions_of_patient */ SELECT code FROM condition WHERE patient_id = $1 ORDER BY code"
ONE = "0d5b6c1e-54ab-4cde-8f01-23456789abcd"

RULE: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "nothing": ({}, []),
    "of no type": ({"purpose": [{"code": "TREAT"}]}, []),
    "of a type that is unknown": ({"type": "ask"}, []),
    "everything": ({"type": "deny"}, [{"type": "deny"}]),
    "purposes": (
        {"type": "deny", "purpose": [{"code": "HPAYMT"}, {"code": "HRESCH"}]},
        [{"type": "deny", "purposes": ["HPAYMT", "HRESCH"]}],
    ),
    "labels": (
        {"type": "permit", "securityLabel": [{"code": "ETH"}, {"code": "PSY"}]},
        [{"type": "permit", "labels": ["ETH", "PSY"]}],
    ),
    "a practitioner": (
        {"type": "deny", "actor": [{"reference": {"reference": f"Practitioner/{ONE}"}}]},
        [{"type": "deny", "recipients": [ONE]}],
    ),
    "an organization by its address, in capitals": (
        {"type": "permit", "actor": [{"reference": {"reference": f"urn:uuid:{ONE.upper()}"}}]},
        [{"type": "permit", "recipients": [ONE]}],
    ),
    "a role": (
        {"type": "deny", "actor": [{"role": {"coding": [{"code": "nurse"}]}}]},
        [{"type": "deny", "recipients": ["nurse"]}],
    ),
    "a denial to somebody unknown": (
        {"type": "deny", "actor": [{"reference": {"display": "my cousin"}}]},
        [{"type": "deny"}],
    ),
    "a denial to somebody known and somebody unknown": (
        {"type": "deny", "actor": [{"reference": {"reference": f"Practitioner/{ONE}"}}, {}]},
        [{"type": "deny"}],
    ),
    "a permit to somebody unknown": (
        {"type": "permit", "actor": [{"reference": {"display": "my cousin"}}]},
        [{"type": "permit", "recipients": [None]}],
    ),
    "a year": (
        {"type": "deny", "period": {"start": "2020", "end": "2020"}},
        [{"type": "deny", "start": "2020-01-01 00:00:00+00", "end": "2021-01-01 00:00:00+00"}],
    ),
    "months": (
        {"type": "deny", "period": {"start": "2020-02", "end": "2020-02"}},
        [{"type": "deny", "start": "2020-02-01 00:00:00+00", "end": "2020-03-01 00:00:00+00"}],
    ),
    "days": (
        {"type": "deny", "period": {"start": "2020-02-29", "end": "2020-02-29"}},
        [{"type": "deny", "start": "2020-02-29 00:00:00+00", "end": "2020-03-01 00:00:00+00"}],
    ),
    "from an instant on": (
        {"type": "deny", "period": {"start": "2020-02-29T10:00:00-05:00"}},
        [{"type": "deny", "start": "2020-02-29 15:00:00+00"}],
    ),
    "nested rules, which inherit nothing": (
        {
            "type": "permit",
            "purpose": [{"code": "TREAT"}],
            "provision": [
                {"type": "deny", "securityLabel": [{"code": "HIV"}], "provision": [{"type": "permit"}]},
                {"type": "deny", "actor": [{"reference": {"reference": f"Practitioner/{ONE}"}}]},
            ],
        },
        [
            {"type": "permit", "purposes": ["TREAT"]},
            {"type": "deny", "labels": ["HIV"]},
            {"type": "deny", "recipients": [ONE]},
            {"type": "permit"},
        ],
    ),
}
"""A provision, and the rules that it makes; what is not told is NULL."""

DENIED: dict[str, tuple[dict[str, Any], bool]] = {
    "everything": ({}, True),
    "this purpose": ({"purpose": [{"code": "HPAYMT"}, {"code": "TREAT"}]}, True),
    "another purpose": ({"purpose": [{"code": "HPAYMT"}]}, False),
    "this profile": ({"actor": [{"role": {"coding": [{"code": "clinician"}]}}]}, True),
    "another profile": ({"actor": [{"role": {"coding": [{"code": "nurse"}]}}]}, False),
    "somebody unknown": ({"actor": [{"reference": {"display": "my cousin"}}]}, True),
    "since yesterday": ({"period": {"start": YESTERDAY}}, True),
    "since an hour ago": ({"period": {"start": AN_HOUR_AGO}}, True),
    "until the end of this year": ({"period": {"start": "2020", "end": f"{TODAY:%Y}"}}, True),
    "from tomorrow": ({"period": {"start": TOMORROW}}, False),
    "until yesterday": ({"period": {"end": YESTERDAY}}, False),
    "this purpose of another profile": (
        {"purpose": [{"code": "TREAT"}], "actor": [{"role": {"coding": [{"code": "nurse"}]}}]},
        False,
    ),
    "a label": ({"securityLabel": [{"code": "ETH"}]}, False),
}
"""What a patient denies, and whether a physician who treats then sees nothing."""


@pytest.mark.parametrize(("provision", "expected"), RULE.values(), ids=RULE.keys())
async def test_rules_of_a_provision(hospital: Hospital, provision: Any, expected: list[dict[str, Any]]) -> None:
    consent = await hospital.consent(await hospital.patient(), **provision)
    found = [
        {name: value for name, value in row.items() if value is not None}
        for row in await hospital.write(RULES, consent)
    ]
    assert found == expected


@pytest.mark.parametrize("status", ["draft", "proposed", "rejected", "inactive", "entered-in-error"])
async def test_a_consent_that_is_not_active_has_no_rules(hospital: Hospital, status: str) -> None:
    consent = await hospital.consent(await hospital.patient(), status, type="deny")
    assert not await hospital.write(RULES, consent)


@EACH
@pytest.mark.parametrize(("rule", "denies"), DENIED.values(), ids=DENIED.keys())
async def test_a_denial(hospital: Hospital, store: str, rule: dict[str, Any], denies: bool) -> None:
    one, other = await hospital.patient(), await hospital.patient()
    await hospital.consent(one, type="deny", **rule)
    assert await hospital.seen(hospital.caller("physician"), store) == sorted([other] if denies else [one, other])


@EACH
async def test_a_denial_to_one_provider(hospital: Hospital, store: str) -> None:
    doctor, other = await hospital.provider(), await hospital.provider()
    patient = await hospital.patient(provider=doctor)
    await hospital.consent(patient, type="deny", actor=[{"reference": {"reference": f"Practitioner/{doctor}"}}])
    for role in ("physician", "consultant"):
        assert await hospital.seen(hospital.caller(role, provider_id=doctor), store) == []
    assert await hospital.seen(hospital.caller("physician", provider_id=other), store) == [patient]


@EACH
async def test_a_denial_to_the_facility(hospital: Hospital, store: str) -> None:
    patient = await hospital.patient()
    await hospital.consent(patient, type="deny", actor=[{"reference": {"reference": f"Organization/{uuid4()}"}}])
    assert await hospital.seen(hospital.caller("physician"), store) == [patient]
    await hospital.consent(patient, type="deny", actor=[{"reference": {"reference": f"Organization/{hospital.id}"}}])
    assert await hospital.seen(hospital.caller("physician"), store) == []


@EACH
async def test_a_denial_does_not_bind_the_patient(hospital: Hospital, store: str) -> None:
    me = await hospital.patient()
    await hospital.consent(me, type="deny")
    assert await hospital.seen(hospital.caller("patient", PurposeOfUse.PATRQT, patient_id=me), store) == [me]


@EACH
async def test_a_change_and_a_withdrawal_take_effect_at_once(hospital: Hospital, store: str) -> None:
    patient, caller = await hospital.patient(), hospital.caller("physician")
    consent = await hospital.consent(patient, type="deny")
    assert await hospital.seen(caller, store) == []
    await hospital.write(CHANGE, consent, {"type": "deny", "purpose": [{"code": "HPAYMT"}]})
    assert await hospital.seen(caller, store) == [patient]
    await hospital.write(CHANGE, consent, {"type": "deny", "purpose": [{"code": "TREAT"}]})
    assert await hospital.seen(caller, store) == []
    await hospital.write(WITHDRAW, consent)
    assert await hospital.seen(caller, store) == [patient]


async def test_a_consent_that_is_deleted_has_no_rules(hospital: Hospital) -> None:
    consent = await hospital.consent(await hospital.patient(), type="deny")
    await hospital.write(DELETE, consent)
    assert not await hospital.write(RULES, consent)


async def codes_seen(hospital: Hospital, caller: Caller, patient: UUID) -> list[str]:
    """Codes of the patient's conditions that a caller sees."""
    async with hospital.reading(caller) as reader:
        return [row["code"] for row in await reader.clinical.fetch(CONDITIONS, patient)]


async def labels_seen(hospital: Hospital, caller: Caller, patient: UUID) -> list[str]:
    """Labels of the patient's notes that a caller sees, and of entries of the summary."""
    key = {"metadata.patient_id": str(patient)}
    async with hospital.reading(caller) as reader:
        notes = await reader.notes.find("labels_seen", CLINICAL_NOTES, key)
        [found] = await reader.notes.find("labels_seen", PATIENT_SUMMARIES, key)
    entries = [label for entry in found["active_conditions"] for label in entry["security"]]
    shown = sorted(label for one in notes for label in one["security"])
    assert sorted(entries) == shown
    return shown


async def labelled(hospital: Hospital) -> UUID:
    """A patient with HIV and opioid dependence, in the chart, in notes and in the summary."""
    patient, people = await hospital.patient(), People(hospital.stores)
    made = summary(hospital.id, patient)
    for label, code in (("HIV", HIV), ("ETH", OPIOIDS)):
        await people.condition(hospital.id, patient, code)
        await hospital.stores.notes.worker_upsert(CLINICAL_NOTES, [note(hospital.id, patient, security=[label])])
        made["active_conditions"].append(made["active_conditions"][0] | {"security": [label]})
    await hospital.stores.notes.worker_upsert(PATIENT_SUMMARIES, [made])
    return patient


@pytest.mark.parametrize(
    ("rules", "labels"),
    [
        ([], ["HIV"]),
        ([{"type": "deny", "securityLabel": [{"code": "HIV"}]}], []),
        ([{"type": "deny", "securityLabel": [{"code": "HIV"}], "purpose": [{"code": "HPAYMT"}]}], ["HIV"]),
        ([{"type": "deny", "securityLabel": [{"code": "HIV"}], "period": {"end": YESTERDAY}}], ["HIV"]),
        ([{"type": "permit", "securityLabel": [{"code": "ETH"}]}], ["ETH", "HIV"]),
        ([{"type": "permit", "securityLabel": [{"code": "ETH"}], "purpose": [{"code": "HRESCH"}]}], ["HIV"]),
        ([{"type": "permit", "securityLabel": [{"code": "ETH"}], "actor": [{"reference": {}}]}], ["HIV"]),
        (
            [
                {"type": "permit", "securityLabel": [{"code": "ETH"}]},
                {"type": "deny", "securityLabel": [{"code": "ETH"}]},
            ],
            ["HIV"],
        ),
    ],
)
async def test_a_label_that_the_patient_opens_or_closes(
    hospital: Hospital, rules: list[dict[str, Any]], labels: list[str]
) -> None:
    patient, other = await labelled(hospital), await labelled(hospital)
    for rule in rules:
        await hospital.consent(patient, **rule)
    codes = {"HIV": HIV, "ETH": OPIOIDS}
    caller = hospital.caller("physician")
    assert await labels_seen(hospital, caller, patient) == labels
    assert await codes_seen(hospital, caller, patient) == sorted(["44054006", *(codes[label] for label in labels)])
    assert await labels_seen(hospital, caller, other) == ["HIV"]
    assert await codes_seen(hospital, caller, other) == sorted(["44054006", HIV])
