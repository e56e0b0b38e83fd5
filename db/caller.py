"""Who is asking, from which facility, and why: required by every read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from uuid import UUID


class Profile(Enum):
    """Access profile: the row of the policy file that decides what a caller sees; also a login role of PostgreSQL."""

    CLINICIAN = "clinician"
    NURSE = "nurse"
    REGISTRAR = "registrar"
    BILLING = "billing"
    CDS = "cds"
    ANALYST = "analyst"
    PRIVACY_OFFICER = "privacy_officer"


class PurposeOfUse(Enum):
    """Purpose of use, codes of HL7 v3-PurposeOfUse."""

    TREAT = "TREAT"
    HPAYMT = "HPAYMT"
    HOPERAT = "HOPERAT"
    HRESCH = "HRESCH"
    PATRQT = "PATRQT"
    ETREAT = "ETREAT"


@dataclass(frozen=True, slots=True)
class Caller:
    """One authenticated caller of one request.

    `facility_id` is the tenant: stores show nothing outside it. `department_id` narrows further for roles that are
    bound to a department. There is no default caller and no ambient one.
    """

    subject: str
    profile: Profile
    facility_id: UUID
    purpose: PurposeOfUse
    department_id: UUID | None = None
