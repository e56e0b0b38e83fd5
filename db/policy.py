"""The PHI policy: kinds, forms, and which form each access profile gets of each kind (db/policy.toml)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TypeAlias

from db.caller import Profile
from db.errors import SettingsError


class Phi(Enum):
    """Kind of protected health information: the 18 identifiers of 45 CFR 164.514(b)(2), free text, clinical fact."""

    NAME = "NAME"
    GEOGRAPHY = "GEOGRAPHY"
    DATE = "DATE"
    PHONE = "PHONE"
    FAX = "FAX"
    EMAIL = "EMAIL"
    SSN = "SSN"
    MEDICAL_RECORD_NUMBER = "MEDICAL_RECORD_NUMBER"
    HEALTH_PLAN_NUMBER = "HEALTH_PLAN_NUMBER"
    ACCOUNT_NUMBER = "ACCOUNT_NUMBER"
    LICENSE_NUMBER = "LICENSE_NUMBER"
    VEHICLE = "VEHICLE"
    DEVICE = "DEVICE"
    URL = "URL"
    IP_ADDRESS = "IP_ADDRESS"
    BIOMETRIC = "BIOMETRIC"
    PHOTO = "PHOTO"
    OTHER_IDENTIFIER = "OTHER_IDENTIFIER"
    FREE_TEXT = "FREE_TEXT"
    CLINICAL = "CLINICAL"


class Form(Enum):
    """What a profile gets of a kind: the value, a form that can't be mistaken for it, or nothing."""

    SHOW = "SHOW"
    YEAR = "YEAR"
    LAST4 = "LAST4"
    INITIAL = "INITIAL"
    ZIP3 = "ZIP3"
    HIDE = "HIDE"


PolicyTable: TypeAlias = Mapping[Profile, Mapping[Phi, Form]]


def load(path: Path) -> PolicyTable:
    """The policy of a file. Raises SettingsError naming what is unknown or missing."""
    with path.open("rb") as file:
        text = tomllib.load(file)
    unknown = set(text) - {profile.value for profile in Profile}
    if unknown:
        raise SettingsError(f"{path.name}: unknown profile {sorted(unknown)[0]}.")
    return {profile: _forms(path, profile, text.get(profile.value)) for profile in Profile}


def _forms(path: Path, profile: Profile, entries: Mapping[str, str] | None) -> Mapping[Phi, Form]:
    if entries is None:
        raise SettingsError(f"{path.name}: profile {profile.value} is missing.")
    try:
        named = {Phi(kind): Form(form) for kind, form in entries.items()}
    except ValueError as error:
        raise SettingsError(f"{path.name}: [{profile.value}] {error}.") from None
    if named.get(Phi.DATE) not in (Form.SHOW, Form.YEAR):
        raise SettingsError(f"{path.name}: [{profile.value}] DATE must be SHOW or YEAR: lists are ordered by it.")
    return {kind: named.get(kind, Form.HIDE) for kind in Phi}


POLICY = load(Path(__file__).with_name("policy.toml"))
"""The policy that this process enforces."""


def form(profile: Profile, kind: Phi) -> Form:
    """Form of a kind for a profile; HIDE where the policy names none."""
    return POLICY[profile][kind]
