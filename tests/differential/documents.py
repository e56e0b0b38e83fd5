"""Valid query documents over the whole schema, each from a number: what the two executors are compared by."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias, TypeVar

from graphql import GraphQLInterfaceType, GraphQLNamedType, GraphQLObjectType, is_abstract_type, parse, print_ast

from tests.differential.arguments import Choices, Values, Variables
from tests.schema_walk import GRAPH, Place, fields_of

T = TypeVar("T")

FIELDS_MAX = 50
"""Fields of a document after which selections end as soon as they can."""
TOGETHER = 6
"""Fields of one type that are asked for together."""
DEPTH_MAX = 8
"""Objects inside each other."""
REUSED = re.compile(r"\.\.\. ?(F\d+)")
VARIABLE = re.compile(r"\$(\w+)")

Path: TypeAlias = tuple[str, ...]
"""Steps from the root of queries to fields: names of fields, and `on Type` for fragments; at the end several names."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document, the operation of it that is asked for, and its variables."""

    text: str
    operation_name: str | None
    variables: Mapping[str, Any]


@dataclass(slots=True)
class Scope:
    """What answers under each name in one object of the answer, so that fields of one name can be merged."""

    taken: dict[str, Taken] = field(default_factory=dict[str, "Taken"])

    def fits(self, other: Scope) -> bool:
        """Whether both can be asked of one object."""
        return all(
            mine.means == theirs.means and mine.inner.fits(theirs.inner)
            for key, theirs in other.taken.items()
            if (mine := self.taken.get(key))
        )

    def absorb(self, other: Scope) -> None:
        """Adds what fits."""
        for key, theirs in other.taken.items():
            if key in self.taken:
                self.taken[key].inner.absorb(theirs.inner)
            else:
                self.taken[key] = theirs


@dataclass(frozen=True, slots=True)
class Taken:
    """What answers under a name."""

    owner: str
    field: str
    head: str
    """Alias, name and arguments, as they are written."""
    means: str
    """Name, arguments and type: must be the same wherever the name is used."""
    inner: Scope


@dataclass(frozen=True, slots=True)
class Fragment:
    """A fragment of the document."""

    name: str
    on: str
    body: str
    scope: Scope


def generated(choices: Choices, values: Values) -> Document:
    """A document that the schema validates; most of its arguments are good ones, and name what the data holds."""
    paths = list(dict.fromkeys(coordinates().values()))
    aims = dict.fromkeys(choices.pick(paths) for _ in range(2 + choices.below(3)))
    return _Builder(choices, values).document(list(aims))


@cache
def coordinates() -> Mapping[str, Path]:
    """Every field that a query can select, with the shortest path to it and the few fields that come with it."""
    found: dict[str, Path] = {}
    waiting: deque[tuple[GraphQLNamedType, Path]] = deque([(GRAPH.type_map["Query"], ())])
    entered = {"Query"}
    while waiting:
        type_, path = waiting.popleft()
        inside: list[tuple[GraphQLNamedType, Path]] = [(inner, (*path, f"on {inner.name}")) for inner in within(type_)]
        places = fields_of(type_)
        for number, place in enumerate(places):
            size = TOGETHER if path else 1
            first = number - number % size
            found[str(place)] = (*path, " ".join(one.name for one in places[first : first + size]))
            inside.append((place.gives, (*path, place.name)))
        for inner, at in inside:
            if inner.name not in entered and fields_of(inner):
                entered.add(inner.name)
                waiting.append((inner, at))
    return found


def within(type_: GraphQLNamedType) -> Sequence[GraphQLNamedType]:
    """Types that a fragment in a selection on a type can be on, apart from itself."""
    if not is_abstract_type(type_):
        return type_.interfaces if isinstance(type_, GraphQLObjectType) else ()
    assert isinstance(type_, GraphQLInterfaceType)
    possible = GRAPH.get_possible_types(type_)
    facts = GRAPH.type_map["ClinicalFact" if type_.name == "Node" else "Node"]
    return [facts, *possible]


class _Builder:
    """One document in the making."""

    def __init__(self, choices: Choices, values: Values) -> None:
        self._choices = choices
        self._variables = Variables(choices)
        self._values = values
        self._fragments: list[Fragment] = []
        self._left = FIELDS_MAX
        self._aliases = 0

    def document(self, aims: Sequence[Path]) -> Document:
        """Mostly one operation that asks for these fields and others; of several any may be asked for."""
        count = self._choices.weighted({1: 10, 2: 1, 3: 1})
        named = count > 1 or self._choices.chance(50)
        bodies: list[str] = []
        for number in range(count):
            self._left = max(self._left, FIELDS_MAX // count)
            bodies.append(self._root(aims[number::count] or aims[:1]))
        written = {one.name: f"fragment {one.name} on {one.on} {one.body}" for one in self._fragments}
        reached = set(_reached(" ".join(bodies), written, set()))  # one that did not fit took what it spread with it
        fragments = {name: text for name, text in written.items() if name in reached}
        parts: list[str] = []
        for number, body in enumerate(bodies):
            used = sorted(set(VARIABLE.findall(_expanded(body, fragments))))
            declared = f"({', '.join(self._variables.declared[name] for name in used)})" if used else ""
            parts.append(f"query {f'Q{number}' if named else ''}{declared} {body}")
        parts += fragments.values()
        name = f"Q{self._choices.below(count)}" if count > 1 or (named and self._choices.chance(50)) else None
        return Document(print_ast(parse("\n".join(parts))), name, self._variables.values)

    def _root(self, aims: Sequence[Path]) -> str:
        query, scope = GRAPH.type_map["Query"], Scope()
        items = [self._along(query, scope, path) for path in aims]
        if self._choices.chance(10):
            items.append("__typename")
        if self._choices.chance(10):
            items.append(self._fragment(query, query, scope, DEPTH_MAX, ""))
        return "{ " + " ".join(items) + " }"

    def _along(self, type_: GraphQLNamedType, scope: Scope, path: Path, depth: int = DEPTH_MAX) -> str:
        """A field or fragment on the way to a coordinate, with whatever else beside it."""
        step, rest = path[0], path[1:]
        if step.startswith("on "):
            inner = GRAPH.type_map[step[3:]]
            return f"... {step} {self._selection(inner, scope, depth - 1, rest, inner.name)}"
        likely = rest[0][3:] if rest and rest[0].startswith("on ") else ""
        places = [place for place in fields_of(type_) if place.name in step.split()]
        return " ".join(self._field(place, scope, depth, rest, likely) for place in places)

    def _selection(self, type_: GraphQLNamedType, scope: Scope, depth: int, path: Path = (), likely: str = "") -> str:
        """A selection set, in braces; `likely` is the type that the object most probably has."""
        items = [self._along(type_, scope, path, depth)] if path else []
        places = fields_of(type_)
        leaves = [place for place in places if not fields_of(place.gives)]
        if leaves and self._choices.chance(15):
            items += [self._field(place, scope, depth) for place in leaves if not place.required]
        count = self._choices.below(5) if self._left > 0 else 0
        for _ in range(count):
            items.append(self._item(type_, places if depth > 1 else leaves, scope, depth, likely))
        if not items:
            items.append(self._field(leaves[0], scope, depth) if leaves and depth > 1 else "__typename")
        return "{ " + " ".join(items) + " }"

    def _item(self, type_: GraphQLNamedType, places: Sequence[Place], scope: Scope, depth: int, likely: str) -> str:
        kind = self._choices.weighted({"field": 70, "typename": 8, "fragment": 12, "again": 10})
        if is_abstract_type(type_) and kind == "field" and self._choices.chance(70):
            kind = "fragment"
        if kind == "fragment" and depth > 1:
            others = [type_, *within(type_)]
            on = next((one for one in others if one.name == likely and self._choices.chance(75)), None)
            return self._fragment(type_, on or self._choices.pick(others), scope, depth, likely)
        if kind == "again":
            again = [one for one in scope.taken.values() if one.owner == type_.name]
            if again:
                return self._again(self._choices.pick(again), depth)
        if kind == "typename" or not places:
            alias = self._alias() if self._choices.chance(20) else ""
            return f"{alias}__typename{self._directives()}"
        return self._field(self._choices.pick(places), scope, depth)

    def _field(self, place: Place, scope: Scope, depth: int, path: Path = (), likely: str = "") -> str:
        self._left -= 1
        given = self._values.given(place, self._choices, self._variables, likely)
        means = f"{place.name}{given} {place.field.type}"
        key, alias = place.name, ""
        if (key in scope.taken and scope.taken[key].means != means) or self._choices.chance(12):
            alias = self._alias()
            key = alias.rstrip(": ")
        head = f"{alias}{place.name}{given}"
        taken = scope.taken.setdefault(key, Taken(place.owner, place.name, head, means, Scope()))
        head += self._directives()
        if not fields_of(place.gives):
            return head
        kind = self._values.kind_of(given, self._variables) if place.gives.name == "Node" else ""
        return f"{head} {self._selection(place.gives, taken.inner, depth - 1, path, likely or kind)}"

    def _again(self, taken: Taken, depth: int) -> str:
        """A field that is selected already, with other fields below it."""
        owner = GRAPH.type_map[taken.owner]
        place = next(place for place in fields_of(owner) if place.name == taken.field)
        if not fields_of(place.gives):
            return taken.head
        return f"{taken.head}{self._directives()} {self._selection(place.gives, taken.inner, depth - 1)}"

    def _fragment(self, parent: GraphQLNamedType, on: GraphQLNamedType, scope: Scope, depth: int, likely: str) -> str:
        """An inline fragment, a new named one, or one that stands elsewhere already."""
        kind = self._choices.weighted({"inline": 6, "named": 3, "spread": 2})
        if kind == "spread":
            known = [one for one in self._fragments if one.on == on.name and scope.fits(one.scope)]
            if known:
                chosen = self._choices.pick(known)
                scope.absorb(chosen.scope)
                return f"...{chosen.name}{self._directives()}"
        likely = likely if is_abstract_type(on) else ""
        if kind == "inline":
            bare = on is parent and self._choices.chance(50)
            return (
                f"...{'' if bare else f' on {on.name}'}{self._directives(defers=True)}"
                f" {self._selection(on, scope, depth - 1, (), likely)}"
            )
        own = Scope()
        body = self._selection(on, own, depth - 1, (), likely)
        if not scope.fits(own):  # a field of it answers with other arguments under the same name
            return f"... on {on.name} {{ __typename }}"
        scope.absorb(own)
        fragment = Fragment(f"F{len(self._fragments)}", on.name, body, own)
        self._fragments.append(fragment)
        return f"...{fragment.name}{self._directives(defers=True)}"

    def _alias(self) -> str:
        self._aliases += 1
        return f"a{self._aliases}: "

    def _directives(self, *, defers: bool = False) -> str:
        """Mostly none; @defer is for clients that take parts, and changes nothing for others."""
        if not self._choices.chance(10):
            return ""
        if defers and self._choices.chance(20):
            return " @defer"
        names = self._choices.weighted({("include",): 5, ("skip",): 5, ("skip", "include"): 2})
        return "".join(f" @{name}(if: {self._variables.condition(name == 'include')})" for name in names)


def _expanded(body: str, fragments: Mapping[str, str]) -> str:
    """The text of an operation with the fragments that it reaches."""
    return body + "".join(fragments[name] for name in _reached(body, fragments, set()))


def _reached(body: str, fragments: Mapping[str, str], entered: set[str]) -> Iterator[str]:
    for name in REUSED.findall(body):
        if name not in entered:
            entered.add(name)
            yield name
            yield from _reached(fragments[name], fragments, entered)
