"""Me: the caller, as the graph understands the token."""

from __future__ import annotations

from typing import Any

import strawberry

import resolvers.facility
from graph.facility import Facility
from graph.field import field


@strawberry.type(description="The caller: who is asking, from where, and why")
class Me:
    """Served from Caller."""

    subject: str = field("Subject of the token", phi=None)
    role: str = field("Role of the caller", phi=None, value=lambda caller: caller.role.name)
    profile: str = field("Access profile that the policy masks by", phi=None, value=lambda caller: caller.profile.value)
    purpose_of_use: str = field(
        "Purpose of use (HL7 v3-PurposeOfUse)", phi=None, value=lambda caller: caller.purpose.value
    )
    facility: Facility | None = field("Facility of the caller", phi=None, batch=resolvers.facility.of_facts)
    reach: str = field(
        "Whose charts the caller sees: FACILITY, DEPARTMENT, RELATIONSHIP or EXCHANGE",
        phi=None,
        value=lambda caller: caller.reach.value,
    )
    labels: list[str] = field(
        "Sensitivity labels that the caller may see (HL7 v3-ActCode, and R for what nobody labelled)",
        phi=None,
        value=lambda caller: sorted(caller.role.labels),
    )


async def me(context: Any) -> object:
    """The caller of this request."""
    return context.caller
