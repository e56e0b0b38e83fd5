"""How far work goes on that takes minutes or hours: restores of imaging studies from cold storage, extractions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from db.errors import InvalidArgument
from db.live import Change, Topic
from loaders.imaging_study import imaging_study_by_id, restored_objects_of_studies
from loaders.research_project import ExtractionRow, extraction_by_id
from resolvers.arguments import resource_id
from resolvers.changes import chart_open
from resolvers.context import Context
from resolvers.live import listening, messages

PROGRESS = "Subscription.jobProgress"
"""What cursors of the subscription are good for."""
RUNNING, DONE = "RUNNING", "DONE"
UNDER_WAY = ("QUEUED", "RUNNING")
"""States of an extraction that is not over."""


@dataclass(slots=True)
class JobProgress:
    """That a study's objects may have been restored, or asked for."""

    study_id: UUID
    change: Change
    cursor: str
    last: list[tuple[int, int]]
    """What the message before this one told; shared by the messages of a subscription."""
    done: int = 0
    total: int = 0
    extraction_id: UUID | None = None

    async def told(self, context: Context) -> bool:
        """Reads how far the restore is; False where that has not changed. Raises as `progress`."""
        await _study(context, self.study_id)
        found = await restored_objects_of_studies(context.reader, [self.study_id])
        self.done, self.total = found.get(self.study_id, (0, 0))
        if self.total == 0 or self.last[-1:] == [(self.done, self.total)]:
            return False
        self.last.append((self.done, self.total))
        return True

    @property
    def id(self) -> str:
        """Global id of what is worked on."""
        return f"ImagingStudy/{self.study_id}"

    @property
    def status(self) -> str:
        """RUNNING, or DONE once all objects can be read."""
        return DONE if self.done == self.total else RUNNING


@dataclass(slots=True)
class ExtractionProgress:
    """That an extraction may have gone on."""

    extraction_id: UUID
    change: Change
    cursor: str
    last: list[ExtractionRow]
    """As the message before this one told it; shared by the messages of a subscription."""
    row: ExtractionRow | None = None

    async def told(self, context: Context) -> bool:
        """Reads how far it is; False where that has not changed. Raises as `progress`."""
        self.row = await _extraction(context, self.extraction_id)
        if self.last == [self.row]:
            return False
        self.last[:] = [self.row]
        return True

    @property
    def id(self) -> str:
        """Global id of what is worked on."""
        return f"ResearchExtraction/{self.extraction_id}"

    @property
    def status(self) -> str:
        """RUNNING, or DONE once it is over, however it ended."""
        return RUNNING if self.row and self.row.state in UNDER_WAY else DONE

    @property
    def done(self) -> int:
        """Partitions that are done."""
        return self.row.partitions_done if self.row else 0

    @property
    def total(self) -> int:
        """Partitions in all; 0 before the cohort is selected."""
        return (self.row and self.row.partitions) or 0


Job: TypeAlias = JobProgress | ExtractionProgress


async def progress(context: Context, *, id: str, after: str | None) -> AsyncGenerator[Job, None]:
    """Progress of the restore of a study, or of an extraction.

    Raises InvalidArgument for what is not this facility's, Suppressed.
    """
    key = resource_id("id", id, "ImagingStudy", "ResearchExtraction")
    if id.startswith("ImagingStudy/"):
        await _study(context, key)
        counts: list[tuple[int, int]] = []
        return await _told(
            context, "imaging", "imaging_instance", after, lambda change, at: JobProgress(key, change, at, counts)
        )
    await _extraction(context, key)
    rows: list[ExtractionRow] = []
    return await _told(
        context, "clinical", "research_extraction", after, lambda change, at: ExtractionProgress(key, change, at, rows)
    )


async def _told(
    context: Context, database: str, table: str, after: str | None, message: Callable[[Change, str], Job]
) -> AsyncGenerator[Job, None]:
    """What happens to a table. Its rows have no patient: each message looks at its own of those of the facility."""
    topic = Topic(context.caller.facility_id, tables=frozenset({table}))
    return messages(await listening(context, PROGRESS, {database: topic}, after), context, PROGRESS, message)


async def _study(context: Context, study_id: UUID) -> None:
    [row] = await context.reader.load_many(imaging_study_by_id, [study_id])
    if row is None:
        raise InvalidArgument("id", "is not a study of this facility")
    await chart_open(context, row.patient_id)


async def _extraction(context: Context, id: UUID) -> ExtractionRow:
    [row] = await context.reader.load_many(extraction_by_id, [id])
    if row is None or row.facility_id != context.caller.facility_id:
        raise InvalidArgument("id", "is not an extraction of this facility")
    return row
