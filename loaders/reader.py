"""Reader: all that one caller reads in one request; a call to `load` joins the others of its moment in one batch."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Generic, Literal, LiteralString, TypeAlias, TypeVar
from uuid import UUID

from aiodataloader import DataLoader

from db.caller import Caller, Patients, PurposeOfUse
from db.live import Listener
from db.note_writing import NoteWriting
from db.postgres import AskPatients, Postgres, Session
from db.research import Reading
from db.research_method import IN_FORCE
from db.seen import Seen
from db.stores import ConsumerLag, Stores
from db.transaction import Transaction, transaction

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Batch: TypeAlias = Callable[["Reader", Sequence[K]], Awaitable[Mapping[K, V]]]
"""From a reader and keys to a mapping; a key that is not in the mapping has no value."""


Writable: TypeAlias = Literal["clinical", "imaging", "vitals"]
"""Databases in which callers write."""

PATIENTS = """/* patients_of_caller */
SELECT reached, denied, excepted, clearances FROM access.patients()"""

OPEN_PROJECTS: LiteralString = f"""/* open_projects */
SELECT p.id::text || ' ' || method AS opened
FROM research_project AS p, unnest(p.methods) AS method
WHERE p.id IN (SELECT access.research_open())
    AND {IN_FORCE}"""


class Reader:
    """The five stores as one caller sees them, for the length of one request.

    `statements` counts what was sent, by (store, statement name): what golden tests compare. `seen` has the patients
    whose records were read, and the releases: what the audit tells.
    """

    def __init__(self, stores: Stores, caller: Caller, beside: Reader | None = None) -> None:
        """With `beside` a reader of the same request and snapshot, as the same person at another facility."""
        self.caller = caller
        self.statements: Counter[tuple[str, str]] = beside.statements if beside else Counter()
        self.seen = beside.seen if beside else Seen()
        self._stores = stores
        self._record = _recorder(self.statements)
        if beside:
            self.clinical = beside.clinical.beside(caller)
        else:
            self.clinical = stores.clinical.session(caller, self._record, seen=self.seen)
        self.patients = self.told(self.clinical)
        if beside:
            self.imaging = beside.imaging.beside(caller, self.patients)
            self.vitals = beside.vitals.beside(caller, self.patients)
        else:
            self.imaging = stores.imaging.session(caller, self._record, self.patients, self.seen)
            self.vitals = stores.vitals.session(caller, self._record, self.patients, self.seen)
        self.notes = stores.notes.session(caller, self._record, self.patients, self.seen)
        ask_open = _Open(self.clinical) if caller.purpose is PurposeOfUse.HRESCH else None
        self.warehouse = stores.warehouse.session(caller, self._record, ask_open, self.seen)
        self.archive = stores.archive.session(caller, self._record, self.seen, self.warehouse.sees)
        self._joined: dict[Batch[Any, Any], _Joined[Any, Any]] = {}
        self._first: Reader | None = (beside._first or beside) if beside else None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    @staticmethod
    def told(clinical: Session) -> AskPatients:
        """What tells the stores beside the clinical one whose records the caller may see."""
        return _Told(clinical)

    async def load_many(self, batch: Batch[K, V], keys: Sequence[K | None]) -> list[V | None]:
        """Values of the keys, in their order; asked for together with every other key of this batch function.

        Raises what the batch function raises, StoreError above all.
        """
        joined = self._joined.get(batch)
        if joined is None:
            joined = self._joined[batch] = _Joined(self, batch)
        return await joined.values(keys)

    @asynccontextmanager
    async def transaction(self, store: Writable = "clinical") -> AsyncGenerator[Transaction]:
        """A transaction of this caller that writes, committed at its end; what is read afterwards sees it.

        Raises StoreError.
        """
        postgres: Postgres = getattr(self._stores, store)
        patients = None if store == "clinical" else await self.patients()
        async with transaction(postgres, self.caller, self._record, patients) as writing:
            yield writing
        self._joined.clear()
        for session in (self.clinical, self.imaging, self.vitals):
            await session.renew()

    def research(self, project_id: UUID) -> AbstractAsyncContextManager[Reading]:
        """A snapshot of what a project may read, past the caller's own rights: for counts that are masked.

        Who asks has made sure that the caller may act for the project. Raises StoreError.
        """
        return self._stores.research.project(project_id, self._record)

    async def lags(self) -> Sequence[ConsumerLag]:
        """How far the copies of the stores are behind, whoever asks. Raises StoreError."""
        return await self._stores.lags()

    def listener(self) -> Listener:
        """Somebody who hears what is committed, see db.live. It outlives this reader."""
        return self._stores.live.listener()

    def note_writing(self) -> NoteWriting:
        """Writes of this caller to clinical notes. Raises Forbidden."""
        return NoteWriting(self._stores.notes, self.caller, self._record)

    def beside(self, caller: Caller) -> Reader:
        """A reader of the same request, as the same person at another facility; it is closed with this one."""
        return Reader(self._stores, caller, self)

    @contextmanager
    def under_way(self) -> Generator[None]:
        """Makes the running task end with this reader: a batch is nobody's child, so nothing else would cancel it."""
        first = self._first or self
        if first._closed:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        assert task is not None
        first._tasks.add(task)
        try:
            yield
        finally:
            first._tasks.discard(task)

    async def close(self) -> None:
        """Cancels what is still under way and ends the snapshots of this request."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for session in (self.clinical, self.imaging, self.vitals):
            await session.close()  # at once, unless a statement was given up
        self._joined.clear()


class _Told:
    """Whose records the caller may see, for the stores beside the clinical one; asked once.

    Not a method of the reader, which has the sessions that ask: garbage in cycles waits for the collector.
    """

    def __init__(self, clinical: Session) -> None:
        self._clinical = clinical
        self._asking = asyncio.Lock()
        self._patients: Patients | None = None

    async def __call__(self) -> Patients:
        """The patients. Raises StoreError."""
        async with self._asking:
            if self._patients is None:
                self._patients = _patients(await self._clinical.fetch(PATIENTS))
            return self._patients


class _Open:
    """Methods of projects that are open to the caller, for the warehouse; asked once, as in `_Told`."""

    def __init__(self, clinical: Session) -> None:
        self._clinical = clinical
        self._asking = asyncio.Lock()
        self._opened: Sequence[str] | None = None

    async def __call__(self) -> Sequence[str]:
        """The projects. Raises StoreError."""
        async with self._asking:
            if self._opened is None:
                self._opened = [row["opened"] for row in await self._clinical.fetch(OPEN_PROJECTS)]
            return self._opened


def _recorder(statements: Counter[tuple[str, str]]) -> Callable[[str, str], None]:
    def record(store: str, statement: str) -> None:
        statements[store, statement] += 1

    return record


class _Joined(Generic[K, V]):
    """One batch function of one reader: calls of one moment are joined, and no key is asked for twice."""

    def __init__(self, reader: Reader, batch: Batch[K, V]) -> None:
        self._reader = reader
        self._batch = batch
        self._known: dict[K, V | None] = {}
        self._asking = asyncio.Lock()
        # Of whole lists of keys: a future for each key would cost more than the statement.
        self._loader: DataLoader[Sequence[K | None], None] = DataLoader(self._ask, cache=False)

    async def values(self, keys: Sequence[K | None]) -> list[V | None]:
        """Values of the keys, in their order."""
        if any(key is not None and key not in self._known for key in keys):
            await self._loader.load(keys)
        return [None if key is None else self._known[key] for key in keys]

    async def _ask(self, lists: list[Sequence[K | None]]) -> list[None]:
        async with self._asking:
            asked = dict.fromkeys(key for keys in lists for key in keys if key is not None)
            missing = [key for key in asked if key not in self._known]
            if missing:
                with self._reader.under_way():
                    found = await self._batch(self._reader, missing)
                self._known.update((key, found.get(key)) for key in missing)
        return [None for _ in lists]


def _patients(records: Sequence[Any]) -> Patients:
    """What `access.patients` says; nobody where it says nothing, because the context did not verify."""
    if not records:
        return Patients(reached=frozenset())
    [(reached, denied, excepted, clearances)] = records
    clearance = [frozenset(filter(None, labels.split("."))) for labels in clearances]
    return Patients(
        None if reached is None else frozenset(reached),
        frozenset(denied),
        dict(zip(excepted, clearance, strict=True)),
    )
