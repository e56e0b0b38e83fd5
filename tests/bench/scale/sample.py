"""Whose records are measured: the network's largest facility, who works there, and ids of what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from db.caller import Caller, PurposeOfUse
from db.policy import ROLES
from db.settings import Settings
from db.stores import STAND_INS

LARGEST = (
    "SELECT facility_id FROM clinical.registration GROUP BY facility_id ORDER BY count(*) DESC, facility_id LIMIT 1"
)

IDS = 20
"""Parents of one statement: a page of a list."""

# Who has most, who has few, and who lies there.
PATIENTS = """
(SELECT patient_id FROM clinical.encounter WHERE facility_id = $1 GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 7)
UNION (SELECT patient_id FROM clinical.encounter WHERE facility_id = $1 ORDER BY patient_id LIMIT 7)
UNION (SELECT patient_id FROM clinical.encounter WHERE facility_id = $1 AND end_time IS NULL
    ORDER BY patient_id LIMIT 6)
"""
OF_PATIENTS = (
    "SELECT id FROM {table} WHERE facility_id = $1 AND patient_id = ANY ($2::uuid[]) ORDER BY sort_time DESC LIMIT $3"
)
OF_FACILITY = "SELECT id FROM {table} WHERE facility_id = $1 ORDER BY id LIMIT $2"
OF_ALL = "SELECT id FROM {table} ORDER BY id LIMIT $1"
PROVIDERS = """SELECT provider_id FROM clinical.encounter WHERE facility_id = $1 GROUP BY provider_id
ORDER BY count(*) DESC, provider_id LIMIT $2"""


@dataclass(frozen=True, slots=True)
class Sample:
    """Callers by role, and ids of the facility."""

    facility_id: UUID
    callers: Mapping[str, Caller]
    patients: Sequence[UUID]
    mrns: Sequence[str]


async def sample(settings: Settings) -> Sample:
    """The same sample of the same data."""
    connection = await asyncpg.connect(settings.clinical_url)
    try:
        facility_id: UUID = await connection.fetchval(LARGEST)
        provider_id = await connection.fetchval(STAND_INS["provider"], facility_id)
        department_id = await connection.fetchval(STAND_INS["department"], facility_id)
        patients = [row[0] for row in await connection.fetch(PATIENTS, facility_id)]
        mrns = await connection.fetch(
            "SELECT mrn FROM clinical.registration WHERE facility_id = $1 AND patient_id = ANY ($2::uuid[])",
            facility_id,
            patients,
        )
    finally:
        await connection.close()
    treat = PurposeOfUse.TREAT
    callers = {
        "physician": Caller("scale", ROLES["physician"], facility_id, treat),
        "consultant": Caller("scale", ROLES["consultant"], facility_id, treat, provider_id=provider_id),
        "ward nurse": Caller("scale", ROLES["ward_nurse"], facility_id, treat, department_id=department_id),
    }
    return Sample(facility_id, callers, patients, [row[0] for row in mrns])


async def ids_of(connection: asyncpg.Connection, table: str, known: Sample) -> Sequence[UUID]:
    """Ids of a table's rows: of the sample's patients where it has patients, else of the facility, else of all."""
    columns = await connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0", table
    )
    names = {row[0] for row in columns}
    if table.endswith(".provider"):
        rows = await connection.fetch(PROVIDERS, known.facility_id, IDS)
    elif table.endswith(".facility"):
        return [known.facility_id]
    elif {"patient_id", "sort_time"} <= names:
        rows = await connection.fetch(OF_PATIENTS.format(table=table), known.facility_id, known.patients, IDS)
    elif "facility_id" in names:
        rows = await connection.fetch(OF_FACILITY.format(table=table), known.facility_id, IDS)
    else:
        rows = await connection.fetch(OF_ALL.format(table=table), IDS)
    return [row[0] for row in rows]
