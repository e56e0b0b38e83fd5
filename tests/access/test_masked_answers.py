"""Every profile asks for all fields of a patient: masked ones are named, and no masked value is in the answer."""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import pytest_asyncio
from graphql import GraphQLField, GraphQLNonNull, GraphQLObjectType, Undefined, get_named_type

from db.caller import Profile
from db.policy import POLICY, Form, Phi
from graph.plan import scrubs
from graph.schema import schema
from tests.asking import Answer, Graph
from tests.callers import PURPOSES, STAFF

GRAPH = schema._schema  # pyright: ignore[reportPrivateUsage] - Strawberry has no public name for it
NODES = {type_.name for type_ in GRAPH.get_possible_types(GRAPH.type_map["Node"])}  # pyright: ignore[reportArgumentType]
OFFICERS = {"accessLog"}
"""Fields of a patient that are refused to all but a privacy officer and the patient (see tests/audit)."""
FOLLOWED = {"ImagingSeries", "ImagingInstance"}
"""Types of Node that the query enters below the lists of a patient."""
PHI_LINE = re.compile(r"^  (\w+): .*@phi\(kind: \[([\w\s,]+)\]\)", re.MULTILINE)
PAGE = 10
"""Rows of each list."""
SHORT = 5
"""Characters of a value that is looked for: shorter ones occur anywhere."""


def declared() -> Mapping[str, Sequence[Phi]]:
    """PHI kinds by coordinate, from the printed schema."""
    kinds: dict[str, Sequence[Phi]] = {}
    for block in re.split(r"\n\n(?=type |interface |\"\"\")", schema.as_str()):
        name = re.search(r"^type (\w+)", block, re.MULTILINE)
        # Arguments stand on lines of their own, deeper than fields; a field's directive ends its last line.
        flat = re.sub(r"\((?:[^()]|\([^()]*\))*\):", ":", block) if name else ""
        for field, listed in PHI_LINE.findall(flat):
            kinds[f"{name[1]}.{field}" if name else field] = [Phi(kind) for kind in re.findall(r"\w+", listed)]
    return kinds


def selection(type_: GraphQLObjectType, within: Sequence[str], touched: set[str]) -> str:
    """Selection of every field of a type, into what is not a node of its own; their coordinates go into `touched`."""
    fields: list[str] = []
    for name, field in type_.fields.items():
        inner = get_named_type(field.type)
        if _needs_arguments(field):
            continue
        below = ""
        if isinstance(inner, GraphQLObjectType):
            of_patient = name == "nodes" and len(within) == 2
            if inner.name in within or (inner.name in NODES - FOLLOWED and not of_patient):
                continue
            below = selection(inner, [*within, inner.name], touched)
            if not below:
                continue
        touched.add(f"{type_.name}.{name}")
        page = f"(first: {PAGE})" if "first" in field.args else ""
        fields.append(f"{name}{page} {below}".rstrip())
    return f"{{ {' '.join(fields)} }}" if fields else ""


def _needs_arguments(field: GraphQLField) -> bool:
    return any(isinstance(arg.type, GraphQLNonNull) and arg.default_value is Undefined for arg in field.args.values())


PATIENT: Any = GRAPH.type_map["Patient"]
TOUCHED: set[str] = set()
TOKENS_MAX = 200
"""Tokens of one query: with pages of PAGE rows well within the bounds of the application."""


def queries() -> Sequence[str]:
    """Queries that together ask for all fields of a patient, each within the bounds of the application."""
    parts: list[str] = []
    for name, field in PATIENT.fields.items():
        if name in OFFICERS or _needs_arguments(field):
            continue
        inner = get_named_type(field.type)
        below = selection(inner, ["Patient", inner.name], TOUCHED) if isinstance(inner, GraphQLObjectType) else ""
        if below or not isinstance(inner, GraphQLObjectType):
            TOUCHED.add(f"Patient.{name}")
            page = f"(first: {PAGE})" if "first" in field.args else ""
            parts.append(f"{name}{page} {below}")
    packed: list[list[str]] = [[]]
    for part in parts:
        if len(" ".join([*packed[-1], part]).split()) > TOKENS_MAX:
            packed.append([])
        packed[-1].append(part)
    return [f"query ($id: ID!) {{ patient(id: $id) {{ {' '.join(some)} }} }}" for some in packed]


QUERIES = queries()
KINDS = {coordinate: kinds for coordinate, kinds in declared().items() if coordinate in TOUCHED}


def values(data: Any, type_: Any) -> Iterator[tuple[str, str]]:
    """(coordinate, value) of every text in an answer."""
    named: Any = get_named_type(type_)
    for one in data if isinstance(data, list) else [data]:
        if not isinstance(one, dict):
            continue
        for name, value in one.items():
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str):
                    yield f"{named.name}.{name}", text
            yield from values(value, named.fields[name].type)


def form(profile: Profile, coordinate: str, kind: Phi) -> Form:
    """Form of a kind at a field for a profile's usual purpose; what is not scrubbed there is hidden."""
    type_name, _, name = coordinate.partition(".")
    wanted = POLICY.views[profile, PURPOSES[profile]].forms[kind]
    owner: Any = GRAPH.type_map[type_name]
    return Form.HIDE if wanted is Form.SCRUB and not scrubs(owner.fields[name]) else wanted


def masked(profile: Profile, coordinate: str) -> bool:
    """Whether the policy masks a field for a profile."""
    return any(form(profile, coordinate, kind) is not Form.SHOW for kind in KINDS.get(coordinate, ()))


def hidden(profile: Profile, coordinate: str) -> bool:
    """Whether the profile sees no value of a field as it is; of several kinds some may be shown (see test_masks)."""
    kinds = KINDS.get(coordinate, ())
    return bool(kinds) and all(form(profile, coordinate, kind) is not Form.SHOW for kind in kinds)


def _told_by_notes(profile: Profile, coordinate: str) -> bool:
    """Whether words of a hidden free text, such as a dose, may stand in the scrubbed notes that the profile reads."""
    scrubbed = POLICY.views[profile, PURPOSES[profile]].forms[Phi.FREE_TEXT] is Form.SCRUB
    return scrubbed and list(KINDS.get(coordinate, ())) == [Phi.FREE_TEXT]


async def ask_all(graph: Graph, profile: Profile, patient_id: str) -> Answer:
    """All fields of a patient as a profile sees them: the answers of all queries in one."""
    patient: Any = {}
    errors: list[dict[str, Any]] = []
    named: dict[str, Any] = {}
    for query in QUERIES:
        answer = await graph.ask(query, profile, id=patient_id)
        errors += answer.errors
        named |= {f"{entry['coordinate']} {entry['reason']}": entry for entry in answer.extensions.get("phi", [])}
        found = answer.data["patient"]
        patient = None if found is None else {**patient, **found}
    return Answer({"patient": patient}, errors, {"phi": list(named.values())} if named else {})


def text_of(answer: Answer) -> str:
    """Every text that a client gets, cursors decoded."""
    found = list(values(answer.data["patient"], PATIENT))
    cursors = [value for coordinate, value in found if coordinate.endswith("ursor")]
    raw = [base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[16:].decode() for cursor in cursors]
    # The year of an instant is written as the start of the year.
    return "\n".join([value for _, value in found] + raw).replace("-01-01T00:00:00+00:00", "")


@pytest_asyncio.fixture(scope="session")
async def patient_ids(graph: Graph) -> Sequence[str]:
    """Patients who have facts in every store."""
    found = (await graph.ask("{ imagingStudies(first: 20) { nodes { patient { id } } } }")).data
    return sorted({node["patient"]["id"] for node in found["imagingStudies"]["nodes"]})[:4]


@pytest_asyncio.fixture(scope="session")
async def full(graph: Graph, patient_ids: Sequence[str]) -> Mapping[str, Answer]:
    """The clinician's answers by patient."""
    return {patient_id: await ask_all(graph, Profile.CLINICIAN, patient_id) for patient_id in patient_ids}


def test_the_query_touches_most_kinds() -> None:
    touched = {kind for kinds in KINDS.values() for kind in kinds}
    assert {
        Phi.NAME,
        Phi.GEOGRAPHY,
        Phi.DATE,
        Phi.PHONE,
        Phi.SSN,
        Phi.URL,
        Phi.DEVICE,
        Phi.FREE_TEXT,
        Phi.CLINICAL,
    } <= touched
    assert len(KINDS) > 80


@pytest.mark.parametrize("profile", STAFF, ids=lambda profile: profile.value)
async def test_masked_fields_are_named_with_and_without_values(
    graph: Graph, patient_ids: Sequence[str], profile: Profile
) -> None:
    expected = {
        coordinate: {
            kind.value: wanted.value for kind in kinds if (wanted := form(profile, coordinate, kind)) is not Form.SHOW
        }
        for coordinate, kinds in KINDS.items()
        if masked(profile, coordinate)
    }
    answers = [
        await ask_all(graph, profile, one) for one in (patient_ids[0], f"Patient/{'0' * 8}-0000-0000-0000-{'0' * 12}")
    ]
    for answer in answers:
        named = [entry for entry in answer.extensions.get("phi", []) if entry["reason"] != "SENSITIVITY"]
        assert {entry["coordinate"]: {m["kind"]: m["form"] for m in entry["masks"]} for entry in named} == expected
        assert {entry["reason"] for entry in named} <= {"POLICY"}
    assert answers[0].data["patient"] is not None
    assert answers[1].data == {"patient": None}
    assert answers[0].extensions == answers[1].extensions


@pytest.mark.parametrize(
    "profile", sorted(set(STAFF) - {Profile.CLINICIAN}, key=str), ids=lambda profile: profile.value
)
async def test_no_masked_value_is_in_the_answer(graph: Graph, full: Mapping[str, Answer], profile: Profile) -> None:
    looked_for: defaultdict[str, int] = defaultdict(int)
    for patient_id, answer in full.items():
        assert answer.errors == []
        found = list(values(answer.data["patient"], PATIENT))
        shown = " ".join(value for coordinate, value in found if not hidden(profile, coordinate))
        text = text_of(await ask_all(graph, profile, patient_id))
        for coordinate, value in found:
            if _told_by_notes(profile, coordinate):
                continue
            if hidden(profile, coordinate) and len(value) >= SHORT and value not in shown:
                looked_for[coordinate] += 1
                assert value not in text, coordinate
    assert looked_for or not any(hidden(profile, coordinate) for coordinate in KINDS)
