"""A small graph with a field for every way to succeed and to fail, and a plan that masks and forbids."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, NewType

import strawberry
from graphql import DocumentNode, GraphQLSchema
from strawberry.schema.config import StrawberryConfig

from db.caller import Caller, Profile
from db.errors import Forbidden, InvalidId, PhiFilterForbidden, StoreUnavailable

PATIENT_VALUE = "Lovelace-1815"  # stands for something about a patient

WAITING, CANCELLED = threading.Event(), threading.Event()
"""Set when `stuck` waits, and when it was cancelled."""

Exact = NewType("Exact", Decimal)
RecordId = NewType("RecordId", str)
Raw = NewType("Raw", object)


@dataclass(frozen=True)
class Context:
    """What resolvers get: the event that `held` waits for, and who asks."""

    released: threading.Event
    caller: Caller


@dataclass(frozen=True)
class Row:
    """A row that a resolver must not let through."""

    name: str


def record_id(value: object) -> RecordId:
    """Parses the scalar RecordId, as scalars of the application do."""
    if not isinstance(value, str) or not value.startswith("r-"):
        raise InvalidId("id")
    return RecordId(value)


async def stuck() -> str:
    """Waits for ever; says when it is cancelled."""
    CANCELLED.clear()
    WAITING.set()
    try:
        await asyncio.Event().wait()
    finally:
        CANCELLED.set()
    return "stuck"


@strawberry.enum
class Status(Enum):
    """Some codes."""

    ACTIVE = "active"
    CLOSED = "closed"


@strawberry.input
class Range:
    """An input object."""

    low: int
    high: int = 10


@strawberry.type
class Chart:
    """Something that a fragment can defer."""

    title: str = "chart"

    @strawberry.field
    async def notes(self) -> str:
        """A slow store."""
        await asyncio.sleep(0.01)
        return "notes"

    @strawberry.field
    async def vitals(self) -> str | None:
        """A store that is down."""
        await asyncio.sleep(0.01)
        raise StoreUnavailable("vitals")

    @strawberry.field
    async def broken(self) -> str | None:
        """A mistake of ours."""
        await asyncio.sleep(0.01)
        raise RuntimeError(f"no row for {PATIENT_VALUE}")

    @strawberry.field
    async def held(self, info: strawberry.Info) -> str:
        """Waits until the test lets go."""
        await asyncio.to_thread(info.context.released.wait, 20)
        return "held"

    @strawberry.field
    async def endless(self) -> str:
        """Waits for ever; says when it is cancelled."""
        return await stuck()

    @strawberry.field
    async def row(self) -> Raw:
        """A row that slipped through."""
        return Raw(Row(PATIENT_VALUE))


@strawberry.type
class Query:
    """Fields for every way to succeed and to fail."""

    chart: Chart = strawberry.field(resolver=lambda: Chart())
    name: str | None = strawberry.field(resolver=lambda: "***")

    @strawberry.field
    def exact(self) -> list[Exact]:
        """Decimals as a laboratory reports them."""
        return [
            Exact(Decimal(text))
            for text in ("1.20", "0.000000000000000000123", "98765432109876543210.5", "-0.0", "1E+3")
        ]

    @strawberry.field
    def infinite(self) -> Exact:
        """A decimal that JSON has no form for."""
        return Exact(Decimal("Infinity"))

    @strawberry.field
    def row(self) -> Raw:
        """A row that slipped through."""
        return Raw(Row(PATIENT_VALUE))

    @strawberry.field
    def broken(self) -> str | None:
        """A mistake of ours."""
        raise RuntimeError(f"no row for {PATIENT_VALUE}")

    @strawberry.field
    def required(self) -> str:
        """A field that may not be null, and fails."""
        raise StoreUnavailable("clinical")

    @strawberry.field
    def record(
        self,
        id: RecordId | None = None,
        first: int = 1,
        status: Status = Status.ACTIVE,
        range: Range | None = None,
        name: str | None = None,
    ) -> str:
        """Takes one argument of each kind."""
        return f"{id} {first} {status.name}"

    @strawberry.field
    async def stuck(self) -> str:
        """Waits for ever; says when it is cancelled."""
        return await stuck()

    @strawberry.field
    def counted(self, to: int) -> list[int]:
        """A list that can come bit by bit."""
        return list(range(to))


@strawberry.type
class Mutation:
    """Something that GET must not do."""

    touch: bool = strawberry.field(resolver=lambda: True)


@strawberry.type
class Subscription:
    """Events, and every way in which they can fail."""

    @strawberry.subscription
    async def counted(self, to: int) -> AsyncGenerator[int, None]:
        """Numbers, and then the end."""
        for number in range(to):
            yield number

    @strawberry.subscription
    async def endless(self) -> AsyncGenerator[int, None]:
        """One event, and then none."""
        yield 0
        await asyncio.Event().wait()

    @strawberry.subscription
    async def exhausted(self) -> AsyncGenerator[str, None]:
        """A source that fails between events."""
        yield "one"
        raise RuntimeError(f"no row for {PATIENT_VALUE}")

    @strawberry.subscription
    async def forbidden(self) -> AsyncGenerator[str, None]:
        """A source that the caller may not have."""
        raise Forbidden
        yield ""

    @strawberry.subscription
    async def charts(self) -> AsyncGenerator[Chart, None]:
        """Something that is read for each event."""
        for _ in range(2):
            yield Chart()


SCHEMA = strawberry.Schema(
    Query,
    Mutation,
    Subscription,
    config=StrawberryConfig(
        enable_experimental_incremental_execution=True,
        scalar_map={
            Exact: strawberry.scalar(name="Exact", serialize=lambda value: value),
            RecordId: strawberry.scalar(name="RecordId", parse_value=record_id),
            Raw: strawberry.scalar(name="Raw", serialize=lambda value: value),
        },
    ),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Stands for graph.plan's: what was masked."""

    masked: list[dict[str, Any]]


def plan(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation_name: str | None,
    variables: Mapping[str, Any],
    caller: Caller,
) -> Plan:
    """Masks `name`, and forbids the variable `patientName`, for everybody but a privacy officer."""
    if caller.profile is Profile.PRIVACY_OFFICER:
        return Plan([])
    if "patientName" in variables:
        raise PhiFilterForbidden("name")
    source = document.loc.source.body if document.loc else ""
    return Plan([{"field": "Query.name", "kind": "NAME", "reason": "POLICY"}] if " name " in source else [])
