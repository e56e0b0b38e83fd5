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
    profile: str = field("Access profile that the policy masks by", phi=None, value=lambda caller: caller.profile.value)
    purpose_of_use: str = field(
        "Purpose of use (HL7 v3-PurposeOfUse)", phi=None, value=lambda caller: caller.purpose.value
    )
    facility: Facility | None = field("Facility of the caller", phi=None, batch=resolvers.facility.of_facts)


async def me(context: Any) -> object:
    """The caller of this request."""
    return context.caller
