"""An import as a whole: any order, twice, broken files, bounded memory, a crash in the middle, nothing lost."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import permutations
from pathlib import Path

import pytest

from db.errors import SettingsError
from tests.importer.importing import (
    COUNTS,
    DOCUMENTS,
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
from workers.fhir.reader import entries

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "fhir"
RSS_MAX = 400 * 1024
"""KiB that an import of 50 MB may hold."""


def environ(importing: Importing) -> dict[str, str]:
    """Environment in which the command finds the test's stores."""
    own = importing.configured
    return os.environ | {
        "CAREGRAPH_DATA": str(importing.folder),
        "CAREGRAPH_SECRET": own.secret.decode(),
        "CAREGRAPH_CLINICAL_URL": own.clinical_url,
        "CAREGRAPH_IMAGING_URL": own.imaging_url,
        "CAREGRAPH_VITALS_URL": own.vitals_url,
        "CAREGRAPH_NOTES_URL": own.notes_url,
        "CAREGRAPH_ARCHIVE_URL": own.archive_url,
        "CAREGRAPH_WAREHOUSE_URL": own.warehouse_url,
    }


def command(importing: Importing, *arguments: object) -> subprocess.Popen[str]:
    """`python -m workers import …`, started."""
    line = [sys.executable, "-m", "workers", "import", *map(str, arguments)]
    return subprocess.Popen(
        line, cwd=ROOT, env=environ(importing), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def labs(count: int, of: str = "visit") -> Iterator[Json]:
    """Laboratory results of a visit."""
    for number in range(count):
        yield observation(f"{of} lab {number}", encounter=ref(of), valueQuantity={"value": number, "unit": "mg/dL"})


def in_files(paths: Iterable[Path]) -> Counter[str]:
    """Number of resources of each type, each id once."""
    found = {(item["resourceType"], item["id"]) for path in paths for _, item in entries(path)}
    counts = Counter(resource_type for resource_type, _ in found)
    return Counter({name: n for name, n in counts.items() if name in COUNTS or name in DOCUMENTS})


async def test_counts_of_a_hand_made_network_equal_those_of_its_files(importing: Importing) -> None:
    practitioner = {"resourceType": "Practitioner", "id": uid("jo"), "name": [{"family": "Jo"}]}
    location = {"resourceType": "Location", "id": uid("ward"), "name": "Ward", "managingOrganization": ref("north")}
    role = {
        "resourceType": "PractitionerRole",
        "id": uid("role"),
        "practitioner": ref("jo"),
        "organization": ref("north"),
        "location": [ref("ward")],
    }
    goal = {"resourceType": "Goal", "id": uid("goal"), "subject": ref("ann"), "description": {"text": "Walk"}}
    plan = {
        "resourceType": "CarePlan",
        "id": uid("plan"),
        "status": "active",
        "intent": "plan",
        "subject": ref("ann"),
        "encounter": ref("visit"),
        "goal": [ref("goal")],
    }
    heart = observation("rate", "vital-signs", code=coded("8867-4"), valueQuantity={"value": 70})
    people = importing.write("people.json", bundle(practitioner, location, role, organization(), kind="batch"))
    content = chart(goal, plan, heart, *labs(3), observation("smoker", "social-history", valueString="no"))
    charts = importing.write("chart.json.gz", content)
    await importing.run(people, charts)
    assert await importing.counts() == in_files([people, charts])
    assert (await importing.notes("care_plans"))[0]["goal_ids"] == [uid("goal")]
    ward = await importing.rows("SELECT department_id::text AS id FROM clinical.provider_role")
    assert ward == [{"id": uid("ward")}]


@pytest.mark.skipif(not SHARED.exists(), reason="the sample bundles are not beside this checkout")
async def test_counts_of_the_sample_bundles_equal_those_of_their_files(importing: Importing) -> None:
    paths = sorted(SHARED.rglob("*.gz"))
    report = await importing.run(SHARED)
    assert report.broken == []
    assert await importing.counts() == in_files(paths)
    before = await importing.fingerprint()
    again = await importing.run(SHARED)
    assert sum(counts.written for counts in again.types.values()) == 0
    assert await importing.fingerprint() == before


async def test_every_order_of_files_leads_to_the_same_stores(importing: Importing) -> None:
    npi = "http://hl7.org/fhir/sid/us-npi"
    jo = {"resourceType": "Practitioner", "id": uid("jo"), "identifier": [{"system": npi, "value": "17"}]}
    who = [{"individual": {"reference": f"Practitioner?identifier={npi}|17"}}]
    south = [encounter(f"south {n}", at="south", serviceProvider=ref("south", "Organization")) for n in range(2)]
    allergy = {"resourceType": "AllergyIntolerance", "id": uid("mites"), "patient": ref("ann", "Patient")}
    goal = {
        "resourceType": "Goal",
        "id": uid("goal"),
        "subject": ref("ann", "Patient"),
        "description": {"text": "Walk"},
    }
    north = encounter(participant=who, subject=ref("ann", "Patient"), serviceProvider=ref("north", "Organization"))
    files = [
        importing.write("1.ndjson", organization(), organization("south"), jo),
        importing.write("2.ndjson", patient()),
        importing.write("3.ndjson", north, *[visit | {"subject": ref("ann", "Patient")} for visit in south]),
        importing.write("4.ndjson", allergy, goal, *[lab | {"subject": ref("ann", "Patient")} for lab in labs(2)]),
    ]
    seen: dict[tuple[str, ...], dict[str, str]] = {}
    for order in (files, files[::-1], *list(permutations(files))[5:20:6]):
        await importing.empty()
        for path in order:
            await importing.run(path)
        found = await importing.fingerprint()
        seen[tuple(path.name for path in order)] = found
    first = seen.pop(tuple(path.name for path in files))
    for order, found in seen.items():
        assert {name for name in first if first[name] != found[name]} == set(), order
    homes = await importing.rows(
        "SELECT f.name FROM clinical.allergy_intolerance JOIN clinical.facility AS f ON f.id = facility_id"
    )
    assert homes == [{"name": "South Hospital"}]


async def test_a_broken_file_costs_only_itself(importing: Importing) -> None:
    good = importing.write("good.json", chart(*labs(3)))
    cut = importing.write(
        "cut.json", bundle(patient("eve"), organization(), encounter("eves", of="eve"), *labs(1200, "eves"))
    )
    cut.write_bytes(cut.read_bytes()[:-40])
    torn = importing.write("torn.json.gz", bundle(patient("eve"), organization("far")))
    torn.write_bytes(torn.read_bytes()[:-20])
    (importing.folder / "empty.json").touch()
    (importing.folder / "other.json").write_text('{"hello": "world"}')
    process = command(importing, importing.folder)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "broken file cut.json: it is not well-formed JSON" in printed
    assert "broken file torn.json.gz: it is cut off or can't be read" in printed
    assert "broken file empty.json: it is empty" in printed
    assert "broken file other.json: it is no FHIR resource" in printed
    assert "Eve" not in printed
    assert await importing.counts() == in_files([good])


async def test_what_can_not_be_kept_is_skipped_with_the_reason(importing: Importing) -> None:
    nobody = observation("nobody")
    del nobody["subject"]
    wrong = observation("wrong", effectiveDateTime="2020-02-30")
    stranger = observation("of a stranger", subject=ref("stranger"))
    report = await importing.load(chart(nobody, wrong, stranger, {"resourceType": "Basic", "id": uid("basic")}))
    counts = report.of("Observation")
    assert (counts.read, counts.written) == (3, 0)
    assert +counts.skipped == {
        "it names no patient": 1,
        "a date is not in the calendar": 1,
        "kept until the patient is known": 1,
    }
    assert dict(report.of("Basic").skipped) == {"this type has no place in the stores": 1}
    await importing.load(bundle(patient("stranger"), kind="batch"), "late.json")
    assert len(await importing.rows("SELECT id FROM clinical.lab_result")) == 1
    assert await importing.rows("SELECT resource_id FROM clinical.deferred_resource") == []


async def test_a_correction_leaves_no_old_row_behind(importing: Importing) -> None:
    lab = observation("lab", valueQuantity={"value": 1})
    pulse = observation("pulse", "vital-signs", code=coded("8867-4"), valueQuantity={"value": 1})
    await importing.load(chart(lab, pulse))
    moved = "2011-05-05T00:00:00Z"
    await importing.load(chart(lab | {"effectiveDateTime": moved}, pulse | {"effectiveDateTime": moved}))
    assert [row["effective"] for row in await importing.rows("SELECT effective FROM clinical.lab_result")] == [moved]
    vitals = await importing.rows("SELECT effective FROM vitals.vital_sign", database="vitals")
    assert [row["effective"] for row in vitals] == [moved]
    await importing.load(chart(lab | {"category": [coded("survey")]}))
    assert await importing.rows("SELECT id FROM clinical.lab_result") == []
    assert len(await importing.rows("SELECT id FROM clinical.observation")) == 1


async def test_facts_follow_their_encounter_to_another_facility(importing: Importing) -> None:
    pulse = observation(
        "pulse", "vital-signs", code=coded("8867-4"), encounter=ref("visit"), valueQuantity={"value": 1}
    )
    note = document("note", "Seen.")
    await importing.load(chart(pulse, note, *labs(2)))
    moved = encounter(serviceProvider=ref("south"))
    await importing.load(bundle(patient(), organization("south"), moved), "moved.json")
    (south,) = await importing.rows("SELECT id FROM clinical.facility WHERE name = 'South Hospital'")
    for sql in ("SELECT facility_id FROM clinical.lab_result", "SELECT facility_id FROM clinical.registration"):
        assert {row["facility_id"] for row in await importing.rows(sql)} == {south["id"]}
    vitals = await importing.rows("SELECT facility_id FROM vitals.vital_sign", database="vitals")
    assert [row["facility_id"] for row in vitals] == [south["id"]]
    assert [found["metadata"]["facility_id"] for found in await importing.notes()] == [str(south["id"])]


async def test_one_facility_for_everything(importing: Importing) -> None:
    report = await importing.run(importing.write("chart.json", chart(*labs(2))), facility="MERCY")
    assert dict(report.of("Organization").skipped) == {"--facility takes its place": 1}
    assert [tuple(row.values()) for row in await importing.rows("SELECT code, name FROM clinical.facility")] == [
        ("MERCY", "MERCY")
    ]
    assert (await importing.counts())["Observation"] == 2
    with pytest.raises(SettingsError, match="--facility"):
        await importing.run(importing.folder, facility="not a code")


async def test_kill_in_the_middle_then_again(importing: Importing) -> None:
    for number in range(8):
        person, visit = f"p{number}", f"v{number}"
        content = bundle(patient(person), organization(), encounter(visit, of=person))
        content["entry"] += [{"resource": lab | {"subject": ref(person)}} for lab in labs(400, visit)]
        importing.write(f"files/{number}.json", content)
    folder = importing.folder / "files"
    process = command(importing, folder)
    while process.poll() is None and not await importing.rows("SELECT id FROM clinical.patient LIMIT 1"):  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    stored = await importing.rows(
        "SELECT count(*) AS labs, count(DISTINCT patient_id) AS people FROM clinical.lab_result"
    )
    assert 0 < stored[0]["people"] < 8
    assert stored[0]["labs"] == 400 * stored[0]["people"]
    await importing.run(folder)
    after_crash = await importing.fingerprint()
    await importing.empty()
    await importing.run(folder)
    assert await importing.fingerprint() == after_crash
    assert (await importing.counts())["Observation"] == 3200


def peak_rss(process: subprocess.Popen[str]) -> int:
    """Peak resident size of a process in KiB, as last seen before its end.

    Not ru_maxrss: that one starts with the size of the process that forked it.
    """
    peak = 0
    while process.poll() is None:
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
            found = re.search(r"VmHWM:\s+(\d+)", status)
            peak = int(found[1]) if found else peak
        time.sleep(0.01)
    return peak


async def test_fifty_megabytes_in_bounded_memory(importing: Importing) -> None:
    path = importing.folder / "big.json.gz"
    claim = json.dumps({"resource": {"resourceType": "Claim", "id": uid("claim"), "item": [{"text": "x" * 80}] * 150}})
    with gzip.open(path, "wt", compresslevel=1) as file:
        head = json.dumps(chart())
        file.write(head[: head.rindex("]")])
        size = 0
        for lab in labs(14_000):
            lab["note"] = [{"text": "y" * 1000}]
            entry = json.dumps({"fullUrl": f"urn:uuid:{lab['id']}", "resource": lab})
            size += file.write(f", {entry}")
            if lab["valueQuantity"]["value"] % 5 == 0:
                size += file.write(f", {claim}")
        file.write("]}")
    assert size > 50_000_000
    with command(importing, path) as process:
        peak = await asyncio.to_thread(peak_rss, process)
    assert process.returncode == 0
    assert 0 < peak < RSS_MAX
    assert (await importing.counts())["Observation"] == 14_000
