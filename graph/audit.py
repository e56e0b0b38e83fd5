"""Who saw what: events of the audit and disclosures, for privacy officers and for patients about themselves."""

from __future__ import annotations

import strawberry

from db.policy import Phi
from graph.datatype import FhirDateTime
from graph.field import PAGE, REQUIRED, arg, field
from loaders.audit import AccessRow
from loaders.element import GlobalId

NOT_ACCOUNTABLE = frozenset({"TREAT", "ETREAT", "HPAYMT", "HOPERAT", "PATRQT"})
"""Purposes that an accounting leaves out: treatment, payment, operations, to the individual (45 CFR 164.528(a)(1))."""


def _disclosed(row: AccessRow) -> bool:
    return row.kind not in ("REFUSAL", "LOGIN_FAILED")


@strawberry.type(description="An access to records, as the audit has it (FHIR R4 AuditEvent)")
class AccessEvent:
    """Served from AccessRow."""

    recorded: FhirDateTime | None = field(
        "When the access was recorded, just before the answer left",
        phi=Phi.DATE,
        value=lambda row: row.sort_time.isoformat(),
    )
    type: str = field(
        "What happened: QUERY, MUTATION, SUBSCRIPTION, PRESIGN, EXCHANGE or REFUSAL",
        phi=None,
        value=lambda row: row.kind,
    )
    subject: str | None = field("Subject of the actor's token", phi=Phi.NAME)
    role: str | None = field("Role of the actor", phi=None)
    purpose_of_use: str | None = field("Purpose of use (HL7 v3-PurposeOfUse)", phi=None, value=lambda row: row.purpose)
    home_facility_id: strawberry.ID | None = field(
        "Global id of the actor's facility, where it is another one: the records were exchanged",
        phi=None,
        value=GlobalId("Facility", "home_facility_id"),
    )
    shown: list[Phi] = field("Kinds of PHI that were shown", phi=None, value=lambda row: [Phi(k) for k in row.shown])
    masked: list[Phi] = field("Kinds of PHI that were masked", phi=None, value=lambda row: [Phi(k) for k in row.masked])
    outcome: str = field("OK, or the code of the first error", phi=None, value=lambda row: row.result)
    break_glass_grant_ids: list[strawberry.ID] = field(
        "Break-glass grants that were in force", phi=None, value=lambda row: [str(key) for key in row.grants]
    )
    request_id: str = field("Id of the request, as its answer and the log have it", phi=None)
    patient_ids: list[strawberry.ID] = field(
        "Global ids of the patients whose records were read; in a patient's own log that patient alone",
        phi=None,
        value=lambda row: [f"Patient/{key}" for key in row.patients],
    )
    release_ids: list[strawberry.ID] = field(
        "Global ids of the releases of research that were read, of a PRESIGN those whose files were presigned; in a "
        "patient's log none",
        phi=None,
        value=lambda row: [f"ResearchDatasetVersion/{key}" for key in row.releases],
    )


@strawberry.type(description="A disclosure, as an accounting of disclosures lists it (45 CFR 164.528(b)(2))")
class Disclosure:
    """Served from AccessRow."""

    date: FhirDateTime | None = field(
        "When it was", phi=Phi.DATE, value=lambda row: row.sort_time.isoformat(timespec="seconds")
    )
    recipient: str | None = field("Who received it: subject of the token", phi=Phi.NAME, value=lambda row: row.subject)
    recipient_facility_id: strawberry.ID = field(
        "Global id of the recipient's facility",
        phi=None,
        value=lambda row: f"Facility/{row.home_facility_id or row.facility_id}",
    )
    description: str | None = field(
        "What was disclosed: kinds of PHI; null where nothing was",
        phi=None,
        value=lambda row: (", ".join(row.shown) or "record numbers only") if _disclosed(row) else None,
    )
    purpose: str | None = field("Purpose of use (HL7 v3-PurposeOfUse)", phi=None)
    accountable: bool = field(
        "Whether the law asks for it to be listed: not for treatment, payment, operations or the patient's own access",
        phi=None,
        value=lambda row: _disclosed(row) and row.purpose not in NOT_ACCOUNTABLE,
    )


REPORT = (
    arg("patient", strawberry.ID, "Global id of the patient", phi=None, default=REQUIRED),
    *PAGE,
    arg("start", str | None, "First moment; by default six years ago", phi=Phi.DATE, graphql_name="from"),
    arg("end", str | None, "Last moment as FHIR dateTime", phi=Phi.DATE, graphql_name="to"),
)
"""Arguments of `accessReport`."""
RELEASE = (
    arg("release", strawberry.ID, "Global id of the release: a ResearchDatasetVersion", phi=None, default=REQUIRED),
    arg("start", str | None, "First moment; by default all that is kept", phi=Phi.DATE, graphql_name="from"),
    arg("end", str | None, "Last moment as FHIR dateTime", phi=Phi.DATE, graphql_name="to"),
    *PAGE,
)
"""Arguments of `accessesToRelease`."""
ACTOR = (
    arg("subject", str, "Subject of the actor's token", phi=Phi.NAME, default=REQUIRED),
    arg("start", str, "First moment as FHIR dateTime", phi=Phi.DATE, default=REQUIRED, graphql_name="from"),
    arg("end", str, "Last moment as FHIR dateTime", phi=Phi.DATE, default=REQUIRED, graphql_name="to"),
    *PAGE,
)
"""Arguments of `accessesBy`."""
