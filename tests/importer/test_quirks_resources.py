"""Each quirk of real FHIR data that the importer has to live with, by its number: resources."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.importer.importing import (
    Importing,
    Json,
    bundle,
    chart,
    coded,
    document,
    encoded,
    encounter,
    organization,
    patient,
    ref,
    uid,
)

NPI = "http://hl7.org/fhir/sid/us-npi"
SNOMED = "http://snomed.info/sct"
MMHG: Json = {"unit": "mm[Hg]", "system": "http://unitsofmeasure.org", "code": "mm[Hg]"}


async def test_17_encounter_classes_nesting_and_no_participant(importing: Importing) -> None:
    classes = ["HH", "VR", "ACUTE", "OBSENC", "SS", "AMB", "IMP", "EMER", "inpatient"]
    visits = [encounter(code) | {"class": {"code": code}} for code in classes]
    inside = encounter("icu", partOf=ref("stay")) | {"class": {"code": "ACUTE"}}
    await importing.load(bundle(inside, *visits, encounter("stay"), organization(), patient()))
    found = {str(row["id"]): row for row in await importing.rows("SELECT * FROM clinical.encounter")}
    assert [found[uid(code)]["class_code"] for code in classes] == [*classes[:-1], "IMP"]
    assert str(found[uid("icu")]["part_of_id"]) == uid("stay")
    assert found[uid("icu")]["provider_id"] is None


async def test_18_conditions_as_they_come(importing: Importing) -> None:
    def condition(name: str, code: Json, **elements: Any) -> Json:
        return {"resourceType": "Condition", "id": uid(name), "code": code, "subject": ref("ann"), **elements}

    icd9, icd10 = "http://mimic.mit.edu/icd9", "http://mimic.mit.edu/icd10"
    padded = "112141" + "A" * 30
    await importing.load(
        chart(
            condition("bare", {"coding": [{"system": icd9, "code": "4019"}, {"system": icd10, "code": "I10"}]}),
            condition("social", coded("160903007", SNOMED, "Full-time employment (finding)"), onsetDateTime="2020"),
            condition("padded", coded(padded, SNOMED)),
        )
    )
    found = {str(row["id"]): row for row in await importing.rows("SELECT * FROM clinical.condition")}
    bare = found[uid("bare")]
    assert (bare["clinical_status"], bare["onset"], bare["code"]) == (None, None, "4019")
    assert bare["sort_time"] == datetime(1, 1, 2, tzinfo=UTC)
    assert "I10" in bare["code_translation"]
    assert found[uid("social")]["onset"] == "2020"
    assert found[uid("padded")]["code"] == padded


async def test_19_medications_in_every_form(importing: Importing) -> None:
    def order(name: str, **drug: Any) -> Json:
        basic: Json = {"resourceType": "MedicationRequest", "id": uid(name), "status": "active", "intent": "order"}
        return {**basic, "subject": ref("ann"), **drug}

    named = {
        "resourceType": "Medication",
        "id": uid("named"),
        "identifier": [{"system": "http://mimic.mit.edu/fhir/CodeSystem/mimic-medication-name", "value": "Heparin"}],
    }
    mixed = {
        "resourceType": "Medication",
        "id": uid("mixed"),
        "ingredient": [{"itemCodeableConcept": {"text": "Saline"}}, {"itemCodeableConcept": {"text": "Potassium"}}],
    }
    await importing.load(
        chart(
            named,
            mixed,
            order("by code", medicationCodeableConcept=coded("308182", "http://rxnorm", "Amoxicillin")),
            order("by name", medicationReference=ref("named")),
            order("by mix", medicationReference=ref("mixed")),
            order("by text", medicationCodeableConcept={"text": "herbal tea"}),
        )
    )
    found = await importing.rows(
        "SELECT r.id::text, coalesce(m.code_text, m.code_display) AS drug, r.dosage "
        "FROM clinical.medication_request AS r JOIN clinical.medication AS m ON m.id = r.medication_id"
    )
    assert {row["id"]: row["drug"] for row in found} == {
        uid("by code"): "Amoxicillin",
        uid("by name"): "Heparin",
        uid("by mix"): "Saline / Potassium",
        uid("by text"): "herbal tea",
    }
    assert {row["dosage"] for row in found} == {"[]"}


async def test_20_stopped_orders_and_superseded_notes_are_kept(importing: Importing) -> None:
    stopped = {
        "resourceType": "MedicationRequest",
        "id": uid("old"),
        "status": "stopped",
        "intent": "order",
        "subject": ref("ann"),
    }
    await importing.load(chart(stopped, document("first", "Old.", status="superseded"), document("last", "New.")))
    assert await importing.rows("SELECT status FROM clinical.medication_request") == [{"status": "stopped"}]
    assert sorted(note["status"] for note in await importing.notes()) == ["current", "superseded"]


async def test_21_a_text_is_imported_once(importing: Importing) -> None:
    text = "\n2020-03-01\n\n# Chief Complaint\nNo complaints.\n\n# Plan\nAnn is 93.\n"
    two_types = {"coding": [{"system": "http://loinc.org", "code": code} for code in ("34117-2", "51847-2")]}

    def report(name: str, content: str) -> Json:
        return {
            "resourceType": "DiagnosticReport",
            "id": uid(name),
            "status": "final",
            "code": two_types,
            "subject": ref("ann"),
            "encounter": ref("visit"),
            "issued": "2020-03-01T10:00:00-05:00",
            "presentedForm": [encoded(content)],
        }

    first = importing.write("reports.json", chart(report("same", text), report("only", "Only in the report.")))
    await importing.run(first)
    assert {note["_id"] for note in await importing.notes()} == {uid("same"), uid("only")}
    second = importing.write(
        "documents.json", bundle(document("note", text, type=two_types), patient(), encounter(), organization())
    )
    await importing.run(second, first)  # the document takes the text over, whatever came first
    await importing.run(first)
    notes = {note["_id"]: note for note in await importing.notes()}
    assert set(notes) == {uid("note"), uid("only")}
    assert [section["title"] for section in notes[uid("note")]["sections"]] == [None, "Chief Complaint", "Plan"]
    assert notes[uid("note")]["text"] == text
    assert len(notes[uid("note")]["type"]["coding"]) == 2
    assert (await importing.counts())["DiagnosticReport"] == 2


async def test_22_patients_as_they_come(importing: Importing) -> None:
    def number(code: str, value: str) -> Json:
        return {"type": coded(code, "http://terminology.hl7.org/CodeSystem/v2-0203"), "value": value}

    race: Json = {
        "url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race",
        "extension": [
            {"url": "ombCategory", "valueCoding": {"code": "2028-9", "display": "Asian"}},
            {"url": "text", "valueString": "Asian"},
        ],
    }
    full = patient(
        name=[
            {"use": "official", "family": "O'Keefe54", "given": ["Zoë12", "Mae"]},
            {"use": "maiden", "family": "Muñoz"},
        ],
        identifier=[
            number("MR", "M-1"),
            number("SS", "999-53-4137"),
            number("DL", "S9"),
            number("PPN", "X1"),
            {"value": "z"},
        ],
        extension=[race],
        address=[{"state": "Massachusetts"}],
        multipleBirthInteger=2,
        deceasedBoolean=True,
    )
    bare = {"resourceType": "Patient", "id": "10000032", "name": [{"use": "official", "family": "Patient_1"}]}
    await importing.load(bundle(full, bare, organization(), encounter()))
    kinds = await importing.rows("SELECT kind FROM clinical.patient_identifier ORDER BY position")
    assert [row["kind"] for row in kinds] == [
        "MEDICAL_RECORD_NUMBER",
        "SSN",
        "LICENSE_NUMBER",
        "OTHER_IDENTIFIER",
        "OTHER_IDENTIFIER",
    ]
    names = await importing.rows("SELECT family, given FROM clinical.patient_name ORDER BY family")
    assert [(row["family"], row["given"]) for row in names] == [
        ("Muñoz", []),
        ("O'Keefe54", ["Zoë12", "Mae"]),
        ("Patient_1", []),
    ]
    person = (await importing.rows("SELECT * FROM clinical.patient WHERE id = $1::text::uuid", uid("ann")))[0]
    assert (person["race"], person["deceased"], person["deceased_date_time"], person["multiple_birth"]) == (
        "Asian",
        True,
        None,
        2,
    )
    numbers = await importing.rows("SELECT mrn FROM clinical.registration ORDER BY mrn")
    assert [row["mrn"] for row in numbers] == ["10000032", "M-1"]


async def test_23_imaging_without_pixels(importing: Importing) -> None:
    study = {
        "resourceType": "ImagingStudy",
        "id": uid("study"),
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.840.99999999.3"}],
        "status": "available",
        "subject": ref("ann"),
        "encounter": ref("visit"),
        "started": "2020-03-01T09:10:00Z",
        "numberOfSeries": 1,
        "series": [
            {
                "uid": "1.2.840.99999999.1.3",
                "modality": {"code": "DX"},
                "instance": [
                    {"uid": "1.2.840.99999999.1.1.3", "sopClass": {"code": "urn:oid:1.2.840.10008.5.1.4.1.1.1.1"}}
                ],
            }
        ],
    }
    await importing.load(chart(study))
    found = await importing.rows(
        "SELECT t.study_uid, t.modality, t.procedure, s.series_uid, i.instance_uid, i.sop_class, i.s3_key "
        "FROM imaging.imaging_study AS t JOIN imaging.imaging_series AS s ON s.imaging_study_id = t.id "
        "JOIN imaging.imaging_instance AS i ON i.imaging_series_id = s.id",
        database="imaging",
    )
    assert [tuple(row.values()) for row in found] == [
        (
            "1.2.840.99999999.3",
            ["DX"],
            "[]",
            "1.2.840.99999999.1.3",
            "1.2.840.99999999.1.1.3",
            "1.2.840.10008.5.1.4.1.1.1.1",
            None,
        )
    ]


async def test_24_no_known_allergies_is_no_allergy(importing: Importing) -> None:
    def allergy(name: str, code: str, **elements: Any) -> Json:
        return {
            "resourceType": "AllergyIntolerance",
            "id": uid(name),
            "code": coded(code, SNOMED),
            "patient": ref("ann"),
            **elements,
        }

    await importing.load(
        chart(allergy("none", "716186003"), allergy("mites", "232350006", category=["food", "environment"]))
    )
    found = {str(row["id"]): row for row in await importing.rows("SELECT * FROM clinical.allergy_intolerance")}
    assert found[uid("none")]["no_known_allergy"] is True
    assert (found[uid("mites")]["no_known_allergy"], found[uid("mites")]["category"]) == (
        False,
        ["food", "environment"],
    )
    assert found[uid("mites")]["reaction"] == "[]"


async def test_25_a_git_lfs_pointer_is_a_broken_file(importing: Importing) -> None:
    pointer = importing.folder / "Patient.ndjson"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    report = await importing.run(pointer)
    assert report.broken == [("Patient.ndjson", "it is a Git LFS pointer, not the data")]


async def test_cpt_codes_are_dropped(importing: Importing) -> None:
    both = {
        "coding": [
            {"system": "http://www.ama-assn.org/go/cpt", "code": "99213"},
            {"system": SNOMED, "code": "185345009"},
        ]
    }
    await importing.load(bundle(patient(), organization(), encounter(type=[both])))
    assert await importing.rows("SELECT code, code_translation FROM clinical.encounter") == [
        {"code": "185345009", "code_translation": None}
    ]
