"""`python -m workers sweep_notes`: tells the clinical database of writes to notes of which it was not told.

A writer tells it in its own request (loaders/writes/clinical_note.py). What a process that died between the two stores
left untold is told here: run it every minute, beside anything. Doing it again changes nothing.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

from db import settings
from db.mongo import Mongo
from db.note_writing import WRITTEN_HERE, settle, untold
from db.notes_schema import CLINICAL_NOTES
from db.postgres import Postgres

GRACE = timedelta(seconds=30)
"""How long a writer may take to tell itself."""

TELL_OF_NOTE_LATE = """/* tell_of_note_late */
SELECT feed.note_written($1::uuid, $2::uuid, $3::uuid,
    ARRAY(SELECT department_id FROM clinical.encounter WHERE id = $4::uuid AND department_id IS NOT NULL), $5::jsonb)"""


async def announce_unannounced(clinical: Postgres, notes: Mongo, grace: timedelta = GRACE) -> int:
    """Tells of what was written longer ago than `grace`; of how many notes. Raises StoreError."""
    late = {"unannounced": {"$lt": datetime.now(UTC) - grace}, **WRITTEN_HERE}
    found = await notes.worker_find(CLINICAL_NOTES, late)
    for note in found:
        whose = note["metadata"]
        ids = (whose["facility_id"], whose["patient_id"], note["_id"], whose["encounter_id"])
        await clinical.worker_fetch(TELL_OF_NOTE_LATE, *(key and UUID(key) for key in ids), untold(note))
        await settle(notes, note)
    return len(found)


async def sweep(configured: settings.Settings) -> int:
    """The same over stores of its own. Raises StoreError."""
    clinical = Postgres("clinical", configured.clinical_url, configured.secret, configured.store_timeout_s)
    notes = Mongo("notes", configured.notes_url, configured.store_timeout_s)
    try:
        return await announce_unannounced(clinical, notes)
    finally:
        await clinical.close()
        await notes.close()


def main(argv: list[str]) -> int:
    """Entry point; takes no arguments."""
    print(f"Told of {asyncio.run(sweep(settings.load()))} notes.")
    return 0
