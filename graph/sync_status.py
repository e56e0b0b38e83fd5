"""How far the copies are behind: what a dashboard says beside a summary, and what an operator looks at."""

from __future__ import annotations

import strawberry

from graph.field import field


@strawberry.type(description="How far a copy of what a database holds is behind")
class SyncStatus:
    """Served from db.stores.ConsumerLag."""

    database: str = field("Database whose changes are followed", phi=None)
    consumer: str = field("What follows them: summaries, series, …", phi=None)
    events: int = field("Changes that are not in the copy yet", phi=None)
    seconds: float = field("Age of the oldest of them; 0 where there is none", phi=None)
