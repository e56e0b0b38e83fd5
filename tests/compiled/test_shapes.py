"""Which relations are read together, which the database writes, and what of a document gets into SQL."""

from __future__ import annotations

from uuid import uuid4

from graphql import OperationDefinitionNode, parse, validate
from graphql.execution.values import VariableValues

from db.caller import Caller, PurposeOfUse
from db.policy import ROLES
from graph.compiled import Shape, compiled
from graph.level import Below
from graph.schema import schema
from loaders.patient import OPEN, PatientRow

CORE = schema._schema  # pyright: ignore[reportPrivateUsage] - as graph.app
PATIENT = "{ patient(id: $id) { %s } }"


def caller(role: str = "physician", purpose: PurposeOfUse = PurposeOfUse.TREAT) -> Caller:
    """Somebody of a role."""
    return Caller("somebody", ROLES[role], uuid4(), purpose)


def below(selection: str, who: Caller, flags: dict[str, bool] | None = None) -> Shape:
    """Shape of what is selected of a patient."""
    variables = ", ".join(["$id: ID!", *(f"${name}: Boolean!" for name in flags or {})])
    document = parse(f"query ({variables}) {PATIENT % selection}")
    assert validate(CORE, document) == []
    [operation] = document.definitions
    assert isinstance(operation, OperationDefinitionNode)
    root = compiled(CORE, document, operation, VariableValues({}, dict(flags or {})), who)
    assert root is not None
    [patient] = root.links
    noted = Below()
    patient.complete(PatientRow(uuid4(), OPEN, *[None] * 17), (None, "patient"), noted)  # type: ignore[arg-type]  # nothing of it is read
    [shape] = noted.items
    return shape


def sql_of(shape: Shape) -> list[str]:
    """Composed statements of a shape."""
    return [group.statement.sql for group in shape.groups]


def relations(shape: Shape) -> set[str]:
    """Keys of all that a shape reads."""
    return {link.key for link in shape.links} | {link.key for group in shape.groups for link, _ in group.links}


def test_relations_of_one_database_are_one_statement() -> None:
    shape = below(
        "conditions { nodes { code { text } } } name { family } labResults { nodes { test { code { text } } } }"
        "imagingStudies { nodes { started } } clinicalNotes { nodes { title } } vitalSigns { nodes { id } }",
        caller(),
    )
    assert [len(group.links) for group in shape.groups] == [3, 1]
    assert {link.key for link in shape.links} == {"clinicalNotes", "vitalSigns"}


def test_a_row_of_another_database_is_not_joined_in() -> None:
    shape = below("imagingStudies { nodes { started encounter { status } } }", caller())
    assert sql_of(shape) == []
    assert relations(shape) == {"imagingStudies"}


def test_what_is_hidden_is_neither_read_nor_written() -> None:
    registrar = caller("registrar", PurposeOfUse.HOPERAT)
    shape = below("mrn conditions { nodes { id } } clinicalNotes { nodes { id } } name { family }", registrar)
    assert relations(shape) == {"name"}


def test_aliases_are_parameters() -> None:
    """A client chooses them: they are not SQL, and they do not make another statement."""
    plain = below("conditions { nodes { clinicalStatus } }", caller())
    named = below("a: conditions { nodes { Robert: clinicalStatus } }", caller())
    other = below("a: conditions { nodes { Tables: clinicalStatus } }", caller())
    assert "Robert" not in sql_of(named)[0]
    assert sql_of(named) == sql_of(other) != sql_of(plain)
    assert [list(group.statement.aliases[0]) for group in named.groups] == [['{"Robert":']]


def test_flags_decide_what_is_selected() -> None:
    selection = "conditions @include(if: $more) { nodes { id } } name @skip(if: $more) { family }"
    assert relations(below(selection, caller(), {"more": True})) == {"conditions"}
    assert relations(below(selection, caller(), {"more": False})) == {"name"}


def test_pages_ask_for_one_row_more_only_where_somebody_wants_to_know() -> None:
    for selection, paged in {
        "nodes { id }": False,
        "__typename nodes { id }": False,
        "nodes { id } pageInfo { hasNextPage }": True,
        "edges { cursor node { id } }": True,
    }.items():
        [group] = below(f"conditions {{ {selection} }}", caller()).groups
        assert [written.branch.paged for _, written in group.links] == [paged], selection
