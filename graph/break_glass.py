"""Break-glass: opening a patient's chart in an emergency, and what the privacy officer sees of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import strawberry

import resolvers.break_glass
import resolvers.patient
from graph.change import AFTER, Change
from graph.datatype import FhirDateTime, instant
from graph.field import PAGE, REQUIRED, arg, field
from loaders.element import GlobalId
from resolvers.break_glass import MINUTES_MAX

if TYPE_CHECKING:
    from graph.patient import Patient

ID = strawberry.ID


@strawberry.type(description="Emergency access to one patient's chart, for purpose ETREAT")
class BreakGlassGrant:
    """Served from BreakGlassRow. Who wrote the reason and the privacy officer see it; nobody else gets a grant."""

    id: strawberry.ID = field("Global id of the grant", phi=None, value=GlobalId("BreakGlassGrant"))
    patient: Annotated[Patient, strawberry.lazy("graph.patient")] | None = field(
        "Patient whose chart was opened", phi=None, batch=resolvers.patient.of_facts
    )
    subject: str = field("Subject who broke the glass", phi=None)
    profile: str = field("Access profile of the subject", phi=None)
    reason: str = field("Reason that the subject gave", phi=None)
    granted_at: FhirDateTime = field("When the glass was broken", phi=None, value=instant("granted_at"))
    expires_at: FhirDateTime = field("When the access ends by itself", phi=None, value=instant("expires_at"))
    closed_at: FhirDateTime | None = field(
        "When a privacy officer ended the access", phi=None, value=instant("closed_at")
    )
    reviewed_at: FhirDateTime | None = field(
        "When a privacy officer reviewed the grant", phi=None, value=instant("reviewed_at")
    )
    reviewed_by: str | None = field("Subject of the reviewing privacy officer", phi=None)
    review: str | None = field("What the review found", phi=None)


@strawberry.type(description="That emergency accesses were made, reviewed or closed")
class BreakGlassChange(Change):
    """Served from resolvers.break_glass.GrantsChange."""

    grants: list[BreakGlassGrant] = field("Grants that changed, as they are now", phi=None)


GRANTS = (*PAGE, arg("unreviewed", bool, "Only grants that nobody has reviewed", phi=None, default=False))
"""Arguments of the list of grants."""
KEY = arg(
    "idempotency_key",
    str | None,
    "Key of the client's choice, 1 to 200 characters: the same key with the same arguments gives the same grant",
    phi=None,
)


@strawberry.type
class BreakGlassMutations:
    """Roots of mutations about broken glass."""

    break_glass: BreakGlassGrant | None = field(
        "Opens one patient's chart to the caller in an emergency: what is suppressed for want of a treatment "
        "relationship or of a label is shown until the grant ends; the facility's privacy officer is told at once",
        phi=None,
        root=resolvers.break_glass.open_chart,
        args=(
            arg("patient", ID, "Global id of the patient", phi=None, default=REQUIRED),
            arg("reason", str, "Why, in 10 to 500 characters; for the privacy officer", phi=None, default=REQUIRED),
            arg("minutes", int, f"How long, from 1 to {MINUTES_MAX} minutes", phi=None, default=60),
            KEY,
        ),
    )
    review_break_glass: BreakGlassGrant | None = field(
        "Records a privacy officer's review of a grant, once, and ends the grant where it is to be closed",
        phi=None,
        root=resolvers.break_glass.review,
        args=(
            arg("id", ID, "Global id of the grant", phi=None, default=REQUIRED),
            arg("review", str, "What the review found, in up to 2000 characters", phi=None, default=REQUIRED),
            arg("close", bool, "Whether the grant ends now", phi=None, default=False),
            KEY,
        ),
    )


@strawberry.type
class BreakGlassSubscriptions:
    """Roots of subscriptions about broken glass."""

    break_glass_grants: BreakGlassChange = field(
        "Emergency accesses at the facility as they are made, reviewed and closed, for its privacy officer",
        phi=None,
        root=resolvers.break_glass.changed,
        args=(AFTER,),
        streams=True,
    )
