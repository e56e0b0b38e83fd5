"""Callers of tests: each profile's usual role and purpose, and readers of those to whom no patient is closed."""

from __future__ import annotations

from uuid import UUID

from db.caller import Caller, Patients, Profile, PurposeOfUse, Role
from db.policy import ROLES, purposes_of
from db.postgres import AskPatients, Session
from loaders.reader import Reader

ROLE: dict[Profile, Role] = {role.profile: role for role in reversed(list(ROLES.values()))}
"""Each profile's usual role: the first of the policy."""
PURPOSES: dict[Profile, PurposeOfUse] = {profile: purposes_of(profile)[0] for profile in Profile}
"""Each profile's usual purpose: the first of the policy."""
STAFF = [profile for profile in Profile if profile is not Profile.PATIENT]
NOBODY = UUID(int=0)


def caller_of(profile: Profile, facility_id: UUID, subject: str = "test") -> Caller:
    """A caller of a profile's usual role; a patient is one who is registered nowhere."""
    oneself = NOBODY if profile is Profile.PATIENT else None
    return Caller(subject, ROLE[profile], facility_id, PURPOSES[profile], patient_id=oneself)


class OpenReader(Reader):
    """A reader to whom no patient is closed: for stores that are tested without a clinical database beside them."""

    @staticmethod
    def told(clinical: Session) -> AskPatients:
        """Everybody's records."""
        return _everybody


EVERYBODY = Patients()


async def _everybody() -> Patients:
    return EVERYBODY
