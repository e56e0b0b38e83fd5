"""How far work goes on that takes minutes or hours: so far restores of imaging studies from cold storage."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from uuid import UUID

from db.errors import InvalidArgument
from db.live import Change, Topic
from loaders.imaging_study import imaging_study_by_id, restored_objects_of_studies
from resolvers.arguments import resource_id
from resolvers.changes import chart_open
from resolvers.context import Context
from resolvers.live import listening, messages

PROGRESS = "Subscription.jobProgress"
"""What cursors of the subscription are good for."""
RUNNING, DONE = "RUNNING", "DONE"


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


async def progress(context: Context, *, id: str, after: str | None) -> AsyncGenerator[JobProgress, None]:
    """Progress of the restore of a study. Raises InvalidArgument for no study of this facility, Suppressed."""
    study_id = resource_id("id", id, "ImagingStudy")
    await _study(context, study_id)
    # Objects are rows without a patient: the topic is every object of the facility; each message looks at the study.
    topic = Topic(context.caller.facility_id, tables=frozenset({"imaging_instance"}))
    listener = await listening(context, PROGRESS, {"imaging": topic}, after)
    last: list[tuple[int, int]] = []
    return messages(listener, context, PROGRESS, lambda change, cursor: JobProgress(study_id, change, cursor, last))


async def _study(context: Context, study_id: UUID) -> None:
    [row] = await context.reader.load_many(imaging_study_by_id, [study_id])
    if row is None:
        raise InvalidArgument("id", "is not a study of this facility")
    await chart_open(context, row.patient_id)
