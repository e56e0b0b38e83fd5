"""Mutations of consents."""

from __future__ import annotations

import strawberry

import resolvers.writes.consent
from db.policy import Phi
from graph.chart import Consent
from graph.datatype import FhirDateTime
from graph.field import field, given
from graph.write import Payload, UpdateInput, WriteInput, mutation, write_input
from graph.writes.datatype import CodeableConceptInput, PeriodInput

UNSET = strawberry.UNSET


@write_input("Whom a rule is about: a provider, a facility or an access profile, one of them")
class ConsentActorInput:
    """FHIR Consent.provision.actor."""

    provider_id: strawberry.ID | None = given("Global id of a provider of the facility", phi=None, default=UNSET)
    facility_id: strawberry.ID | None = given(
        "Global id of a facility of the network: everybody who works there", phi=None, default=UNSET
    )
    profile: str | None = given("Access profile: clinician, nurse, billing, …", phi=None, default=UNSET)


@write_input("A rule of a consent; of what it does not tell it holds for all")
class ConsentProvisionInput:
    """FHIR Consent.provision."""

    type: str = given("Whether the rule permits or denies: permit or deny", phi=None)
    purpose: list[str] | None = given("Purposes of use (HL7 v3-PurposeOfUse)", phi=None, default=UNSET)
    actor: list[ConsentActorInput] | None = given("Whom the rule is about", phi=None, default=UNSET)
    security_label: list[str] | None = given(
        "Sensitivity labels of the records that the rule is about (HL7 v3-ActCode)", phi=None, default=UNSET
    )
    period: PeriodInput | None = given("When the rule holds", phi=None, default=UNSET)


@write_input("What a patient agrees to or refuses")
class GiveConsentInput(WriteInput):
    """FHIR Consent, new and active."""

    patient_id: strawberry.ID = given("Global id of the patient", phi=None)
    scope: CodeableConceptInput | None = given(
        "Scope of the consent; patient-privacy by default", phi=None, default=UNSET
    )
    category: CodeableConceptInput = given("Kind of the consent, such as LOINC 59284-0", phi=None)
    date_time: FhirDateTime | None = given("When the patient consented; now by default", phi=Phi.DATE, default=UNSET)
    provision: ConsentProvisionInput | None = given("Rule of the consent", phi=None, default=UNSET)


@write_input("What changes of a consent; what is left out stays, null clears")
class ChangeConsentInput(UpdateInput):
    """FHIR Consent, changed."""

    scope: CodeableConceptInput | None = given("Scope of the consent", phi=None, default=UNSET)
    category: CodeableConceptInput | None = given("Kind of the consent", phi=None, default=UNSET)
    date_time: FhirDateTime | None = given("When the patient consented", phi=Phi.DATE, default=UNSET)
    provision: ConsentProvisionInput | None = given(
        "Rule of the consent, which replaces the one before", phi=None, default=UNSET
    )


@write_input("Which consent is withdrawn")
class WithdrawConsentInput(UpdateInput):
    """FHIR Consent, from now on inactive."""


@strawberry.type(description="What a write of a consent came to")
class ConsentPayload(Payload):
    """Served from Written."""

    consent: Consent | None = field("Consent as it is now", phi=None, batch=resolvers.writes.consent.written)


@strawberry.type
class ConsentMutations:
    """Roots of mutations of consents."""

    give_consent: ConsentPayload | None = mutation(
        "Records what a patient agrees to or refuses; it holds at once",
        GiveConsentInput,
        resolvers.writes.consent.give,
    )
    change_consent: ConsentPayload | None = mutation(
        "Changes what a patient agreed to or refused; it holds at once",
        ChangeConsentInput,
        resolvers.writes.consent.change,
    )
    withdraw_consent: ConsentPayload | None = mutation(
        "Ends a consent: its rule holds no more", WithdrawConsentInput, resolvers.writes.consent.withdraw
    )
