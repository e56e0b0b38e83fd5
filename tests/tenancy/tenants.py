"""Two facilities of the network, what only one of them has, and who may ask for what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import orjson

from db.audit import AuditLog, Event, EventKind
from db.caller import Caller, Profile
from db.notes_schema import CLINICAL_NOTES
from tests.asking import Answer, Graph
from tests.callers import caller_of
from tests.ids import ids_of
from tests.layers.hospital import DEPARTMENT, PROVIDER, STUDY
from tests.notes.documents import note
from tests.people import People
from tests.research.people import made as made_project
from tests.schema_walk import NODES, Place
from tests.tenancy.asks import COMMON, SHARED, USUAL, Ask, document

THERE, HERE = 0, 1
"""Facility A, which is asked for, and facility B, whose caller asks."""
ASKERS = (Profile.CLINICIAN, Profile.PRIVACY_OFFICER)
"""Who asks: the first who may."""
BREAK = """mutation($patient: ID!) {
    breakGlass(patient: $patient, reason: "Unconscious in the emergency department", minutes: 60) { id } }"""
RENAME = "UPDATE clinical.patient_name SET family = $2 WHERE patient_id = $1"
MRNS = "SELECT facility_id, mrn FROM clinical.registration"


@dataclass(frozen=True, slots=True)
class Scene:
    """What was made at one facility: a patient in a department, treated by a provider, whose glass a subject broke."""

    department: UUID
    provider: UUID
    patient: UUID
    mrn: str
    family: str
    word: str
    """Word of a note of the patient."""
    subject: str
    release: str = ""
    """Global id of a release of research that the subject read."""

    def value(self, kind: str) -> str | None:
        """A global id or word of a kind; None for a kind that is not made here."""
        if kind in ("mrn", "family", "word", "subject", "release"):
            return getattr(self, kind)
        made = {"Department": self.department, "Patient": self.patient, "Provider": self.provider}
        return f"{kind}/{made[kind]}" if kind in made else None


async def scene(graph: Graph, at: int) -> Scene:
    """Writes a scene as the workers write, with a project that has the patient, whose chart a subject opens."""
    facility, people, clinical = graph.facilities[at].id, People(graph.stores), graph.stores.clinical
    department, provider, mark = uuid4(), uuid4(), uuid4().hex
    await clinical.worker_fetch(DEPARTMENT, department, facility)
    await clinical.worker_fetch(PROVIDER, facility, provider)
    patient = await people.patient(facility)
    family = strange()
    await clinical.worker_fetch(RENAME, patient, family)
    await people.stay(facility, patient, department, provider)
    await graph.stores.imaging.worker_fetch(STUDY, uuid4(), facility, patient)
    await graph.stores.notes.worker_upsert(CLINICAL_NOTES, [note(facility, patient, f"Reports word{mark} today.")])
    await made_project(graph.stores, facility, patient)
    words = (f"T-{patient.hex[12:]}", family, f"word{mark}", f"dr-{mark}", never("release"))
    made = Scene(department, provider, patient, *words)
    await broken(graph, at, made)
    return made


async def broken(graph: Graph, at: int, made: Scene) -> str:
    """Global id of a new grant of the scene's subject for its patient."""
    role = graph.caller(Profile.CLINICIAN, at).role
    caller = Caller(made.subject, role, graph.facilities[at].id, graph.caller().purpose)
    answer = await graph.ask_as(caller, BREAK, patient=f"Patient/{made.patient}")
    assert answer.errors == []
    return answer.data["breakGlass"]["id"]


async def looked_up(graph: Graph, at: int, made: Scene, patient: str) -> None:
    """The scene's subject asks for a patient at a facility, which the audit records."""
    usual = graph.caller(Profile.CLINICIAN, at)
    caller = Caller(made.subject, usual.role, usual.facility_id, usual.purpose)
    await graph.ask_as(caller, "query($id: ID!) { patient(id: $id) { id } }", id=patient)


async def released(graph: Graph, log: AuditLog, at: int, made: Scene) -> None:
    """The scene's subject has read its release, as the audit has it."""
    caller = caller_of(Profile.ANALYST, graph.facilities[at].id, made.subject)
    read = frozenset({UUID(made.release.partition("/")[2])})
    await log.append(Event(EventKind.QUERY, "OK", "r", caller, "0" * 64, releases=read))


def strange() -> str:
    """A name that is similar to no other: a search shows whoever is called nearly so."""
    return "".join(chr(ord("g") + int(digit, 16)) for digit in uuid4().hex).capitalize()


def never(kind: str) -> str:
    """An id that was never issued, or a word that nobody has."""
    key = uuid4()
    words = {
        "mrn": f"T-{key.hex[:12]}",
        "family": strange(),
        "word": f"word{key.hex}",
        "subject": f"dr-{key.hex}",
        "release": f"ResearchDatasetVersion/{key}",
    }
    return words.get(kind) or f"{kind}/{key}{'.0' if kind == 'VitalSign' else ''}"


def bytes_of(answer: Answer) -> bytes:
    """The whole answer as a client gets it."""
    return orjson.dumps([answer.data, answer.errors, answer.extensions], default=str)


@dataclass(frozen=True, slots=True)
class Tenants:
    """Facilities A and B, and marks of what only A has."""

    graph: Graph
    scenes: tuple[Scene, Scene]
    marks: frozenset[str]
    """Ids, record numbers and words that occur in A's data and not in B's."""
    parents: Mapping[str, list[str]]
    """Global ids of each type of Node that B sees, those that A sees too first."""
    theirs: Mapping[str, list[str]]
    """Those that A sees, those that only A sees first."""

    async def value(self, kind: str, at: int) -> str:
        """An id or word of a kind that only this facility has."""
        if kind == "BreakGlassGrant":
            return await broken(self.graph, at, self.scenes[at])  # one that nobody has reviewed yet
        if found := self.scenes[at].value(kind):
            return found
        seen, elsewhere = (self.theirs, self.parents) if at == THERE else (self.parents, self.theirs)
        only = [one for one in seen[kind] if one not in set(elsewhere[kind])]
        assert only, f"the network has a {kind} that only one facility sees"
        return only[0]

    async def ask(self, ask: Ask, caller: Caller, at: int, value: str) -> Answer:
        """Answer of an ask for a value; other names are of the caller's facility."""
        given: dict[str, Any] = {name: await self.value(kind, at) for name, kind in ask.others.items()}
        given |= {**ask.beside, ask.argument: value}
        return await self.graph.ask_as(caller, document(ask.root, given), **given)

    async def asker(self, ask: Ask) -> Profile:
        """Who may ask: who at home gets what is there, and not what never was. Fails where nobody does."""
        for profile in ASKERS:
            caller = self.graph.caller(profile, THERE)
            there = await self.ask(ask, caller, THERE, await self.value(ask.kind, THERE))
            if there.errors == [] and there.data != (await self.ask(ask, caller, THERE, never(ask.kind))).data:
                return profile
        raise AssertionError(f"say who may ask {ask}")

    async def listed(self, root: Place, caller: Caller, **more: object) -> Answer:
        """Answer of a root that names nothing of one facility."""
        given = {name: USUAL.get(name, COMMON.get(name)) for name in root.required} | more
        return await self.graph.ask_as(caller, document(root, given), **given)

    def found_in(self, answer: Answer) -> list[str]:
        """Marks of A that occur in an answer."""
        text = bytes_of(answer).decode()
        return [mark for mark in self.marks if mark in text]


async def tenants(graph: Graph, log: AuditLog) -> Tenants:
    """Makes the scenes, a patient of both facilities whom both asked for, and looks up what each facility has.

    The log is that of the graph.
    """
    scenes = (await scene(graph, THERE), await scene(graph, HERE))
    people, ids = People(graph.stores), [facility.id for facility in graph.facilities]
    both = await people.patient(ids[THERE], ids[HERE])
    for at, made in enumerate(scenes):
        await people.stay(ids[at], both, provider=made.provider)
        await looked_up(graph, at, made, f"Patient/{both}")
        await released(graph, log, at, made)
    theirs = {kind: list(await ids_of(graph, kind, THERE)) for kind in NODES}
    ours = {kind: list(await ids_of(graph, kind, HERE)) for kind in NODES}
    keys = {kind: {one.partition("/")[2] for one in listed} for kind, listed in ours.items()}
    marks = {one.partition("/")[2] for kind in NODES - SHARED for one in theirs[kind]}.difference(*keys.values())
    marks = {mark.partition(".")[0] for mark in marks} | {scenes[THERE].family, scenes[THERE].word}
    mrns = await graph.stores.clinical.worker_fetch(MRNS)
    here = {row["mrn"] for row in mrns if row["facility_id"] == ids[HERE]}
    marks |= {row["mrn"] for row in mrns if row["facility_id"] == ids[THERE] and len(row["mrn"]) > 5} - here
    marks.add(scenes[THERE].subject)
    for kind in NODES:
        shared = set(ours[kind]) & set(theirs[kind])
        ours[kind].sort(key=lambda one: one not in shared)
        theirs[kind].sort(key=lambda one: one in shared)
    ours["Patient"].sort(key=lambda one: one != f"Patient/{both}")
    return Tenants(graph, scenes, frozenset(marks), ours, theirs)
