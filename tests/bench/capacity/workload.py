"""The network that is simulated: who asks how often for what, and what answers. Each figure says where it is from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CLINICIANS = 85_000
"""Concurrent clinicians of the platform that we follow (docs/ARCHITECTURE.md)."""
HOSPITALS = 340
AUDIT_EVENTS_PER_HOUR = 374
"""Events that an EHR's own audit log has of a resident in an hour of a shift: 6.3e7 timestamps of 14,678 shifts, and
241 hours in 21 shifts of a junior resident (Dziorny et al., Appl Clin Inform 2019, doi:10.1055/s-0038-1676819; the
division is ours). One screen writes several events: hardly more than this will be asked of us."""

MIX: Mapping[str, float] = {
    "chart": 0.30,
    "five_stores": 0.10,
    "ward": 0.10,
    "table": 0.05,
    "search": 0.15,
    "trend": 0.30,
}
"""Shares of a clinician's requests. An assumption: chart review is 38 % of the time in an EHR, orders 17 %, writing
28 % (Verma et al., PLoS ONE 2020, doi:10.1371/journal.pone.0233004), and no source says which reads it is made of."""
OPENS_A_CHART = frozenset(("chart", "five_stores"))
"""Kinds on which patient-view of CDS Hooks fires."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What is asked. All assumptions; the sensitivity table varies them."""

    clinicians: int = CLINICIANS
    requests_per_hour: float = 60.0
    """Of one clinician who is signed in, without those of decision support: an EHR's audit log has six times as many
    events (AUDIT_EVENTS_PER_HOUR), of which one answer of ours serves several."""
    mix: Mapping[str, float] = field(default_factory=lambda: MIX)
    patient_views: float = 1.0
    """Calls of patient-view for each chart that is opened."""
    order_selects: float = 0.1
    """Calls of order-select for each request of a clinician."""
    burst: float = 2.0
    """How much more often clinicians ask at the change of shifts: those who come read in while those who go write."""
    burst_views: int = 5
    """Calls of patient-view that a ward list fires at once at the change of shifts: one for each patient of a nurse."""
    nurses: float = 0.5
    """Share of clinicians who ask as nurses, the others as physicians: profiles with places of their own."""

    def rates(self, *, burst: bool = False) -> dict[str, float]:
        """Requests per second by kind, if nobody had to wait for answers."""
        asked = self.clinicians * self.requests_per_hour / 3600 * (self.burst if burst else 1.0)
        rates = {kind: asked * share for kind, share in self.mix.items()}
        opened = sum(rates[kind] for kind in OPENS_A_CHART) * self.patient_views
        rates["patient_view"] = opened + (rates["ward"] * self.burst_views if burst else 0.0)
        rates["order_select"] = asked * self.order_selects
        return rates


@dataclass(frozen=True, slots=True)
class Deployment:
    """What answers one cell: a part of the facilities with a clinical primary, and so an audit chain, of its own."""

    processes: int
    """Processes of the API, a core each."""
    replicas: int
    """Replicas of the clinical database beside its primary."""
    cores: int = 8
    """Cores of each PostgreSQL server."""
    pooled: int | None = None
    """Connections that a pooler in transaction mode has to each clinical server; None: there is none, and each place of
    a process has a connection of its own. The audit's writers have theirs."""
    commit_ms: float = 1.0
    """From the end of the audit's statement until its commit is durable and said to be: the disk's flush, and the
    synchronous standby's where there is one. An assumption: a network disk, or a standby in the next building."""
    round_trip_ms: float = 0.3
    """Between the API and a store in one data centre. An assumption."""
    to_primary: float = 0.05
    """Share of reads that must go to the primary (docs/scale.md, read routing). An assumption."""
    writers: int | None = None
    """Writers of the audit; None: one in each process, as it is. Fewer would be processes that the others tell."""
    two_choices: bool = True
    """Whether the balancer takes the less busy of two processes; else any."""
