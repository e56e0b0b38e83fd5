"""`simulate`: the sections of docs/scale.md that hold figures, from what was measured."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from tests.bench.capacity import tables
from tests.bench.capacity.measured import Audit, Distribution, Measured
from tests.bench.capacity.model import DECISION_SUPPORT, PHASE_S, PHASES, Phase, simulate
from tests.bench.capacity.tables import cores, needed, number, table
from tests.bench.capacity.workload import AUDIT_EVENTS_PER_HOUR, Deployment, Workload

CELLS = 16
"""Parts that the network is cut into in the tables that do not vary it."""
SIDES = (1, 2, 4, 8, 16, 32)
SHORTEST_S = 8
HEADROOM = (0.9, 1.3, 1.7, 2.2, 2.7, 3.6)
"""Processes as multiples of the cores that the API is busy with at the change of shifts."""
LOADS = (1, 1.5, 2, 3)
HEAD = ("p50", "p99", "CDS p99", "failing", "used most")

Progress = Callable[[str], None]


def cell_of(workload: Workload, cells: int) -> Workload:
    """The part of the clinicians whom one cell serves."""
    return replace(workload, clinicians=workload.clinicians // cells)


def seen(phase: Phase) -> list[str]:
    """A phase in the columns of HEAD: milliseconds, the share that failed, and the resource that was used most."""
    clinicians = frozenset(phase.latencies_ms) - DECISION_SUPPORT
    values = (phase.quantile(0.5, clinicians), phase.quantile(0.99, clinicians), phase.quantile(0.99, DECISION_SUPPORT))
    hottest = f"{phase.hottest} {phase.used[phase.hottest]:.0%}"
    return [*(number(value) for value in values), f"{phase.failing:.1%}", hottest]


def both(phases: Mapping[str, Phase]) -> list[str]:
    """Steady, then the change of shifts."""
    return [cell for name in PHASES for cell in seen(phases[name])]


def head(*first: str) -> list[str]:
    """Head of a table with both phases."""
    return [*first, *HEAD, *(f"shift: {name}" for name in HEAD)]


def by_processes(measured: Measured, workload: Workload) -> Iterator[Sequence[str]]:
    """More and more processes, all else as needed."""
    busy = cores(measured, workload.rates(burst=True))["API"] / CELLS
    one = needed(measured, workload, CELLS)
    for processes in sorted({max(1, round(busy * share)) for share in HEADROOM}):
        phases = simulate(measured, cell_of(workload, CELLS), replace(one, processes=processes))
        yield [str(processes), f"{phases['burst'].used['API']:.0%}", *both(phases)]


def by_replicas(measured: Measured, workload: Workload) -> Iterator[Sequence[str]]:
    """Servers of few cores, so that replicas matter: no other part of the cell is short."""
    one = needed(measured, workload, CELLS)
    busy = cores(measured, workload.rates(burst=True))["clinical"] / CELLS
    small = replace(one, processes=2 * one.processes, cores=max(1, round(busy / 2)))
    for replicas in range(5):
        phases = simulate(measured, cell_of(workload, CELLS), replace(small, replicas=replicas))
        used = phases["burst"].used
        yield [f"{replicas} × {small.cores} cores", f"{used['primary']:.0%}, {used['replicas']:.0%}", *both(phases)]


def by_cells(measured: Measured, workload: Workload, writers: int | None = None) -> Iterator[Sequence[str]]:
    """The same processes in total, cut into cells."""
    total = needed(measured, workload, 1).processes
    for cells in SIDES:
        one = replace(needed(measured, workload, cells), processes=-(-total // cells), writers=writers)
        # As many requests as in other tables, or nearly: a large cell is looked at for a shorter time.
        phases = simulate(measured, cell_of(workload, cells), one, max(SHORTEST_S, PHASE_S * cells // CELLS))
        answers = [f"{phases[name].flushed / max(1, phases[name].flushes):.1f}" for name in PHASES]
        chain = [f"{phases[name].used['audit chain']:.0%}" for name in PHASES]
        yield [f"{cells} × {one.processes}", ", ".join(chain), ", ".join(answers), *both(phases)]


def by_writers(measured: Measured, workload: Workload) -> Iterator[Sequence[str]]:
    """The same, if a cell had one writer."""
    yield from by_cells(measured, workload, writers=1)


def by_load(measured: Measured, workload: Workload) -> Iterator[Sequence[str]]:
    """The needed cell under more than it was made for."""
    one = needed(measured, workload, CELLS)
    for load in LOADS:
        more = replace(workload, clinicians=int(workload.clinicians * load))
        phases = simulate(measured, cell_of(more, CELLS), one)
        yield [f"× {load}", _used(phases["burst"]), *both(phases)]


def by_kind(measured: Measured, workload: Workload) -> Iterator[Sequence[str]]:
    """Latencies of each kind in the needed cell."""
    phases = simulate(measured, cell_of(workload, CELLS), needed(measured, workload, CELLS))
    for kind in measured.costs:
        quantiles = [phases[name].quantile(share, frozenset((kind,))) for name in PHASES for share in (0.5, 0.99)]
        yield [f"`{kind}`", *(number(value) for value in quantiles)]


def pools(measured: Measured, workload: Workload) -> Iterator[Sequence[str]]:
    """Direct connections, then fewer and fewer of a pooler, in the needed cell."""
    one = needed(measured, workload, CELLS)
    for pooled in (None, 64, 32, 16, 8, 4):
        phases = simulate(measured, cell_of(workload, CELLS), replace(one, pooled=pooled))
        yield [str(pooled or "direct"), f"{phases['burst'].transactions:.1f}", *both(phases)]


def sensitivity(measured: Measured, workload: Workload) -> Iterator[Sequence[str]]:
    """One assumption at a time, in the cell that the others need."""
    one = needed(measured, workload, CELLS)
    changed: list[tuple[str, Measured, Workload, Deployment]] = [("as assumed", measured, workload, one)]
    for hourly in (30, 120, AUDIT_EVENTS_PER_HOUR):
        changed.append((f"{hourly} requests an hour", measured, replace(workload, requests_per_hour=hourly), one))
    for share in (0.7, 1.3, 2.0):
        changed.append((f"all CPU × {share}", scaled(measured, share, share), workload, one))
    changed.append(("PostgreSQL's CPU × 4", scaled(measured, 1, 4), workload, one))
    for views in (0, 20):
        changed.append((f"{views} hooks for a ward list", measured, replace(workload, burst_views=views), one))
    for commit in (0.2, 5, round(measured.audit.commit_ms)):
        changed.append((f"commit {commit} ms", measured, workload, replace(one, commit_ms=commit)))
    changed.append(("round trip 1 ms", measured, workload, replace(one, round_trip_ms=1)))
    changed.append(("half of the reads to the primary", measured, workload, replace(one, to_primary=0.5)))
    changed.append(("balancer by chance", measured, workload, replace(one, two_choices=False)))
    for name, costs, asked, given in changed:
        again = needed(costs, asked, CELLS)
        phases = simulate(costs, cell_of(asked, CELLS), given)
        bought = f"{again.processes * CELLS}, {(1 + again.replicas) * CELLS}"
        yield [name, bought, *both(phases)]


def scaled(measured: Measured, api: float, postgres: float) -> Measured:
    """The same costs with other CPU."""

    def times(values: Distribution, share: float) -> Distribution:
        return Distribution(tuple(value * share for value in values.quantiles))

    costs = {
        kind: replace(
            cost,
            api=times(cost.api, api),
            stores={name: times(values, postgres) for name, values in cost.stores.items()},
        )
        for kind, cost in measured.costs.items()
    }
    audit: Audit = measured.audit
    times_ms = {name: getattr(audit, name) * postgres for name in ("flush_ms", "event_ms", "patient_ms")}
    dearer = replace(audit, **times_ms)
    return replace(measured, costs=costs, audit=dearer)


def _used(phase: Phase) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in sorted(phase.used.items(), key=lambda one: -one[1])[:3])


def report(
    measured: Measured, workload: Workload, progress: Progress, only: Collection[str] = ()
) -> Iterator[tuple[str, str]]:
    """Names of the tables of docs/scale.md, each with its table; of what is simulated `only` some, or all."""
    yield "costs", tables.costs(measured)
    yield "rates", tables.rates(measured, workload)
    yield "servers", tables.servers(measured, workload, CELLS)
    yield "audit", tables.audit(measured, workload)
    kinds = ["request", "p50", "p99", "shift: p50", "shift: p99"]
    simulated: list[tuple[str, list[str], Callable[[Measured, Workload], Iterable[Sequence[str]]]]] = [
        ("by-kind", kinds, by_kind),
        ("by-processes", head("processes in a cell", "shift: API used"), by_processes),
        ("by-cells", head("cells × processes", "chain used", "answers in a flush"), by_cells),
        ("by-writers", head("cells × processes", "chain used", "answers in a flush"), by_writers),
        ("by-replicas", head("replicas", "shift: primary, replicas used"), by_replicas),
        ("pooler", head("connections to a server", "shift: transactions open"), pools),
        ("by-load", head("load", "shift: used"), by_load),
        ("sensitivity", head("changed", "processes, clinical servers needed"), sensitivity),
    ]
    for name, columns, rows in simulated:
        if only and name not in only:
            continue
        progress(f"{name} …")
        yield name, table(columns, rows(measured, workload))
