"""One extraction: what it makes, how far it is, whether it goes on. Kept in PostgreSQL, so that any worker goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Any, LiteralString
from uuid import UUID

from db.policy import Phi
from db.research import Reading, Research
from db.research_method import IN_FORCE
from loaders.research_definition import Definition, parse
from workers.research.places import zip3_allowed
from workers.research.rules import Rule, Terms, Use, rule_of

JOB: LiteralString = f"""/* research_job */
SELECT e.id, e.project_id, e.dataset_id, e.version, e.state, e.stage, e.as_of, e.plan, e.cancelled_by IS NOT NULL,
    d.definition, d.name, p.k, p.l, p.irb_kinds, p.status = 'APPROVED' AND method = ANY (p.methods) AND {IN_FORCE},
    e.partitions
FROM clinical.research_extraction AS e
JOIN clinical.research_dataset AS d ON d.id = e.dataset_id
JOIN clinical.research_project AS p ON p.id = e.project_id
WHERE e.id = $1::uuid"""

START = """/* start_research_job */
UPDATE clinical.research_extraction
SET state = 'RUNNING', started_at = coalesce(started_at, clock_timestamp())
WHERE id = $1::uuid AND state IN ('QUEUED', 'RUNNING')
RETURNING id"""

ENTER = """/* enter_research_stage */
UPDATE clinical.research_extraction
SET stage = $2::text, plan = coalesce(plan, '{}') || $3::jsonb, partitions = coalesce($4::int, partitions),
    rows_estimate = coalesce($5::bigint, rows_estimate)
WHERE id = $1::uuid"""

# Partitions that end together are noted one after the other: of each the sums are those of all before it.
LOCK = """/* lock_research_job */
SELECT state, cancelled_by IS NOT NULL FROM clinical.research_extraction WHERE id = $1::uuid FOR UPDATE"""
# What a partition wrote before it was tried again is counted once: the sums are those of the rows kept.
KEEP_PARTITION = """/* keep_research_partition */
INSERT INTO clinical.research_partition (extraction_id, partition, facts) VALUES ($1::uuid, $2::int, $3::jsonb)
ON CONFLICT (extraction_id, partition) DO NOTHING"""
COUNT_PARTITIONS = """/* count_research_partitions */
UPDATE clinical.research_extraction AS e
SET partitions_done = done.partitions, rows_done = done.rows
FROM (
    SELECT count(*) AS partitions, coalesce(sum((facts ->> 'rows')::bigint), 0) AS rows
    FROM clinical.research_partition WHERE extraction_id = $1::uuid
) AS done
WHERE e.id = $1::uuid
RETURNING e.partitions_done, e.partitions"""

DONE = "/* research_partitions_done */ SELECT partition FROM clinical.research_partition WHERE extraction_id = $1::uuid"
PARTITIONS = """/* research_partitions */
SELECT partition, facts FROM clinical.research_partition WHERE extraction_id = $1::uuid ORDER BY partition"""

END = """/* end_research_job */
UPDATE clinical.research_extraction
SET state = $2::text, stage = CASE WHEN $2::text IN ('PUBLISHED', 'QUARANTINED') THEN 'DONE' ELSE stage END,
    report = coalesce($3::jsonb, report), sha256 = $4::text, error = $5::text, finished_at = clock_timestamp()
WHERE id = $1::uuid AND state IN ('QUEUED', 'RUNNING')"""


ALLOWED_PREFIXES = "/* zip3_allowed */ SELECT prefix FROM access.zip3"


class Stage(Enum):
    """What an extraction does, in this order."""

    SELECT = "SELECT"
    PLAN = "PLAN"
    EXTRACT = "EXTRACT"
    LOAD = "LOAD"
    VALIDATE = "VALIDATE"
    DONE = "DONE"


class State(Enum):
    """How an extraction is."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    PUBLISHED = "PUBLISHED"
    QUARANTINED = "QUARANTINED"
    """Made, but not valid: nobody sees it."""
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Ended(Exception):
    """The extraction shall not go on; `state` and `code` say why."""

    def __init__(self, state: State, code: str) -> None:
        super().__init__(code)
        self.state = state
        self.code = code


@dataclass(frozen=True, slots=True)
class Job:
    """An extraction as it stands."""

    id: UUID
    project_id: UUID
    dataset_id: UUID
    version: int
    state: State
    stage: Stage
    as_of: date
    plan: Mapping[str, Any]
    definition: Definition
    name: str
    k: int
    l: int  # noqa: E741 - the name of l-diversity
    approved: frozenset[Phi]
    """Kinds that an IRB has approved."""
    partitions: int | None
    """None until the members are selected."""

    def rule(self, kinds: Sequence[Phi], use: Use | None = None) -> Rule | None:
        """Rule for a column of these PHI kinds; None: not exported."""
        definition = self.definition
        return rule_of(kinds, definition.method, use, shift=definition.shift_dates, approved=self.approved)

    @property
    def range(self) -> Sequence[date | None]:
        """First and last day of what is read."""
        return self.definition.cohort.start, self.definition.cohort.end


def _check_going(state: State, *, cancelled: bool) -> None:
    if state not in (State.QUEUED, State.RUNNING):
        raise Ended(state, "OVER")
    if cancelled:
        raise Ended(State.CANCELLED, "CANCELLED")


async def terms_of(reading: Reading, job: Job) -> Terms:
    """What all rules of an extraction share. Raises StoreError."""
    prefixes = [row[0] for row in await reading.fetch(ALLOWED_PREFIXES)]
    definition = job.definition
    return Terms(job.as_of, definition.age_band_years, zip3_allowed(prefixes, strict=definition.strict))


class Jobs:
    """The extractions, read and noted on the primary."""

    def __init__(self, primary: Research) -> None:
        self.primary = primary

    async def job(self, id: UUID) -> Job:
        """An extraction that shall go on. Raises Ended for one that is cancelled, over, or no longer approved."""
        async with self.primary.notes() as reading:
            rows = await reading.fetch(JOB, id)
        if not rows:
            raise Ended(State.FAILED, "NOT_FOUND")
        row = rows[0]
        job = Job(
            id=row[0],
            project_id=row[1],
            dataset_id=row[2],
            version=row[3],
            state=State(row[4]),
            stage=Stage(row[5]),
            as_of=row[6],
            plan=row[7] or {},
            definition=parse(row[9]),
            name=row[10],
            k=row[11],
            l=row[12],
            approved=frozenset(map(Phi, row[13])),
            partitions=row[15],
        )
        _check_going(job.state, cancelled=row[8])
        if not row[14]:
            raise Ended(State.FAILED, "NOT_APPROVED")
        return job

    async def start(self, job: Job) -> None:
        """Notes that a worker has begun."""
        async with self.primary.notes() as writing:
            await writing.fetch(START, job.id)

    async def enter(
        self, job: Job, stage: Stage, plan: Mapping[str, Any], partitions: int | None = None, rows: int | None = None
    ) -> None:
        """Notes that a stage begins, and what is known for it."""
        async with self.primary.notes() as writing:
            await writing.fetch(ENTER, job.id, stage.value, plan, partitions, rows)

    async def keep(self, job: Job, partition: int, facts: Mapping[str, Any]) -> bool:
        """Notes that a partition is made; True where it was the last. Done twice it changes nothing.

        Raises Ended where the extraction is over by now or cancelled, StoreError.
        """
        async with self.primary.notes() as writing:
            [(state, cancelled)] = await writing.fetch(LOCK, job.id)
            _check_going(State(state), cancelled=cancelled)
            await writing.fetch(KEEP_PARTITION, job.id, partition, facts)
            [(done, all_of_them)] = await writing.fetch(COUNT_PARTITIONS, job.id)
            return bool(done == all_of_them)

    async def done(self, job: Job) -> frozenset[int]:
        """Partitions that are made."""
        async with self.primary.notes() as reading:
            return frozenset(row[0] for row in await reading.fetch(DONE, job.id))

    async def partitions(self, job: Job) -> Mapping[int, Mapping[str, Any]]:
        """What the partitions that are made noted."""
        async with self.primary.notes() as reading:
            return {row[0]: row[1] for row in await reading.fetch(PARTITIONS, job.id)}

    async def end(
        self,
        id: UUID,
        state: State,
        *,
        report: Mapping[str, Any] | None = None,
        sha256: str | None = None,
        error: str | None = None,
    ) -> None:
        """Notes how an extraction ended; one that has ended stays as it is."""
        async with self.primary.notes() as writing:
            await writing.fetch(END, id, state.value, report, sha256, error)
