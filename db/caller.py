"""Who is asking, in which role, from which facility, and why: required by every read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from uuid import UUID


class Profile(Enum):
    """Access profile: the table of the policy file that decides what a caller sees; also a login role of PostgreSQL."""

    CLINICIAN = "clinician"
    NURSE = "nurse"
    REGISTRAR = "registrar"
    BILLING = "billing"
    CDS = "cds"
    ANALYST = "analyst"
    PRIVACY_OFFICER = "privacy_officer"
    PATIENT = "patient"


class PurposeOfUse(Enum):
    """Purpose of use, codes of HL7 v3-PurposeOfUse."""

    TREAT = "TREAT"
    HPAYMT = "HPAYMT"
    HOPERAT = "HOPERAT"
    HRESCH = "HRESCH"
    PATRQT = "PATRQT"
    ETREAT = "ETREAT"


class Reach(Enum):
    """Whose charts a role sees inside its facility."""

    FACILITY = "FACILITY"
    """Every patient's."""
    DEPARTMENT = "DEPARTMENT"
    """Those of patients with an encounter or an appointment in the caller's department; others do not exist."""
    RELATIONSHIP = "RELATIONSHIP"
    """Those of patients whom the caller treats; others are found, but their charts are suppressed."""
    EXCHANGE = "EXCHANGE"
    """Those of patients who let the caller's own facility, where they are treated, see this one's."""


@dataclass(frozen=True, slots=True)
class Role:
    """A role as the policy file has it; see db/policy.toml."""

    name: str
    profile: Profile
    reach: Reach
    labels: frozenset[str]
    """Sensitivity labels (HL7 v3-ActCode, and R: restricted because nobody labelled it) that the role may see."""
    lifts: frozenset[str]
    """Further labels that break-glass lifts for the role."""


@dataclass(frozen=True, slots=True)
class Caller:
    """One authenticated caller of one request.

    `facility_id` is the tenant: stores show nothing outside it. There is no default caller and no ambient one.
    """

    subject: str
    role: Role
    facility_id: UUID
    purpose: PurposeOfUse
    department_id: UUID | None = None
    """Department that a role of reach DEPARTMENT is bound to."""
    provider_id: UUID | None = None
    """The caller as a provider of the facility: whose patients a role of reach RELATIONSHIP sees."""
    patient_id: UUID | None = None
    """The one patient whom the caller may see: oneself, or the patient of a SMART launch."""
    types: frozenset[str] | None = None
    """FHIR types that the token's SMART scopes let read; None where the token has no such scopes."""
    home_facility_id: UUID | None = None
    """Where the caller works, while reading another facility's records of a patient (reach EXCHANGE)."""

    @property
    def profile(self) -> Profile:
        """Access profile of the role."""
        return self.role.profile

    @property
    def reach(self) -> Reach:
        """Reach of the role; away from home it is what patients let be exchanged."""
        return self.role.reach if self.home_facility_id is None else Reach.EXCHANGE


@dataclass(frozen=True, slots=True)
class Patients:
    """Whose records a caller may see, as the clinical database decides; the other stores are told.

    `reached`: the patients that a narrow reach leaves, None for every patient of the facility. `denied`: patients whose
    consent forbids it. `clearance`: the labels that the caller may see of a patient who opened or closed some.
    """

    reached: frozenset[UUID] | None = None
    denied: frozenset[UUID] = frozenset()
    clearance: Mapping[UUID, frozenset[str]] = field(default_factory=dict[UUID, frozenset[str]])
