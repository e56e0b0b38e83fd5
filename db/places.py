"""Places among the requests of one process: each is worth one connection to every PostgreSQL database."""

from __future__ import annotations

import asyncio
from collections import Counter, deque

from db.caller import Profile


class Places:
    """`count` places, shared out by access profile, at once where there is one.

    No profile holds more than half of them, and a quarter is open to clinical decision support (CDS) only: however many
    others ask, it is served. A place that gets free goes to the waiting profile that holds fewest.
    """

    def __init__(self, count: int) -> None:
        self.each = max(1, count // 2)
        """Places that one profile may hold."""
        self._count = count
        self._of_others = count - max(1, count // 4)
        self._held: Counter[Profile] = Counter()
        self._waiting: dict[Profile, deque[asyncio.Future[None]]] = {profile: deque() for profile in Profile}

    def take(self, profile: Profile) -> bool:
        """Takes a place where one is open to the profile now; whether it did."""
        is_open = self._is_open(profile)
        if is_open:
            self._held[profile] += 1
        return is_open

    async def wait(self, profile: Profile) -> None:
        """Takes a place once there is one. Who stops waiting has none."""
        waiting = self._waiting[profile]
        handed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(handed)
        try:
            await handed
        except asyncio.CancelledError:
            if not handed.cancelled():  # it was handed over at the same moment
                self.give_back(profile)
            elif handed in waiting:
                waiting.remove(handed)
            raise

    def give_back(self, profile: Profile) -> None:
        """Ends the use of a place, and hands on what that opens."""
        self._held[profile] -= 1
        while wanting := [one for one, queue in self._waiting.items() if queue and self._is_open(one)]:
            following = min(wanting, key=lambda one: self._held[one])
            handed = self._waiting[following].popleft()
            if not handed.cancelled():
                self._held[following] += 1
                handed.set_result(None)

    def _is_open(self, profile: Profile) -> bool:
        taken = self._held.total()
        if taken >= self._count or self._held[profile] >= self.each:
            return False
        return profile is Profile.CDS or taken - self._held[Profile.CDS] < self._of_others
