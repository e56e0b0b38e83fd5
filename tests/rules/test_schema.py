"""The printed schema: no drift, nothing undescribed, no field or argument without a PHI decision."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNonNull,
    GraphQLObjectType,
    parse,
)

from graph.plan import kinds_of
from graph.schema import schema

ROOT = Path(__file__).parents[2]
GRAPH = schema._schema  # pyright: ignore[reportPrivateUsage] - Strawberry has no public name for it
TYPES = [
    type_
    for name, type_ in GRAPH.type_map.items()
    if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType) and not name.startswith("__")
]
FIELDS = [(f"{type_.name}.{name}", field) for type_ in TYPES for name, field in type_.fields.items()]
ARGUMENTS = [(f"{place}({name}:)", arg) for place, field in FIELDS for name, arg in field.args.items()]
INPUTS = [
    (f"{type_.name}.{name}", given)
    for type_ in GRAPH.type_map.values()
    if isinstance(type_, GraphQLInputObjectType)
    for name, given in type_.fields.items()
]


def test_the_committed_schema_is_the_printed_one() -> None:
    assert (ROOT / "schema.graphql").read_text(encoding="utf-8") == schema.as_str() + "\n", "run `make schema`"


def test_everything_is_described() -> None:
    things: list[tuple[str, GraphQLField | GraphQLArgument | GraphQLInputField]] = [*FIELDS, *ARGUMENTS, *INPUTS]
    for place, thing in things:
        assert thing.description, place
        assert not thing.description.startswith("The "), place
        assert not thing.description.endswith("."), place
    for type_ in TYPES:
        assert type_.description, type_.name


def test_what_can_be_masked_is_nullable() -> None:
    for place, field in FIELDS:
        assert not (kinds_of(field) and isinstance(field.type, GraphQLNonNull)), place


def test_a_field_without_a_decision_does_not_import() -> None:
    from graph.field import arg, field

    with pytest.raises(TypeError, match="phi"):
        field("Name of the patient")  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match="phi"):
        arg("name", str, "Name of the patient")  # pyright: ignore[reportCallIssue]


def test_every_field_is_declared_with_field() -> None:
    """A bare annotation or strawberry.field would carry no decision: graph/ calls neither."""
    bare = re.compile(r"strawberry\.field\(")
    for path in (ROOT / "graph").rglob("*.py"):
        if path.name != "field.py":
            text = path.read_text(encoding="utf-8")
            assert not bare.search(text), path.name
    for place, field in FIELDS:
        assert field.description, f"{place} was not declared with field()"
    for place, given in INPUTS:
        assert given.description, f"{place} was not declared with given()"


def directives(sdl: str) -> dict[str, set[str]]:
    """PHI kinds of every field and argument of an SDL, by schema coordinate."""
    found: dict[str, set[str]] = {}
    for definition in parse(sdl).definitions:
        for field in getattr(definition, "fields", None) or ():
            place = f"{definition.name.value}.{field.name.value}"  # pyright: ignore - what has fields has a name
            arguments = ((f"{place}({one.name.value}:)", one) for one in getattr(field, "arguments", None) or ())
            for coordinate, thing in ((place, field), *arguments):
                for one in thing.directives or ():
                    if one.name.value == "phi":
                        found[coordinate] = {kind.value for kind in one.arguments[0].value.values}
    return found


def test_no_phi_directive_was_dropped() -> None:
    """`find_breaking_changes` does not see a removed directive: a dropped kind needs a decision that names it."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    asked = subprocess.run(
        [git, "show", "HEAD~1:schema.graphql"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if asked.returncode != 0:
        pytest.skip("there is no earlier schema")
    before, now = directives(asked.stdout), directives(schema.as_str())
    assert before, "the earlier schema declares PHI"
    decided = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "decisions").glob("*.md"))
    for coordinate, kinds in before.items():
        if not kinds <= now.get(coordinate, set()):
            assert coordinate in decided, f"{coordinate} lost {kinds - now.get(coordinate, set())} without a decision"
