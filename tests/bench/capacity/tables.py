"""The capacity of the network on paper: measured cost of a request times a stated mix, as Markdown tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from db.audit import BATCH_MAX
from db.postgres import SPARE
from db.settings import CONNECTIONS_MAX
from tests.bench.capacity.measured import Distribution, Measured
from tests.bench.capacity.workload import HOSPITALS, Deployment, Workload

BUSY = 0.6
"""Share of a core that is planned for at the change of shifts: what is above is for noise, failures and growth."""
DAY = 0.5
"""Requests of a mean second of the day, as a share of those of a steady one. An assumption."""
AUDIT = 1
"""Connections of a process's audit writer."""
DATABASES = ("clinical", "imaging", "vitals")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float) -> str:
    """A figure with two digits that count, or whole where it has more."""
    if value == 0:
        return "0"
    digits = max(0, 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 3)}f}"


def spread(values: Distribution) -> str:
    """Median, and the 5th and 95th percentile."""
    if not any(values.quantiles):
        return "–"
    return f"{number(values.median)} ({number(values.quantiles[1])}–{number(values.quantiles[-2])})"


def cores(measured: Measured, rates: Mapping[str, float]) -> dict[str, float]:
    """Cores that are busy all the time at these rates (requests per second by kind): of the API and each database."""
    busy = {"API": sum(rate * measured.costs[kind].api.mean for kind, rate in rates.items()) / 1000}
    for name in DATABASES:
        busy[name] = sum(rate * measured.costs[kind].stores[name].mean for kind, rate in rates.items()) / 1000
    return busy


def needed(measured: Measured, workload: Workload, cells: int) -> Deployment:
    """A cell with cores that are busy for BUSY of the time at the change of shifts, and a replica at least."""
    plain = Deployment(1, 1)
    busy = cores(measured, workload.rates(burst=True))
    processes = math.ceil(busy["API"] / cells / BUSY)
    replicas = math.ceil(busy["clinical"] * (1 - plain.to_primary) / cells / BUSY / plain.cores)
    return Deployment(processes, max(1, replicas))


def costs(measured: Measured) -> str:
    """What a request costs."""
    rows = [
        (
            f"`{kind}`",
            f"{cost.bytes / 1000:.1f}",
            spread(cost.api),
            *(spread(cost.stores[name]) for name in DATABASES),
            cost.statements["clinical"],
            spread(cost.latency),
        )
        for kind, cost in measured.costs.items()
    ]
    head = ("request", "answer, kB", "API, ms", *(f"{name}, ms" for name in DATABASES), "statements", "latency, ms")
    measured_on = f"Measured on {measured.machine}; {measured.requests} requests of each kind."
    return f"{table(head, rows)}\n\n{measured_on}"


def rates(measured: Measured, workload: Workload) -> str:
    """Requests per second and the cores that they keep busy."""
    steady, burst = workload.rates(), workload.rates(burst=True)
    rows: list[Sequence[object]] = [
        (f"`{kind}`", number(steady[kind]), number(burst[kind]), *_cores(measured, {kind: burst[kind]}))
        for kind in measured.costs
    ]
    for title, rate in (("**steady**", steady), ("**change of shifts**", burst)):
        shown = {steady["chart"]: (number(sum(rate.values())), ""), burst["chart"]: ("", number(sum(rate.values())))}
        rows.append((title, *shown[rate["chart"]], *_cores(measured, rate)))
    head = ("request", "steady, 1/s", "change of shifts, 1/s", "API cores", *(f"{name} cores" for name in DATABASES))
    return table(head, rows)


def _cores(measured: Measured, rates: Mapping[str, float]) -> Iterable[str]:
    return (number(busy) for busy in cores(measured, rates).values())


def servers(measured: Measured, workload: Workload, cells: int) -> str:
    """What is to be bought: processes, servers, connections."""
    one = needed(measured, workload, cells)
    processes, clinical = one.processes * cells, (1 + one.replicas) * cells
    burst = cores(measured, workload.rates(burst=True))
    rows = [
        ("cells (clinical primaries, audit chains)", cells, f"{HOSPITALS / cells:.0f} hospitals each"),
        ("API processes, a core each", processes, f"{one.processes} in each cell, busy for {BUSY:.0%} at most"),
        (
            "clinical servers",
            clinical,
            f"a primary and {one.replicas} replica{'s' * (one.replicas > 1)} in each cell, {one.cores} cores each",
        ),
        *(
            (f"{name} cores", math.ceil(burst[name] / BUSY), f"busy for {BUSY:.0%} at the change of shifts")
            for name in DATABASES[1:]
        ),
        (
            "connections to one clinical server, direct",
            f"{one.processes * (CONNECTIONS_MAX + SPARE + AUDIT):,} at most",
            f"{one.processes} processes × ({CONNECTIONS_MAX} places + {SPARE} spare + {AUDIT} of the audit)",
        ),
        (
            "the same if processes were not in cells",
            f"{processes * (CONNECTIONS_MAX + SPARE + AUDIT):,} at most",
            "every process to every server: here a pooler would be needed",
        ),
    ]
    return table(("what", "how many", "why"), rows)


def audit(measured: Measured, workload: Workload) -> str:
    """What the audit writes, and what a chain takes."""
    one, commit_ms = measured.audit, Deployment(1, 0).commit_ms
    steady, burst = told(measured, workload.rates()), told(measured, workload.rates(burst=True))
    answers = sum(workload.rates(burst=True).values())
    answer_ms = one.written_ms(burst.events, burst.patients) / answers
    alone, full = (1000 / (answer_ms + (one.flush_ms + commit_ms) / size) for size in (1, BATCH_MAX))
    daily = 86_400 * DAY
    stored = one.bytes * steady.events + one.patient_bytes * steady.patients
    logged = one.wal_bytes * steady.events + one.patient_wal_bytes * steady.patients
    rows = [
        ("CPU of a flush", f"{one.flush_ms:.2f} ms"),
        ("CPU of an event, of each patient in it", f"{one.event_ms:.3f} ms, {one.patient_ms:.3f} ms"),
        ("commit on the measuring machine", f"{one.commit_ms:.2f} ms"),
        ("events per second, steady and change of shifts", f"{number(steady.events)}, {number(burst.events)}"),
        ("patients per event", f"{steady.patients / steady.events:.1f}, {burst.patients / burst.events:.1f}"),
        (f"answers that a chain takes, each flushed alone, commit {commit_ms} ms", f"{number(alone)} per second"),
        (f"the same in flushes of {BATCH_MAX}", f"{number(full)} per second"),
        (f"events a day, mean {DAY:.0%} of steady", f"{daily * steady.events / 1e6:,.0f} million"),
        ("tables and indexes a day", f"{daily * stored / 1e9:,.0f} GB, {stored / steady.events:,.0f} bytes an event"),
        ("write-ahead log a day", f"{daily * logged / 1e9:,.0f} GB, {logged / steady.events:,.0f} bytes an event"),
        ("kept for six years (45 CFR 164.316(b)(2)(i))", f"{daily * stored * 365.25 * 6 / 1e12:,.0f} TB"),
    ]
    return table(("audit", "figure"), rows)


@dataclass(frozen=True, slots=True)
class Told:
    """Events per second, and patients in them."""

    events: float
    patients: float


def told(measured: Measured, rates: Mapping[str, float]) -> Told:
    """What requests at these rates tell the audit."""
    return Told(
        sum(rate * measured.costs[kind].events for kind, rate in rates.items()),
        sum(rate * measured.costs[kind].patients for kind, rate in rates.items()),
    )
