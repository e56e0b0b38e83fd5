"""How a mutation is declared: its input object, its payload, its root field.

@write_input("What an encounter is opened with")
class OpenEncounterInput(WriteInput):
    patient_id: strawberry.ID = given("Global id of the patient", phi=None)

@strawberry.type(description="What opening an encounter came to")
class OpenEncounterPayload(Payload):
    encounter: Encounter | None = field("Encounter", phi=None, batch=resolvers.encounter.written)

open_encounter: OpenEncounterPayload | None = mutation("Opens …", OpenEncounterInput, resolvers.writes.encounter.open)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import Any, TypeVar, cast

import strawberry

from graph.field import REQUIRED, arg, field, given, input_object
from loaders.write import Code, Written
from resolvers.context import Context

C = TypeVar("C", bound=type)

Resolver = Callable[[Context, Mapping[str, Any]], Awaitable[Written]]
"""From a context and the input, as resolvers.write has it, to what the write came to."""

strawberry.enum(Code, name="UserErrorCode", description="Why a change was not made")


@strawberry.type(description="A reason why a change was not made: of the data or the input, not of the request")
class UserError:
    """Served from UserErrorRow."""

    code: Code = field("What forbids the change", phi=None)
    place: list[str] = field(
        "Where in the input, from the outside in", phi=None, value=lambda error: error.field, name="field"
    )
    message: str = field("Reason in words, without any value", phi=None)
    version: int | None = field("Of a CONFLICT the version that is current", phi=None)


@strawberry.type(description="What every write comes to")
class Payload:
    """Served from Written; each mutation adds the object that it made or changed."""

    user_errors: list[UserError] = field(
        "Why nothing was changed; empty where the change was made", phi=None, value=lambda written: written.errors
    )


def write_input(description: str) -> Callable[[C], C]:
    """Declares an input object of a mutation, or one inside it; each of its fields is made with `given`."""

    def declared(cls: C) -> C:
        made = strawberry.input(description=description)(cls)
        input_object(made)
        return made

    return declared


@write_input("What every write is given")
class WriteInput:
    """The key under which a client may send the same write again."""

    idempotency_key: str = given(
        "Key of the client's choice, 1 to 200 characters: the same key with the same input gets the same answer",
        phi=None,
    )


@write_input("What every update is given")
class UpdateInput(WriteInput):
    """What is changed, and in which version the client saw it."""

    id: strawberry.ID = given("Global id of what is changed", phi=None)
    version: int = given("Version that the client saw", phi=None)


def mutation(description: str, input_type: type, resolver: Resolver) -> Any:
    """Declares a root field of the mutation, with one argument `input`."""

    async def root(context: Context, *, input: object) -> Written:
        return await resolver(context, _plain(input))

    return field(
        description,
        phi=None,
        root=root,
        args=(arg("input", input_type, "What is written", phi=None, default=REQUIRED),),
    )


def _plain(value: Any) -> Any:
    """An input object as a mapping of what was given in it: names in snake_case, enums by value."""
    if isinstance(value, list):
        return [_plain(one) for one in cast("list[Any]", value)]
    if isinstance(value, Enum):
        return value.value
    definition = getattr(type(value), "__strawberry_definition__", None)
    if definition is None:
        return value
    parts = {one.python_name: getattr(value, one.python_name) for one in definition.fields}
    return {name: _plain(part) for name, part in parts.items() if part is not strawberry.UNSET}
