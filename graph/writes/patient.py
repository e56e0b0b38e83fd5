"""Mutations of patients."""

from __future__ import annotations

from decimal import Decimal

import strawberry

import resolvers.writes.patient
from db.policy import Phi
from graph.datatype import FhirDate, FhirDateTime
from graph.field import field, given
from graph.patient import Patient
from graph.write import Payload, UpdateInput, WriteInput, mutation, write_input
from graph.writes.datatype import CodeableConceptInput

UNSET = strawberry.UNSET


@write_input("A name of a person; it needs a family name, a given name or the whole as text")
class HumanNameInput:
    """FHIR HumanName."""

    use: str | None = given("Use of the name: official, maiden, nickname, …", phi=None, default=UNSET)
    family: str | None = given("Family name", phi=Phi.NAME, default=UNSET)
    given_: list[str] | None = given("Given names, in order", phi=Phi.NAME, default=UNSET, name="given")
    prefix: list[str] | None = given("What stands before the name, such as Dr", phi=Phi.NAME, default=UNSET)
    suffix: list[str] | None = given("What stands after the name, such as MD", phi=Phi.NAME, default=UNSET)
    text: str | None = given("Whole name as it is written", phi=Phi.NAME, default=UNSET)


@write_input("A postal address")
class AddressInput:
    """FHIR Address."""

    use: str | None = given("Use of the address: home, work, temp, old or billing", phi=None, default=UNSET)
    line: list[str] | None = given("Street lines of the address", phi=Phi.GEOGRAPHY, default=UNSET)
    city: str | None = given("City of the address", phi=Phi.GEOGRAPHY, default=UNSET)
    district: str | None = given("County of the address", phi=Phi.GEOGRAPHY, default=UNSET)
    state: str | None = given("State of the address", phi=None, default=UNSET)
    postal_code: str | None = given("Postal code of the address", phi=Phi.GEOGRAPHY, default=UNSET)
    country: str | None = given("Country of the address", phi=None, default=UNSET)


@write_input("A way to reach somebody")
class ContactPointInput:
    """FHIR ContactPoint."""

    system: str = given("Kind of contact: phone, fax, email, pager, url, sms or other", phi=None)
    value: str = given("Number or address of the contact", phi=(Phi.PHONE, Phi.FAX, Phi.EMAIL))
    use: str | None = given("Use of the contact: home, work, temp, old or mobile", phi=None, default=UNSET)


@write_input("Somebody to contact about a patient")
class PatientContactInput:
    """FHIR Patient.contact."""

    relationship: CodeableConceptInput | None = given(
        "Relationship to the patient, such as emergency contact", phi=None, default=UNSET
    )
    name: HumanNameInput | None = given("Name of the contact", phi=Phi.NAME, default=UNSET)
    telecom: list[ContactPointInput] | None = given("Ways to reach the contact", phi=None, default=UNSET)
    address: AddressInput | None = given("Address of the contact", phi=Phi.GEOGRAPHY, default=UNSET)


@write_input("A language that a patient speaks")
class CommunicationInput:
    """FHIR Patient.communication."""

    language: CodeableConceptInput = given("Language (BCP 47)", phi=None)
    preferred: bool | None = given("Whether the patient prefers it", phi=None, default=UNSET)


@write_input("A number or code that identifies a patient")
class IdentifierInput:
    """FHIR Identifier, with the PHI kind of its value."""

    kind: Phi = given(
        "PHI kind of the value: SSN, LICENSE_NUMBER, HEALTH_PLAN_NUMBER, ACCOUNT_NUMBER, MEDICAL_RECORD_NUMBER (of "
        "another source) or OTHER_IDENTIFIER",
        phi=None,
    )
    type: CodeableConceptInput | None = given("Type of the identifier", phi=None, default=UNSET)
    system: str | None = given("System that issued the identifier, as URI", phi=None, default=UNSET)
    value: str = given(
        "Value of the identifier, whole",
        phi=(
            Phi.MEDICAL_RECORD_NUMBER,
            Phi.SSN,
            Phi.LICENSE_NUMBER,
            Phi.HEALTH_PLAN_NUMBER,
            Phi.ACCOUNT_NUMBER,
            Phi.OTHER_IDENTIFIER,
        ),
    )


@write_input("What is said of a patient; a list replaces the one before")
class DemographicsInput:
    """Elements of FHIR Patient that both a registration and an update give."""

    active: bool | None = given("Whether the record is in use", phi=None, default=UNSET)
    gender: str | None = given("Administrative gender: male, female, other or unknown", phi=None, default=UNSET)
    birth_sex: str | None = given("Sex at birth (US Core): F, M, OTH, UNK or ASKU", phi=None, default=UNSET)
    birth_date: FhirDate | None = given("Date of birth, as precise as known", phi=Phi.DATE, default=UNSET)
    deceased: bool | None = given(
        "Whether the patient has died; false clears the time of death", phi=None, default=UNSET
    )
    deceased_date_time: FhirDateTime | None = given(
        "Time of death; says that the patient has died", phi=Phi.DATE, default=UNSET
    )
    marital_status: CodeableConceptInput | None = given("Marital status of the patient", phi=None, default=UNSET)
    multiple_birth: int | None = given("Place in the order of a multiple birth", phi=None, default=UNSET)
    race: str | None = given("Race of the patient (US Core, as text)", phi=None, default=UNSET)
    ethnicity: str | None = given("Ethnicity of the patient (US Core, as text)", phi=None, default=UNSET)
    address: list[AddressInput] | None = given("Addresses of the patient", phi=Phi.GEOGRAPHY, default=UNSET)
    telecom: list[ContactPointInput] | None = given("Ways to reach the patient", phi=None, default=UNSET)
    contact: list[PatientContactInput] | None = given(
        "People to contact about the patient", phi=Phi.NAME, default=UNSET
    )
    communication: list[CommunicationInput] | None = given("Languages of the patient", phi=None, default=UNSET)


@write_input("Whom a facility registers")
class RegisterPatientInput(DemographicsInput, WriteInput):
    """FHIR Patient, new at the caller's facility."""

    mrn: str | None = given(
        "Medical record number at the facility; made where none is given",
        phi=Phi.MEDICAL_RECORD_NUMBER,
        default=UNSET,
    )
    name: list[HumanNameInput] = given("Names of the patient, one at least", phi=Phi.NAME)
    identifier: list[IdentifierInput] | None = given("Identifiers of the patient", phi=None, default=UNSET)
    confirmed_new: bool = given(
        "Whether somebody looked at the possible duplicates, and this is nobody of them", phi=None, default=False
    )


@write_input("What changes of a patient; what is left out stays, null clears")
class UpdatePatientInput(DemographicsInput, UpdateInput):
    """FHIR Patient, changed; names and identifiers count as its version, too."""

    name: list[HumanNameInput] | None = given(
        "Names of the patient, which replace those before", phi=Phi.NAME, default=UNSET
    )
    add_identifier: list[IdentifierInput] | None = given(
        "Identifiers that the patient has from now on, too", phi=None, default=UNSET
    )
    remove_identifier: list[int] | None = given(
        "Places, from 0 on, in Patient.identifier of those that the patient has no more: who changes one need not see "
        "the others",
        phi=None,
        default=UNSET,
    )


@strawberry.type(description="A registered patient who may be the one that is to be registered")
class PossibleDuplicate:
    """Served from (score, PatientRow)."""

    score: Decimal = field(
        "How well the patient matches: 1 by name and birth date, or by an identifier; less where one only resembles",
        phi=None,
        value=lambda found: found[0],
    )
    patient: Patient = field("Patient who is registered", phi=None, value=lambda found: found[1])


@strawberry.type(description="What registering a patient came to")
class RegisterPatientPayload(Payload):
    """Served from Written."""

    patient: Patient | None = field("Patient who was registered", phi=None, batch=resolvers.writes.patient.written)
    possible_duplicates: list[PossibleDuplicate] | None = field(
        "Patients who may be the same, or who have the number, best first; empty where that was not what forbade it",
        phi=None,
        batch=resolvers.writes.patient.possible_duplicates,
        size=3,
    )


@strawberry.type(description="What a change of a patient came to")
class PatientPayload(Payload):
    """Served from Written."""

    patient: Patient | None = field("Patient as the record is now", phi=None, batch=resolvers.writes.patient.written)


@strawberry.type
class PatientMutations:
    """Roots of mutations of patients."""

    register_patient: RegisterPatientPayload | None = mutation(
        "Registers a patient at the facility; where somebody registered may be the same, says who, and registers "
        "nobody until this is confirmed to be another",
        RegisterPatientInput,
        resolvers.writes.patient.register,
    )
    update_patient: PatientPayload | None = mutation(
        "Changes demographics, contacts, names and identifiers of a patient",
        UpdatePatientInput,
        resolvers.writes.patient.update,
    )
