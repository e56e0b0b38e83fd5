"""Images of a partition, for LIMITED and TRUSTED: DICOM objects of the archive, de-identified one by one (dicom.py).

An object is as large as thousands of rows. So what is said of the objects is a table as any other, and they themselves
stand in its parquet files, in a column of bytes, which the warehouse does not have. Files are cut at FILE_BYTES.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

import polars as pl

from db.release_files import file_key
from db.research import Reading
from db.warehouse_release import ReleaseFile
from graph.imaging_study import ImagingInstance, ImagingSeries, ImagingStudy
from loaders.research_cohort import in_days
from workers.research.dicom import Reason, Refused, Subject, Uids, deidentified, texts
from workers.research.facts import KEYS, Declared, Frame, change, rules_of
from workers.research.job import Job
from workers.research.reading import Rate, Types, read
from workers.research.rules import Rule, Terms, expression
from workers.research.sources import Sources

NAME, OBJECT, SAID = "imaging", "object", "object_code"
"""The table, its column of objects, and what a scan calls a text in those: most are codes."""
FILE_BYTES = 64_000_000
"""Objects of one file, about."""
OBJECT_BYTES_MAX = 128_000_000
"""Size of the largest object that is released: what a worker holds in memory some times over."""
FILES_MAX = 10_000
"""Numbers of files that a partition has for itself."""
COLD = ("GLACIER", "DEEP_ARCHIVE")

IMAGES: LiteralString = f"""/* research_images */
SELECT t.patient_id::text AS patient, t.encounter_id::text AS encounter,
    dense_rank() OVER (PARTITION BY t.patient_id ORDER BY t.sort_time, t.id) AS study,
    dense_rank() OVER (PARTITION BY t.id ORDER BY s.number, s.id) AS series,
    row_number() OVER (PARTITION BY s.id ORDER BY i.number, i.id) AS instance,
    s.modality, s.body_site ->> 'system' AS body_site_system, s.body_site ->> 'code' AS body_site_code,
    i.sop_class AS sop_class_code, t.started, i.s3_key AS key
FROM imaging.imaging_study AS t
JOIN imaging.imaging_series AS s ON (s.facility_id, s.imaging_study_id) = (t.facility_id, t.id)
JOIN imaging.imaging_instance AS i ON (i.facility_id, i.imaging_series_id) = (s.facility_id, s.id)
WHERE t.patient_id = ANY ($1::uuid[]) AND t.facility_id = ANY ($2::uuid[]) AND i.s3_key IS NOT NULL
    AND t.status NOT IN ('cancelled', 'entered-in-error') AND {in_days("$3", "$4")}"""
TYPES: Types = {
    "patient": pl.String,
    "encounter": pl.String,
    "study": pl.Int32,
    "series": pl.Int32,
    "instance": pl.Int32,
    "modality": pl.String,
    "body_site_system": pl.String,
    "body_site_code": pl.String,
    "sop_class_code": pl.String,
    "started": pl.String,
    "key": pl.String,
}
PLACES = ("study", "series", "instance")
COLUMNS = {
    "study": Declared(ImagingSeries, "number", "Number of the study among those of the patient, the oldest first"),
    "series": Declared(ImagingSeries, "number", "Number of the series in its study"),
    "instance": Declared(ImagingInstance, "number", "Number of the object in its series"),
    "modality": Declared(ImagingSeries, "modality", "DICOM modality of the series"),
    "body_site_system": Declared(ImagingSeries, "body_site", "System of the body site's code"),
    "body_site_code": Declared(ImagingSeries, "body_site", "Body part that the series shows"),
    "sop_class_code": Declared(ImagingInstance, "sop_class", "DICOM SOP class UID of the object"),
    "started": Declared(ImagingStudy, "started", "When the study was made"),
}
"""Beside the objects, whose parts the profile judges."""
OBJECT_DESCRIPTION = "The DICOM file, by the basic profile of PS3.15: in the files of the table only"


@dataclass(frozen=True, slots=True)
class Images:
    """What a partition has of images."""

    frame: Frame
    """The table without the objects."""
    files: Sequence[ReleaseFile]
    """The table with the objects, as it stands in the release."""
    texts: pl.DataFrame
    """What the objects say (research_id, SAID), to be scanned."""


async def read_images(
    reading: Reading, rate: Rate, job: Job, patients: Sequence[UUID], facilities: Sequence[UUID]
) -> pl.DataFrame:
    """Which objects these patients have at these facilities. Raises StoreError."""
    return await read(reading, rate, TYPES, IMAGES, list(patients), list(facilities), *job.range)


async def made_images(
    sources: Sources,
    job: Job,
    partition: int,
    source: pl.DataFrame,
    patients: pl.DataFrame,
    encounters: pl.DataFrame,
    terms: Terms,
) -> Images:
    """The table, of the patients (patient, research_id, shift_days) who stay, and its files, which are stored.

    Made again they are the same. Raises StoreError.
    """
    joined = source.join(patients, on="patient", how="inner").join(encounters, on="encounter", how="left")
    ordered = joined.sort("research_id", *PLACES)
    rules = rules_of(job, COLUMNS)
    columns = [expression(rule, name, terms).alias(name) for name, rule in rules.items()]
    made = _Made(sources, job, partition, ordered.select(*KEYS, *columns))
    days = pl.col("shift_days") if rules.get("started") is Rule.SHIFT else pl.lit(0)
    for research_id, objects in ordered.select("research_id", "key", days=days).group_by(
        "research_id", maintain_order=True
    ):
        await made.add_patient(int(research_id[0]), objects.select("key", "days").rows())
    await made.flush()
    kept = pl.concat([made.table(), *made.tables])
    changes = {name: change(rule, ordered[name], kept[name]) for name, rule in rules.items()}
    counted = {"rule": Rule.DICOM.value, "given": ordered.height, "kept": kept.height, **made.refused}
    texts = pl.DataFrame(made.texts, {"research_id": pl.Int64, SAID: pl.String}, orient="row")
    return Images(Frame(kept, source.height, {**changes, OBJECT: counted}), made.files, texts)


class _Made:
    """Objects of a partition, in the order of its rows, on their way into files."""

    def __init__(self, sources: Sources, job: Job, partition: int, rows: pl.DataFrame) -> None:
        self.rows = rows
        self.files: list[ReleaseFile] = []
        self.tables: list[pl.DataFrame] = []
        self.texts: list[tuple[int, str]] = []
        self.refused: Counter[str] = Counter()
        self._sources = sources
        self._job = job
        self._first_file = partition * FILES_MAX
        self._place = 0
        self._waiting: list[tuple[int, int, bytes]] = []
        self._bytes = 0

    async def add_patient(self, research_id: int, objects: Sequence[tuple[str, int]]) -> None:
        """Adds the objects (key, days by which dates move) of the next patient. Raises StoreError."""
        uids = Uids(f"{self._job.plan['seed']} {research_id}")
        said: set[str] = set()
        row_id = 0
        for key, days in objects:
            try:
                content = await self._content(key)
                made, texts = await asyncio.to_thread(_made, content, Subject(research_id, uids, days))
            except Refused as refusal:
                self.refused[f"refused {refusal.reason.value}"] += 1
            else:
                row_id += 1
                said.update(texts)
                self._waiting.append((self._place, row_id, made))
                self._bytes += len(made)
            self._place += 1
            if self._bytes >= FILE_BYTES:
                await self.flush()
        self.texts += ((research_id, text) for text in sorted(said))

    async def _content(self, key: str) -> bytes:
        """An object, whole. Raises Refused for one that can't be read now, StoreError."""
        archive = self._sources.archive
        stored = await archive.worker_head(key)
        if stored is None:
            raise Refused(Reason.MISSING)
        if stored.storage_class in COLD and stored.restore_state != "completed":
            raise Refused(Reason.ARCHIVED)
        if stored.size_bytes > OBJECT_BYTES_MAX:
            raise Refused(Reason.TOO_LARGE)
        await self._sources.rate.take(stored.size_bytes)
        content = await archive.worker_get(key)
        if content is None:
            raise Refused(Reason.MISSING)
        return content

    def table(self, places: Sequence[int] = (), numbers: Sequence[int] = ()) -> pl.DataFrame:
        """Some of the rows, with their numbers among those of their patient."""
        some = self.rows[list(places)].with_columns(row_id=pl.Series(numbers, dtype=pl.Int64))
        return some.select("research_id", "row_id", pl.exclude("research_id", "row_id"))

    async def flush(self) -> None:
        """Stores what waits as the next file. Raises StoreError."""
        if not self._waiting:
            return
        places, numbers, objects = zip(*self._waiting, strict=True)
        table = self.table(places, numbers)
        number = self._first_file + len(self.files)
        key = file_key(self._job.id, NAME, number)
        content = await self._sources.put(key, table.with_columns(pl.Series(OBJECT, objects, pl.Binary)))
        self.files.append(ReleaseFile(number, table.height, len(content), hashlib.sha256(content).hexdigest()))
        self.tables.append(table)
        self._waiting.clear()
        self._bytes = 0


def _made(content: bytes, subject: Subject) -> tuple[bytes, Sequence[str]]:
    made = deidentified(content, subject)
    return made, list(texts(made))
