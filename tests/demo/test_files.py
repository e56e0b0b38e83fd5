"""The network before it is imported: the same for a seed, without clinosim's flaws, with plausible additions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from workers.network.facilities import FACILITIES
from workers.network.files import write_network
from workers.network.monitors import readings
from workers.network.repair import repaired
from workers.network.resource import AS_OF, Json, Source, of
from workers.network.schedule import SLOT, Diary
from workers.network.simulation import simulate
from workers.network.stays import current_stays

Hospitals = Sequence[list[Json]]

SEED = 7
POPULATION = 12
SOURCE = Source(FACILITIES[0], SEED)
CLASS = {"code": "AMB"}


@pytest_asyncio.fixture(scope="module")
async def simulated(tmp_path_factory: pytest.TempPathFactory) -> Hospitals:
    """Three small hospitals. That clinosim repeats itself is seen where a load is repeated."""
    return await simulate(tmp_path_factory.mktemp("simulated"), POPULATION, SEED, len(FACILITIES))


def written(simulated: Hospitals, folder: Path, seed: int = SEED) -> dict[str, bytes]:
    """Content of each file of a network, with ten minutes of monitoring."""
    write_network(simulated, folder, seed, 10)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def resources(files: dict[str, bytes], resource_type: str) -> Iterator[Json]:
    """The resources of one type in all files."""
    lines = (orjson.loads(line) for content in files.values() for line in content.splitlines())
    return (resource for resource in lines if resource["resourceType"] == resource_type)


def ids(files: dict[str, bytes]) -> list[str]:
    """Ids of all resources but the facilities, whose ids are the same in every network."""
    lines = (orjson.loads(line) for content in files.values() for line in content.splitlines())
    return [resource["id"] for resource in lines if resource["resourceType"] != "Organization"]


def test_a_seed_makes_the_same_network(simulated: Hospitals, tmp_path: Path) -> None:
    first, second = (written(simulated, tmp_path / name) for name in ("first", "second"))
    assert first == second
    assert len(ids(first)) == len(set(ids(first)))
    another = written(simulated, tmp_path / "another", SEED + 1)
    assert set(ids(first)).isdisjoint(ids(another))


def test_nobody_is_booked_twice(simulated: Hospitals, tmp_path: Path) -> None:
    booked: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    appointments = list(resources(written(simulated, tmp_path / "network"), "Appointment"))
    for appointment in appointments:
        booked[appointment["participant"][1]["actor"]["reference"]].append((appointment["start"], appointment["end"]))
    for times in booked.values():
        times.sort()
        assert all(end <= start for (_, end), (start, _) in pairwise(times))
    now = AS_OF.strftime("%Y-%m-%dT%H:%M:%SZ")
    past = {item["status"] for item in appointments if item["start"] < now}
    future = {item["status"] for item in appointments if item["start"] > now}
    assert "fulfilled" in past - future
    assert "booked" in future - past


def test_references_lead_into_the_network(simulated: Hospitals, tmp_path: Path) -> None:
    files = written(simulated, tmp_path / "network")
    known = {*ids(files), *(str(facility.id) for facility in FACILITIES)}
    served = {
        "Patient",
        "Encounter",
        "Practitioner",
        "Organization",
        "Location",
        "Goal",
        "CareTeam",
        "DocumentReference",
    }
    lines = [orjson.loads(line) for content in files.values() for line in content.splitlines()]
    named = {text for line in lines for text in references(line) if text.partition("/")[0] in served}
    assert named
    assert {text for text in named if text.partition("/")[2] not in known} == set()


def references(value: Any) -> Iterator[str]:
    """Texts of all references within a value."""
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_a_diary_moves_on_to_the_next_free_slot() -> None:
    diary = Diary()
    saturday = datetime(2026, 7, 4, tzinfo=AS_OF.tzinfo)
    first, second = diary.book("a", saturday, 0), diary.book("a", saturday, 0)
    assert first.weekday() == 0
    assert second == first + SLOT
    assert diary.book("b", saturday, 0) == first


PATIENT: Json = {
    "resourceType": "Patient",
    "id": "p",
    "birthDate": "2026-06-25",
    "name": [{"family": "Doe", "given": ["Jo"]}],
    "identifier": [{"type": {"text": "MRN"}, "system": "s", "value": "POP-000035"}, {"system": "slug", "value": "x"}],
}


def encounter(key: str, start: str, end: str) -> Json:
    """A visit of the patient."""
    period = {"start": start, "end": end}
    subject = {"reference": "Patient/p"}
    return {"resourceType": "Encounter", "id": key, "class": CLASS, "subject": subject, "period": period}


def mended(*flawed: Json) -> dict[str, Json]:
    """What becomes of these resources of the patient, by type."""
    return {resource["resourceType"]: resource for resource in repaired([PATIENT, *flawed], SOURCE)}


def test_what_happened_before_birth_is_dropped() -> None:
    early = encounter("early", "2026-06-20T10:00:00Z", "2026-06-20T10:30:00Z")
    fact = {
        "resourceType": "Procedure",
        "id": "f",
        "code": {"text": "x"},
        "encounter": {"reference": "Encounter/early"},
    }
    note = {"resourceType": "DocumentReference", "id": "n", "context": {"encounter": [fact["encounter"]]}}
    assert set(mended(early, fact, note)) == {"Organization", "Patient"}


def test_a_visit_of_no_length_gets_one() -> None:
    found = mended(encounter("e", "2026-06-26T10:00:00Z", "2026-06-26T10:00:00Z"))["Encounter"]
    assert found["period"] == {"start": "2026-06-26T10:00:00Z", "end": "2026-06-26T10:20:00Z"}
    assert found["subject"] == SOURCE.reference("Patient", "p")


def test_a_record_number_is_the_facility_s() -> None:
    patient = mended()["Patient"]
    assert [item["value"] for item in patient["identifier"]] == ["R000035"]
    assert patient["managingOrganization"] == FACILITIES[0].reference


def test_departments_are_no_facilities() -> None:
    ward = {
        "resourceType": "Location", "id": "loc-ward-4E", "name": "Ward 4E",
        "managingOrganization": {"reference": "Organization/dept-cardiology"},
    }  # fmt: skip
    found = mended(ward)["Location"]
    assert found["name"] == "River Wing 4E"
    assert found["managingOrganization"] == FACILITIES[0].reference
    assert found["partOf"] == SOURCE.reference("Location", "loc-dept-cardiology")


def test_licensed_and_foreign_codes_are_dropped() -> None:
    descriptor = "Placement of a tube; simple, with a long tail"
    codings = [
        {"system": "http://www.ama-assn.org/go/cpt", "code": "00000", "display": descriptor},
        {"system": "urn:oid:1.2.392.200119.4.401", "code": "G000", "display": descriptor},
    ]
    code = {"coding": codings, "text": descriptor}
    found = mended({"resourceType": "Procedure", "id": "x", "code": code, "bodySite": [{"text": "not specified"}]})
    assert found["Procedure"]["code"] == {"coding": [], "text": "Placement of a tube"}
    assert found["Procedure"]["bodySite"] == []


def test_an_administration_has_no_timing() -> None:
    dosage = {"text": "1 mg", "timing": {"repeat": {}}, "doseAndRate": [{}]}
    found = mended({"resourceType": "MedicationAdministration", "id": "x", "dosage": dosage})
    assert found["MedicationAdministration"]["dosage"] == {"text": "1 mg"}


def test_an_empty_code_and_a_missing_display_are_mended() -> None:
    report = {
        "resourceType": "DiagnosticReport",
        "id": "x",
        "code": {"coding": [{"code": "", "display": ""}], "text": ""},
    }
    name = "(display unavailable)"
    condition = {
        "resourceType": "Condition",
        "id": "x",
        "code": {"coding": [{"code": "O64.9", "display": name}], "text": name},
    }
    found = mended(report, condition)
    assert found["DiagnosticReport"]["code"]["text"] == "Diagnostic imaging study"
    assert found["Condition"]["code"] == {"coding": [{"code": "O64.9"}]}


def test_a_series_has_the_instances_that_it_counts() -> None:
    series = [{"uid": "1.2", "modality": {"code": "US"}, "numberOfInstances": 65, "description": "long_axis view"}]
    found = mended({"resourceType": "ImagingStudy", "id": "x", "identifier": [], "series": series})["ImagingStudy"]
    assert (found["numberOfSeries"], found["numberOfInstances"]) == (1, 3)
    assert len({item["uid"] for item in found["series"][0]["instance"]}) == 3
    assert found["series"][0]["description"] == "Long axis view"


def test_a_study_without_series_gets_one() -> None:
    modality = [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"}]
    study = {"resourceType": "ImagingStudy", "id": "x", "identifier": [], "modality": modality, "series": []}
    found = mended(study)["ImagingStudy"]
    assert (found["numberOfSeries"], found["numberOfInstances"]) == (1, 1)
    assert found["series"][0]["modality"] == modality[0]


def test_a_practitioner_s_number_has_the_form_of_an_npi() -> None:
    found = mended({"resourceType": "Practitioner", "id": "DR-1", "identifier": [{"system": "x", "value": "DR-1"}]})
    npi = found["Practitioner"]["identifier"][0]["value"]
    digits = [int(digit) for digit in reversed("80840" + npi)]
    doubled = [digit if place % 2 == 0 else sum(divmod(2 * digit, 10)) for place, digit in enumerate(digits)]
    assert npi.startswith("9")
    assert sum(doubled) % 10 == 0


def test_a_monitor_reads_every_minute(simulated: Hospitals) -> None:
    own = repaired(simulated[0], SOURCE)
    stay = current_stays(own, SOURCE, 1)[0]
    found = list(readings(stay, 240))
    times = sorted({item["effectiveDateTime"] for item in found})
    assert len(times) == 240
    assert datetime.fromisoformat(times[-1]) == AS_OF - timedelta(minutes=1)
    assert len({item["device"]["reference"] for item in found}) == 1
    values: defaultdict[str, list[float]] = defaultdict(list)
    for item in found:
        for part in item.get("component", [item]):
            values[part["code"]["coding"][0]["code"]].append(part["valueQuantity"]["value"])
    assert all(len(each) == 240 and len(set(each)) > 1 for each in values.values())
    limits = {
        "8867-4": (35, 160),
        "2708-6": (80, 100),
        "9279-1": (6, 40),
        "8310-5": (35, 40.5),
        "8480-6": (70, 230),
        "8462-4": (35, 150),
    }
    assert values.keys() == limits.keys()
    assert all(low <= value <= high for code, (low, high) in limits.items() for value in values[code])


def test_every_hospital_has_its_own_staff(simulated: Hospitals) -> None:
    sources = [Source(facility, SEED) for facility in FACILITIES]
    staff = [
        {item["id"] for item in of(repaired(hospital, source), "Practitioner")}
        for hospital, source in zip(simulated, sources, strict=True)
    ]
    assert all(staff)
    assert not set.intersection(*staff)
