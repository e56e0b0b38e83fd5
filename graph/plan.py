"""Access plan of an operation: the fields that are masked for a caller, the arguments that bind what it may not read.

What a document touches is collected once and cached; each request then asks the policy. A mask binds arguments too: who
may not read a value may not filter, sort or search by it, and is told so before any store is asked.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
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
    is_composite_type,
)

from db.caller import Caller, PurposeOfUse, Role
from db.errors import PhiFilterForbidden
from db.policy import Form, Phi, may_break_glass, shows, unseen_labels, usual_view, view_of
from graph.definition import Declared, directives_of, metadata_of
from graph.field import PhiDirective
from graph.scopes import check_scopes

LABELLED = frozenset(
    {
        "AllergyIntolerance",
        "CarePlan",
        "ClinicalNote",
        "Condition",
        "DiagnosticReport",
        "Encounter",
        "Goal",
        "Immunization",
        "LabResult",
        "MedicationAdministration",
        "MedicationRequest",
        "Observation",
        "PatientSummary",
        "Procedure",
    }
)
"""Types whose rows have sensitivity labels."""

DOCUMENTS_MAX = 64
"""Documents whose collected fields are kept."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one operation shows one caller: `masked` is `extensions.phi` of its answer."""

    masked: Sequence[Mapping[str, Any]]
    kinds_shown: frozenset[Phi]
    """Kinds of PHI of which the caller gets the value."""
    kinds_masked: frozenset[Phi]
    """Kinds of PHI of which the caller gets a masked form, or nothing."""


Sight: TypeAlias = tuple[Role, PurposeOfUse, bool]
"""All of a caller that a plan depends on: role, purpose, and whether at home."""


@dataclass(frozen=True, slots=True)
class BoundArgument:
    """An argument that filters by PHI, as a document gives it."""

    name: str
    kinds: Sequence[Phi]
    value: ValueNode


@dataclass(frozen=True, slots=True)
class Touched:
    """What an operation touches: PHI kinds by schema coordinate, arguments that filter by PHI, and types."""

    fields: Mapping[str, Sequence[Phi]]
    arguments: Sequence[BoundArgument]
    types: Sequence[str]
    """Types of the graph whose fields or values are asked for."""
    scrubbed: frozenset[str]
    """Coordinates of fields that come scrubbed where the policy says SCRUB; it hides the others."""
    labelled: Sequence[str]
    """Coordinates of fields whose rows have sensitivity labels."""
    plans: dict[Sight, Plan] = field(default_factory=dict[Sight, "Plan"])
    """Plans made so far: at most one for each role and purpose of the policy, at home and away."""


_touched: OrderedDict[tuple[int, str | None], tuple[DocumentNode, Touched]] = OrderedDict()


def plan(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation_name: str | None,
    variables: Mapping[str, Any],
    caller: Caller,
) -> Plan:
    """Plan of a valid document's operation.

    Raises InsufficientScope for a type that the token's scopes do not grant, PhiFilterForbidden for an argument that
    binds a masked value.
    """
    touched = _collected(schema, document, operation_name)
    check_scopes(caller, touched.types)
    for argument in touched.arguments:
        if _given(argument.value, variables) and not shows(caller, *argument.kinds):
            raise PhiFilterForbidden(argument.name, "filters by a value that you may not read")
    return _plan(touched, caller)


def _plan(touched: Touched, caller: Caller) -> Plan:
    """The plan for who sees alike; nothing in it depends on who the caller is, or on a patient."""
    sight = (caller.role, caller.purpose, caller.home_facility_id is None)
    made = touched.plans.get(sight)
    if made is None:
        masked = [
            _masked(caller, coordinate, kinds, coordinate in touched.scrubbed)
            for coordinate, kinds in touched.fields.items()
            if not shows(caller, *kinds)
        ]
        kinds = {kind for listed in touched.fields.values() for kind in listed}
        shown = frozenset(kind for kind in kinds if shows(caller, kind))
        suppressed = _suppressed(caller, touched.labelled)
        made = touched.plans[sight] = Plan([*masked, *suppressed], shown, frozenset(kinds - shown))
    return made


def _masked(caller: Caller, coordinate: str, kinds: Sequence[Phi], scrubbed: bool) -> Mapping[str, Any]:
    """What the policy does to a field: for every purpose of the profile, or for this one in particular."""
    forms = view_of(caller).forms
    hidden = [kind for kind in kinds if not shows(caller, kind)]
    return {
        "coordinate": coordinate,
        "reason": "PURPOSE" if changed_by_purpose(caller, hidden) else "POLICY",
        "masks": [{"kind": kind.value, "form": form_at(forms[kind], scrubbed).value} for kind in hidden],
    }


def _suppressed(caller: Caller, labelled: Sequence[str]) -> Sequence[Mapping[str, Any]]:
    """Labels of which rows are left out, if there are any: the same whether there are some or none."""
    labels = unseen_labels(caller.role)
    told = {"reason": "SENSITIVITY", "labels": labels, "breakGlass": may_break_glass(caller)}
    return [{"coordinate": coordinate, **told} for coordinate in labelled] if labels else []


def changed_by_purpose(caller: Caller, kinds: Sequence[Phi]) -> bool:
    """Whether the caller's purpose gives one of these kinds another form than the profile's usual one does."""
    forms, usual = view_of(caller).forms, usual_view(caller.profile).forms
    return any(forms[kind] is not usual[kind] for kind in kinds)


def kinds_shown(
    schema: GraphQLSchema, document: DocumentNode, operation_name: str | None, caller: Caller
) -> tuple[frozenset[Phi], frozenset[Phi]]:
    """PHI kinds of an operation's fields: those that a caller is shown, and those that are masked. For the audit."""
    made = _plan(_collected(schema, document, operation_name), caller)
    return made.kinds_shown, made.kinds_masked


def kinds_of(declared: Declared) -> Sequence[Phi]:
    """PHI kinds that a field or an argument of the schema was declared with."""
    return [
        one for directive in directives_of(declared) if isinstance(directive, PhiDirective) for one in directive.kind
    ]


def scrubs(declared: GraphQLField) -> bool:
    """Whether a field was declared to come scrubbed where the policy says so."""
    return bool(metadata_of(declared, "scrubs"))


def form_at(form: Form, scrubbed: bool) -> Form:
    """Form of a kind at a field; what the policy shows scrubbed is hidden where nothing scrubs it."""
    return Form.HIDE if form is Form.SCRUB and not scrubbed else form


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
        return Touched({}, (), (), frozenset(), ())
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    fields: dict[str, Sequence[Phi]] = {}
    arguments: list[BoundArgument] = []
    types = {root.name: None}
    scrubbed: set[str] = set()
    labelled: dict[str, None] = {}
    for parent, node, declared in _Walk(schema, fragments).fields(root, operation.selection_set):
        inner = get_named_type(declared.type)
        types |= dict.fromkeys((parent.name, inner.name) if is_composite_type(inner) else (parent.name,))
        coordinate = f"{parent.name}.{node.name.value}"
        if inner.name.removesuffix("Connection") in LABELLED:
            labelled[coordinate] = None
        kinds = kinds_of(declared)
        if kinds:
            fields[coordinate] = kinds
            if scrubs(declared):
                scrubbed.add(coordinate)
        for argument in node.arguments or ():
            bound = kinds_of(declared.args[argument.name.value])
            if bound:
                arguments.append(BoundArgument(argument.name.value, bound, argument.value))
    return Touched(fields, arguments, list(types), frozenset(scrubbed), list(labelled))


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
