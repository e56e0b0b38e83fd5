"""`python -m workers import PATH… [--facility CODE]`: reads FHIR R4 files into the stores."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

from db import settings
from db.bulk import Bulk
from db.errors import SettingsError
from db.ids import derived_id
from db.mongo import Mongo
from db.settings import Settings
from workers.fhir.importer import Importer
from workers.fhir.notes import Notes
from workers.fhir.reader import files, kind_of
from workers.fhir.registry import FACILITY_CODE, facility
from workers.fhir.report import Report
from workers.fhir.waves import rank
from workers.rollup import rollup

NOTES_TIMEOUT_S = 60.0
"""Seconds for one write to the notes store: an import has no reader who waits."""

PROGRESS_S = 2.0
"""Seconds between two lines of progress."""

FACILITY_BY_CODE = "/* facility_by_code */ SELECT id FROM clinical.facility WHERE code = $1"


async def import_paths(
    configured: Settings, paths: Sequence[Path], facility_code: str | None, progress: Callable[[str], object]
) -> Report:
    """Imports files and folders; with a facility code everything goes there, and the facility is made if need be.

    A file that can't be read is listed in the report and leaves nothing behind; the others are imported. Files with
    organizations, people and encounters come first, whatever their order. Raises BrokenFile for a path that does not
    exist, SettingsError for a malformed code, StoreError when a store fails.
    """
    if facility_code is not None and not FACILITY_CODE.fullmatch(facility_code):
        raise SettingsError("--facility must be 1 to 32 capital letters, digits and hyphens.")
    ordered = sorted(files(paths), key=lambda path: rank(kind_of(path)))
    bulk = Bulk.of(configured)
    mongo = Mongo("notes", configured.notes_url, NOTES_TIMEOUT_S)
    try:
        await mongo.ensure()
        facility_id = await _facility(bulk, facility_code)
        importer = Importer(bulk, Notes(mongo), facility_id, single_facility=facility_code is not None)
        for number, path in enumerate(ordered, 1):
            await importer.file(path, lambda line, number=number: progress(f"file {number} of {len(ordered)}: {line}"))
        await importer.finish()
        return importer.report
    finally:
        await bulk.close()
        await mongo.close()


async def _facility(bulk: Bulk, code: str | None) -> UUID:
    """Facility of everything when a code is given, else that of what names none, which is made when it is needed."""
    if code is None:
        return derived_id("facility", "UNASSIGNED")
    found = await bulk.fetch("clinical", FACILITY_BY_CODE, code)
    if found:
        return found[0]["id"]
    made = derived_id("facility", code)
    await bulk.upsert("facility", [facility(made, code, code).values])
    await bulk.commit()
    return made


async def _import(
    configured: Settings, paths: Sequence[Path], facility_code: str | None, progress: Callable[[str], object]
) -> Report:
    """The import, and the rollups that trends of the new vital signs read."""
    report = await import_paths(configured, paths, facility_code, progress)
    await rollup(configured)
    return report


def main(argv: list[str]) -> int:
    """Entry point; 1 when a file could not be read."""
    parser = argparse.ArgumentParser(prog="python -m workers import", description="Reads FHIR R4 into the stores.")
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="bundle, NDJSON or folder; plain or .gz")
    parser.add_argument("--facility", metavar="CODE", help="put everything into this facility")
    given = parser.parse_args(argv)
    shown = [0.0]

    def progress(line: str) -> None:
        if time.monotonic() - shown[0] > PROGRESS_S:
            shown[0] = time.monotonic()
            print(line, file=sys.stderr, flush=True)

    report = asyncio.run(_import(settings.load(), given.paths, given.facility, progress))
    print(report.table())
    return 1 if report.broken else 0
