"""Who saw what: the access log of patients, accounting of disclosures, all that one actor saw, who saw a release."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from db.caller import Profile
from db.errors import Forbidden
from loaders.audit import AccessRow, accesses_of_patients, accesses_of_release, accesses_of_subject
from loaders.patient import PatientRow, patient_by_id
from resolvers.arguments import resource_id, text
from resolvers.connection import Slice, relation, scope, slices, time_page, time_slice
from resolvers.context import Context

ACCOUNTED = timedelta(days=6 * 365 + 2)
"""Six years before the request: what an accounting covers (45 CFR 164.528(a)(1))."""

_of_patients = relation("Patient.accessLog", accesses_of_patients)


async def of_patients(context: Context, parents: Sequence[PatientRow], **arguments: Any) -> Sequence[object]:
    """Accesses to the records of each patient. Raises Forbidden for who is neither privacy officer nor the patient."""
    for parent in parents:
        _check(context, parent)
    return await _of_patients(context, parents, **arguments)


async def report(
    context: Context, *, patient: str, first: int, after: str | None, start: str | None, end: str | None
) -> Slice[AccessRow] | None:
    """Accounting of a patient's disclosures, by default of the last six years; None for what is not there.

    Raises Forbidden as the access log does.
    """
    [row] = await context.reader.load_many(patient_by_id, [resource_id("patient", patient, "Patient")])
    if context.caller.profile not in (Profile.PRIVACY_OFFICER, Profile.PATIENT):
        raise Forbidden
    if row is None:
        return None
    _check(context, row)
    since = start or (datetime.now(UTC) - ACCOUNTED).date().isoformat()
    page = time_page(context, "Query.accessReport", first, after, since, end)
    [found] = slices(
        context, "Query.accessReport", page, [row.id], await accesses_of_patients(context.reader, [row.id], page)
    )
    return found


async def by_subject(
    context: Context, *, subject: str, first: int, after: str | None, start: str, end: str
) -> Slice[AccessRow]:
    """All that an actor saw or was refused at the caller's facility. Raises Forbidden for who is no privacy officer."""
    _check_officer(context)
    page = time_page(context, "Query.accessesBy", first, after, start, end)
    rows = await accesses_of_subject(context.reader, text("subject", subject), page)
    return time_slice(scope(context, "Query.accessesBy"), page, rows)


async def by_release(
    context: Context, *, release: str, first: int, after: str | None, start: str | None, end: str | None
) -> Slice[AccessRow]:
    """All who read a release of research at the caller's facility, or had its files presigned; nobody where there is
    no such release. Raises Forbidden for who is no privacy officer.
    """
    _check_officer(context)
    page = time_page(context, "Query.accessesToRelease", first, after, start, end)
    release_id = resource_id("release", release, "ResearchDatasetVersion")
    rows = await accesses_of_release(context.reader, release_id, page)
    return time_slice(scope(context, "Query.accessesToRelease"), page, rows)


def _check_officer(context: Context) -> None:
    if context.caller.profile is not Profile.PRIVACY_OFFICER:
        raise Forbidden


def _check(context: Context, patient: PatientRow) -> None:
    caller = context.caller
    oneself = caller.profile is Profile.PATIENT and caller.patient_id == patient.id
    if caller.profile is not Profile.PRIVACY_OFFICER and not oneself:
        raise Forbidden
