"""What one request costs, as `measure` wrote it and as the simulation draws from it."""

from __future__ import annotations

import statistics
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

FILE = Path(__file__).parents[1] / "capacity.toml"
QUANTILES = 20
"""A distribution is kept as its 0th, 5th, … 100th percentile."""
STORES = ("clinical", "imaging", "vitals", "notes")
"""Stores whose CPU is measured beside the API's."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Milliseconds of CPU by evenly spaced quantiles, lowest first."""

    quantiles: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean of what is drawn: of the straight lines between the quantiles."""
        return statistics.fmean((low + high) / 2 for low, high in zip(self.quantiles, self.quantiles[1:], strict=False))

    @property
    def median(self) -> float:
        """Middle quantile."""
        return self.quantiles[len(self.quantiles) // 2]

    def at(self, share: float) -> float:
        """Inverse of the distribution function, 0 ≤ share < 1, straight between the quantiles."""
        place = share * (len(self.quantiles) - 1)
        low = int(place)
        return self.quantiles[low] + (self.quantiles[low + 1] - self.quantiles[low]) * (place - low)


def distribution(samples: Sequence[float]) -> Distribution:
    """Distribution of at least two samples."""
    inner = statistics.quantiles(samples, n=QUANTILES, method="inclusive")
    return Distribution((min(samples), *inner, max(samples)))


@dataclass(frozen=True, slots=True)
class Cost:
    """One kind of request at one connection: CPU of the API's process, of each store, and how often it asks each."""

    api: Distribution
    stores: Mapping[str, Distribution]
    statements: Mapping[str, int]
    """Statements by store, without BEGIN and ROLLBACK."""
    latency: Distribution
    """Milliseconds from sending to the last byte."""
    bytes: int
    """Size of the answer."""
    events: int
    """Events of the audit that the answer makes: one, and one more where it holds URLs."""
    patients: int
    """Patients in these events, summed."""


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit's writer: what a flush costs PostgreSQL besides its events, and what these cost."""

    flush_ms: float
    """CPU of one transaction without its events."""
    event_ms: float
    """CPU of one event more, of no patient."""
    patient_ms: float
    """CPU of one patient more in an event."""
    commit_ms: float
    """What a flush of one event took longer than its CPU: the disk of the machine that measured, and the way there."""
    bytes: float
    """Bytes of tables and indexes of one event of no patient."""
    patient_bytes: float
    """Bytes of one patient more."""
    wal_bytes: float
    """Bytes of write-ahead log of one event of no patient."""
    patient_wal_bytes: float
    """Bytes of one patient more."""

    def written_ms(self, events: float, patients: float) -> float:
        """CPU of events in a flush, without the flush itself."""
        return self.event_ms * events + self.patient_ms * patients


@dataclass(frozen=True, slots=True)
class Measured:
    """All that was measured in one run."""

    machine: str
    requests: int
    """Requests of each kind."""
    costs: Mapping[str, Cost]
    audit: Audit


def load(path: Path = FILE) -> Measured:
    """Reads what `dump` wrote."""
    raw = tomllib.loads(path.read_text("utf-8"))
    costs = {
        kind: Cost(
            Distribution(tuple(one["api_ms"])),
            {name: Distribution(tuple(one["stores_ms"][name])) for name in STORES},
            one["statements"],
            Distribution(tuple(one["latency_ms"])),
            one["bytes"],
            one["events"],
            one["patients"],
        )
        for kind, one in raw["kinds"].items()
    }
    return Measured(raw["machine"], raw["requests"], costs, Audit(**raw["audit"]))


def dump(measured: Measured, path: Path = FILE) -> None:
    """Writes TOML for `load`."""
    lines = [
        "# Written by `python -m tests.bench.capacity measure`: milliseconds of CPU of one request, as percentiles",
        "# 0, 5, … 100 of its distribution, and what the audit costs.",
        f'machine = "{measured.machine}"',
        f"requests = {measured.requests}",
        "",
        "[audit]",
    ]
    audit = measured.audit
    lines += [f"{one.name} = {getattr(audit, one.name):.4f}" for one in fields(audit)]
    for kind, cost in measured.costs.items():
        lines += ["", f"[kinds.{kind}]", f"bytes = {cost.bytes}"]
        lines += [f"events = {cost.events}", f"patients = {cost.patients}", f"api_ms = {_listed(cost.api)}"]
        lines += [f"latency_ms = {_listed(cost.latency)}"]
        lines += [f"statements.{name} = {count}" for name, count in sorted(cost.statements.items())]
        lines += [f"stores_ms.{name} = {_listed(cost.stores[name])}" for name in STORES]
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _listed(values: Distribution) -> str:
    return "[" + ", ".join(f"{value:.3f}" for value in values.quantiles) + "]"
