"""What documents are asked about: the demo network, a patient whose records are full of holes, and who asks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, LiteralString
from uuid import UUID, uuid4

from db.caller import Caller, Profile, PurposeOfUse
from db.policy import ROLES
from tests.asking import Graph
from tests.callers import caller_of
from tests.differential.arguments import Values
from tests.exchange.test_exchange import to
from tests.ids import ids_of
from tests.people import FIRST_BYTES, People
from tests.schema_walk import GRAPH, NODES, Place, fields_of
from tests.tenancy.asks import COMMON, USUAL, document, of_node

IDS = 12
"""Ids of each type that documents name."""
PARENTS = 6
"""Parents of a connection among which one with an entry is looked for, to have its cursor."""
TABLES: Sequence[LiteralString] = (
    "allergy_intolerance",
    "care_team",
    "condition",
    "diagnostic_report",
    "encounter",
    "immunization",
    "lab_result",
    "medication_administration",
    "medication_request",
    "observation",
    "procedure",
)
"""Tables of the clinical database whose rows are copied with holes."""
RICHEST = """
SELECT patient_id FROM clinical.medication_administration WHERE facility_id = $1
GROUP BY patient_id ORDER BY count(*) DESC, patient_id LIMIT 3"""
TREATING = """
SELECT provider_id, department_id FROM clinical.encounter
WHERE facility_id = $1 AND provider_id IS NOT NULL AND department_id IS NOT NULL
GROUP BY 1, 2 ORDER BY count(*) DESC, 1 LIMIT 1"""
MRNS = "SELECT mrn FROM clinical.registration WHERE facility_id = $1 ORDER BY mrn LIMIT 5"
FAMILIES = """
SELECT n.family FROM clinical.patient_name AS n JOIN clinical.registration AS r USING (patient_id)
WHERE r.facility_id = $1 AND n.family IS NOT NULL ORDER BY n.patient_id LIMIT 5"""
PATIENT_WITH_HOLES = "UPDATE clinical.patient SET contact = $2, address = $3, communication = $4 WHERE id = $1"
HOLES: Sequence[Any] = (
    [
        {"relationship": None, "telecom": [None]},
        {"relationship": [{"coding": [None]}, None], "name": {"given": [None]}},
        {"relationship": [{"coding": None, "text": "friend"}], "telecom": [{}], "address": {"line": [None]}},
    ],
    [{"line": [None, "1 Main Street"], "city": None}, {}],
    [{"language": {"coding": [{}]}, "preferred": None}, {}],
)
"""Contacts, addresses and languages of the patient with holes."""
SOME: LiteralString = """
SELECT to_jsonb(t)::text FROM clinical.{0} AS t
WHERE facility_id = $1 AND patient_id::text NOT LIKE $2 ORDER BY id LIMIT 2"""
COPY: LiteralString = "INSERT INTO clinical.{0} SELECT (jsonb_populate_record(NULL::clinical.{0}, $1::text::jsonb)).*"
ODD_TEXT = 'a "quoted" \\ back/slash\tand\u0001\u007f\u2028 \u00e9 \U0001f9ec </script>'
ODD: Mapping[str, object] = {"note": ODD_TEXT, "value_text": ODD_TEXT, "code_text": ODD_TEXT, "value_number": 1e-7}
"""Values of columns that JSON can write in more than one way."""
READ = ("Patient", "Condition", "Observation", "Encounter", "Organization", "Location", "Practitioner", "Medication")
"""FHIR types that an app with SMART scopes may read."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Somebody who asks, and what this caller's documents can name."""

    name: str
    caller: Caller
    values: Values


@dataclass(frozen=True, slots=True)
class Scenery:
    """Askers over a graph."""

    graph: Graph
    askers: Sequence[Asker]


async def scenery(graph: Graph) -> Scenery:
    """Writes the patient with holes, and looks up what the first facility has."""
    values = Values(await _ids(graph), await _cursors(graph), await _words(graph))
    here, clinical = graph.facilities[0].id, graph.stores.clinical
    [(provider, department)] = await clinical.worker_fetch(TREATING, here)
    rich = [f"Patient/{row[0]}" for row in await clinical.worker_fetch(RICHEST, here)]
    hollow, treating_elsewhere = await _hollow(graph)
    values = replace(values, ids={**values.ids, "Patient": [*rich, f"Patient/{hollow}", *values.ids["Patient"]]})
    askers = [
        Asker(profile.value, caller_of(profile, here, f"test-{profile.value}"), values)
        for profile in Profile
        if profile is not Profile.PATIENT
    ]
    physician, consultant, treat = askers[0].caller, ROLES["consultant"], PurposeOfUse.TREAT
    askers += [Asker("physician", physician, values)] * 7  # who may see the most
    askers += [
        Asker("research", replace(graph.caller(Profile.ANALYST), purpose=PurposeOfUse.HRESCH), values),
        Asker("consultant", Caller("test-consultant", consultant, here, treat, provider_id=provider), values),
        Asker("stranger", Caller("test-stranger", consultant, here, treat), values),
        Asker("ward", Caller("test-ward", ROLES["ward_nurse"], here, treat, department_id=department), values),
        Asker("app", replace(physician, types=frozenset(READ)), values),
    ]
    for patient in (rich[0], f"Patient/{hollow}"):
        own = replace(values, ids={**values.ids, "Patient": [patient]})
        oneself = replace(graph.caller(Profile.PATIENT), patient_id=UUID(patient.partition("/")[2]))
        askers.append(Asker("patient", oneself, own))
    away = Caller("test-exchange", consultant, graph.facilities[1].id, treat, provider_id=treating_elsewhere)
    askers.append(Asker("exchange", away, replace(values, ids={**values.ids, "Patient": [f"Patient/{hollow}"]})))
    told = [replace(asker, values=replace(asker.values, caller=asker.caller)) for asker in askers]
    return Scenery(graph, told)


async def _ids(graph: Graph) -> Mapping[str, Sequence[str]]:
    """Some ids of each type of Node, from all over the facility."""
    found = {kind: await ids_of(graph, kind) for kind in sorted(NODES)}
    return {kind: ids[:: max(1, len(ids) // IDS)][:IDS] for kind, ids in found.items()}


async def _cursors(graph: Graph) -> Mapping[str, Sequence[str]]:
    """A cursor of each connection that has an entry somewhere."""
    cursors: dict[str, Sequence[str]] = {}
    for type_ in (GRAPH.type_map[name] for name in ("Query", *sorted(NODES))):
        for place in fields_of(type_):
            if "after" in place.arguments and (cursor := await _cursor(graph, place)):
                cursors[str(place)] = [cursor]
    return cursors


async def _cursor(graph: Graph, place: Place) -> str | None:
    page = "{ pageInfo { endCursor } }"
    for profile in (Profile.CLINICIAN, Profile.PRIVACY_OFFICER):
        if place.owner == "Query":
            given: dict[str, Any] = {
                name: USUAL.get(name, COMMON.get(name)) for name in place.required if name != "patient"
            }
            given |= {"patient": (await ids_of(graph, "Patient", limit=1))[0]} if "patient" in place.required else {}
            answers = [(await graph.ask(document(place, given, page), profile, **given)).data]
        else:
            ids = await ids_of(graph, place.owner, limit=PARENTS)
            answers = [(await graph.ask(of_node(place, "first: 1", page), profile, id=one)).data["node"] for one in ids]
        ends = [answer[place.name]["pageInfo"]["endCursor"] for answer in answers if answer and answer[place.name]]
        if any(ends):
            return next(filter(None, ends))
    return None


async def _words(graph: Graph) -> Mapping[tuple[str, str], Sequence[Any]]:
    """Statuses and codes of each type of fact, as some of its rows have them; names and numbers of patients."""
    words: dict[tuple[str, str], Sequence[Any]] = {}
    here, clinical = graph.facilities[0].id, graph.stores.clinical
    words["", "mrn"] = [row[0] for row in await clinical.worker_fetch(MRNS, here)]
    words["", "search"] = [row[0] for row in await clinical.worker_fetch(FAMILIES, here)]
    words["", "code"] = [["8867-4"], ["8480-6", "8462-4"]]
    for kind in sorted(NODES):
        leaves = {place.name: place for place in fields_of(GRAPH.type_map[kind])}
        status = next((name for name in ("status", "clinicalStatus", "lifecycleStatus") if name in leaves), None)
        concept = next((name for name in ("code", "vaccineCode") if name in leaves), None)
        coded = {"CodeableConcept": "coding { code }", "Coding": "code"}.get(
            leaves[concept].gives.name if concept else ""
        )
        chosen = " ".join(
            filter(None, [f"status: {status}" if status else "", f"it: {concept} {{ {coded} }}" if coded else ""])
        )
        if not chosen:
            continue
        ask = f"query ($id: ID!) {{ node(id: $id) {{ ... on {kind} {{ {chosen} }} }} }}"
        rows = [(await graph.ask(ask, id=one)).data["node"] for one in await ids_of(graph, kind, limit=IDS)]
        statuses = sorted({row["status"] for row in rows if row and row.get("status")})
        codes = sorted({code for row in rows if row and row.get("it") for code in _codes(row["it"])})
        if statuses:
            words[kind, "status"] = [[one] for one in statuses] + [statuses]
        if codes:
            words[kind, "code"] = [[one] for one in codes[:4]] + [codes]
    # Orders are found by the codes of their medications.
    medication = words.get(("Medication", "code"), [["1191"]])
    return (
        words
        | {(kind, "code"): medication for kind in ("MedicationRequest", "MedicationAdministration")}
        | {("LabResult", "code"): words.get(("LabTest", "code"), [["2345-7"]])}
    )


def _codes(concept: Any) -> list[str]:
    codings = concept["coding"] if "coding" in concept else [concept]
    return [coding["code"] for coding in codings if coding["code"]]


async def _hollow(graph: Graph) -> tuple[UUID, UUID]:
    """A patient of two facilities whose records have every kind of hole that the database lets in.

    The patient lets the second facility see the records of the first; also gives the provider who treats there.
    """
    there, here = (facility.id for facility in graph.facilities[:2])
    people, clinical = People(graph.stores), graph.stores.clinical
    patient = await people.patient(there, here)
    await clinical.worker_fetch(PATIENT_WITH_HOLES, patient, *HOLES)
    await people.consent(there, patient, **to(graph))
    [(provider, _)] = await clinical.worker_fetch(TREATING, here)
    await people.stay(here, patient, provider=provider)
    for table in TABLES:
        for (row,) in await clinical.worker_fetch(SOME.format(table), there, f"{FIRST_BYTES}%"):
            columns = json.loads(row)
            for holes in ("null", "missing", "empty", "odd"):
                copy = {name: _with_holes(value, holes) for name, value in columns.items()}
                copy |= {name: odd for name, odd in ODD.items() if name in copy and holes == "odd"}
                copy |= {"id": str(uuid4()), "patient_id": str(patient)}
                await clinical.worker_fetch(COPY.format(table), json.dumps(copy))
    return patient, provider


def _with_holes(value: Any, holes: str, *, inside: bool = False) -> Any:
    """A JSON value whose objects lack values, whose lists have entries that are null, or whose leaves are odd."""
    if inside and holes == "odd" and isinstance(value, str | int | float) and not isinstance(value, bool):
        return ODD_TEXT if isinstance(value, str) else 1e-7
    if isinstance(value, dict):
        if inside and holes == "empty":
            return {}
        return {
            key: None
            if holes == "null" and not isinstance(inner, list | dict)
            else _with_holes(inner, holes, inside=True)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        if not inside and any(isinstance(one, str) for one in value):
            return [*value, None] if holes == "missing" else value  # a column's own list of words or keys
        kept = [_with_holes(inner, holes, inside=True) for inner in value]
        return [*kept, None] if holes == "missing" and inside else kept
    return value
