"""The simulator of docs/scale.md, held to what is known exactly: closed forms, Little's law, conservation of work."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.audit import BATCH_MAX
from db.caller import Profile
from db.places import Places as RealPlaces
from tests.bench.capacity import measured as figures
from tests.bench.capacity.__main__ import placed
from tests.bench.capacity.admission import IN_FLIGHT_MAX, STORE_TIMEOUT_S, Admission
from tests.bench.capacity.measured import STORES, Audit, Cost, Distribution, Measured, distribution, dump, load
from tests.bench.capacity.model import PHASE_S, PHASES, Cell, simulate
from tests.bench.capacity.simulator import MILLISECOND, SECOND, Places, Process, Simulation, Station
from tests.bench.capacity.tables import cores, needed
from tests.bench.capacity.workload import MIX, Deployment, Workload

CUSTOMERS = 100_000
SHORT_S = 8
"""Seconds of a phase that many clinicians fill."""
JOBS = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1, max_size=60)
"""Nanoseconds until the next customer comes, and of his service."""


class Log:
    """Arrivals and departures of customers of one station, by a hand of its own."""

    def __init__(self, servers: int) -> None:
        self.simulation = Simulation()
        self.station = Station(self.simulation, servers)
        self.arrived: list[int] = []
        self.left: dict[int, int] = {}

    def customer(self, service: int) -> Process:
        """Comes, is served, goes."""
        number = len(self.arrived)
        self.arrived.append(self.simulation.now)
        yield self.station.work(service)
        self.left[number] = self.simulation.now

    def feed(self, jobs: Generator[tuple[int, int]]) -> Process:
        """Sends a customer after each time."""
        for apart, service in jobs:
            yield self.simulation.sleep(apart)
            self.simulation.start(self.customer(service))

    @property
    def sojourn(self) -> int:
        """Nanoseconds that customers were there, summed up to now."""
        now = self.simulation.now
        return sum(self.left.get(number, now) - came for number, came in enumerate(self.arrived))


def logged(servers: int, jobs: list[tuple[int, int]], until: int = SECOND) -> Log:
    """What happens to these customers."""
    log = Log(servers)
    log.simulation.start(log.feed(job for job in jobs))
    log.simulation.run(until)
    return log


def poisson(servers: int, used: float) -> Log:
    """A station used so much by customers who come and are served at random; a service takes 1 ms on average."""
    chance = random.Random(7)

    def exponential(mean: float) -> int:
        return int(chance.expovariate(1 / mean) * MILLISECOND)

    log = Log(servers)
    apart = 1 / (used * servers)
    log.simulation.start(log.feed((exponential(apart), exponential(1)) for _ in range(CUSTOMERS)))
    log.simulation.run(int(CUSTOMERS * apart * MILLISECOND))
    return log


def erlang_c(servers: int, load: float) -> float:
    """Probability that a customer waits in M/M/c (Erlang 1917); `load` in servers."""
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(load**n / math.factorial(n) for n in range(servers)) + last)


@pytest.mark.parametrize("used", [0.3, 0.6, 0.8])
def test_one_server_waits_as_m_m_1(used: float) -> None:
    """Mean time in the system is 1 / (μ − λ)."""
    log = poisson(1, used)
    assert log.sojourn / len(log.arrived) / MILLISECOND == pytest.approx(1 / (1 - used), rel=0.05)
    assert log.station.busy.total / log.simulation.now == pytest.approx(used, rel=0.02)


@pytest.mark.parametrize(("servers", "used"), [(2, 0.7), (4, 0.85), (16, 0.9)])
def test_many_servers_wait_as_erlang_says(servers: int, used: float) -> None:
    """Mean wait in M/M/c is C(c, a) / (cμ − λ)."""
    log = poisson(servers, used)
    load = used * servers
    expected = 1 + erlang_c(servers, load) / (servers - load)
    assert log.sojourn / len(log.arrived) / MILLISECOND == pytest.approx(expected, rel=0.05)


@given(servers=st.integers(1, 4), jobs=JOBS, until=st.integers(1, 40_000))
def test_littles_law_holds_to_the_nanosecond(servers: int, jobs: list[tuple[int, int]], until: int) -> None:
    """The integral of those present is the sum of their times (Little 1961), whenever one looks."""
    log = logged(servers, jobs, until)
    assert log.station.present.total == log.sojourn


@given(servers=st.integers(1, 4), jobs=JOBS)
def test_work_is_neither_lost_nor_made(servers: int, jobs: list[tuple[int, int]]) -> None:
    """What servers did is what customers brought; each left as soon as first come, first served lets him."""
    log = logged(servers, jobs)
    assert log.station.busy.total == sum(service for _, service in jobs)
    free = [0] * servers  # Kiefer and Wolfowitz's recursion
    now = 0
    for number, (apart, service) in enumerate(jobs):
        now += apart
        begins = max(now, free[0])
        assert log.left[number] == begins + service
        free = sorted([begins + service, *free[1:]])


@given(size=st.integers(1, 3), holds=st.lists(st.integers(1, 50), min_size=1, max_size=30))
def test_places_are_never_oversold(size: int, holds: list[int]) -> None:
    """At most `size` at once, in order, and none idle while somebody waits."""
    simulation = Simulation()
    places = Places(simulation, size)
    began: list[int] = []
    most = 0

    def holder(number: int, hold: int) -> Process:
        nonlocal most
        yield places.take
        began.append(number)
        most = max(most, places.taken.value)
        yield simulation.sleep(hold)
        places.give()

    for number, hold in enumerate(holds):
        simulation.start(holder(number, hold))
    simulation.run(SECOND)
    assert began == list(range(len(holds)))
    assert most == min(size, len(holds))
    assert places.taken.total == sum(holds)


@given(count=st.integers(2, 20), steps=st.lists(st.sampled_from(list(Profile)), max_size=80), leaving=st.randoms())
@settings(deadline=None)
def test_admission_is_that_of_the_application(count: int, steps: list[Profile], leaving: random.Random) -> None:
    """The same profiles hold the same number of places, whoever comes and goes."""

    async def compared() -> None:
        real, simulated = RealPlaces(count), Admission(Simulation(), count)
        held: list[Profile] = []
        inside: list[Profile] = []
        waiting: set[asyncio.Task[None]] = set()

        async def enter(profile: Profile) -> None:
            if not real.take(profile):
                await real.wait(profile)
            held.append(profile)

        for profile in steps:
            waiting.add(asyncio.create_task(enter(profile)))
            simulated.enter(profile)(lambda _, profile=profile: inside.append(profile))
            await settled()
            if leaving.random() < 0.4 and held:
                one = leaving.choice(held)
                held.remove(one)
                inside.remove(one)
                real.give_back(one)
                simulated.leave(one)
                await settled()
            assert sorted(one.value for one in held) == sorted(one.value for one in inside)
            assert simulated.held.total() == len(inside)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(compared())


async def settled() -> None:
    """Lets tasks that can go on do so."""
    for _ in range(3):
        await asyncio.sleep(0)


def test_who_waits_too_long_or_comes_too_late_is_turned_away() -> None:
    """After the store's timeout; at once where too many of a profile are there."""
    simulation = Simulation()
    admission = Admission(simulation, 2)
    told: list[tuple[int, bool]] = []

    def came(admitted: bool) -> None:
        told.append((simulation.now, admitted))

    for _ in range(IN_FLIGHT_MAX + 1):
        admission.enter(Profile.NURSE)(came)
    assert told == [(0, True), (0, False)]
    simulation.run(10 * SECOND)
    assert told[2:] == [(STORE_TIMEOUT_S * SECOND, False)] * (IN_FLIGHT_MAX - 1)
    admission.leave(Profile.NURSE)
    admission.enter(Profile.NURSE)(came)
    assert told[-1] == (10 * SECOND, True)


def always(milliseconds: float) -> Distribution:
    """A distribution of one value."""
    return Distribution((milliseconds,) * 21)


def made_up(api: float = 4.0, clinical: float = 2.0) -> Measured:
    """Costs that are the same for each kind: four statements in the clinical database."""
    stores = {name: always(clinical if name == "clinical" else 0) for name in STORES}
    statements = {name: 4 * (name == "clinical") for name in STORES}
    cost = Cost(always(api), stores, statements, always(0), 1, 1, 2)
    kinds = [*MIX, "patient_view", "order_select"]
    return Measured("none", 1, dict.fromkeys(kinds, cost), Audit(0.5, 0.15, 0.05, 0, 500, 50, 700, 100))


def test_a_clinician_alone_waits_for_nobody() -> None:
    """The answer takes the sum of its parts."""
    alone = Workload(clinicians=1, requests_per_hour=3600, patient_views=0, order_selects=0, burst=1, burst_views=0)
    deployment = Deployment(1, 0, commit_ms=2, round_trip_ms=0.5)
    phases = simulate(made_up(), alone, deployment)
    # Five round trips with BEGIN, CPU of the API and of the database, a flush of one event.
    expected = 5 * 0.5 + 4.0 + 2.0 + (0.5 + 0.5 + 0.25 + 2)
    latencies = [ms for name in PHASES for taken in phases[name].latencies_ms.values() for ms in taken]
    assert len(latencies) > PHASE_S
    assert latencies == pytest.approx([expected] * len(latencies))
    pooled = simulate(made_up(), alone, replace(deployment, pooled=1))["steady"]
    # The pooled transaction begins in three messages; the server's CPU is the same in all.
    assert pooled.quantile(0.5) == pytest.approx(expected + 2 * 0.5, abs=0.001)


@pytest.mark.parametrize("scale", [1, 3])
def test_paper_and_simulation_agree(scale: int) -> None:
    """Use is rate times cost (the utilisation law), and clinicians ask N / (R + Z) times a second."""
    workload = Workload(clinicians=3000 * scale, requests_per_hour=120)
    deployment = needed(made_up(), workload, 1)
    phases = simulate(made_up(), workload, deployment, SHORT_S)
    for name in PHASES:
        rates = workload.rates(burst=name == "burst")
        assert phases[name].asked / SHORT_S == pytest.approx(sum(rates.values()), rel=0.05)
        busy = cores(made_up(), rates)
        assert phases[name].used["API"] * deployment.processes == pytest.approx(busy["API"], rel=0.05)
        shares = {"primary": 1, "replicas": deployment.replicas}
        # The primary has the audit too.
        audit = (phases[name].flushes * 0.5 + phases[name].flushed * 0.25) / 1000 / SHORT_S
        used = sum(phases[name].used[key] * servers * deployment.cores for key, servers in shares.items())
        assert used == pytest.approx(busy["clinical"] + audit, rel=0.05)


def test_nobody_is_lost() -> None:
    """Who asked was answered, turned away, or is under way; every event is written once, in bounded flushes."""
    cell = Cell(made_up(api=12), Workload(clinicians=4000, requests_per_hour=200), Deployment(2, 1), SHORT_S)
    cell.run()
    ended = sum(phase.answered + phase.refused.total() for phase in cell.phases.values())
    under_way = sum(process.in_flight for process in cell.processes)
    assert sum(phase.asked for phase in cell.phases.values()) == ended + under_way
    assert sum(phase.refused["OVERLOADED"] for phase in cell.phases.values()) > 0
    written = sum(phase.flushed for phase in cell.phases.values())
    overloaded = sum(phase.refused["OVERLOADED"] for phase in cell.phases.values())
    assert ended - overloaded <= written <= ended - overloaded + under_way
    assert all(phase.flushed <= BATCH_MAX * phase.flushes for phase in cell.phases.values())


def test_the_same_seed_is_the_same_day() -> None:
    """Runs can be compared: nothing but the arguments decides."""
    workload, deployment = Workload(clinicians=500), Deployment(2, 1)
    one, other = (simulate(made_up(), workload, deployment) for _ in range(2))
    assert {name: phase.latencies_ms for name, phase in one.items()} == {
        name: phase.latencies_ms for name, phase in other.items()
    }
    assert one["steady"].used == other["steady"].used


def test_cores_help_until_the_chain_is_short() -> None:
    """More processes are faster where cores are short; where the audit's chain is, each only flushes fewer events."""
    short_of_cores = Workload(clinicians=2000, requests_per_hour=120)
    few, many = (
        simulate(made_up(api=20), short_of_cores, Deployment(count, 1, commit_ms=0.1), SHORT_S)["burst"]
        for count in (7, 21)
    )
    assert few.hottest == "API"
    assert many.quantile(0.99) < few.quantile(0.99) / 1.5
    short_of_chain = Workload(clinicians=6000, requests_per_hour=120)
    few, many = (simulate(made_up(), short_of_chain, Deployment(count, 1), SHORT_S)["burst"] for count in (4, 12))
    assert many.hottest == "audit chain"
    assert many.flushed / many.flushes < few.flushed / few.flushes
    assert many.quantile(0.5) > few.quantile(0.5)


def test_a_slow_disk_and_a_far_store_cost_what_they_are() -> None:
    """Each millisecond of a commit or of a round trip is paid at least once."""
    workload, plain = Workload(clinicians=500), Deployment(4, 1, commit_ms=0.5, round_trip_ms=0.1)
    base, disk, far = (
        simulate(made_up(), workload, one)["steady"].quantile(0.5)
        for one in (plain, replace(plain, commit_ms=3.5), replace(plain, round_trip_ms=1.1))
    )
    assert disk - base == pytest.approx(3, rel=0.2)
    assert far - base == pytest.approx(6, rel=0.2)  # BEGIN, four statements, the flush


@given(st.lists(st.floats(0, 100), min_size=2, max_size=50), st.floats(0, 1, exclude_max=True))
def test_what_is_drawn_was_measured(samples: list[float], share: float) -> None:
    """Nothing beyond the extremes, and the mean is that of what is drawn."""
    values = distribution(samples)
    assert min(samples) - 1e-9 <= values.at(share) <= max(samples) + 1e-9
    steps = 2000
    drawn = sum(values.at((step + 0.5) / steps) for step in range(steps)) / steps
    assert drawn == pytest.approx(values.mean, rel=1e-3, abs=1e-3)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """The file keeps every figure, to a microsecond of CPU."""
    path = tmp_path / "capacity.toml"
    dump(made_up(), path)
    assert load(path) == made_up()


def test_the_file_has_every_kind_that_is_asked() -> None:
    """What clinicians and decision support ask was measured."""
    costs = load(figures.FILE).costs
    assert costs.keys() == Workload().rates().keys()
    assert all(cost.api.median > 0 and cost.statements["clinical"] > 0 for cost in costs.values())


def test_tables_go_to_their_places() -> None:
    """Each between its marks, again and again, and the rest as it was; one without a place is told of."""
    page = "before\n<!-- a -->\nold\n<!-- /a -->\nafter\n"
    once = placed(page, {"a": "| new |"})
    assert once == "before\n<!-- a -->\n\n| new |\n\n<!-- /a -->\nafter\n" == placed(once, {"a": "| new |"})
    with pytest.raises(AssertionError, match="no place for b"):
        placed(page, {"b": ""})
