"""Answers from copies: they say up to when they are complete, and are never older than the caller allows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from db.caller import Profile
from db.guard import PAUSE_S
from db.notes_schema import COPIES, PATIENT_SUMMARIES
from db.policy import Form, Phi, form
from db.settings import Settings
from tests.asking import Graph
from tests.callers import PURPOSES
from tests.feed.charts import HBA1C, HIV, Chart
from workers.embedded.stores import Stores as Embedded
from workers.sync.following import rebuild
from workers.sync.series import Series
from workers.sync.summaries import Summaries

SUMMARY = """
query ($id: ID!, $seconds: Int) {
  patient(id: $id) { summary(maxStaleness: $seconds) { asOf activeConditions { id } } }
}"""
ALL = """
query ($after: String, $seconds: Int) {
  patients(first: 12, after: $after) { nodes { id summary(maxStaleness: $seconds) {
    activeConditions { id code { coding { code display } text } onsetDateTime }
    activeMedications { id medication { coding { code } text } authoredOn }
    allergies { id code { coding { code } text } criticality }
    lastEncounter { id }
    lastEncounters { id status class type { text } periodStart periodEnd }
    latestResults { id test { coding { code } } status effectiveDateTime valueQuantity { value unit code system }
      valueCodeableConcept { text } interpretation { coding { code } } }
    latestVitalSigns { id code { code } status effectiveDateTime valueQuantity { value unit code system } }
    carePlans { id title category { text } periodStart }
    counts { encounters conditions procedures medicationRequests }
  } } }
}"""
TREND = """
query ($id: ID!, $code: [String!]!, $seconds: Int) {
  patient(id: $id) { labTrend(code: $code, from: "2019", maxStaleness: $seconds) {
    code unit asOf points { resultId time value comparator status }
  } }
}"""
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
HERE, SOURCE = ("notes", "patient_summary_of_patients"), ("clinical", "summary_conditions")


@pytest_asyncio.fixture
async def chart(graph: Graph, network: Settings) -> Chart:
    """A new patient of the first facility, whose summary was made a moment ago."""
    made = Chart(graph.stores, network, graph.facilities[0].id)
    await made.register_here()
    await made.condition()
    await Summaries(graph.stores).refresh([made.key])
    return made


async def aged(chart: Chart, complete: datetime) -> None:
    """Makes the chart's summary one of long ago, in a copy that is complete up to a time."""
    notes = chart.stores.notes
    await notes.open(PATIENT_SUMMARIES).update_one(
        {"_id": f"{chart.facility}/{chart.patient}"}, {"$set": {"as_of": LONG_AGO}}
    )
    await notes.open(COPIES).update_one({"_id": PATIENT_SUMMARIES.name}, {"$set": {"as_of": complete}}, upsert=True)


async def asked(graph: Graph, chart: Chart, seconds: int | None, profile: Profile = Profile.CLINICIAN) -> Any:
    """The answer about the chart's summary."""
    return await graph.ask(SUMMARY, profile, id=f"Patient/{chart.patient}", seconds=seconds)


async def test_an_answer_from_the_copy_says_as_of_when_it_is(graph: Graph, chart: Chart) -> None:
    await aged(chart, LONG_AGO)
    await chart.condition("38341003")
    answer = await asked(graph, chart, None)
    summary = answer.data["patient"]["summary"]
    assert (summary["asOf"], len(summary["activeConditions"])) == ("2020-01-01T00:00:00.000+00:00", 1)
    assert SOURCE not in answer.statements


@pytest.mark.parametrize("profile", [Profile.CLINICIAN, Profile.CDS, Profile.NURSE])
async def test_what_may_be_too_old_is_made_from_the_chart(graph: Graph, chart: Chart, profile: Profile) -> None:
    await aged(chart, datetime.now(UTC) - timedelta(minutes=2))
    await chart.condition("38341003")
    began = datetime.now(UTC) - timedelta(seconds=1)
    answer = await asked(graph, chart, 60, profile)
    summary = answer.data["patient"]["summary"]
    assert answer.errors == []
    assert len(summary["activeConditions"]) == 2
    assert datetime.fromisoformat(summary["asOf"]) > began
    assert answer.statements[SOURCE] == 1
    assert len((await asked(graph, chart, 180, profile)).data["patient"]["summary"]["activeConditions"]) == 1


async def test_a_quiet_copy_is_not_old(graph: Graph, chart: Chart) -> None:
    await aged(chart, datetime.now(UTC))
    answer = await asked(graph, chart, 60)
    assert SOURCE not in answer.statements
    assert answer.statements[HERE] == 1
    assert datetime.fromisoformat(answer.data["patient"]["summary"]["asOf"]) > datetime.now(UTC) - timedelta(minutes=1)


async def test_a_patient_whom_the_copy_does_not_have_yet_is_read_from_the_chart(
    graph: Graph, network: Settings
) -> None:
    chart = Chart(graph.stores, network, graph.facilities[0].id)
    await chart.register_here()
    assert (await asked(graph, chart, None)).data["patient"]["summary"] is None
    assert (await asked(graph, chart, 60)).data["patient"]["summary"]["activeConditions"] == []


@pytest.mark.parametrize("seconds", [-1, 10**8])
async def test_a_bound_that_is_none_is_refused(graph: Graph, chart: Chart, seconds: int) -> None:
    assert (await asked(graph, chart, seconds)).codes == ["INVALID_ARGUMENT"]


# Who is shown years only has the entries of a year in another order: the copy was ordered before its mask.
IN_ORDER = [profile for profile in Profile if form(profile, PURPOSES[profile], Phi.DATE) is not Form.YEAR]


@pytest.mark.parametrize("profile", IN_ORDER)
async def test_the_copy_says_what_the_chart_says(graph: Graph, profile: Profile) -> None:
    await rebuild(Summaries(graph.stores))
    copied, made = await graph.ask(ALL, profile), await graph.ask(ALL, profile, seconds=0)
    assert copied.data == made.data
    assert copied.errors == made.errors


@pytest_asyncio.fixture
async def without_vitals(embedded: Embedded, graph: Graph) -> AsyncIterator[None]:
    """The vitals store is down."""
    embedded.stop("vitals")
    yield
    embedded.start("vitals")
    await _until_back(graph)


async def _until_back(graph: Graph) -> None:
    await asyncio.sleep(PAUSE_S + 0.2)
    for _ in range(20):
        if set((await graph.stores.ready()).values()) == {None}:
            return
        await asyncio.sleep(0.5)


async def test_what_can_be_neither_fresh_nor_made_is_refused(graph: Graph, chart: Chart, without_vitals: None) -> None:
    await aged(chart, datetime.now(UTC) - timedelta(minutes=2))
    refused = await asked(graph, chart, 60)
    assert (refused.codes, refused.data["patient"]["summary"]) == (["STALE"], None)
    assert (await asked(graph, chart, None)).data["patient"]["summary"] is not None


async def trend(graph: Graph, chart: Chart, seconds: int | None = None, profile: Profile = Profile.CLINICIAN) -> Any:
    """The answer about the chart's series."""
    return await graph.ask(TREND, profile, id=f"Patient/{chart.patient}", code=[HBA1C, HIV], seconds=seconds)


async def test_a_course_is_of_one_test_and_unit_and_says_as_of_when_it_is(graph: Graph, chart: Chart) -> None:
    ids = [await chart.result(number, hour=number) for number in (5, 6, 7)]
    await chart.result(9, HIV)
    await rebuild(Series(graph.stores))
    answer = await trend(graph, chart, 60)
    [course] = answer.data["patient"]["labTrend"]
    assert (course["code"], course["unit"]) == (HBA1C, "%")
    assert [point["resultId"] for point in course["points"]] == [f"LabResult/{key}" for key in ids]
    assert [point["value"] for point in course["points"]] == [5, 6, 7]
    assert datetime.fromisoformat(course["asOf"]) > datetime.now(UTC) - timedelta(minutes=1)
    elsewhere = await graph.ask(TREND, facility=1, id=f"Patient/{chart.patient}", code=[HBA1C])
    assert elsewhere.data["patient"] is None


async def test_series_that_may_be_too_old_are_refused(graph: Graph, chart: Chart) -> None:
    await chart.result(5)
    await rebuild(Series(graph.stores))
    await graph.stores.vitals.worker_fetch("UPDATE vitals.copy SET as_of = $1", LONG_AGO)
    assert (await trend(graph, chart, 60)).codes == ["STALE"]
    assert (await trend(graph, chart)).data["patient"]["labTrend"][0]["asOf"].startswith("2020-01-01")
    await graph.stores.vitals.worker_fetch("DELETE FROM vitals.copy")
    assert (await trend(graph, chart, 60)).codes == ["STALE"]
    assert (await trend(graph, chart)).data["patient"]["labTrend"][0]["asOf"] is None
