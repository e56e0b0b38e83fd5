"""The PHI policy (db/policy.toml): kinds, forms, the form of each kind for each profile and purpose, and roles."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, cast

from db.caller import Caller, Profile, PurposeOfUse, Reach, Role
from db.errors import Forbidden, SettingsError


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
    SCRUB = "SCRUB"
    HIDE = "HIDE"


LABELS = {
    "R": "restricted: a row of a labelled kind that nobody has labelled",
    "ETH": "substance use (42 CFR Part 2)",
    "HIV": "HIV and AIDS",
    "PSY": "psychiatry",
    "PSYTHPN": "psychotherapy notes (45 CFR 164.501)",
    "SDV": "sexual assault, abuse and domestic violence",
    "SEX": "sexuality and reproductive health",
    "STD": "sexually transmitted disease",
}
"""Sensitivity labels (HL7 v3-ActCode) and what each stands for."""


@dataclass(frozen=True, slots=True)
class View:
    """What a profile sees for some purposes; `name` is also that of its schema of masked views in PostgreSQL."""

    name: str
    profile: Profile
    purposes: tuple[PurposeOfUse, ...]
    forms: Mapping[Phi, Form]


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy of a file: views by profile and purpose, roles by name."""

    views: Mapping[tuple[Profile, PurposeOfUse], View]
    roles: Mapping[str, Role]
    explorers: frozenset[Profile]
    """Profiles that may ask for the schema, and whose errors suggest names of it."""
    trusting: frozenset[Profile]
    """Profiles that run documents of the manifest only."""
    writes: Mapping[Profile, frozenset[str]]
    """Tables (of the notes store: collections) in which a profile may insert and update."""


def load(path: Path) -> Policy:
    """The policy of a file. Raises SettingsError naming what is unknown or missing."""
    with path.open("rb") as file:
        text = tomllib.load(file)
    roles = text.pop("roles", {})
    unknown = set(text) - {profile.value for profile in Profile}
    if unknown:
        raise SettingsError(f"{path.name}: unknown profile {min(unknown)}.")
    try:
        views = {
            (profile, purpose): view
            for profile in Profile
            for view in _views(profile, text.get(profile.value) or {})
            for purpose in view.purposes
        }
        named = {name: _role(name, entry) for name, entry in roles.items()}
        writes = {profile: _writes(text.get(profile.value) or {}) for profile in Profile}
        return Policy(views, named, _profiles(text, "explores"), _profiles(text, "trusted_documents"), writes)
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{path.name}: {error}.") from None


def _profiles(text: Mapping[str, Any], flag: str) -> frozenset[Profile]:
    """Profiles that have a flag, which the others do not mention."""
    flags = {Profile(name): entries.get(flag, False) for name, entries in text.items()}
    if not all(isinstance(given, bool) for given in flags.values()):
        raise ValueError(f"{flag} must be true or false")
    return frozenset(profile for profile, given in flags.items() if given)


def _writes(entries: Mapping[str, Any]) -> frozenset[str]:
    names = cast("list[object]", entries.get("writes", []))
    if not all(isinstance(name, str) and name.isidentifier() for name in names):
        raise ValueError("writes must be a list of names of tables")
    return frozenset(cast("list[str]", names))


def _views(profile: Profile, entries: Mapping[str, Any]) -> list[View]:
    """The profile's usual view, and one for each purpose that changes it."""
    purposes = [PurposeOfUse(purpose) for purpose in entries.get("purposes", ())]
    if not purposes:
        raise ValueError(f"profile {profile.value} has no purposes")
    usual = {kind: form for kind, form in entries.items() if isinstance(form, str)}
    changed = {PurposeOfUse(name): forms for name, forms in entries.items() if isinstance(forms, dict)}
    if not changed.keys() <= set(purposes):
        raise ValueError(f"[{profile.value}] has a table for a purpose that is not among its purposes")
    unchanged = tuple(purpose for purpose in purposes if purpose not in changed)
    views = [View(profile.value, profile, unchanged, _forms(profile, usual))] if unchanged else []
    for purpose, forms in changed.items():
        name = f"{profile.value}_{purpose.value.lower()}"
        views.append(View(name, profile, (purpose,), _forms(profile, usual | cast("dict[str, str]", forms))))
    return views


def _forms(profile: Profile, entries: Mapping[str, str]) -> Mapping[Phi, Form]:
    named = {Phi(kind): Form(form) for kind, form in entries.items()}
    if named.get(Phi.DATE) not in (Form.SHOW, Form.YEAR):
        raise ValueError(f"[{profile.value}] DATE must be SHOW or YEAR: lists are ordered by it")
    return {kind: named.get(kind, Form.HIDE) for kind in Phi}


def _role(name: str, entry: Mapping[str, Any]) -> Role:
    labels, lifts = frozenset(entry["labels"]), frozenset(entry["lifts"])
    if unknown := (labels | lifts) - LABELS.keys():
        raise ValueError(f"[roles.{name}] unknown label {min(unknown)}")
    return Role(name, Profile(entry["profile"]), Reach(entry["reach"]), labels, lifts)


POLICY = load(Path(__file__).with_name("policy.toml"))
"""The policy that this process enforces."""
ROLES = POLICY.roles
VIEWS = tuple({view.name: view for view in POLICY.views.values()}.values())
"""Every view once; one may be that of several purposes."""


def view(profile: Profile, purpose: PurposeOfUse) -> View:
    """What a profile sees for a purpose. Raises Forbidden for a purpose that the profile may not ask for."""
    found = POLICY.views.get((profile, purpose))
    if found is None:
        raise Forbidden
    return found


def view_of(caller: Caller) -> View:
    """What a caller sees. Raises Forbidden for a purpose that the caller's profile may not ask for."""
    return view(caller.profile, caller.purpose)


def purposes_of(profile: Profile) -> Sequence[PurposeOfUse]:
    """Purposes for which a profile may ask, its usual one first."""
    return [purpose for of_profile, purpose in POLICY.views if of_profile is profile]


def unseen_labels(role: Role) -> Sequence[str]:
    """Labels of the policy that a role may not see, sorted."""
    return sorted(LABELS.keys() - role.labels)


def usual_view(profile: Profile) -> View:
    """What a profile sees for its usual purpose."""
    return view(profile, purposes_of(profile)[0])


def form(profile: Profile, purpose: PurposeOfUse, kind: Phi) -> Form:
    """Form of a kind for a profile and purpose; HIDE where the policy names none."""
    return view(profile, purpose).forms[kind]


def may_break_glass(caller: Caller) -> bool:
    """Whether a caller may open a suppressed chart in an emergency: a profile that may ask for ETREAT, at home."""
    return (caller.profile, PurposeOfUse.ETREAT) in POLICY.views and caller.home_facility_id is None


def may_write(caller: Caller, *tables: str) -> bool:
    """Whether a caller may insert and update in all of these tables: at home only, and not through an app."""
    at_home = caller.home_facility_id is None and caller.types is None
    return at_home and POLICY.writes[caller.profile] >= set(tables)


def shows(caller: Caller, *kinds: Phi) -> bool:
    """Whether a caller gets the plain value of every one of these kinds."""
    forms = view_of(caller).forms
    return all(forms[kind] is Form.SHOW for kind in kinds)


def hides(caller: Caller, *kinds: Phi) -> bool:
    """Whether a caller gets nothing of every one of these kinds; False where there are none."""
    forms = view_of(caller).forms
    return bool(kinds) and all(forms[kind] is Form.HIDE for kind in kinds)
