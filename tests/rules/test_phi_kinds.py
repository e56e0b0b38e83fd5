"""Kinds of every field and argument: declared, complete, and as tests/rules/phi.txt has them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import pytest
import strawberry
from graphql import GraphQLArgument, GraphQLEnumType, GraphQLField, GraphQLInputObjectType, get_named_type
from graphql import GraphQLInterfaceType as Interface
from graphql import GraphQLObjectType as Object

from db.policy import Phi
from graph.definition import Declared
from graph.field import arg, enum
from graph.plan import kinds_of, scrubs
from graph.schema import schema

SNAPSHOT = Path(__file__).with_name("phi.txt")
GRAPH = schema._schema  # pyright: ignore[reportPrivateUsage] - Strawberry has no public name for it
TYPES = [t for name, t in GRAPH.type_map.items() if isinstance(t, Object | Interface) and not name.startswith("__")]


def declared() -> Iterator[tuple[str, Declared]]:
    """Every field and argument with its schema coordinate."""
    for type_ in TYPES:
        for name, field in type_.fields.items():
            yield f"{type_.name}.{name}", field
            yield from ((f"{type_.name}.{name}({given}:)", argument) for given, argument in field.args.items())
    for input_ in GRAPH.type_map.values():
        if isinstance(input_, GraphQLInputObjectType):
            yield from ((f"{input_.name}.{name}", given) for name, given in input_.fields.items())


def line(coordinate: str, thing: Declared) -> str:
    """One line of the snapshot."""
    kinds = ",".join(kind.value for kind in kinds_of(thing)) or "-"
    return f"{coordinate} {kinds}{' scrubs' if isinstance(thing, GraphQLField) and scrubs(thing) else ''}"


def test_the_kinds_are_those_of_the_snapshot() -> None:
    """A dropped directive shows as a changed line of phi.txt, which a reviewer sees; UPDATE=1 writes the file."""
    lines = sorted(line(*one) for one in declared())
    if os.environ.get("UPDATE"):
        SNAPSHOT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    stored = SNAPSHOT.read_text(encoding="utf-8").splitlines()
    assert sorted(set(stored) ^ set(lines)) == [], "a kind has changed: is it meant? Then UPDATE=1 and say why"
    assert stored == lines


def test_only_free_text_is_scrubbed() -> None:
    for coordinate, thing in declared():
        if isinstance(thing, GraphQLField) and scrubs(thing):
            assert kinds_of(thing) == [Phi.FREE_TEXT], coordinate


def test_arguments_are_plain_values_and_declared_enums() -> None:
    """An input object would filter by what the access plan does not see in it; an enum may name what it filters by."""
    for coordinate, thing in declared():
        named = get_named_type(thing.type)
        if isinstance(thing, GraphQLArgument) and not coordinate.startswith("Mutation."):
            assert not isinstance(named, GraphQLInputObjectType), coordinate
    directives = [one.name for one in GRAPH.directives if one.name == "phi"]
    assert directives == ["phi"]
    assert {kind.value for kind in Phi} == set(_values("PhiKind"))


def _values(name: str) -> list[str]:
    type_ = GRAPH.type_map[name]
    assert isinstance(type_, GraphQLEnumType)
    return list(type_.values)


class Undeclared(Enum):
    """An enum of which nobody decided a kind."""

    ONE = 1


class Drug(Enum):
    """An enum that names clinical facts."""

    METHADONE = 1


@strawberry.input
class Filter:
    """An input object."""

    name: str


def test_an_argument_without_decided_values_does_not_import() -> None:
    with pytest.raises(TypeError, match="enum"):
        arg("one", Undeclared, "Nobody decided", phi=None)
    with pytest.raises(TypeError, match="enum"):
        arg("one", Undeclared | None, "Nobody decided", phi=Phi.CLINICAL)
    with pytest.raises(TypeError, match="phi"):
        enum(Undeclared, "Nobody decided")  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match="input object"):
        arg("filter", Filter | None, "Parts without kinds", phi=None)
    with pytest.raises(TypeError, match="input object"):
        arg("filter", list[Filter], "Parts without kinds", phi=None)
    enum(Drug, "Drugs", phi=Phi.CLINICAL)
    with pytest.raises(TypeError, match="argument's kind"):
        arg("drug", Drug | None, "Less than its values tell", phi=None)
    assert arg("drug", Drug | None, "Drug that must match", phi=Phi.CLINICAL).phi is Phi.CLINICAL


def test_the_directive_is_what_the_plan_reads() -> None:
    """A kind that does not print would be lost to a client; one that only prints would mask nothing."""
    printed = re.sub(r"[\s,]+", " ", schema.as_str())
    for coordinate, thing in declared():
        if kinds_of(thing):
            listed = " ".join(kind.value for kind in kinds_of(thing))
            assert re.search(rf"@phi\(kind: \[ ?{listed} ?\]\)", printed), coordinate
