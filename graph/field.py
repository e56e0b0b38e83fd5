"""How a field is declared: description, PHI kind, and where its value comes from.

`field()` is the only way to declare one; `phi=` has no default, so that a field without a decision does not import.
A value comes from the row's attribute of the same name, from a pure function of the row (`value=`), from a batch
resolver that takes all parents of a level (`batch=`), or, for roots, from a resolver of the context (`root=`).
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import strawberry
from strawberry.schema_directive import Location

from db.caller import Profile
from db.policy import Form, Phi, form
from resolvers.context import BatchResolver, Context

strawberry.enum(
    Phi,
    name="PhiKind",
    description="Kind of protected health information (45 CFR 164.514(b)(2)), free text or clinical fact",
)


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION, Location.ARGUMENT_DEFINITION],
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


def arg(
    name: str, type_: Any, description: str, *, phi: Phi | None, default: Any = None, graphql_name: str | None = None
) -> Argument:
    """Declares an argument; like a field it must say its PHI kind."""
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
) -> Any:
    """Declares a field of a type; see the module's text for where its value comes from.

    A relation whose kinds are all hidden from the caller is not resolved: its store is not asked.
    """
    kinds = (phi,) if isinstance(phi, Phi) else phi or ()
    directives = [PhiDirective(kind=list(kinds))] if kinds else []
    resolver: Any = _resolver(value, batch, root, args, kinds)
    return strawberry.field(resolver=resolver, description=description, directives=directives, name=name)


def hidden(profile: Profile, kinds: Sequence[Phi]) -> bool:
    """Whether a profile gets nothing of a field that carries these kinds."""
    return bool(kinds) and all(form(profile, kind) is Form.HIDE for kind in kinds)


def _resolver(
    value: Callable[[Any], object] | None,
    batch: BatchResolver | None,
    root_resolver: Callable[..., Awaitable[object]] | None,
    args: Sequence[Argument],
    kinds: Sequence[Phi],
) -> Callable[..., Any] | None:
    if value:

        def of_row(root: Any) -> Any:
            return value(root)

        return _signed(of_row, args, with_info=False)
    if batch:

        async def of_level(root: Any, info: strawberry.Info[Context, None], **arguments: Any) -> Any:
            if hidden(info.context.caller.profile, kinds):
                return None
            return await info.context.for_parent(batch, root, arguments)

        return _signed(of_level, args, with_info=True)
    if root_resolver:

        async def of_request(root: Any, info: strawberry.Info[Context, None], **arguments: Any) -> Any:
            if hidden(info.context.caller.profile, kinds):
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
