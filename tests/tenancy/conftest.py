"""Fixtures: two facilities of the network, recorded in its audit."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from db.audit import AuditLog
from db.settings import Settings
from tests.asking import Graph
from tests.tenancy.tenants import Tenants, tenants


@pytest_asyncio.fixture(scope="session")
async def pair(graph: Graph, network: Settings) -> AsyncIterator[Tenants]:
    """Facilities A and B, asked through an engine that records as the API's does."""
    log = AuditLog(network.clinical_url, network.secret, 30)
    yield await tenants(Graph(graph.settings, graph.stores, graph.facilities, log), log)
    await log.close()
