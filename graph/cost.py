"""Static cost of an operation, by IBM's GraphQL Cost Directives specification, from its actual variables.

The type cost bounds the objects of an answer: each counts the weight of its type (1 for what has fields, 0 for a leaf).
The field cost bounds the work: each call of a field counts the field's weight (`@cost`; 1 where it gives objects, 0 for
a leaf). `@listSize` says how long a list can be. Fragments are expanded; the bounds of graph.limits keep that short.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import strawberry
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    get_operation_ast,
    is_composite_type,
)
from strawberry.schema_directive import Location

from db.errors import CostLimitExceeded
from graph.definition import directives_of

TYPE_COST_MAX = 50_000
"""Objects that one answer may have; 50,000 with their fields take a quarter of a second to write."""
FIELD_COST_MAX = 20_000
"""Calls of fields that give objects, weighted."""
COSTS_MAX = 64
"""Costs that are kept, by document, operation and variables."""
ASSUMED_SIZE = 3
"""Length of a list that says nothing else: a repeating element of FHIR, such as the codings of a concept."""


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="cost",
    description="Weight of a call of the field (IBM GraphQL Cost Directives); 1 for objects and 0 for leaves otherwise",
)
class CostDirective:
    """Printed at every field that costs its store more than a usual one."""

    weight: str = strawberry.directive_field(name="weight")


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="listSize",
    description="How long the list can be (IBM GraphQL Cost Directives); 3 for a list without it",
)
class ListSizeDirective:
    """Printed at every connection, and at every list that is usually longer than others."""

    assumed_size: int | None = strawberry.directive_field(name="assumedSize", default=strawberry.UNSET)
    slicing_arguments: list[str] | None = strawberry.directive_field(name="slicingArguments", default=strawberry.UNSET)
    sized_fields: list[str] | None = strawberry.directive_field(name="sizedFields", default=strawberry.UNSET)
    require_one_slicing_argument: bool = strawberry.directive_field(name="requireOneSlicingArgument", default=True)


def cost_directives(arguments: Collection[str], weight: float | None, size: int | None) -> list[object]:
    """Directives of a field with these arguments, this weight and this length; `first` cuts lists and connections."""
    directives: list[object] = []
    if weight is not None:
        directives.append(CostDirective(weight=f"{weight:g}"))
    assumed = strawberry.UNSET if size is None else size
    if "first" in arguments:
        sized_fields = ["edges", "nodes"] if "after" in arguments else strawberry.UNSET
        directives.append(
            ListSizeDirective(
                assumed_size=assumed,
                slicing_arguments=["first"],
                sized_fields=sized_fields,
                require_one_slicing_argument=False,
            )
        )
    elif size is not None:
        directives.append(ListSizeDirective(assumed_size=size))
    return directives


@dataclass(frozen=True, slots=True)
class Cost:
    """What an operation may cost at most."""

    type: float
    field: float

    def plus(self, other: Cost) -> Cost:
        """Both."""
        return Cost(self.type + other.type, self.field + other.field)

    def times(self, calls: int) -> Cost:
        """This for each of several parents."""
        return Cost(self.type * calls, self.field * calls)


_NOTHING = Cost(0, 0)

_costs: OrderedDict[tuple[object, ...], tuple[DocumentNode, Cost]] = OrderedDict()


def check_cost(
    schema: GraphQLSchema, document: DocumentNode, operation_name: str | None, variables: Mapping[str, Any]
) -> None:
    """Refuses an operation whose static cost is too high; variables come coerced. Raises CostLimitExceeded."""
    cost = static_cost(schema, document, operation_name, variables)
    for limit, requested, at_most in (
        ("TYPE_COST", cost.type, TYPE_COST_MAX),
        ("FIELD_COST", cost.field, FIELD_COST_MAX),
    ):
        if requested > at_most:
            raise CostLimitExceeded(limit, int(min(requested, 1e15)), at_most)


def static_cost(
    schema: GraphQLSchema, document: DocumentNode, operation_name: str | None, variables: Mapping[str, Any]
) -> Cost:
    """Cost of a valid document's operation. Introspection costs nothing here: graph.limits bounds it."""
    # Only integers can slice; the document is kept with its cost, so that its id stays its own.
    sizes = tuple((name, value) for name, value in variables.items() if isinstance(value, int))
    key = (id(document), operation_name, sizes)
    if key not in _costs:
        _costs[key] = (document, _calculated(schema, document, operation_name, variables))
        if len(_costs) > COSTS_MAX:
            _costs.popitem(last=False)
    _costs.move_to_end(key)
    return _costs[key][1]


def _calculated(
    schema: GraphQLSchema, document: DocumentNode, operation_name: str | None, variables: Mapping[str, Any]
) -> Cost:
    operation = get_operation_ast(document, operation_name)
    root = schema.get_root_type(operation.operation) if operation else None
    if operation is None or root is None:
        return _NOTHING
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    return _Walk(schema, fragments, variables).of_set(root, operation.selection_set, {})


class _Walk:
    """Costs of the selections of one operation."""

    def __init__(
        self, schema: GraphQLSchema, fragments: Mapping[str, FragmentDefinitionNode], variables: Mapping[str, Any]
    ) -> None:
        self._schema = schema
        self._fragments = fragments
        self._variables = variables

    def of_set(self, parent: GraphQLNamedType, selection_set: SelectionSetNode, sized: Mapping[str, int]) -> Cost:
        """Cost of a selection on one parent; `sized` are lengths that the parent's field gives to its fields.

        An object is of one type only: of fragments on several types the dearest counts.
        """
        always, by_type = _NOTHING, dict[str, Cost]()
        for node in selection_set.selections:
            if isinstance(node, FieldNode):
                always = always.plus(self._of_field(parent, node, sized))
                continue
            condition, inner = self._fragment(parent, node)
            cost = self.of_set(condition, inner, sized)
            if condition is parent or not isinstance(condition, GraphQLObjectType):
                always = always.plus(cost)
            else:
                by_type[condition.name] = by_type.get(condition.name, _NOTHING).plus(cost)
        dearest = Cost(
            max((cost.type for cost in by_type.values()), default=0),
            max((cost.field for cost in by_type.values()), default=0),
        )
        return always.plus(dearest)

    def _fragment(self, parent: GraphQLNamedType, node: object) -> tuple[GraphQLNamedType, SelectionSetNode]:
        if isinstance(node, FragmentSpreadNode):
            node = self._fragments[node.name.value]
        fragment = cast("FragmentDefinitionNode | InlineFragmentNode", node)
        condition = fragment.type_condition
        return (self._schema.type_map[condition.name.value] if condition else parent), fragment.selection_set

    def _of_field(self, parent: GraphQLNamedType, node: FieldNode, sized: Mapping[str, int]) -> Cost:
        name = node.name.value
        if name.startswith("__"):
            return _NOTHING
        declared: GraphQLField = cast("Any", parent).fields[name]
        weighed = _weighed(self._schema, parent.name, name)
        size = self._size(weighed, declared, node)
        calls = sized.get(name, ASSUMED_SIZE if size is None else size) if weighed.is_list else 1
        if node.selection_set is None:
            return Cost(0, weighed.weight)
        inner_sized = {} if size is None else dict.fromkeys(weighed.sized_fields, size)
        inner = self.of_set(get_named_type(declared.type), node.selection_set, inner_sized)
        return Cost(inner.type + 1, inner.field).times(calls).plus(Cost(0, weighed.weight))

    def _size(self, weighed: _Weighed, declared: GraphQLField, node: FieldNode) -> int | None:
        """The largest that the slicing arguments ask for, else the assumed one, else that of their defaults."""
        given = {argument.name.value: argument.value for argument in node.arguments or ()}
        asked = [self._integer(given[name]) for name in weighed.slicing_arguments if name in given]
        if weighed.assumed_size is None:
            asked += [declared.args[name].default_value for name in weighed.slicing_arguments if name not in given]
        sizes = [max(size, 0) for size in asked if isinstance(size, int)]
        return max(sizes, default=weighed.assumed_size)

    def _integer(self, value: ValueNode) -> object:
        if isinstance(value, VariableNode):
            return self._variables.get(value.name.value)
        return int(value.value) if isinstance(value, IntValueNode) else None


@dataclass(frozen=True, slots=True)
class _Weighed:
    """What the directives of a field say."""

    weight: float
    is_list: bool
    assumed_size: int | None
    slicing_arguments: Sequence[str]
    sized_fields: Sequence[str]


@cache
def _weighed(schema: GraphQLSchema, type_name: str, name: str) -> _Weighed:
    declared: GraphQLField = cast("Any", schema.type_map[type_name]).fields[name]
    weight = 1.0 if is_composite_type(get_named_type(declared.type)) else 0.0
    assumed_size, slicing_arguments, sized_fields = None, (), ()
    for directive in directives_of(declared):
        if isinstance(directive, CostDirective):
            weight = float(directive.weight)
        elif isinstance(directive, ListSizeDirective):
            assumed_size = directive.assumed_size or None
            slicing_arguments, sized_fields = directive.slicing_arguments or (), directive.sized_fields or ()
    type_ = declared.type.of_type if isinstance(declared.type, GraphQLNonNull) else declared.type
    return _Weighed(weight, isinstance(type_, GraphQLList), assumed_size, slicing_arguments, sized_fields)
