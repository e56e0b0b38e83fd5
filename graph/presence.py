"""ChartPresence: that somebody has a chart open."""

from __future__ import annotations

import strawberry

import resolvers.provider
from graph.datatype import FhirDateTime
from graph.field import field
from graph.provider import Provider


@strawberry.type(description="That somebody of the facility has a chart open now")
class ChartPresence:
    """Served from ChartPresenceRow. It tells who treats, not who is treated: no PHI kind."""

    subject: str = field("Subject who has the chart open", phi=None)
    role: str = field("Role of the subject", phi=None)
    provider: Provider | None = field(
        "Subject as a provider of the facility", phi=None, batch=resolvers.provider.of_facts
    )
    editing: bool = field("Whether the subject is changing something", phi=None)
    since: FhirDateTime = field(
        "When the subject opened the chart", phi=None, value=lambda row: row.since.isoformat(timespec="seconds")
    )
