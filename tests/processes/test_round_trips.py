"""Round trips of one chart to the clinical database: one to begin, one for each statement, one to end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from db.caller import Profile
from db.stores import Stores
from tests.asking import Graph
from tests.processes.relay import relayed

CHART = (Path(__file__).parents[2] / "graph" / "graphiql" / "examples" / "chart.graphql").read_text("utf-8")


async def test_round_trips_of_a_chart(graph: Graph) -> None:
    async with relayed(graph.settings.clinical_url) as relay:
        stores = Stores(replace(graph.settings, clinical_url=relay.url))
        try:
            asked = Graph(graph.settings, stores, graph.facilities)
            await asked.ask(CHART, Profile.CLINICIAN)  # opens the connection, prepares its statements
            await stores.clinical.connections.settled()
            before = relay.round_trips
            answer = await asked.ask(CHART, Profile.CLINICIAN)
            await stores.clinical.connections.settled()
        finally:
            await stores.close()
    statements = sum(count for (store, _), count in answer.statements.items() if store == "clinical")
    assert statements > 1
    assert relay.round_trips - before == 1 + statements + 1
