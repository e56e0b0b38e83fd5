"""Smaller documents that still show a difference: selections are left out one at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from graphql import (
    REMOVE,
    SKIP,
    DocumentNode,
    Node,
    SelectionNode,
    SelectionSetNode,
    VariableNode,
    Visitor,
    VisitorAction,
    parse,
    print_ast,
    separate_operations,
    validate,
    visit,
)

from tests.differential.documents import Document
from tests.schema_walk import GRAPH


async def reduced(document: Document, differs: Callable[[Document], Awaitable[bool]]) -> Document:
    """The smallest document that leaving out fields and fragments leads to, one after another, while it differs."""
    parsed = _operation(document)
    place = 0
    while (shorter := _without(parsed, place)) is not None:
        tried = replace(document, text=print_ast(shorter))
        if not validate(GRAPH, shorter) and await differs(tried):
            parsed, document = shorter, tried
        else:
            place += 1
    return document


def _operation(document: Document) -> DocumentNode:
    """The operation that is asked for, with its fragments."""
    operations = separate_operations(parse(document.text))
    return operations[document.operation_name or next(iter(operations))]


def _without(document: DocumentNode, place: int) -> DocumentNode | None:
    """The document without one of its selections, and what it alone used; None where there are not so many."""
    removing = _Removing(place)
    shorter = visit(document, removing)
    if removing.left >= 0:
        return None
    [alone] = separate_operations(shorter).values()  # without fragments that nothing spreads any more
    used = _Used()
    visit(alone, used)
    return visit(alone, _Undeclaring(used.variables))


class _Removing(Visitor):
    """Leaves out the selection at a place, but never the last one of its set."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self.left = place
        self._alone: set[int] = set()

    def enter(self, node: Node, *_args: Any) -> VisitorAction:
        if isinstance(node, SelectionSetNode) and len(node.selections) == 1:
            self._alone.add(id(node.selections[0]))
        elif isinstance(node, SelectionNode) and id(node) not in self._alone:
            self.left -= 1
            if self.left == -1:
                return REMOVE
        return None


class _Used(Visitor):
    """Collects variables that are used."""

    def __init__(self) -> None:
        super().__init__()
        self.variables: set[str] = set()

    def enter_variable(self, node: VariableNode, *_args: Any) -> None:
        self.variables.add(node.name.value)

    def enter_variable_definition(self, *_args: Any) -> VisitorAction:
        return SKIP


class _Undeclaring(Visitor):
    """Leaves out declarations of other variables."""

    def __init__(self, used: set[str]) -> None:
        super().__init__()
        self._used = used

    def enter_variable_definition(self, node: Any, *_args: Any) -> VisitorAction:
        return None if node.variable.name.value in self._used else REMOVE
