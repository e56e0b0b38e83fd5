"""Each quirk of real FHIR data that the importer has to live with, by its number: bundles, values, time."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.importer.importing import (
    Importing,
    Json,
    bundle,
    chart,
    coded,
    document,
    encounter,
    observation,
    organization,
    patient,
    ref,
    uid,
)

NPI = "http://hl7.org/fhir/sid/us-npi"
SNOMED = "http://snomed.info/sct"
MMHG: Json = {"unit": "mm[Hg]", "system": "http://unitsofmeasure.org", "code": "mm[Hg]"}


async def test_01_full_urls_and_forward_references_resolve(importing: Importing) -> None:
    report_first: Json = {
        "resourceType": "DiagnosticReport",
        "id": uid("report"),
        "status": "final",
        "code": coded("24323-8"),
        "subject": {"reference": "urn:uuid:11111111-1111-4111-8111-111111111111"},
        "encounter": ref("visit"),
        "result": [ref("glucose")],
    }
    content = bundle(
        report_first, observation("glucose", encounter=ref("visit")), encounter(), organization(), patient()
    )
    for entry in content["entry"]:
        if entry["resource"]["resourceType"] == "Patient":
            entry["fullUrl"] = "urn:uuid:11111111-1111-4111-8111-111111111111"
    for resource in (entry["resource"] for entry in content["entry"]):
        if "subject" in resource:
            resource["subject"] = {"reference": "urn:uuid:11111111-1111-4111-8111-111111111111"}
    await importing.load(content)
    found = await importing.rows(
        "SELECT patient_id::text, encounter_id::text, diagnostic_report_id::text FROM clinical.lab_result"
    )
    assert found == [{"patient_id": uid("ann"), "encounter_id": uid("visit"), "diagnostic_report_id": uid("report")}]


async def test_02_conditional_references_resolve_late_or_stay_text(importing: Importing) -> None:
    who = {"reference": f"Practitioner?identifier={NPI}|9999999839", "display": "Dr. Jacobi"}
    never = {"reference": f"Practitioner?identifier={NPI}|1", "display": "Dr. Nobody"}
    visit = encounter(participant=[{"individual": who}, {"individual": never}])
    await importing.load(bundle(patient(), organization(), visit, document("note", "Seen.", author=[who])))
    assert await importing.rows("SELECT provider_id FROM clinical.encounter") == [{"provider_id": None}]
    waiting = await importing.rows(
        "SELECT reference FROM clinical.unresolved_reference WHERE resource_type = 'Encounter'"
    )
    assert {row["reference"] for row in waiting} == {who["reference"], never["reference"]}

    known = {
        "resourceType": "Practitioner",
        "id": uid("jacobi"),
        "identifier": [{"system": NPI, "value": "9999999839"}],
    }
    await importing.load(bundle(known, kind="batch"), "practitioners.json")
    assert await importing.rows("SELECT provider_id::text FROM clinical.encounter") == [{"provider_id": uid("jacobi")}]
    assert (await importing.notes())[0]["author"] == [{"provider_id": uid("jacobi"), "display": "Dr. Jacobi"}]
    waiting = await importing.rows("SELECT reference FROM clinical.unresolved_reference")
    assert waiting == [{"reference": never["reference"]}]
    assert await importing.rows("SELECT provider_id::text FROM clinical.provider_role") == [
        {"provider_id": uid("jacobi")}
    ]


async def test_02_organization_met_by_identifier_before_itself_is_one_facility(importing: Importing) -> None:
    provider = {"reference": "Organization?identifier=urn:x|north-7", "display": "North"}
    await importing.load(bundle(patient(), encounter(serviceProvider=provider)))
    known = organization(identifier=[{"system": "urn:x", "value": "north-7"}])
    await importing.load(bundle(known, encounter("second")), "later.json")
    assert [row["name"] for row in await importing.rows("SELECT name FROM clinical.facility")] == ["North Hospital"]
    assert len(await importing.rows("SELECT DISTINCT facility_id FROM clinical.encounter")) == 1


async def test_03_contained_resources_are_local_to_their_parent(importing: Importing) -> None:
    def order(name: str, drug: str) -> Json:
        contained = {"resourceType": "Medication", "id": "m", "code": {"text": drug}}
        return {
            "resourceType": "MedicationRequest",
            "id": uid(name),
            "status": "active",
            "intent": "order",
            "contained": [contained],
            "medicationReference": {"reference": "#m"},
            "subject": ref("ann"),
        }

    await importing.load(chart(order("one", "aspirin"), order("two", "heparin")))
    found = await importing.rows(
        "SELECT m.code_text FROM clinical.medication_request AS r "
        "JOIN clinical.medication AS m ON m.id = r.medication_id ORDER BY 1"
    )
    assert [row["code_text"] for row in found] == ["aspirin", "heparin"]


@pytest.mark.parametrize("kind", ["transaction", "batch", "collection"])
async def test_04_every_kind_of_bundle(importing: Importing, kind: str) -> None:
    content = chart(observation("glucose"), kind=kind)
    content["entry"][1]["request"] = {"method": "POST", "url": "Organization", "ifNoneExist": "identifier=x|y"}
    report = await importing.load(content)
    assert (report.of("Observation").written, report.of("Encounter").written) == (1, 1)


async def test_04_ndjson_with_its_log(importing: Importing) -> None:
    importing.write("export/Patient.ndjson", patient(), patient("bob"))
    importing.write("export/Encounter.ndjson", encounter(subject=ref("ann", "Patient")))
    importing.write("export/Organization.ndjson.gz", organization())
    importing.write("export/log.ndjson", {"exportId": "1", "eventId": "kickoff"}, {"exportId": "1", "eventId": "done"})
    report = await importing.run(importing.folder)
    assert report.broken == []
    assert await importing.counts() == {"Patient": 2, "Encounter": 1, "Organization": 2}  # Bob's facility is not known


async def test_05_repeated_organization_is_one_row_and_a_second_import_changes_nothing(importing: Importing) -> None:
    one = importing.write("a.json", chart())
    other = organization(telecom=[{"system": "phone", "value": "555"}])
    two = importing.write("b.json", bundle(other, patient("bob"), encounter("bobs", of="bob")))
    await importing.run(one, two)
    before = await importing.fingerprint()
    await importing.run(one, two)
    assert await importing.fingerprint() == before
    assert len(await importing.rows("SELECT id FROM clinical.facility")) == 1


async def test_06_billing_and_provenance_are_skipped_with_the_reason(importing: Importing) -> None:
    claim = {"resourceType": "Claim", "id": uid("claim"), "patient": ref("ann")}
    benefit = {
        "resourceType": "ExplanationOfBenefit",
        "id": uid("eob"),
        "contained": [{"resourceType": "Coverage", "id": "c"}],
    }
    provenance = {"resourceType": "Provenance", "id": uid("prov"), "target": [ref("ann")] * 1378}
    report = await importing.load(chart(claim, benefit, provenance))
    assert dict(report.of("Claim").skipped) == {"billing is not imported": 1}
    assert dict(report.of("ExplanationOfBenefit").skipped) == {"billing is not imported": 1}
    assert dict(report.of("Provenance").skipped) == {"the importer keeps its own provenance": 1}
    assert "1 billing is not imported" in report.table()


async def test_07_every_kind_of_value_is_kept(importing: Importing) -> None:
    values: dict[str, Json] = {
        "quantity": {"valueQuantity": {"value": Decimal("5.40"), "unit": "mmol/L", "code": "mmol/L"}},
        "concept": {"valueCodeableConcept": coded("260385009", SNOMED, "Negative")},
        "text": {"valueString": "hemolysed"},
        "time": {"valueDateTime": "2020-03-01"},
        "component": {"component": [{"code": coded("1"), "valueString": "x"}]},
        "members": {"hasMember": [ref("quantity")]},
        "absent": {"dataAbsentReason": coded("unknown")},
        "nothing": {},
    }
    found = [observation(name, **value) for name, value in values.items()]
    others = [observation(f"other {name}", "survey", **value) for name, value in values.items()]
    report = await importing.load(chart(*found, *others))
    assert report.of("Observation").written == 16
    for table in ("SELECT * FROM clinical.lab_result", "SELECT * FROM clinical.observation"):
        by_id = {str(row["id"]): row for row in await importing.rows(table)}
        prefix = "" if "lab_result" in table else "other "
        assert by_id[uid(f"{prefix}quantity")]["value_number"] == Decimal("5.40")
        assert "260385009" in by_id[uid(f"{prefix}concept")]["value_concept"]
        assert by_id[uid(f"{prefix}text")]["value_text"] == "hemolysed"
        assert by_id[uid(f"{prefix}time")]["value_date_time"] == "2020-03-01"
        assert by_id[uid(f"{prefix}component")]["component"]
        assert [str(member) for member in by_id[uid(f"{prefix}members")]["member_id"]] == [uid("quantity")]
        assert by_id[uid(f"{prefix}absent")]["data_absent_reason"]
        assert by_id[uid(f"{prefix}nothing")]["value_number"] is None


async def test_08_blood_pressure_is_one_reading_for_each_component(importing: Importing) -> None:
    def pressure(name: str, panel: str, *parts: Json) -> Json:
        return observation(name, "vital-signs", code=coded(panel), component=list(parts))

    def part(code: str, value: int | None) -> Json:
        return {"code": coded(code)} | ({"valueQuantity": {"value": value, **MMHG}} if value is not None else {})

    new = pressure("new", "85354-9", part("8462-4", 77), part("8480-6", 110))
    old = pressure("old", "55284-4", part("8480-6", 120), part("8462-4", None))
    await importing.load(chart(new, old))
    found = await importing.rows(
        "SELECT panel_code, code, value FROM vitals.vital_sign ORDER BY panel_code, code", database="vitals"
    )
    assert [(row["panel_code"], row["code"], row["value"]) for row in found] == [
        ("55284-4", "8462-4", None),
        ("55284-4", "8480-6", Decimal(120)),
        ("85354-9", "8462-4", Decimal(77)),
        ("85354-9", "8480-6", Decimal(110)),
    ]


async def test_09_numbers_keep_every_digit(importing: Importing) -> None:
    given = ["98.42648071266267", "1.9E+2", "8E+1", "18.0000", "0.1"]
    labs = [observation(text, valueQuantity={"value": Decimal(text), "unit": "x"}) for text in given]
    parts = observation("part", component=[{"code": coded("1"), "valueQuantity": {"value": Decimal("18.0000")}}])
    await importing.load(chart(*labs, parts))
    stored = {
        str(row["id"]): row
        for row in await importing.rows("SELECT id, value_number, component FROM clinical.lab_result")
    }
    assert [stored[uid(text)]["value_number"] for text in given] == [Decimal(text) for text in given]
    assert '"value": 18.0000' in stored[uid("part")]["component"]
    total = await importing.rows("SELECT sum(value_number) AS total FROM clinical.lab_result")
    assert total[0]["total"] == sum(map(Decimal, given))


async def test_10_unit_as_shown_beside_the_ucum_code(importing: Importing) -> None:
    rate = {"value": 70, "unit": "beats/minute", "system": "http://unitsofmeasure.org", "code": "/min"}
    bare = {"value": 98, "unit": "degF"}
    await importing.load(
        chart(
            observation("rate", "vital-signs", code=coded("8867-4"), valueQuantity=rate),
            observation("bare", "vital-signs", code=coded("8310-5"), valueQuantity=bare),
        )
    )
    found = await importing.rows(
        "SELECT code, value_unit, value_code FROM vitals.vital_sign ORDER BY code", database="vitals"
    )
    assert [tuple(row.values()) for row in found] == [("8310-5", "degF", None), ("8867-4", "beats/minute", "/min")]


async def test_11_grouped_by_code_and_every_spelling_of_category(importing: Importing) -> None:
    clean = observation("one", code=coded("2345-7", display="Glucose"))
    invisible = observation("two", code=coded("2345-7", display="Glucose\u200b [Mass/volume]"))
    spelled = observation("three", "vital-sign", code=coded("8867-4"), valueQuantity={"value": 1})
    uncategorised = observation("four", None, code=coded("8480-6"), valueQuantity={"value": 2})
    drains = observation("five", "Drains", valueQuantity={"value": 3})
    output = observation("six", "Output", valueQuantity={"value": 3})
    await importing.load(chart(clean, invisible, spelled, uncategorised, drains, output))
    tests = await importing.rows("SELECT code, code_display FROM clinical.lab_test")
    assert tests == [{"code": "2345-7", "code_display": "Glucose"}]
    vitals = await importing.rows("SELECT code FROM vitals.vital_sign ORDER BY code", database="vitals")
    assert [row["code"] for row in vitals] == ["8480-6", "8867-4"]
    others = await importing.rows("SELECT category[1] AS category FROM clinical.observation ORDER BY 1")
    assert [row["category"] for row in others] == ["Drains", "Output"]


async def test_12_outliers_are_data(importing: Importing) -> None:
    parts = [
        {"code": coded("8480-6"), "valueQuantity": {"value": 11}},
        {"code": coded("8462-4"), "valueQuantity": {"value": 879}},
    ]
    await importing.load(chart(observation("bp", "vital-signs", code=coded("85354-9"), component=parts)))
    found = await importing.rows("SELECT value FROM vitals.vital_sign ORDER BY value", database="vitals")
    assert [row["value"] for row in found] == [11, 879]


async def test_13_same_patient_code_and_instant_more_than_once(importing: Importing) -> None:
    twice = [observation(name, valueQuantity={"value": 5}) for name in ("first", "second")]
    vitals = [
        observation(name, "vital-signs", code=coded("8867-4"), valueQuantity={"value": 5})
        for name in ("third", "fourth")
    ]
    report = await importing.load(chart(*twice, *vitals))
    assert report.of("Observation").written == 4
    assert (await importing.counts())["Observation"] == 4


async def test_14_offsets_become_instants_and_dates_keep_their_precision(importing: Importing) -> None:
    across_dst = {"start": "2021-03-14T01:30:00-05:00", "end": "2021-03-14T03:30:00-04:00"}
    future = patient(birthDate="2149-01-02", deceasedDateTime="2180-05-04")
    await importing.load(bundle(future, organization(), encounter(period=across_dst)))
    visit = (await importing.rows("SELECT period_start, period_end, sort_time, end_time FROM clinical.encounter"))[0]
    assert (visit["period_start"], visit["period_end"]) == (across_dst["start"], across_dst["end"])
    assert visit["end_time"] - visit["sort_time"] == datetime(2021, 1, 1, 1) - datetime(2021, 1, 1)
    person = (await importing.rows("SELECT birth_date, deceased, deceased_date_time FROM clinical.patient"))[0]
    assert tuple(person.values()) == ("2149-01-02", True, "2180-05-04")


async def test_15_after_death_and_outside_of_the_encounter_ordered_by_instant(importing: Importing) -> None:
    dead = patient(deceasedDateTime="2019-01-01T00:00:00Z")
    # As text 23:00+10:00 comes last; as an instant it comes first.
    early = observation("early", effectiveDateTime="2020-03-01T23:00:00+10:00", encounter=ref("visit"))
    late = observation("late", effectiveDateTime="2020-03-01T16:00:00+00:00", encounter=ref("visit"))
    report = await importing.load(bundle(dead, organization(), encounter(), late, early))
    assert report.of("Observation").written == 2
    found = await importing.rows("SELECT id::text, sort_time FROM clinical.lab_result ORDER BY sort_time DESC")
    assert [row["id"] for row in found] == [uid("late"), uid("early")]
    assert found[0]["sort_time"] == datetime(2020, 3, 1, 16, tzinfo=UTC)


async def test_16_periods_and_moments(importing: Importing) -> None:
    def given(name: str, **when: Any) -> Json:
        return {
            "resourceType": "MedicationAdministration",
            "id": uid(name),
            "status": "completed",
            "subject": ref("ann"),
            "context": ref("visit"),
            "medicationCodeableConcept": {"text": "heparin"},
            **when,
        }

    span = {"start": "2020-03-01T09:00:00Z", "end": "2020-03-01T10:00:00Z"}
    done = {
        "resourceType": "Procedure",
        "id": uid("done"),
        "status": "completed",
        "code": coded("1", SNOMED),
        "subject": ref("ann"),
    }
    await importing.load(
        chart(
            given("span", effectivePeriod=span),
            given("moment", effectiveDateTime="2020-03-01"),
            done | {"performedPeriod": span},
        )
    )
    rows = await importing.rows(
        "SELECT effective_start, effective_end, encounter_id::text FROM clinical.medication_administration ORDER BY 1"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("2020-03-01", None, uid("visit")),
        (span["start"], span["end"], uid("visit")),
    ]
    performed = await importing.rows("SELECT performed_start, performed_end FROM clinical.procedure")
    assert performed == [{"performed_start": span["start"], "performed_end": span["end"]}]
