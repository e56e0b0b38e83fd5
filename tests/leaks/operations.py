"""Operations over a chart of canaries: everything that the schema has, or a part of it drawn at random."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from graphql import GraphQLInterfaceType, GraphQLObjectType

from db.policy import Phi
from tests.leaks.canaries import DAY, NUMBER, POSTAL_CODE, TEXT
from tests.schema_walk import GRAPH, NODES, Place, fields_of, is_relation, selection

TOGETHER = 8
"""Relations that one operation asks for."""
DEPTH = 4
"""Relations below each other that a random operation follows."""
REQUIRED = {"code": f'["{TEXT[Phi.CLINICAL]}"]', "from": '"1961"', "to": '"1962"', "bucket": "HOURLY"}
"""Literals of arguments that a relation can't do without: those that find the chart's readings."""
WORDS = [*TEXT.values(), POSTAL_CODE, str(NUMBER), f"Patient/{TEXT[Phi.NAME]}", f"{DAY}T05:17:00Z", f"{DAY}T99"]
"""What a client may put where a value belongs: other people's values above all."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A document and its variables."""

    query: str
    variables: Mapping[str, Any]


def relations_of(kind: str) -> list[Place]:
    """Relations of a type of Node."""
    return [place for place in fields_of(GRAPH.type_map[kind]) if is_relation(place.field)]


def given(place: Place) -> str:
    """Arguments that a relation can't do without, as literals; KeyError for one that is not known here."""
    literals = ", ".join(f"{name}: {REQUIRED[name]}" for name in place.required)
    return f"({literals})" if literals else ""


def everything(nodes: Mapping[str, str]) -> Iterator[Operation]:
    """Every field of every node, and of what its relations lead to.

    A relation with required arguments comes alone: who may not filter by them is refused the whole operation.
    """
    for kind, node in nodes.items():
        places = relations_of(kind)
        plain = [place for place in places if not place.required]
        free = [plain[start : start + TOGETHER] for start in range(0, len(plain), TOGETHER)]
        for some in [list[Place](), *free, *([place] for place in places if place.required)]:
            parts = [f"{place.name}{given(place)} {selection(place.field.type)}" for place in some]
            whole = (
                f"... on {kind} {{ {' '.join(parts)} }}"
                if parts
                else f"... on {kind} {selection(GRAPH.type_map[kind])}"
            )
            yield Operation(f"query($id: ID!) {{ node(id: $id) {{ __typename {whole} }} }}", {"id": node})


def drawn(random: Random, nodes: Mapping[str, str]) -> Operation:
    """Some fields of some nodes, as deep as relations lead, in one operation."""
    parts: list[str] = []
    variables: dict[str, str] = {}
    for number in range(random.randint(1, 3)):
        kind = random.choice(sorted(nodes))
        variables[f"id{number}"] = nodes[kind]
        parts.append(f"n{number}: node(id: $id{number}) {{ ... on {kind} {_some(random, kind, DEPTH)} }}")
    declared = ", ".join(f"${name}: ID!" for name in variables)
    return Operation(f"query({declared}) {{ {' '.join(parts)} }}", variables)


def _some(random: Random, name: str, depth: float) -> str:
    """A random selection; fewer relations the deeper it is."""
    parts = ["__typename"]
    for place in fields_of(GRAPH.type_map[name]):
        nested = isinstance(place.gives, GraphQLObjectType | GraphQLInterfaceType)
        relation = name in NODES and is_relation(place.field)
        likely = (0.25 if depth > 1 else 0) if relation else 0.8
        if random.random() > likely or (nested and depth <= 0) or place.name == "edges":
            continue
        if place.required and any(argument not in REQUIRED for argument in place.required):
            continue
        if place.required and random.random() < 0.8:  # refused as a whole to many
            continue
        first = "(first: 3)" if "first" in place.arguments else given(place)
        inner = (
            _some(random, place.gives.name, depth - 1 if place.gives.name in NODES else depth - 0.25) if nested else ""
        )
        parts.append(f"{place.name}{first} {inner}")
    return "{ " + " ".join(parts) + " }"


def misused(random: Random) -> Operation:
    """A root whose arguments are canaries, of the right type or not, as variables or in the text."""
    root = random.choice([*fields_of(GRAPH.query_type), *fields_of(GRAPH.mutation_type)])
    chosen = [name for name in root.arguments if name in root.required or random.random() < 0.6]
    whole = "{ __typename }" if fields_of(root.gives) else ""
    if random.random() < 0.5:
        values = {name: _wrong(random, str(root.arguments[name].type)) for name in chosen}
        declared = ", ".join(f"${name}: {root.arguments[name].type}" for name in chosen)
        passed = ", ".join(f"{name}: ${name}" for name in chosen)
    else:
        values, declared = dict[str, Any](), ""
        passed = ", ".join(f"{name}: {_literal(random)}" for name in chosen)
    operation = "mutation" if root.owner == "Mutation" else "query"
    head = f"{operation}({declared})" if declared else operation
    text = f"{head} {{ {root.name}{f'({passed})' if passed else ''} {whole} }}"
    return Operation(text if random.random() < 0.9 else text[: random.randint(10, len(text))], values)


def _wrong(random: Random, declared: str) -> object:
    word = random.choice(WORDS)
    likely: Sequence[object] = (word, word, [word], {word: word}, [[word]], 10**12)
    value = random.choice(likely)
    return [word] if declared.startswith("[") and random.random() < 0.7 else value


def _literal(random: Random) -> str:
    word = random.choice(WORDS)
    return random.choice([f'"{word}"', f'"{word}"', f'["{word}"]', f'{{a: "{word}"}}', f'"""{word}"""', f'"{word}\\q"'])
