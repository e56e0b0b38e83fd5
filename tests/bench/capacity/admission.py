"""Places of a process by access profile, as db.places shares them out, on the simulator's clock."""

from __future__ import annotations

from collections import Counter, deque
from functools import partial

from db.caller import Profile
from tests.bench.capacity.simulator import SECOND, Resume, Simulation, Step

IN_FLIGHT_MAX = 200
"""CAREGRAPH_IN_FLIGHT_MAX by default: requests of one profile under way or waiting in one process."""
STORE_TIMEOUT_S = 5
"""CAREGRAPH_STORE_TIMEOUT_S by default: how long a request waits for a place."""


class Admission:
    """`count` places; tests/test_capacity.py holds it to db.places.Places."""

    def __init__(self, simulation: Simulation, count: int) -> None:
        self.held: Counter[Profile] = Counter()
        self._simulation = simulation
        self._count, self._each = count, max(1, count // 2)
        self._of_others = count - max(1, count // 4)
        self._in_flight: Counter[Profile] = Counter()
        self._waiting: dict[Profile, deque[list[Resume | None]]] = {profile: deque() for profile in Profile}

    def enter(self, profile: Profile) -> Step:
        """A step that gives whether there was a place in time."""
        return partial(self._enter, profile)

    def leave(self, profile: Profile) -> None:
        """Ends the use of a place, and hands on what that opens."""
        self.held[profile] -= 1
        self._in_flight[profile] -= 1
        while wanting := [one for one, queue in self._waiting.items() if queue and self._is_open(one)]:
            following = min(wanting, key=lambda one: self.held[one])
            waiter = self._waiting[following].popleft()
            resume, waiter[0] = waiter[0], None
            if resume is not None:
                self.held[following] += 1
                resume(True)

    def _enter(self, profile: Profile, resume: Resume) -> None:
        if self._in_flight[profile] >= IN_FLIGHT_MAX:
            resume(False)
            return
        self._in_flight[profile] += 1
        if self._is_open(profile):
            self.held[profile] += 1
            resume(True)
            return
        waiter: list[Resume | None] = [resume]
        self._waiting[profile].append(waiter)
        self._simulation.after(STORE_TIMEOUT_S * SECOND, self._give_up, (profile, waiter))

    def _give_up(self, one: tuple[Profile, list[Resume | None]]) -> None:
        profile, waiter = one
        resume, waiter[0] = waiter[0], None
        if resume is not None:  # the empty waiter is passed over when its turn comes
            self._in_flight[profile] -= 1
            resume(False)

    def _is_open(self, profile: Profile) -> bool:
        taken = self.held.total()
        if taken >= self._count or self.held[profile] >= self._each:
            return False
        return profile is Profile.CDS or taken - self.held[Profile.CDS] < self._of_others
