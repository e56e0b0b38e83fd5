"""`/metrics` in Prometheus' text format, and the copies' part of `/readyz`: how far consumers of the feeds are behind.

Names of consumers and numbers only, so that whoever watches the system needs no rights to see patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from db.errors import StoreError
from db.stores import ConsumerLag, Stores


class Metrics:
    """What the stores of this process say when they are asked."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    async def text(self, _request: Request) -> Response:
        """Gauges of each consumer; of a database that does not answer none, and `caregraph_store_up` 0."""
        registry = CollectorRegistry()
        up = Gauge("caregraph_store_up", "Whether the store answers", ["store"], registry=registry)
        seconds = Gauge(
            "caregraph_sync_lag_seconds",
            "Age of the oldest event that a consumer has not acknowledged",
            ["database", "consumer"],
            registry=registry,
        )
        events = Gauge(
            "caregraph_sync_lag_events",
            "Events that a consumer has not acknowledged",
            ["database", "consumer"],
            registry=registry,
        )
        for store, code in (await self._stores.ready()).items():
            up.labels(store).set(code is None)
        for lag in await self._lags():
            seconds.labels(lag.database, lag.consumer).set(lag.seconds)
            events.labels(lag.database, lag.consumer).set(lag.events)
        headers = {"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"}
        return Response(generate_latest(registry), headers=headers)

    async def sync(self) -> list[dict[str, Any]]:
        """The same for `/readyz`."""
        return [
            {"database": lag.database, "consumer": lag.consumer, "events": lag.events, "seconds": lag.seconds}
            for lag in await self._lags()
        ]

    async def _lags(self) -> Sequence[ConsumerLag]:
        try:
            return await self._stores.lags()
        except StoreError:
            return []
