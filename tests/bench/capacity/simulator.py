"""A discrete-event simulator: a clock of whole nanoseconds, stations that work, places that are held.

Whole numbers make what is conserved exact: tests/test_capacity.py holds it to Little's law and to closed forms.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, TypeAlias

MILLISECOND = 1_000_000
SECOND = 1000 * MILLISECOND

Resume: TypeAlias = Callable[[Any], None]
"""Goes on with a process; the argument is what its `yield` gives."""
Step: TypeAlias = Callable[[Resume], None]
"""What a process yields: something that happens, and then resumes it."""
Process: TypeAlias = Generator[Step, Any, None]
"""A customer's way through the system, written as it goes."""


class Simulation:
    """The clock and what is to come; events of one instant happen in the order in which they were foreseen."""

    def __init__(self) -> None:
        self.now = 0
        self._events: list[tuple[int, int, Resume, Any]] = []
        self._foreseen = 0

    def after(self, delay: int, resume: Resume, value: Any = None) -> None:
        """Calls `resume` with a value after so many nanoseconds."""
        self._foreseen += 1
        heapq.heappush(self._events, (self.now + delay, self._foreseen, resume, value))

    def sleep(self, delay: int) -> Step:
        """A step that takes so many nanoseconds and nothing else."""
        return lambda resume: self.after(delay, resume)

    def start(self, process: Process) -> None:
        """Runs a process from now on."""
        self._advance(process, None)

    def run(self, until: int) -> None:
        """Lets happen what happens before this instant; afterwards it is then."""
        events = self._events
        while events and events[0][0] < until:
            self.now, _, resume, value = heapq.heappop(events)
            resume(value)
        self.now = until

    def _advance(self, process: Process, value: Any) -> None:
        try:
            step = process.send(value)
        except StopIteration:
            return
        step(partial(self._advance, process))


class Area:
    """The integral of a whole number over time."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._since = 0
        self._total = 0
        self.value = 0

    def add(self, change: int) -> None:
        """Changes the number now."""
        self._total = self.total
        self._since = self._simulation.now
        self.value += change

    @property
    def total(self) -> int:
        """Integral up to now, in units times nanoseconds."""
        return self._total + self.value * (self._simulation.now - self._since)


class Station:
    """Servers that are alike, and one queue: first come, first served. A core is a station of one server."""

    def __init__(self, simulation: Simulation, servers: int) -> None:
        self.servers = servers
        self.busy = Area(simulation)
        self.present = Area(simulation)
        self._simulation = simulation
        self._waiting: deque[tuple[int, Resume]] = deque()

    def work(self, service: int) -> Step:
        """A step that occupies a server for so many nanoseconds."""
        return partial(self._arrive, service)

    def _arrive(self, service: int, resume: Resume) -> None:
        self.present.add(1)
        if self.busy.value < self.servers:
            self._begin(service, resume)
        else:
            self._waiting.append((service, resume))

    def _begin(self, service: int, resume: Resume) -> None:
        self.busy.add(1)
        self._simulation.after(service, self._end, resume)

    def _end(self, resume: Resume) -> None:
        self.present.add(-1)
        self.busy.add(-1)
        if self._waiting:
            self._begin(*self._waiting.popleft())
        resume(None)


class Places:
    """Places that are taken and given back: a pooler's connections, a lock. Who finds none waits in order."""

    def __init__(self, simulation: Simulation, size: int) -> None:
        self.size = size
        self.taken = Area(simulation)
        self._waiting: deque[Resume] = deque()

    def take(self, resume: Resume) -> None:
        """A step that ends with a place."""
        if self.taken.value < self.size:
            self.taken.add(1)
            resume(None)
        else:
            self._waiting.append(resume)

    def give(self) -> None:
        """Gives a place back, to who waits longest."""
        if self._waiting:
            self._waiting.popleft()(None)
        else:
            self.taken.add(-1)
