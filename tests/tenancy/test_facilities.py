"""What is another facility's is like what never was: each root, relation and subscription, found by walking the schema.

Each relation is asked below parents that the caller sees, first those that both facilities see: so none leads out of
the facility at the first hop, and where none does at one hop, none does at any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from graphql import FieldNode, TypeInfo, TypeInfoVisitor, Visitor, parse, visit

from db.caller import Profile
from db.errors import Forbidden, PhiFilterForbidden
from tests.asking import Answer
from tests.people import People
from tests.schema_walk import GRAPH, NODES, Place, fields_of, relations, selection
from tests.tenancy.asks import OF_THEIR_SUBJECT, Ask, asks, document, lists, of_node
from tests.tenancy.tenants import ASKERS, HERE, THERE, Scene, Tenants, broken, bytes_of, looked_up, never

NOTED = "UPDATE clinical.condition SET note = $2 WHERE patient_id = $1"
ADMITTED = """
INSERT INTO clinical.encounter (id, facility_id, patient_id, department_id, status, class_code, code_system, code,
    sort_time)
VALUES ($1, $2, $3, $4, 'in-progress', 'IMP', 'http://snomed.info/sct', '32485007', now())"""
OF_NO_FACILITY = {"ResearchDatasetConnection", "SyncStatus"}
"""What lists show that is nobody's."""
SERIES = """
INSERT INTO imaging.imaging_series (id, facility_id, imaging_study_id)
SELECT $1, $2, id FROM imaging.imaging_study WHERE id = $3"""
OBJECT = """
INSERT INTO imaging.imaging_instance (id, facility_id, imaging_series_id, s3_key, storage_class, restore_state,
    stored_at)
VALUES ($1::uuid, $2::uuid, $3, 'imaging/' || $2::uuid || '/' || $1::uuid || '.dcm', 'GLACIER', 'in-progress', now())"""
PARENTS = 10
"""Parents of each type below which a relation is asked."""
BELOW_NODES = [place for place in relations() if place.owner in NODES]


async def _granted(pair: Tenants, at: int) -> None:
    """Somebody breaks the glass of a patient of a facility."""
    patient = await People(pair.graph.stores).patient(pair.graph.facilities[at].id)
    nobody, made = uuid4(), pair.scenes[at]
    await broken(pair.graph, at, Scene(nobody, nobody, patient, "", "", "", made.subject))


async def _noted(pair: Tenants, at: int) -> None:
    """Somebody writes to the chart of the patient of a facility's scene."""
    await pair.graph.stores.clinical.worker_fetch(NOTED, pair.scenes[at].patient, uuid4().hex)


async def _measured(pair: Tenants, at: int) -> None:
    """A reading of the patient of a facility's scene arrives."""
    await People(pair.graph.stores).reading(pair.graph.facilities[at].id, pair.scenes[at].patient)


async def _admitted(pair: Tenants, at: int) -> None:
    """The patient of a facility's scene is admitted to its department."""
    made = pair.scenes[at]
    facility = pair.graph.facilities[at].id
    await pair.graph.stores.clinical.worker_fetch(ADMITTED, uuid4(), facility, made.patient, made.department)


async def _asked_for(pair: Tenants, at: int) -> None:
    """One more object of a facility's study is asked for from cold storage."""
    imaging, facility, series = pair.graph.stores.imaging, pair.graph.facilities[at].id, uuid4()
    study = UUID((await pair.value("ImagingStudy", at)).removeprefix("ImagingStudy/"))
    await imaging.worker_fetch(SERIES, series, facility, study)
    await imaging.worker_fetch(OBJECT, uuid4(), facility, series)


@dataclass(frozen=True, slots=True)
class Told:
    """How a subscription is asked, by the id of what, and what makes it tell something."""

    make: Callable[[Tenants, int], Awaitable[None]]
    profile: Profile = Profile.CLINICIAN
    argument: str = ""
    kind: str = ""

    @property
    def variables(self) -> str:
        """Variables of the document."""
        return "($id: ID!)" if self.argument else ""

    @property
    def arguments(self) -> str:
        """Arguments of the root."""
        return f"({self.argument}: $id)" if self.argument else ""


EVENTS: Mapping[str, Told] = {
    "breakGlassGrants": Told(_granted, Profile.PRIVACY_OFFICER),
    "chartChanged": Told(_noted, argument="patient", kind="Patient"),
    "jobProgress": Told(_asked_for, argument="id", kind="ImagingStudy"),
    "vitals": Told(_measured, argument="patient", kind="Patient"),
    "wardChanged": Told(_admitted, argument="department", kind="Department"),
}
"""What makes each subscription tell something at a facility."""


@pytest.mark.parametrize("ask", asks(), ids=str)
async def test_what_is_elsewhere_is_like_what_never_was(pair: Tenants, ask: Ask) -> None:
    """Same bytes and same statements, for who at home gets it."""
    caller = pair.graph.caller(await pair.asker(ask), HERE)
    there = await pair.ask(ask, caller, HERE, await pair.value(ask.kind, THERE))
    unknown = await pair.ask(ask, caller, HERE, never(ask.kind))
    assert bytes_of(there) == bytes_of(unknown)
    assert there.statements == unknown.statements


@pytest.mark.parametrize("root", lists(), ids=str)
async def test_lists_hold_nothing_of_elsewhere(pair: Tenants, root: Place) -> None:
    more = {"first": 100} if "first" in root.arguments else {}
    here, there = [await _first_who_may(pair, root, at, more) for at in (HERE, THERE)]
    assert pair.found_in(here) == []
    if root.gives.name not in OF_NO_FACILITY and not there.errors:
        assert pair.found_in(there) != [], "asked at home it shows something"


async def _first_who_may(pair: Tenants, root: Place, at: int, more: Mapping[str, object]) -> Answer:
    for profile in ASKERS:
        answer = await pair.listed(root, pair.graph.caller(profile, at), **more)
        if "FORBIDDEN" not in answer.codes:
            return answer
    raise AssertionError(f"say who may ask {root}")


@pytest.mark.parametrize("place", BELOW_NODES, ids=str)
async def test_relations_lead_to_nothing_of_elsewhere(pair: Tenants, place: Place) -> None:
    query, asked = of_node(place), 0
    for parent in pair.parents[place.owner][:PARENTS]:
        for profile in ASKERS:
            try:
                answer = await pair.graph.ask(query, profile, HERE, id=parent)
            except PhiFilterForbidden:  # this profile may not ask by a code
                continue
            assert pair.found_in(answer) == []
            asked += answer.errors == [] and answer.data["node"] is not None
    assert asked, f"say who may ask {place}"


async def test_the_access_log_of_a_patient_of_both_names_who_asked_at_home(pair: Tenants) -> None:
    """Both asked a moment ago: the log is newest first, and this walk fills it."""
    query = "query($id: ID!) { patient(id: $id) { accessLog { nodes { subject } } } }"
    patient = pair.parents["Patient"][0]
    for at, made in enumerate(pair.scenes):
        await looked_up(pair.graph, at, made, patient)
    for at in (THERE, HERE):
        answer = await pair.graph.ask(query, Profile.PRIVACY_OFFICER, at, id=patient)
        subjects = {node["subject"] for node in answer.data["patient"]["accessLog"]["nodes"]}
        assert subjects & {made.subject for made in pair.scenes} == {pair.scenes[at].subject}


async def _with_an_object(pair: Tenants, query: str, at: int, instances: Sequence[str]) -> tuple[str, str]:
    """An instance of a facility that has an object, which not all have, and its URL."""
    for instance in instances:
        answer = await pair.graph.ask(query, facility=at, id=instance)
        if answer.data["node"] and answer.data["node"]["presignedUrl"]:
            return instance, answer.data["node"]["presignedUrl"]
    raise AssertionError("the network has an instance with an object at each facility")


async def test_presigned_urls_name_the_own_facility(pair: Tenants) -> None:
    """Who gets a URL gets one of the own prefix; who asks for another's instance gets none, and nothing is signed."""
    query = "query($id: ID!) { node(id: $id) { ... on ImagingInstance { presignedUrl } } }"
    _, own = await _with_an_object(pair, query, HERE, pair.parents["ImagingInstance"])
    assert f"imaging/{pair.graph.facilities[HERE].id}/" in own
    theirs, url = await _with_an_object(pair, query, THERE, pair.theirs["ImagingInstance"])
    foreign = await pair.graph.ask(query, facility=HERE, id=theirs)
    assert foreign.data == {"node": None}
    key = url.partition("?")[0]
    session = pair.graph.stores.archive.session(pair.graph.caller(facility=HERE), lambda store, name: None)
    for path in (key[key.index("imaging/") :], f"imaging/{pair.graph.facilities[THERE].id}/{uuid4()}/1.dcm"):
        with pytest.raises(Forbidden):
            await session.presigned_get(path, 60)


@pytest.mark.parametrize("root", fields_of(GRAPH.subscription_type), ids=str)
async def test_subscriptions_tell_nothing_of_elsewhere(pair: Tenants, root: Place) -> None:
    """Events of both facilities happen, those of the other one first; only the own are told."""
    assert root.name in EVENTS, f"say what makes {root} tell something"
    event = EVENTS[root.name]
    query = f"subscription {event.variables} {{ {root.name}{event.arguments} {selection(root.field.type)} }}"
    asked = {"id": await pair.value(event.kind, HERE)} if event.kind else {}
    caller = pair.graph.caller(event.profile, HERE)
    async with aclosing(pair.graph.subscribe_as(caller, query, **asked)) as told:
        waiting = asyncio.ensure_future(anext(told))
        while not waiting.done():  # nobody is told of what was before they listened
            for at in (THERE, HERE):
                await event.make(pair, at)
            await asyncio.wait([waiting], timeout=0.5)
        message = waiting.result()
    assert message.errors == []
    assert pair.found_in(message) == []


@pytest.mark.parametrize("root", [one for one in fields_of(GRAPH.subscription_type) if one.required], ids=str)
async def test_a_subscription_to_what_is_elsewhere_is_like_one_to_what_never_was(pair: Tenants, root: Place) -> None:
    event = EVENTS[root.name]
    assert event.kind
    query = f"subscription {event.variables} {{ {root.name}{event.arguments} {selection(root.field.type)} }}"
    caller = pair.graph.caller(event.profile, HERE)
    answers: list[bytes] = []
    for id in (await pair.value(event.kind, THERE), never(event.kind)):
        async with aclosing(pair.graph.subscribe_as(caller, query, id=id)) as told:
            answers.append(bytes_of(await anext(told)))
    assert answers[0] == answers[1]


class _Coordinates(Visitor):
    """Collects the fields that a document selects."""

    def __init__(self, info: TypeInfo, found: set[str]) -> None:
        super().__init__()
        self._info, self._found = info, found

    def enter_field(self, node: FieldNode, *_args: object) -> None:
        """Adds its coordinate."""
        parent = self._info.get_parent_type()
        if parent:
            self._found.add(f"{parent.name}.{node.name.value}")


def test_every_relation_is_asked_and_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    """A relation that no query of this walk selects would go unnoticed."""
    queries = [document(root, {name: None for name in root.required}) for root in lists()]
    queries += [document(ask.root, {name: None for name in (*ask.root.required, ask.argument)}) for ask in asks()]
    queries += [of_node(place) for place in BELOW_NODES]
    queries += [f"subscription {{ {p.name} {selection(p.field.type)} }}" for p in fields_of(GRAPH.subscription_type)]
    found: set[str] = set()
    for query in queries:
        info = TypeInfo(GRAPH)
        visit(parse(query), TypeInfoVisitor(info, _Coordinates(info, found)))
    roots = [str(p) for t in (GRAPH.query_type, GRAPH.mutation_type, GRAPH.subscription_type) for p in fields_of(t)]
    # An input object needs more than an id: tests/writes asks each mutation for what is elsewhere.
    written = {str(p) for p in fields_of(GRAPH.mutation_type) if "input" in p.arguments} | OF_THEIR_SUBJECT
    missed = {*map(str, relations()), *roots} - found - written
    assert {one for one in missed if not one.partition(".")[0].endswith("Payload")} == set()
    counts = {
        "roots": len(roots),
        "asks": len(asks()),
        "lists": len(lists()),
        "relations": len(BELOW_NODES),
    }
    with capsys.disabled():
        print(f"\ncross-tenant: {counts}")
    assert counts["roots"] >= 18
    assert counts["asks"] >= 40
    assert counts["lists"] >= 8
    assert counts["relations"] >= 100
