"""Whose access to a patient is explained: that of the request's caller, or of another whom a privacy officer names."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from db.caller import Caller, Profile, PurposeOfUse, Reach
from db.errors import Forbidden, InvalidArgument
from db.policy import ROLES, purposes_of
from loaders.explain_access import StandingRow, standing_of_caller, standing_of_other
from resolvers.arguments import resource_id, text
from resolvers.context import Context


@dataclass(frozen=True, slots=True)
class Explained:
    """The caller whose access is explained, and the standing towards the patient."""

    caller: Caller
    row: StandingRow


@dataclass(frozen=True, slots=True)
class Other:
    """Another caller as arguments name it; all None for the caller of the request."""

    role: str | None
    subject: str | None
    purpose: str | None
    provider: str | None
    department: str | None


async def standing(context: Context, patient: str, other: Other) -> Explained | None:
    """Who is explained, and the standing; None for a patient who is not there.

    Raises Forbidden where another caller is named and no privacy officer asks, InvalidArgument.
    """
    patient_id = resource_id("patient", patient, "Patient")
    if other == Other(None, None, None, None, None):
        row = await standing_of_caller(context.reader, patient_id)
        return Explained(context.caller, row) if row else None
    if context.caller.profile is not Profile.PRIVACY_OFFICER:
        raise Forbidden
    asked = as_if(context.caller, patient_id, other)
    row = await standing_of_other(context.reader, patient_id, asked)
    return Explained(asked, row) if row else None


def as_if(asking: Caller, patient_id: UUID, other: Other) -> Caller:
    """The other caller, at the facility of who asks. Raises InvalidArgument for what is no role, purpose or place."""
    role = ROLES.get(other.role or "")
    if role is None:
        raise InvalidArgument("role", f"must be one of {', '.join(ROLES)}")
    if other.purpose is not None and other.purpose not in PurposeOfUse.__members__:
        raise InvalidArgument("purpose", f"must be one of {', '.join(PurposeOfUse.__members__)}")
    if role.reach is Reach.RELATIONSHIP and other.provider is None:
        raise InvalidArgument("provider", "must be given: this role sees the charts of a provider's patients")
    if role.reach is Reach.DEPARTMENT and other.department is None:
        raise InvalidArgument("department", "must be given: this role sees the charts of a department's patients")
    return Caller(
        subject=text("subject", other.subject) if other.subject is not None else "",
        role=role,
        facility_id=asking.facility_id,
        purpose=PurposeOfUse[other.purpose] if other.purpose is not None else purposes_of(role.profile)[0],
        department_id=resource_id("department", other.department, "Department") if other.department else None,
        provider_id=resource_id("provider", other.provider, "Provider") if other.provider else None,
        patient_id=patient_id if role.profile is Profile.PATIENT else None,
    )
