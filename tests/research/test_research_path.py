"""From a proposal to parquet in Polars, through the graph and a worker, over the demo's records; and its end."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import polars as pl

from tests.asking import Graph
from tests.imaging.images import get
from tests.research.people import AGREEMENT, OTHER, approved, officer, researcher, settled
from tests.writes.mutating import send, written
from workers.research.work import work

REQUESTED = "extraction { id state stage }"
STATE = """query ($id: ID!) { node(id: $id) { ... on ResearchExtraction {
    state stage version error sha256 progress { rowsDone partitions partitionsDone } report } } }"""
RELEASED = """query ($id: ID!) { researchDataset(id: $id, version: 1) { version method
    report { patientsIn patientsOut findings k json }
    lineage { extraction }
    tables { name rowCount columns { name description kind rule } rows(first: 5) { nodes { researchId values } }
        files { nodes { rows sha256 presignedUrl(expiresIn: 60) } } } } }"""
LISTED = "{ researchDatasets(first: 100) { nodes { id title method } } }"
REVOKED = "project { id status }"
TABLES = ["patients", "encounters", "conditions", "lab_results", "vitals", "notes"]


async def test_from_a_proposal_to_parquet(graph: Graph) -> None:
    await settled(graph.stores)
    scholar = researcher(graph)
    project = await approved(graph, 0, OTHER, methods=["LIMITED"], dataUseAgreement=AGREEMENT)
    given = {"projectId": project["id"]}
    written(await send(graph, "approveResearchFacility", "project { id }", officer(graph, OTHER), **given))
    asked = {"projectId": project["id"], "name": "Falls of the demo", "method": "LIMITED", "tables": TABLES}
    requested = written(await send(graph, "requestDataset", REQUESTED, scholar, **asked))
    assert requested["state"] == "QUEUED"
    await work(graph.settings, at_once=2, bytes_per_s=None, until_empty=True)

    extraction = requested["id"]
    ended = (await graph.ask_as(scholar, STATE, id=extraction)).data["node"]
    assert (ended["state"], ended["error"]) == ("PUBLISHED", None), ended["report"]
    listed = (await graph.ask_as(scholar, LISTED)).data["researchDatasets"]["nodes"]
    [dataset] = [one for one in listed if one["title"] == asked["name"]]
    found = (await graph.ask_as(scholar, RELEASED, id=dataset["id"])).data["researchDataset"]
    assert found["lineage"]["extraction"] == extraction
    assert found["report"]["findings"] == 0
    assert [table["name"] for table in found["tables"]] == TABLES
    for table in found["tables"]:
        await assert_same(table)
    await assert_scrubbed(found)
    described = {column["name"]: column["description"] for column in found["tables"][0]["columns"]}
    assert described["zip5"] == "First five digits of the ZIP code"  # not what the graph says of its own, masked field

    closing = {"id": project["id"], "version": project["version"]}
    written(await send(graph, "revokeResearchProject", REVOKED, officer(graph), **closing))
    assert (await graph.ask_as(scholar, RELEASED, id=dataset["id"])).data["researchDataset"] is None


async def assert_same(table: dict[str, Any]) -> None:
    """The files of a table, downloaded by their URLs, have the rows that the graph shows."""
    frames: list[pl.DataFrame] = []
    for file in table["files"]["nodes"]:
        status, content = await asyncio.to_thread(get, file["presignedUrl"])
        assert status == 200
        frames.append(pl.read_parquet(io.BytesIO(content)))
    whole = pl.concat(frames).sort("research_id", "row_id")
    assert whole.height == table["rowCount"] > 0
    names = [column["name"] for column in table["columns"]]
    shown = [node["values"] for node in table["rows"]["nodes"]]
    keys = [(row["research_id"], row["row_id"]) for row in whole.select(names).head(len(shown)).to_dicts()]
    places = names.index("research_id"), names.index("row_id")
    assert [(int(row[places[0]]), int(row[places[1]])) for row in shown] == keys


async def assert_scrubbed(found: dict[str, Any]) -> None:
    """Notes came, as texts without identifiers."""
    [notes] = [table for table in found["tables"] if table["name"] == "notes"]
    texts: list[str] = []
    for file in notes["files"]["nodes"]:
        _, content = await asyncio.to_thread(get, file["presignedUrl"])
        texts += pl.read_parquet(io.BytesIO(content))["text"].drop_nulls().to_list()
    assert texts
    assert not any("@" in text for text in texts)
