"""How a field is declared: description, PHI kind, and where its value comes from.

`field()` is the only way to declare one; `phi=` has no default, so that a field without a decision does not import.
A value comes from the row's attribute of the same name, from a pure function of the row (`value=`), from a batch
resolver that takes all parents of a level (`batch=`), or, for roots, from a resolver of the context (`root=`).
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, TypeAlias, get_args
from uuid import UUID

import strawberry
from strawberry.schema_directive import Location

from db.caller import Caller
from db.errors import Suppressed
from db.policy import Phi, hides, may_break_glass
from graph.cost import cost_directives
from loaders.patient import OPEN, RELATIONSHIP, PatientRow
from resolvers.context import BatchResolver, Context

strawberry.enum(
    Phi,
    name="PhiKind",
    description="Kind of protected health information (45 CFR 164.514(b)(2)), free text or clinical fact",
)


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION, Location.ARGUMENT_DEFINITION, Location.INPUT_FIELD_DEFINITION],
    name="phi",
    description="Kind of protected health information that a field carries or an argument filters by",
)
class PhiDirective:
    """Printed at every field and argument that carries PHI; read by the access plan."""

    kind: list[Phi] = strawberry.directive_field(name="kind")


Kinds: TypeAlias = Phi | tuple[Phi, ...] | None
"""What a field carries: one kind, several (an identifier's value), or explicitly none."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a field; `name` is the resolver's, `graphql_name` the client's where they differ."""

    name: str
    type: Any
    description: str
    phi: Phi | None
    default: Any = None
    graphql_name: str | None = None


REQUIRED = inspect.Parameter.empty
"""Default of an argument that has none."""


def _parts(type_: Any) -> Iterator[Any]:
    """Types that a type such as `list[str] | None` is made of."""
    yield type_
    for part in get_args(type_):
        yield from _parts(part)


_enums: dict[type[Enum], Phi | None] = {}


def enum(values: type[Enum], description: str, *, phi: Phi | None, name: str | None = None) -> None:
    """Declares an enum whose values are given as arguments; like these it must say its PHI kind."""
    strawberry.enum(values, name=name, description=description)
    _enums[values] = phi


_inputs: set[type] = set()


def input_object(made: Any) -> None:
    """Notes an input object of a mutation; see graph.write. Raises TypeError for a field not made with `given`."""
    for one in made.__strawberry_definition__.fields:
        if not one.metadata.get("given"):
            raise TypeError(f"{made.__name__}.{one.python_name}: declare it with given().")
    _inputs.add(made)


def given(description: str, *, phi: Kinds, default: Any = REQUIRED, name: str | None = None) -> Any:
    """Declares a field of an input object: like any other it must say its PHI kind.

    `default=strawberry.UNSET` is for what may be left out; an update leaves that as it is, and null clears it.
    """
    kinds = (phi,) if isinstance(phi, Phi) else phi or ()
    more = {} if default is REQUIRED else {"default": default}
    directives = [PhiDirective(kind=list(kinds))] if kinds else []
    return strawberry.field(description=description, name=name, directives=directives, metadata={"given": True}, **more)


def arg(
    name: str, type_: Any, description: str, *, phi: Phi | None, default: Any = None, graphql_name: str | None = None
) -> Argument:
    """Declares an argument; like a field it must say its PHI kind.

    Raises TypeError for an enum that was declared with another kind or none, and for an input object whose fields have
    no kinds: only those of mutations do (graph.write).
    """
    for part in _parts(type_):
        if getattr(getattr(part, "__strawberry_definition__", None), "is_input", False) and part not in _inputs:
            raise TypeError(f"{name}: the parts of an input object are arguments, each with its kind.")
        if isinstance(part, type) and issubclass(part, Enum) and (part not in _enums or _enums[part] is not phi):
            raise TypeError(f"{name}: {part.__name__} must be declared with enum() and the argument's kind.")
    return Argument(name, type_, description, phi, default, graphql_name)


def field(
    description: str,
    *,
    phi: Kinds,
    value: Callable[[Any], object] | None = None,
    batch: BatchResolver | None = None,
    root: Callable[..., Awaitable[object]] | None = None,
    args: Sequence[Argument] = (),
    name: str | None = None,
    weight: float | None = None,
    size: int | None = None,
    scrubs: bool = False,
    chart: bool = True,
    elsewhere: Callable[[Any], UUID] | None = None,
    streams: bool = False,
) -> Any:
    """Declares a field of a type; see the module's text for where its value comes from.

    `weight` is what a call costs where that is more than usual, `size` the usual length of a long list: see graph.cost.
    `scrubs` says that the field comes scrubbed where the policy says SCRUB; any other field is hidden there.
    `chart=False` says that a relation of a patient is not part of the chart: it is shown where that is suppressed.
    `elsewhere` gives the facility at which a relation, and all below it, is read: see Context.enter.
    `streams` says that a root is a subscription's: its resolver gives an asynchronous generator of events.
    A relation whose kinds are all hidden from the caller is not resolved: its store is not asked.
    """
    kinds = (phi,) if isinstance(phi, Phi) else phi or ()
    source = Source(kinds, value, batch and Relation(batch, chart, elsewhere), root)
    phi_directives: list[object] = [PhiDirective(kind=list(kinds))] if kinds else []
    directives = phi_directives + cost_directives([a.graphql_name or a.name for a in args], weight, size)
    resolver: Any = _resolver(source, args)
    return strawberry.field(
        resolver=resolver,
        description=description,
        directives=directives,
        name=name,
        metadata={"scrubs": scrubs, "chart": chart and batch is not None, "source": source},
        is_subscription=streams,
    )


@dataclass(frozen=True, slots=True)
class Relation:
    """How a field finds its values for a level of parents; see `field`."""

    batch: BatchResolver
    chart: bool
    elsewhere: Callable[[Any], UUID] | None

    def suppressed(self, caller: Caller, parent: Any) -> Suppressed | None:
        """What is said below a patient whose chart is closed to the caller; an empty one would say: no disease."""
        if self.chart and isinstance(parent, PatientRow) and parent.standing != OPEN:
            return Suppressed(parent.standing or RELATIONSHIP, break_glass=may_break_glass(caller))
        return None


@dataclass(frozen=True, slots=True)
class Source:
    """Where a field's value comes from, for what executes it; see `field`. With none of the three: the attribute."""

    kinds: Sequence[Phi]
    value: Callable[[Any], object] | None
    relation: Relation | None
    root: Callable[..., Awaitable[object]] | None


def _resolver(source: Source, args: Sequence[Argument]) -> Callable[..., Any] | None:
    kinds, value, relation, root_resolver = source.kinds, source.value, source.relation, source.root
    if value:

        def of_row(root: Any) -> Any:
            return value(root)

        return _signed(of_row, args, with_info=False)
    if relation:

        async def of_level(root: Any, info: strawberry.Info[Context, None], **arguments: Any) -> Any:
            context = info.context.at(info.path)
            if relation.elsewhere:
                context = context.enter(info.path, relation.elsewhere(root))
            if hides(context.caller, *kinds):
                return None
            if suppressed := relation.suppressed(context.caller, root):
                raise suppressed
            return await context.for_parent(relation.batch, root, arguments)

        return _signed(of_level, args, with_info=True)
    if root_resolver:

        async def of_request(root: Any, info: strawberry.Info[Context, None], **arguments: Any) -> Any:
            if hides(info.context.caller, *kinds):
                return None
            return await root_resolver(info.context, **arguments)

        return _signed(of_request, args, with_info=True)
    return None


def _signed(function: Callable[..., Any], args: Sequence[Argument], *, with_info: bool) -> Callable[..., Any]:
    """The function with the signature from which Strawberry takes a field's arguments."""
    kind = inspect.Parameter.KEYWORD_ONLY
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter("root", positional, annotation=Any)]
    if with_info:
        parameters.append(inspect.Parameter("info", positional, annotation=strawberry.Info))
    parameters += [inspect.Parameter(a.name, kind, default=a.default, annotation=_annotation(a)) for a in args]
    function.__signature__ = inspect.Signature(parameters, return_annotation=Any)  # type: ignore[attr-defined]
    function.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": Any}
    return function


def _annotation(argument: Argument) -> Any:
    directives = [PhiDirective(kind=[argument.phi])] if argument.phi else []
    return Annotated[
        argument.type,
        strawberry.argument(description=argument.description, name=argument.graphql_name, directives=directives),
    ]


PAGE = (
    arg("first", int, "Number of entries at most, from 1 to 100", phi=None, default=20),
    arg("after", str | None, "Cursor after which the page starts", phi=None),
)
"""Arguments of every connection."""

PERIOD = (
    arg(
        "start",
        str | None,
        "First moment as FHIR dateTime; a partial one means its start",
        phi=Phi.DATE,
        graphql_name="from",
    ),
    arg(
        "end", str | None, "Last moment as FHIR dateTime; a partial one means its end", phi=Phi.DATE, graphql_name="to"
    ),
)
"""Arguments of every list that a clinician narrows by time."""

STATUS = arg("status", list[str] | None, "FHIR status codes of which one must match", phi=None)
CODE = arg("code", list[str] | None, "Codes (LOINC, SNOMED CT, RxNorm, …) of which one must match", phi=Phi.CLINICAL)

FACTS = (*PAGE, *PERIOD, STATUS, CODE)
"""Arguments of a list of coded facts."""
