"""Bounds of a document and its variables, checked before anything whose time grows faster than what it reads.

The text is scanned once by a regular expression, before it is parsed; then the selections are walked as execution would
merge them, with fragments expanded, and no further than the bounds: nested fragments cost a step each, whatever they
stand for. `FIELD_MERGE` bounds what validation compares (pairs of fields that answer under one name, which
`OverlappingFieldsCanBeMerged` takes one by one).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from graphql import (
    ArgumentNode,
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
)

from db.errors import CircularFragment, LimitExceeded


class Bound(NamedTuple):
    """A maximum and what it counts."""

    maximum: int
    counted: str


class Limit(Enum):
    """What is bounded; the largest query of the application takes a third of it at most."""

    CHARACTER = Bound(30_000, "characters in the document")
    TOKEN = Bound(1_200, "tokens in the document")
    COMMENT = Bound(200, "comments in the document")
    NESTING = Bound(50, "brackets, or selection sets with fragments expanded, inside each other")
    OPERATION = Bound(10, "operations in the document")
    FRAGMENT = Bound(40, "fragments in the document")
    VARIABLE = Bound(40, "variables of an operation")
    DIRECTIVE = Bound(60, "directives, with fragments expanded")
    ALIAS = Bound(100, "aliases, with fragments expanded")
    ROOT_FIELD = Bound(30, "root fields of an operation")
    DEPTH = Bound(20, "fields inside each other")
    FIELD = Bound(1_500, "selections, with fragments expanded")
    FIELD_MERGE = Bound(1_500, "pairs of fields that are merged under one name")
    INTROSPECTION = Bound(2, "introspection fields at the root, and aliases below them")
    LIST = Bound(100, "items of an argument's list")
    INPUT_DEPTH = Bound(6, "lists and objects inside each other in an argument")
    INPUT = Bound(3_000, "values in the variables")
    TEXT = Bound(20_000, "characters of a string in the variables")

    def refusal(self) -> LimitExceeded:
        """The error that names this limit and its maximum."""
        return LimitExceeded(self.name, self.value.maximum)


# A token, or a character that starts none. Possessive, and what is not terminated goes on to its end: no position is
# read twice, whatever the text.
_LEXEME = re.compile(
    r"""(?P<comment>\#[^\r\n]*+)
    | \"\"\"(?:[^"\\]|\\\"\"\"|\\|"(?!""))*+(?:\"\"\")?
    | "(?:[^"\\\r\n]|\\[^\r\n])*+"?
    | [A-Za-z_][A-Za-z0-9_]*+
    | -?[0-9]++(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?
    | \.\.\.
    | (?P<open>[\[{(])
    | (?P<close>[\]})])
    | [^\s,\ufeff]""",
    re.VERBOSE,
)


def check_text(query: str) -> int:
    """Bounds of the text of a document, before it is parsed; gives its tokens. Raises LimitExceeded."""
    if len(query) > Limit.CHARACTER.value.maximum:
        raise Limit.CHARACTER.refusal()
    counts = _Counts()
    nesting = 0
    for lexeme in _LEXEME.finditer(query):
        kind = lexeme.lastgroup
        counts.add(Limit.COMMENT if kind == "comment" else Limit.TOKEN)
        if kind == "open":
            nesting += 1
            _check(Limit.NESTING, nesting)
        elif kind == "close":
            nesting -= 1
    return counts[Limit.TOKEN]


@dataclass(frozen=True, slots=True)
class Extent:
    """How much a document within its bounds asks for."""

    selections: int
    """Selections with fragments expanded: the steps of the walk."""
    introspects: bool
    """Whether it asks for `__schema` or `__type`."""


def check_document(document: DocumentNode) -> Extent:
    """Bounds of a parsed document. Raises LimitExceeded, and CircularFragment for a fragment inside itself."""
    return _Walk(document).extent()


def check_variables(variables: Mapping[str, Any]) -> None:
    """Bounds of the variables of a request, before they are coerced. Raises LimitExceeded."""
    counts = _Counts()
    waiting: list[tuple[object, int]] = [(variables, -1)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, str):
            _check(Limit.TEXT, len(value))
        elif isinstance(value, dict | list):
            _check(Limit.INPUT_DEPTH, depth + 1)
            if isinstance(value, list):
                _check(Limit.LIST, len(value))
            counts.add(Limit.INPUT, len(value))
            waiting += [(item, depth + 1) for item in (value.values() if isinstance(value, dict) else value)]


class _Counts(dict[Limit, int]):
    """How much there was of each thing so far."""

    def __missing__(self, limit: Limit) -> int:
        return 0

    def add(self, limit: Limit, number: int = 1) -> None:
        """Counts more of a thing. Raises LimitExceeded."""
        self[limit] += number
        _check(limit, self[limit])


def _check(limit: Limit, number: int) -> None:
    if number > limit.value.maximum:
        raise limit.refusal()


class _Place(NamedTuple):
    """Where a selection set stands: how many it is inside of, and the names of the fragments among them."""

    nesting: int
    fragments: frozenset[str]

    def inside(self, *fragment: str) -> _Place:
        """The place one selection set further in. Raises LimitExceeded, and CircularFragment."""
        if self.fragments.intersection(fragment):
            raise CircularFragment
        _check(Limit.NESTING, self.nesting + 1)
        return _Place(self.nesting + 1, self.fragments.union(fragment))


_ROOT = _Place(0, frozenset())


class _Walk:
    """One walk through the operations of a document, and through fragments that none of them reaches."""

    def __init__(self, document: DocumentNode) -> None:
        self._operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
        self._fragments = [d for d in document.definitions if isinstance(d, FragmentDefinitionNode)]
        self._named = {fragment.name.value: fragment for fragment in self._fragments}
        self._entered: set[int] = set()
        self._counts = _Counts()

    def extent(self) -> Extent:
        """What the walk counts. Raises LimitExceeded and CircularFragment."""
        _check(Limit.OPERATION, len(self._operations))
        _check(Limit.FRAGMENT, len(self._fragments))
        for operation in self._operations:
            variables = operation.variable_definitions or ()
            _check(Limit.VARIABLE, len(variables))
            for variable in variables:
                self._directives(variable.directives or ())
                if variable.default_value:
                    _check_value(variable.default_value, 0)
            self._directives(operation.directives or ())
            self._level([(operation.selection_set, _ROOT)], 0, introspected=False)
        # Validation reads them too, and each of two fragments with one name.
        for fragment in self._fragments:
            if id(fragment) not in self._entered:
                self._entered.add(id(fragment))
                self._directives(fragment.directives or ())
                self._level([(fragment.selection_set, _ROOT.inside(fragment.name.value))], 1, introspected=False)
        return Extent(self._counts[Limit.FIELD], self._counts[Limit.INTROSPECTION] > 0)

    def _level(self, sets: Sequence[tuple[SelectionSetNode, _Place]], depth: int, *, introspected: bool) -> None:
        """The fields of selection sets that are merged into one object, grouped by the name that they answer under."""
        groups: dict[str, list[tuple[FieldNode, _Place]]] = {}
        for selection_set, place in sets:
            for field, at in self._fields(selection_set, place):
                group = groups.setdefault((field.alias or field.name).value, [])
                self._counts.add(Limit.FIELD_MERGE, len(group))
                group.append((field, at))
        if groups:
            _check(Limit.DEPTH, depth + 1)
        if depth == 0:
            _check(Limit.ROOT_FIELD, len(groups))
        for group in groups.values():
            below = introspected
            for field, _ in group:
                root = field.name.value in ("__schema", "__type")
                below = below or root
                if root or (introspected and field.alias):
                    self._counts.add(Limit.INTROSPECTION)
            nested = [(field.selection_set, at.inside()) for field, at in group if field.selection_set]
            if nested:
                self._level(nested, depth + 1, introspected=below)

    def _fields(self, selection_set: SelectionSetNode, place: _Place) -> Iterator[tuple[FieldNode, _Place]]:
        """Fields of a selection set, with those of its fragments."""
        for node in selection_set.selections:
            self._counts.add(Limit.FIELD)
            self._directives(node.directives or ())
            if isinstance(node, FieldNode):
                if node.alias:
                    self._counts.add(Limit.ALIAS)
                self._arguments(node, node.arguments or ())
                yield node, place
            elif isinstance(node, InlineFragmentNode):
                yield from self._fields(node.selection_set, place.inside())
            elif isinstance(node, FragmentSpreadNode) and (fragment := self._named.get(node.name.value)):
                if id(fragment) not in self._entered:
                    self._entered.add(id(fragment))
                    self._directives(fragment.directives or ())
                yield from self._fields(fragment.selection_set, place.inside(node.name.value))

    def _directives(self, directives: Iterable[DirectiveNode]) -> None:
        for directive in directives:
            self._counts.add(Limit.DIRECTIVE)
            self._arguments(directive, directive.arguments or ())

    def _arguments(self, owner: FieldNode | DirectiveNode, arguments: Iterable[ArgumentNode]) -> None:
        """Checks the values of a node once, however often a fragment brings it in."""
        if id(owner) not in self._entered:
            self._entered.add(id(owner))
            for argument in arguments:
                _check_value(argument.value, 0)


def _check_value(value: ValueNode, depth: int) -> None:
    """Bounds of a literal; the nesting of the text keeps this recursion short."""
    if isinstance(value, ListValueNode):
        _check(Limit.LIST, len(value.values))
        inner: Iterable[ValueNode] = value.values
    elif isinstance(value, ObjectValueNode):
        inner = [field.value for field in value.fields]
    else:
        return
    _check(Limit.INPUT_DEPTH, depth + 1)
    for item in inner:
        _check_value(item, depth + 1)
