"""Access plan of an operation: the fields that are masked for a profile, the arguments that bind what it may not read.

What a document touches is collected once and cached; each request then asks the policy. A mask binds arguments too: who
may not read a value may not filter, sort or search by it, and is told so before any store is asked.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLArgument,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    InlineFragmentNode,
    NullValueNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    get_operation_ast,
)

from db.caller import Profile
from db.errors import PhiFilterForbidden
from db.policy import Form, Phi, form
from graph.field import PhiDirective

DOCUMENTS_MAX = 64
"""Documents whose collected fields are kept."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one operation shows one profile: `masked` is `extensions.phi` of its answer."""

    masked: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class BoundArgument:
    """An argument that filters by PHI, as a document gives it."""

    name: str
    kinds: Sequence[Phi]
    value: ValueNode


@dataclass(frozen=True, slots=True)
class Touched:
    """What an operation touches: PHI kinds by schema coordinate, and arguments that filter by PHI."""

    fields: Mapping[str, Sequence[Phi]]
    arguments: Sequence[BoundArgument]


_touched: OrderedDict[tuple[int, str | None], tuple[DocumentNode, Touched]] = OrderedDict()


def plan(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation_name: str | None,
    variables: Mapping[str, Any],
    profile: Profile,
) -> Plan:
    """Plan of a valid document's operation. Raises PhiFilterForbidden for an argument that binds a masked value."""
    touched = _collected(schema, document, operation_name)
    for argument in touched.arguments:
        if _given(argument.value, variables) and not _shown(profile, argument.kinds):
            raise PhiFilterForbidden(argument.name, "filters by a value that you may not read")
    masked = [
        {
            "coordinate": coordinate,
            "reason": "POLICY",
            "masks": [
                {"kind": kind.value, "form": form(profile, kind).value} for kind in kinds if not _shown(profile, [kind])
            ],
        }
        for coordinate, kinds in touched.fields.items()
        if not _shown(profile, kinds)
    ]
    return Plan(masked)


def kinds_of(declared: GraphQLField | GraphQLArgument) -> Sequence[Phi]:
    """PHI kinds that a field or an argument of the schema was declared with."""
    definition = declared.extensions.get("strawberry-definition")
    directives = getattr(definition, "directives", ())
    return [kind for directive in directives or () if isinstance(directive, PhiDirective) for kind in directive.kind]


def _shown(profile: Profile, kinds: Sequence[Phi]) -> bool:
    return all(form(profile, kind) is Form.SHOW for kind in kinds)


def _given(value: ValueNode, variables: Mapping[str, Any]) -> bool:
    if isinstance(value, VariableNode):
        return variables.get(value.name.value) is not None
    return not isinstance(value, NullValueNode)


def _collected(schema: GraphQLSchema, document: DocumentNode, operation_name: str | None) -> Touched:
    key = (id(document), operation_name)
    if key in _touched:
        _touched.move_to_end(key)
        return _touched[key][1]
    touched = _collect(schema, document, operation_name)
    _touched[key] = (document, touched)  # keeps the document, so that its id stays its own
    if len(_touched) > DOCUMENTS_MAX:
        _touched.popitem(last=False)
    return touched


def _collect(schema: GraphQLSchema, document: DocumentNode, operation_name: str | None) -> Touched:
    operation = get_operation_ast(document, operation_name)
    root = schema.get_root_type(operation.operation) if operation else None
    if operation is None or root is None:
        return Touched({}, ())
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    fields: dict[str, Sequence[Phi]] = {}
    arguments: list[BoundArgument] = []
    for parent, node, declared in _Walk(schema, fragments).fields(root, operation.selection_set):
        kinds = kinds_of(declared)
        if kinds:
            fields[f"{parent.name}.{node.name.value}"] = kinds
        for argument in node.arguments or ():
            bound = kinds_of(declared.args[argument.name.value])
            if bound:
                arguments.append(BoundArgument(argument.name.value, bound, argument.value))
    return Touched(fields, arguments)


class _Walk:
    """Every field that a selection reaches; each fragment is entered once for each type, so time is linear."""

    def __init__(self, schema: GraphQLSchema, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
        self._schema = schema
        self._fragments = fragments
        self._entered: set[tuple[str, str]] = set()

    def fields(self, parent: Any, selection: SelectionSetNode) -> Iterator[tuple[Any, FieldNode, GraphQLField]]:
        for node in selection.selections:
            if isinstance(node, FieldNode):
                yield from self._field(parent, node)
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                yield from self.fields(
                    self._schema.type_map[condition.name.value] if condition else parent, node.selection_set
                )
            elif isinstance(node, FragmentSpreadNode) and (node.name.value, parent.name) not in self._entered:
                self._entered.add((node.name.value, parent.name))
                fragment = self._fragments[node.name.value]
                inner = self._schema.type_map[fragment.type_condition.name.value]
                yield from self.fields(inner, fragment.selection_set)

    def _field(self, parent: Any, node: FieldNode) -> Iterator[tuple[Any, FieldNode, GraphQLField]]:
        if isinstance(parent, GraphQLUnionType) or node.name.value.startswith("__"):
            return
        declared = parent.fields[node.name.value]
        yield parent, node, declared
        inner = get_named_type(declared.type)
        if node.selection_set and isinstance(inner, GraphQLObjectType | GraphQLInterfaceType | GraphQLUnionType):
            yield from self.fields(inner, node.selection_set)
