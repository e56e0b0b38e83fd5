"""Documents: parsed, bounded and validated once, and kept as long as they are asked for."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    REMOVE,
    DirectiveNode,
    DocumentNode,
    GraphQLSchema,
    GraphQLSyntaxError,
    ValuesOfCorrectTypeRule,
    VariableNode,
    Visitor,
    VisitorAction,
    parse,
    specified_rules,
    validate,
    visit,
)

from db.errors import AppError, IntrospectionDisabled
from graph.compiled import Shape
from graph.errors import FormattedError, ValuesOfCorrectType, described, syntax_error, validation_error
from graph.limits import check_document, check_text

VALIDATION_ERRORS_MAX = 20

CACHE_CHARACTERS_MAX = 1_000_000
"""Query text of all cached documents; parsed, a character takes 120 bytes, at worst 280."""
ENTRY_CHARACTERS_MIN = 500
"""What the smallest document counts, so that tiny ones do not fill the memory by their number."""

_RULES = [ValuesOfCorrectType if rule is ValuesOfCorrectTypeRule else rule for rule in specified_rules]


@dataclass(frozen=True, slots=True)
class Document:
    """A valid document, as it came and with the directives of incremental delivery taken out."""

    digest: str
    """SHA-256 of the query text, in hex."""
    incremental: DocumentNode
    whole: DocumentNode
    introspects: bool
    """Whether it asks for the schema."""
    flags: frozenset[str]
    """Variables that its @skip and @include take."""
    shapes: dict[tuple[object, ...], Shape | None] = field(default_factory=dict[tuple[object, ...], "Shape | None"])
    """Compiled operations by name, view and values of the flags; None for what can't be compiled."""


class DocumentCache:
    """Valid documents of one schema by their text; the least recently used are dropped."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self._kept: OrderedDict[str, Document] = OrderedDict()
        self._characters = 0

    def get(self, query: str, explores: bool) -> Document | list[FormattedError]:
        """The parsed and validated document, from the cache where it was valid before."""
        digest = hashlib.sha256(query.encode()).hexdigest()
        document = self._kept.get(digest)
        if document is None:
            try:
                document = self._validated(query, digest, explores)
            except AppError as error:
                return [described(error)]
            if isinstance(document, list):
                return document
            self._remember(document, query)
        self._kept.move_to_end(digest)
        if document.introspects and not explores:
            return [described(IntrospectionDisabled())]
        return document

    def _validated(self, query: str, digest: str, explores: bool) -> Document | list[FormattedError]:
        """Bounds come before the work that they bound.

        Raises LimitExceeded, CircularFragment and IntrospectionDisabled.
        """
        check_text(query)
        try:
            parsed = parse(query)
        except GraphQLSyntaxError as error:
            return [syntax_error(error)]
        extent = check_document(parsed)
        if extent.introspects and not explores:
            raise IntrospectionDisabled
        errors = validate(self._schema, parsed, _RULES, max_errors=VALIDATION_ERRORS_MAX, hide_suggestions=not explores)
        if errors:
            return [validation_error(error) for error in errors]
        flags = _Flags()
        visit(parsed, flags)
        whole = visit(parsed, _WithoutIncremental())
        return Document(digest, parsed, whole, extent.introspects, frozenset(flags.names))

    def _remember(self, document: Document, query: str) -> None:
        """Keeps the document and drops the least recently used ones beyond the bound."""
        self._kept[document.digest] = document
        self._characters += _weight(query)
        while self._characters > CACHE_CHARACTERS_MAX and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            source = dropped.incremental.loc
            self._characters -= _weight(source.source.body) if source else 0


class _WithoutIncremental(Visitor):
    """Takes @defer and @stream out of a document, for a client that wants its answer in one piece."""

    def enter_directive(self, node: DirectiveNode, *_args: Any) -> VisitorAction:
        return REMOVE if node.name.value in ("defer", "stream") else None


class _Flags(Visitor):
    """Collects the variables that decide what is selected."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_directive(self, node: DirectiveNode, *_args: Any) -> None:
        if node.name.value in ("skip", "include"):
            self.names.update(
                one.value.name.value for one in node.arguments or () if isinstance(one.value, VariableNode)
            )


def _weight(query: str) -> int:
    return max(len(query), ENTRY_CHARACTERS_MIN)
