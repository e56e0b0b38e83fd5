"""SMART scopes: what they grant, and that no type of the schema is without a decision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from graphql import GraphQLInterfaceType, GraphQLObjectType, get_named_type, parse

from db.caller import Caller, Profile
from db.errors import InsufficientScope, InvalidId
from graph.node import one
from graph.plan import plan
from graph.schema import schema
from graph.scopes import FHIR_TYPES, PARTS, READABLE, Grant, check_scopes, granted, needed_types
from resolvers.changes import FHIR_NAMES
from resolvers.changes import TYPES as CHANGED
from resolvers.node import BATCHES
from tests.callers import caller_of
from tests.identity.issuer import FACILITY

GRAPH = schema._schema  # pyright: ignore[reportPrivateUsage] - Strawberry has no public name for it
TYPES = {
    name: type_
    for name, type_ in GRAPH.type_map.items()
    if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType) and not name.startswith("__")
}
NOTHING: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("scope", "types"),
    [
        ("user/Patient.rs", {"Patient"}),
        ("user/Patient.rs user/Observation.rs", {"Patient", "Observation"}),
        ("system/Patient.cruds", {"Patient"}),
        ("user/Patient.crs", {"Patient"}),
        ("openid fhirUser user/Patient.rs offline_access", {"Patient"}),
        ("user/*.rs", READABLE),
        ("system/*.cruds", READABLE),
        ("user/Patient.r", NOTHING),
        ("user/Patient.s", NOTHING),
        ("user/Patient.r user/Patient.s", NOTHING),
        ("user/Patient.cud", NOTHING),
        ("user/Patient.sr", NOTHING),
        ("user/Patient.rrs", NOTHING),
        ("user/Patient.", NOTHING),
        ("user/Patient", NOTHING),
        ("user/Patient.rs ", {"Patient"}),
        ("user/patient.rs", NOTHING),
        ("User/Patient.rs user/Goal.rs", {"Goal"}),
        ("user/Patient.read", NOTHING),
        ("user/Patient.*", NOTHING),
        ("user/*.read", NOTHING),
        ("user/*.*", NOTHING),
        ("user/Observation.rs?category=laboratory", NOTHING),
        ("user/*.rs?_tag=x user/Goal.rs", {"Goal"}),
        ("user/Patient.rs,user/Goal.rs", NOTHING),
        ("user//Patient.rs", NOTHING),
        ("user/Unheard.rs", NOTHING),
        ("user/Mutation.rs user/Mutation.cruds", NOTHING),
        ("user/LabResult.rs", NOTHING),
        ("launch/patient", NOTHING),
        ("launch openid", NOTHING),
        ("user/P\u00e4tient.rs", NOTHING),
    ],
)
def test_grants(scope: str, types: set[str]) -> None:
    assert granted(scope) == Grant(frozenset(types), of_patient=False)


@pytest.mark.parametrize("scope", ["patient/Patient.rs", "patient/Patient.read", "user/*.rs patient/Goal.rs"])
def test_grants_of_a_patient(scope: str) -> None:
    found = granted(scope)
    assert found
    assert found.of_patient


@pytest.mark.parametrize("scope", [None, "", " ", "openid profile", "fhirUser", "users/Patient.rs", "launcher"])
def test_no_scopes_of_smart(scope: str | None) -> None:
    assert granted(scope) is None


def test_every_type_has_a_decision() -> None:
    """What the graph shows is a resource of FHIR, or a part that is only reached through one."""
    for name in TYPES:
        decided = name in (*PARTS, "Mutation") or set(needed_types(name)) <= READABLE
        assert decided, f"{name} needs an entry in graph/scopes.py"
    assert not PARTS & FHIR_TYPES.keys()
    for name in BATCHES:
        assert name in FHIR_TYPES, name


def test_parts_have_no_id_and_are_no_lists_of_pages() -> None:
    """A type that can be fetched by its id, or comes in pages, is no part."""
    for name, type_ in TYPES.items():
        if name in PARTS and isinstance(type_, GraphQLObjectType) and name not in ("Query", "Mutation", "Subscription"):
            assert "edges" not in type_.fields, name
            assert not [interface for interface in type_.interfaces if interface.name == "Node"], name


def test_interfaces_are_reached_through_node_only() -> None:
    """There the type is checked, of changes by resolvers.changes; another such field would need the same."""
    fields = [
        f"{type_.name}.{name}"
        for type_ in TYPES.values()
        for name, field in type_.fields.items()
        if isinstance(get_named_type(field.type), GraphQLInterfaceType)
    ]
    assert fields == ["Query.node", "ChartChange.resources"]


def test_changes_name_the_types_that_scopes_grant() -> None:
    for kind in CHANGED.values():
        assert FHIR_TYPES[kind] == (FHIR_NAMES.get(kind, kind),)


def limited(*types: str) -> Caller:
    """A clinician whose token lets these types be read."""
    return replace(caller_of(Profile.CLINICIAN, FACILITY), types=frozenset(types))


def missing(query: str, *types: str) -> str | None:
    """The FHIR type that a plan says is not granted; None where it is made."""
    document = parse(query)
    try:
        plan(GRAPH, document, None, {}, limited(*types))
    except InsufficientScope as error:
        return error.message.removeprefix("The token's scopes do not let ").removesuffix(" be read.")
    return None


@pytest.mark.parametrize(
    ("query", "types", "refused"),
    [
        ("{ patients { nodes { id } } }", ["Patient"], None),
        ("{ patients { nodes { id } } }", ["Observation"], "Patient"),
        ("{ patients { pageInfo { hasNextPage } } }", [], "Patient"),
        ("{ patients { __typename } }", [], "Patient"),
        ('{ patient(id: "Patient/1") { __typename } }', [], "Patient"),
        ("{ patients { nodes { labResults { nodes { id } } } } }", ["Patient"], "Observation"),
        ("{ patients { nodes { labResults { nodes { id } } } } }", ["Patient", "Observation"], None),
        ("{ patients { nodes { vitalSigns { pageInfo { hasNextPage } } } } }", ["Patient"], "Observation"),
        ("{ patients { nodes { clinicalNotes { nodes { title } } } } }", ["Patient"], "DocumentReference"),
        ("{ patients { nodes { summary { allergies { id } } } } }", ["Patient"], "AllergyIntolerance"),
        ("{ patients { nodes { ... on Node { ...F } } } } fragment F on Patient { goals { nodes { id } } }",
         ["Patient"], "Goal"),
        ("{ facility { name } }", ["Location"], "Organization"),
        ("{ facility { departments { name } } }", ["Organization"], "Location"),
        ("{ me { subject } }", [], None),
        ("{ me { facility { name } } }", [], "Organization"),
        ("{ __typename __schema { queryType { name } } }", [], None),
        ('{ node(id: "Condition/1") { id } }', [], None),
        ('{ node(id: "Condition/1") { ... on Condition { id } } }', [], "Condition"),
    ],
)  # fmt: skip
def test_plans(query: str, types: list[str], refused: str | None) -> None:
    assert missing(query, *types) == refused


def test_without_scopes_everything_is_planned() -> None:
    document = parse("{ patients { nodes { labResults { nodes { id } } } } }")
    assert plan(GRAPH, document, None, {}, caller_of(Profile.CLINICIAN, FACILITY))


def roots() -> Iterator[tuple[str, str]]:
    """Each root field that returns an object, as a query of its type's name, and the type."""
    for name, field in GRAPH.type_map["Query"].fields.items():  # pyright: ignore[reportAttributeAccessIssue]
        type_ = get_named_type(field.type)
        required = [argument for argument, given in field.args.items() if str(given.type).endswith("!")]
        given = ", ".join(f'{argument}: "x"' for argument in required if argument in ("id", "text"))
        if isinstance(type_, GraphQLObjectType) and type_.name != "Me":
            yield f"{{ {name}{f'({given})' if given else ''} {{ __typename }} }}", type_.name


@pytest.mark.parametrize(("query", "type_name"), list(roots()))
def test_no_root_is_forgotten(query: str, type_name: str) -> None:
    """Found by walking the schema: a token that may read nothing gets no plan for any of them."""
    if type_name not in PARTS:
        assert missing(query) in needed_types(type_name)


class NoStore:
    """A context whose stores may not be asked."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"asked for {name}")


@pytest.mark.parametrize("kind", [*BATCHES, "VitalSign"])
async def test_an_id_of_a_type_that_is_not_granted(kind: str) -> None:
    """Refused by what the id says, before any store is asked, so that it tells nothing about the id."""
    others = READABLE - set(needed_types(kind))
    with pytest.raises(InsufficientScope):
        await one(NoStore(limited(*others)), id=f"{kind}/{FACILITY}")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("id", ["Lovelace/1", "Lovelace", "", "/", "PatientConnection/1", "Query/1", "Address/1"])
async def test_an_id_of_no_type(id: str) -> None:
    """Malformed as for everybody, and not repeated."""
    with pytest.raises(InvalidId) as refused:
        await one(NoStore(limited()), id=id)  # pyright: ignore[reportArgumentType]
    assert "Lovelace" not in refused.value.message


def test_a_type_without_an_entry_is_granted_by_nothing() -> None:
    check_scopes(caller_of(Profile.CLINICIAN, FACILITY), ["Unheard"])
    for name in ("Unheard", "Mutation"):
        with pytest.raises(InsufficientScope):
            check_scopes(limited(*READABLE, *FHIR_TYPES), [name])
