"""What patients of the demo want kept apart: sensitive conditions, a psychotherapy note, denials, and exchange."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from workers.network.repair import attachment
from workers.network.resource import (
    AS_OF,
    HL7,
    ICD10,
    LOINC,
    RXNORM,
    SNOMED,
    Facility,
    Json,
    Source,
    concept,
    link,
    named,
    of,
    stamp,
)
from workers.network.stays import NOTE_CATEGORY, living_adult, staff

ACT_CODE = HL7 + "v3-ActCode"


@dataclass(frozen=True, slots=True)
class Sensitive:
    """A condition (system, code, display), what is taken for it (RxNorm code, name, dosage), and its label."""

    label: str
    condition: tuple[str, str, str]
    drug: tuple[str, str, str]


SENSITIVE = (
    Sensitive(
        "ETH",
        (ICD10, "F11.20", "Opioid dependence, uncomplicated"),
        ("351264", "buprenorphine / naloxone", "8 mg / 2 mg under the tongue once daily"),
    ),
    Sensitive(
        "HIV",
        (ICD10, "B20", "Human immunodeficiency virus [HIV] disease"),
        ("1433868", "dolutegravir", "50 mg by mouth once daily"),
    ),
    Sensitive(
        "PSY",
        (SNOMED, "370143000", "Major depressive disorder"),
        ("36437", "sertraline", "50 mg by mouth once daily"),
    ),
)
"""One patient of each facility has each of them."""


def labelled(*labels: str) -> Json:
    """`meta` of a resource with sensitivity labels (HL7 v3-ActCode)."""
    return {"meta": {"security": [{"system": ACT_CODE, "code": label} for label in labels]}}


def sensitive_facts(resources: list[Json], source: Source) -> Iterator[Json]:
    """Conditions and orders of SENSITIVE; the patient with the last one is in psychotherapy and keeps it apart.

    The patient with HIV lets nobody know of it but who is told in person, and one doctor sees nothing of another one's.
    """
    doctor, other = staff(resources, "doctor")[:2]
    patients = _chosen(resources, source)
    for patient, item in zip(patients, SENSITIVE, strict=False):
        condition = _condition(patient, item, source)
        yield condition
        yield _order(patient, item, condition, doctor, source)
        if item.label == "PSY":
            yield _therapy(patient, doctor, source)
            yield _denial(patient, source, {"actor": [_actor("IRCP", "information recipient", link(other))]})
        if item.label == "HIV":
            yield _denial(patient, source, {"securityLabel": [{"system": ACT_CODE, "code": "HIV"}]})


def exchanges(guests: Sequence[Json], source: Source, other: Facility) -> Iterator[Json]:
    """Consents of patients of `source` who are treated at another facility, too, and let it see their records."""
    for patient in guests:
        provision = {
            "type": "permit",
            "purpose": [{"system": HL7 + "v3-ActReason", "code": "TREAT", "display": "treatment"}],
            "actor": [_actor("IRCP", "information recipient", other.reference)],
        }
        yield _consent(patient, source, f"exchange {patient['id']}", provision)


def _chosen(resources: list[Json], source: Source) -> list[Json]:
    able = [patient for patient in of(resources, "Patient") if living_adult(patient)]
    return source.random("sensitive").sample(able, min(len(SENSITIVE), len(able)))


def _condition(patient: Json, item: Sensitive, source: Source) -> Json:
    return {
        "resourceType": "Condition",
        "id": source.id("Condition", f"sensitive {patient['id']}"),
        "clinicalStatus": concept(HL7 + "condition-clinical", "active", "Active"),
        "verificationStatus": concept(HL7 + "condition-ver-status", "confirmed", "Confirmed"),
        "category": [concept(HL7 + "condition-category", "problem-list-item", "Problem List Item")],
        "code": concept(*item.condition),
        "subject": link(patient),
        "onsetDateTime": stamp(AS_OF - timedelta(days=400))[:10],
        "recordedDate": stamp(AS_OF - timedelta(days=390)),
    }


def _order(patient: Json, item: Sensitive, condition: Json, doctor: Json, source: Source) -> Json:
    """An order; where its code says nothing of what it is for, its source does."""
    code, name, dosage = item.drug
    return labelled(item.label) | {
        "resourceType": "MedicationRequest",
        "id": source.id("MedicationRequest", f"sensitive {patient['id']}"),
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": concept(RXNORM, code, name),
        "subject": link(patient),
        "authoredOn": stamp(AS_OF - timedelta(days=60)),
        "requester": named(doctor),
        "reasonReference": [link(condition)],
        "dosageInstruction": [{"text": dosage}],
    }


def _therapy(patient: Json, doctor: Json, source: Source) -> Json:
    """A psychotherapy note (45 CFR 164.501), kept apart from the rest of the record."""
    written = stamp(AS_OF - timedelta(days=9))
    text = "# Session\nTalked about sleep and about the loss of last year; a walk every morning is agreed on."
    return labelled("PSYTHPN") | {
        "resourceType": "DocumentReference",
        "id": source.id("DocumentReference", f"psychotherapy {patient['id']}"),
        "status": "current",
        "docStatus": "final",
        "type": concept(LOINC, "11506-3", "Progress note"),
        "category": [concept(NOTE_CATEGORY, "clinical-note", "Clinical Note")],
        "subject": link(patient),
        "date": written,
        "author": [named(doctor)],
        "authenticator": named(doctor),
        "custodian": source.facility.reference,
        "content": [attachment(text, "Psychotherapy note")],
    }


def _actor(code: str, display: str, reference: Json) -> Json:
    return {"role": concept(HL7 + "v3-ParticipationType", code, display), "reference": reference}


def _denial(patient: Json, source: Source, rule: Json) -> Json:
    return _consent(patient, source, f"denial {patient['id']}", {"type": "deny"} | rule)


def _consent(patient: Json, source: Source, key: str, provision: Json) -> Json:
    return {
        "resourceType": "Consent",
        "id": source.id("Consent", key),
        "status": "active",
        "scope": concept(HL7 + "consentscope", "patient-privacy", "Privacy Consent"),
        "category": [concept(LOINC, "59284-0", "Consent Document")],
        "patient": link(patient),
        "dateTime": stamp(AS_OF - timedelta(days=30)),
        "organization": [source.facility.reference],
        "provision": provision,
    }
