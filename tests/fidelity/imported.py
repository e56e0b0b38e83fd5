"""Databases of their own for imported charts, so that these don't show up in the small demo network."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import asyncpg

from db.settings import Settings
from db.stores import FacilityName, Stores
from tests.apart import apart
from tests.asking import Graph
from tests.fidelity.charts import whole_chart
from tests.fidelity.files import Files, Json
from workers.import_fhir import import_paths

SHARED = Path(__file__).parents[3] / "shared" / "fhir"
"""Sample bundles beside a checkout; not everybody has them."""

REGISTERED = "SELECT facility_id FROM clinical.registration WHERE patient_id = $1 ORDER BY facility_id"


class Imported:
    """Files, and the graph over the stores into which they were imported."""

    def __init__(self, files: Files, graph: Graph) -> None:
        self.files = files
        self.graph = graph

    async def facilities(self, patient: str) -> list[FacilityName]:
        """Every facility where a patient is registered."""
        connection = await asyncpg.connect(self.graph.settings.clinical_url)
        rows = await connection.fetch(REGISTERED, UUID(patient.removeprefix("Patient/")))
        await connection.close()
        known = {facility.id: facility for facility in self.graph.facilities}
        return [known[row["facility_id"]] for row in rows]

    async def chart(self, patient: str, size: int) -> tuple[dict[str, list[Json]], list[Json]]:
        """Facts of a patient as the clinicians of all their facilities read them, in pages of a size."""
        return await whole_chart(self.graph, patient, await self.facilities(patient), size)


@asynccontextmanager
async def imported(configured: Settings, label: str, paths: list[Path], files: Files) -> AsyncGenerator[Imported]:
    """Imports files into new databases on the same servers."""
    own = await apart(configured, label)
    report = await import_paths(own, paths, None, lambda line: None)
    assert report.broken == []
    stores = Stores(own)
    yield Imported(files, Graph(own, stores, list(await stores.facilities())))
    await stores.close()
