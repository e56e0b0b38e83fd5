"""Sensitivity labels of what is imported: what the source says, what codes imply, and what documents inherit."""

from __future__ import annotations

import pytest

from tests.importer.importing import Importing, Json, bundle, chart, coded, document, encounter, ref, uid
from workers.fhir.labels import security

ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
SNOMED = "http://snomed.info/sct"
PROGRESS = coded("11506-3")
OPIOIDS, DIABETES, REHABILITATION = (coded(code, SNOMED) for code in ("75544000", "44054006", "56876005"))


def meta(*codes: str, system: str = ACT_CODE) -> Json:
    """`meta` with these security labels."""
    return {"meta": {"security": [{"system": system, "code": code} for code in codes]}}


@pytest.mark.parametrize(
    ("resource", "labels"),
    [
        ({}, []),
        (meta("HIV", "ETH"), ["ETH", "HIV"]),
        (meta("PSYTHPN", system="http://hl7.org/fhir/v3/ActCode"), ["PSYTHPN"]),
        (meta("OPIOIDUD"), ["ETH"]),
        (meta("SICKLE"), ["R"]),
        (meta("R", system=CONFIDENTIALITY), ["R"]),
        (meta("V", "N", system=CONFIDENTIALITY), ["R"]),
        (meta("N", system=CONFIDENTIALITY), []),
        (meta("HIV", system="urn:local"), []),
        ({"meta": {"security": {"system": ACT_CODE, "code": "SDV"}}}, ["SDV"]),
        ({"meta": {"security": [{"system": ACT_CODE}, {"code": "HIV"}, "HIV"]}}, []),
    ],
)
def test_labels_that_a_source_gives(resource: Json, labels: list[str]) -> None:
    assert security(resource) == labels


def condition(name: str, code: Json, **elements: object) -> Json:
    """A Condition of the visit."""
    return {"resourceType": "Condition", "id": uid(name), "subject": ref("ann"), "code": code, **elements}


def plan(name: str, *addressed: str, **elements: object) -> Json:
    """A CarePlan without any code, or a Goal."""
    about = {"subject": ref("ann"), "addresses": [ref(each) for each in addressed]}
    return {"resourceType": "CarePlan", "id": uid(name), "status": "active", "intent": "plan", **about, **elements}


async def labels_of(importing: Importing, table: str) -> dict[str, tuple[list[str], list[str] | None]]:
    """What the source said, and the labels, of the rows of a table by name."""
    rows = await importing.rows(f"SELECT id::text, security, label FROM clinical.{table}")  # pyright: ignore[reportArgumentType] - names of this file
    return {row["id"]: (row["security"], row["label"]) for row in rows}


async def documents(importing: Importing, collection: str = "clinical_notes") -> dict[str, list[str] | None]:
    """Labels of documents by id."""
    return {one["_id"]: one["security"] for one in await importing.notes(collection)}


async def test_labels_of_facts_and_documents(importing: Importing) -> None:
    content = chart(
        encounter("detox", type=[REHABILITATION], **meta("PSY")),
        condition("opioids", OPIOIDS),
        condition("diabetes", DIABETES),
        condition("told", DIABETES, **meta("HIV")),
        condition("uncoded", {"text": "unwell"}),
        document("plain", "one", type=PROGRESS),
        document("apart", "two", type=PROGRESS, **meta("PSYTHPN")),
        document("psychiatric", "three", type=coded("28635-8")),
        document("untyped", "four"),
        document("inherits", "five", type=PROGRESS, context={"encounter": [ref("detox")]}),
        document("untyped detox", "six", context={"encounter": [ref("detox")]}),
        plan("of opioids", "opioids"),
        plan("of both", "diabetes", "told"),
        plan("of diabetes", "diabetes"),
        plan("of nothing"),
        plan("of what is uncoded", "uncoded"),
        plan("counselling", category=[coded("56876005", SNOMED)]),
    )
    path = importing.write("labels.json", content)
    await importing.run(path)
    assert (await labels_of(importing, "encounter"))[uid("detox")] == (["PSY"], ["ETH", "PSY"])
    conditions = await labels_of(importing, "condition")
    assert conditions[uid("opioids")] == ([], ["ETH"])
    assert conditions[uid("diabetes")] == ([], [])
    assert conditions[uid("told")] == (["HIV"], ["HIV"])
    assert conditions[uid("uncoded")] == ([], None)
    assert await documents(importing) == {
        uid("plain"): [],
        uid("apart"): ["PSYTHPN"],
        uid("psychiatric"): ["PSY"],
        uid("untyped"): None,
        uid("inherits"): ["ETH", "PSY"],
        uid("untyped detox"): ["ETH", "PSY", "R"],
    }
    assert await documents(importing, "care_plans") == {
        uid("of opioids"): ["ETH"],
        uid("of both"): ["HIV"],
        uid("of diabetes"): [],
        uid("of nothing"): None,
        uid("of what is uncoded"): None,
        uid("counselling"): ["ETH"],
    }
    again = await importing.run(path)
    assert sum(counts.written for counts in again.types.values()) == 0


async def test_a_label_that_comes_later_reaches_the_documents(importing: Importing) -> None:
    told = document("note", "one", type=PROGRESS)
    await importing.load(chart(told, condition("illness", DIABETES), plan("plan", "illness")))
    assert [*(await documents(importing)).values(), *(await documents(importing, "care_plans")).values()] == [[], []]
    later = bundle(encounter(**meta("SDV")), condition("illness", OPIOIDS))
    await importing.load(later, "later.json")
    assert (await documents(importing))[uid("note")] == ["SDV"]
    assert (await documents(importing, "care_plans"))[uid("plan")] == ["ETH"]


async def test_a_label_that_is_taken_back_is_gone_with_the_next_import(importing: Importing) -> None:
    await importing.load(chart(condition("told", DIABETES, **meta("HIV"))))
    await importing.load(chart(condition("told", DIABETES)))
    assert (await labels_of(importing, "condition"))[uid("told")] == ([], [])


async def test_rules_of_an_imported_consent(importing: Importing) -> None:
    nested = {"type": "deny", "securityLabel": [{"system": ACT_CODE, "code": "ETH"}]}
    consent = {
        "resourceType": "Consent",
        "id": uid("consent"),
        "status": "active",
        "patient": ref("ann"),
        "provision": {"type": "permit", "purpose": [{"code": "TREAT"}], "provision": [nested]},
    }
    rules = "SELECT type, purposes, labels FROM clinical.consent_rule ORDER BY position"
    await importing.load(chart(consent))
    assert [tuple(row.values()) for row in await importing.rows(rules)] == [
        ("permit", ["TREAT"], None),
        ("deny", None, ["ETH"]),
    ]
    await importing.load(chart(consent | {"status": "inactive"}))
    assert await importing.rows(rules) == []
