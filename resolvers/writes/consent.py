"""Mutations of consents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from db.caller import Profile, PurposeOfUse
from db.policy import LABELS
from loaders.consent import consent_by_id
from loaders.write import Concept, Written
from loaders.writes.consent import NewConsent, Provision, change_consent, give_consent, withdraw_consent
from resolvers.connection import link
from resolvers.context import Context
from resolvers.write import Given, Input, Prepared, write

HL7 = "http://terminology.hl7.org/CodeSystem/"
PRIVACY = Concept(HL7 + "consentscope", "patient-privacy", "Privacy Consent", None)
RECIPIENT = {"coding": [{"system": HL7 + "v3-ParticipationType", "code": "IRCP", "display": "information recipient"}]}
"""Role of an actor of a rule: to whom records may go, or may not."""
PROFILE = "urn:caregraph:profile"
"""Code system of access profiles."""
ACTORS_MAX = 20
"""Actors of a rule at most."""

written = link(consent_by_id, "id")


@dataclass(frozen=True, slots=True)
class Actor:
    """Whom a rule is about, as FHIR Consent.provision.actor."""

    fhir: Mapping[str, Any]
    provider_id: UUID | None = None
    facility_id: UUID | None = None


async def give(context: Context, input: Input) -> Written:
    """Records what a patient agrees to or refuses; it holds at once."""

    def prepare(given: Given) -> Prepared:
        date_time, time = _date_time(given)
        new = NewConsent(
            patient_id=given.needed_id("patient_id", "Patient"),
            scope=(given.concept("scope") or PRIVACY).fhir(),
            category=[given.needed_concept("category").fhir()],
            date_time=date_time,
            time=time,
            provision=_provision(given.part("provision")),
        )
        return lambda writing: give_consent(writing, new)

    return await write(context, "giveConsent", input, ["consent"], prepare)


async def change(context: Context, input: Input) -> Written:
    """Changes what a patient agreed to or refused; a rule replaces the one before."""

    def prepare(given: Given) -> Prepared:
        id = given.needed_id("id", "Consent")
        scope, category = given.concept("scope"), given.concept("category")
        said = {"scope": scope and scope.fhir(), "category": [category.fhir()] if category else []}
        columns: dict[str, Any] = {name: value for name, value in said.items() if name in given}
        if given.get("date_time") is not None:
            date_time, time = _date_time(given)
            columns |= {"date_time": date_time, "sort_time": time.isoformat()}
        elif "date_time" in given:
            columns["date_time"] = None  # its place in the list is kept
        provision = _provision(given.part("provision")) if "provision" in given else None
        return lambda writing: change_consent(writing, id, given.version, columns, provision)

    return await write(context, "changeConsent", input, ["consent"], prepare)


async def withdraw(context: Context, input: Input) -> Written:
    """Ends a consent: its rule holds no more from now on."""

    def prepare(given: Given) -> Prepared:
        id = given.needed_id("id", "Consent")
        return lambda writing: withdraw_consent(writing, id, given.version)

    return await write(context, "withdrawConsent", input, ["consent"], prepare)


def _date_time(given: Given) -> tuple[str, datetime]:
    """When the patient consented, by default now: as FHIR dateTime, and its first instant."""
    moment = given.moment("date_time")
    if moment is not None:
        return moment.text, moment.instant
    now = datetime.now(UTC)
    return now.isoformat(), now


def _provision(given: Given | None) -> Provision:
    """A rule as FHIR has it and clinical.rules_of reads it; without one the consent permits and denies nothing."""
    if given is None:
        return Provision({})
    actors = [_actor(one) for one in given.parts("actor", ACTORS_MAX)]
    elements = {
        "type": given.needed_one_of("type", ("permit", "deny")),
        "period": _period(given),
        "actor": [actor.fhir for actor in actors],
        "purpose": _codes(given, "purpose", HL7 + "v3-ActReason", {purpose.value for purpose in PurposeOfUse}),
        "securityLabel": _codes(given, "security_label", HL7 + "v3-ActCode", set(LABELS)),
    }
    return Provision(
        {name: value for name, value in elements.items() if value},
        providers=[actor.provider_id for actor in actors if actor.provider_id],
        facilities=[actor.facility_id for actor in actors if actor.facility_id],
    )


def _actor(given: Given) -> Actor:
    """A provider, everybody who works at a facility, or everybody with an access profile."""
    provider_id, facility_id = given.id("provider_id", "Provider"), given.id("facility_id", "Facility")
    profile = given.one_of("profile", {profile.value for profile in Profile})
    if sum(named is not None for named in (provider_id, facility_id, profile)) != 1:
        raise given.invalid("provider_id", "must be given, or the facility, or the profile: one of them")
    if profile is not None:
        return Actor({"role": {"coding": [{"system": PROFILE, "code": profile}]}})
    reference = f"Practitioner/{provider_id}" if provider_id else f"Organization/{facility_id}"
    return Actor({"role": RECIPIENT, "reference": {"reference": reference}}, provider_id, facility_id)


def _period(given: Given) -> dict[str, str]:
    """FHIR Period, whose end is not before its start."""
    period = given.part("period")
    if period is None:
        return {}
    start, end = period.moment("start"), period.moment("end")
    if start and end and end.instant < start.instant:
        raise period.invalid("end", "must not be before the start")
    return {name: moment.text for name, moment in (("start", start), ("end", end)) if moment}


def _codes(given: Given, name: str, system: str, allowed: Set[str]) -> list[dict[str, str]]:
    """FHIR Codings of codes of a system. Raises Refusal for another one: a rule about it would never hold."""
    codes = cast("Sequence[str]", given.get(name) or ())
    if not set(codes) <= allowed:
        raise given.invalid(name, f"must be of {', '.join(sorted(allowed))}")
    return [{"system": system, "code": code} for code in dict.fromkeys(codes)]
