"""One cell of the network, simulated: clinicians, a balancer, API processes, PostgreSQL servers, the audit's chain.

A clinician asks, waits for the answer, thinks, asks again. A request takes a place of its profile, then its process's
core by turns with the stores: a statement takes a round trip, a core of the server, and the event loop again. Its
transaction holds a connection of the pooler, where there is one, until a ROLLBACK for which nobody waits. Then its
audit event waits for a flush of the process's writer; flushes of all processes queue for the one row that is the head
of the chain, and hold it until their commit is durable.
What stores do side by side is taken one after the other here.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from db.audit import BATCH_MAX
from db.caller import Profile
from db.settings import CONNECTIONS_MAX
from tests.bench.capacity.admission import STORE_TIMEOUT_S, Admission
from tests.bench.capacity.measured import STORES, Cost, Measured
from tests.bench.capacity.simulator import MILLISECOND, SECOND, Places, Process, Resume, Simulation, Station, Step
from tests.bench.capacity.workload import OPENS_A_CHART, Deployment, Workload

DEADLINE_S = 30
"""CAREGRAPH_REQUEST_DEADLINE_S by default."""
BEGIN, BEGIN_POOLED = 1, 3
"""Round trips until the first statement of a transaction: behind a pooler it asks for the server's process first."""
WARM_UP_S, PHASE_S = 5, 20
PHASES = ("steady", "burst")
DECISION_SUPPORT = frozenset(("patient_view", "order_select"))
BESIDE = ("imaging", "vitals")
"""Databases with a server of their own, given as many cores as keep it half idle: they are not what is studied."""
MANY = 10**6
"""More connections than are ever wanted."""
SEED = 4


@dataclass(slots=True)
class Phase:
    """What was seen of the requests that came in one phase."""

    latencies_ms: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict[str, list[float]](list))
    """By kind, of those that got an answer."""
    refused: Counter[str] = field(default_factory=Counter[str])
    """By code."""
    used: dict[str, float] = field(default_factory=dict[str, float])
    """Share of time that each resource was in use."""
    asked: int = 0
    flushes: int = 0
    flushed: int = 0
    """Answers whose events were flushed."""
    transactions: float = 0.0
    """Transactions that were open in the clinical servers, on average."""

    def quantile(self, share: float, kinds: frozenset[str] | None = None) -> float:
        """Latency of this share of the answers to these kinds; 0 where there are none."""
        every = sorted(ms for kind, taken in self.latencies_ms.items() if not kinds or kind in kinds for ms in taken)
        return every[min(len(every) - 1, int(share * len(every)))] if every else 0.0

    @property
    def answered(self) -> int:
        """Requests that got an answer."""
        return sum(len(taken) for taken in self.latencies_ms.values())

    @property
    def failing(self) -> float:
        """Share of requests that were turned away or came too late."""
        refused = self.refused.total()
        return refused / (self.answered + refused) if refused else 0.0

    @property
    def hottest(self) -> str:
        """What was in use most."""
        return max(self.used, key=lambda name: self.used[name])


class Server:
    """A PostgreSQL server: its cores, and connections to it."""

    def __init__(self, simulation: Simulation, cores: int, connections: int | None) -> None:
        self.cores = Station(simulation, cores)
        self.connections = Places(simulation, connections or MANY)


class Writer:
    """A writer of the audit: what came during one flush is the next."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._waiting: deque[tuple[Cost, Resume]] = deque()
        self._flushing = False

    def append(self, cost: Cost) -> Step:
        """A step that ends when the events of an answer are durable."""
        return partial(self._append, cost)

    def _append(self, cost: Cost, resume: Resume) -> None:
        self._waiting.append((cost, resume))
        if not self._flushing:
            self._flushing = True
            self._cell.simulation.start(self._flush())

    def _flush(self) -> Process:
        cell, audit, commit_ms = self._cell, self._cell.measured.audit, self._cell.deployment.commit_ms
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH_MAX, len(self._waiting)))]
            yield cell.simulation.sleep(cell.round_trip)
            yield cell.chain.take
            written_ms = sum(audit.written_ms(cost.events, cost.patients) for cost, _ in batch)
            yield cell.primary.cores.work(_ns(audit.flush_ms + written_ms))
            yield cell.simulation.sleep(_ns(commit_ms))
            cell.chain.give()
            cell.phase.flushes += 1
            cell.phase.flushed += len(batch)
            for _, resume in batch:
                cell.simulation.after(0, resume)
        self._flushing = False


class Api:
    """One process of the API: one core, and its places."""

    def __init__(self, cell: Cell, writer: Writer) -> None:
        self.core = Station(cell.simulation, 1)
        self.writer = writer
        self.in_flight = 0
        self.places = Admission(cell.simulation, CONNECTIONS_MAX)


class Cell:
    """The system, and the clinicians who use it."""

    def __init__(self, measured: Measured, workload: Workload, deployment: Deployment, phase_s: int = PHASE_S) -> None:
        self.simulation = Simulation()
        self.measured = measured
        self.deployment = deployment
        self.round_trip = _ns(deployment.round_trip_ms)
        self.phases = {name: Phase() for name in ("warm-up", *PHASES)}
        self.phase = self.phases["warm-up"]
        self.chain = Places(self.simulation, 1)
        one = deployment
        servers = [Server(self.simulation, one.cores, one.pooled) for _ in range(1 + one.replicas)]
        self.primary, self.replicas = servers[0], servers[1:]
        self._workload = workload
        self._phase_s = phase_s
        self._random = random.Random(SEED)
        burst = workload.rates(burst=True)
        loads = {name: sum(burst[kind] * measured.costs[kind].stores[name].mean for kind in burst) for name in BESIDE}
        self._beside = {name: Server(self.simulation, 1 + round(2 * ms / 1000), None) for name, ms in loads.items()}
        writers = [Writer(self) for _ in range(deployment.writers or deployment.processes)]
        self.processes = [Api(self, writers[number % len(writers)]) for number in range(deployment.processes)]
        self._kinds, self._shares = list(workload.mix), list(workload.mix.values())

    def run(self) -> Mapping[str, Phase]:
        """What was seen in each phase."""
        for _ in range(self._workload.clinicians):
            self.simulation.start(self._clinician())
        self.simulation.run(WARM_UP_S * SECOND)
        for name in PHASES:
            self.phase = self.phases[name]
            before = self._areas()
            self.simulation.run(self.simulation.now + self._phase_s * SECOND)
            after = self._areas()
            self.phase.used = {key: (after[key] - before[key]) / (self._phase_s * SECOND) for key in after}
            self.phase.transactions = self.phase.used.pop("transactions")
        return {name: self.phases[name] for name in PHASES}

    def _areas(self) -> dict[str, float]:
        """Use so far of each resource, in nanoseconds of all that there is of it; of transactions, in all."""
        servers = [self.primary, *self.replicas]
        cores, count = self.deployment.cores, max(1, len(self.replicas))
        return {
            "API": sum(process.core.busy.total for process in self.processes) / len(self.processes),
            "primary": self.primary.cores.busy.total / cores,
            "replicas": sum(server.cores.busy.total for server in self.replicas) / cores / count,
            "transactions": sum(server.connections.taken.total for server in servers),
            "audit chain": self.chain.taken.total,
        }

    def _clinician(self) -> Process:
        """Thinks and asks, and opens what decision support looks at; in the midst of a thought when it begins."""
        while True:
            yield self.simulation.sleep(self._thinking())
            [kind] = self._random.choices(self._kinds, self._shares)
            for hook in self._hooks(kind):
                self.simulation.start(self._request(hook))
            yield from self._request(kind)

    def _thinking(self) -> int:
        """Nanoseconds of a thought, exponential; what of it falls into the change of shifts goes faster."""
        workload = self._workload
        thought = int(self._random.expovariate(workload.requests_per_hour / 3600) * SECOND)
        calm = max(0, (WARM_UP_S + self._phase_s) * SECOND - self.simulation.now)
        return thought if thought <= calm else calm + int((thought - calm) / workload.burst)

    def _hooks(self, kind: str) -> Iterator[str]:
        """Calls of decision support that go with a request, at the same time."""
        workload, chance = self._workload, self._random.random
        if kind in OPENS_A_CHART and chance() < workload.patient_views:
            yield "patient_view"
        if chance() < workload.order_selects:
            yield "order_select"
        if kind == "ward" and self.phase is self.phases["burst"]:
            yield from ["patient_view"] * workload.burst_views

    def _request(self, kind: str) -> Process:
        phase, began = self.phase, self.simulation.now
        phase.asked += 1
        api = self._chosen()
        api.in_flight += 1
        profile = self._profile(kind)
        if not (yield api.places.enter(profile)):
            phase.refused["OVERLOADED"] += 1
            api.in_flight -= 1
            return
        cost = self.measured.costs[kind]
        yield from self._executed(api, cost)
        executed = self.simulation.now
        yield api.writer.append(cost)
        api.places.leave(profile)
        api.in_flight -= 1
        if self.simulation.now - executed > STORE_TIMEOUT_S * SECOND:
            phase.refused["AUDIT_UNAVAILABLE"] += 1
        elif self.simulation.now - began > DEADLINE_S * SECOND:
            phase.refused["DEADLINE_EXCEEDED"] += 1
        else:
            phase.latencies_ms[kind].append((self.simulation.now - began) / MILLISECOND)

    def _profile(self, kind: str) -> Profile:
        if kind in DECISION_SUPPORT:
            return Profile.CDS
        return Profile.NURSE if self._random.random() < self._workload.nurses else Profile.CLINICIAN

    def _executed(self, api: Api, cost: Cost) -> Process:
        """The request's work: CPU is drawn for each process alone, then spread evenly over its turns."""
        chance = self._random.random
        begin = BEGIN_POOLED if self.deployment.pooled else BEGIN
        # A URL of the archive is signed in the process itself.
        asked = {name: cost.statements[name] for name in STORES if cost.statements[name]}
        rounds = {name: count + (begin if name != "notes" else 0) for name, count in asked.items()}
        turn = _ns(cost.api.at(chance()) / (1 + sum(rounds.values())))
        yield api.core.work(turn)
        for name, count in rounds.items():
            service = _ns(cost.stores[name].at(chance()) / count)
            server = self._reads_from(name)
            if server:
                yield server.connections.take
            for _ in range(count):
                yield self.simulation.sleep(self.round_trip)
                yield server.cores.work(service) if server else self.simulation.sleep(service)
                yield api.core.work(turn)
            if server:
                self.simulation.start(self._ended(server))

    def _ended(self, server: Server) -> Process:
        yield self.simulation.sleep(self.round_trip)
        server.connections.give()

    def _reads_from(self, store: str) -> Server | None:
        """The server that a transaction goes to; None where a store is a delay and no more."""
        if store == "clinical":
            if not self.replicas or self._random.random() < self.deployment.to_primary:
                return self.primary
            return self._random.choice(self.replicas)
        return self._beside.get(store)

    def _chosen(self) -> Api:
        one = self._random.choice(self.processes)
        if not self.deployment.two_choices:
            return one
        other = self._random.choice(self.processes)
        return other if other.in_flight < one.in_flight else one


def simulate(
    measured: Measured, workload: Workload, deployment: Deployment, phase_s: int = PHASE_S
) -> Mapping[str, Phase]:
    """What a cell does: `steady`, then `burst`, each of so many seconds. The same for the same arguments."""
    return Cell(measured, workload, deployment, phase_s).run()


def _ns(milliseconds: float) -> int:
    return int(milliseconds * MILLISECOND)
