"""Current stays: patients in hospital as of now, each with ward and bed, team, orders, laboratory results and notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from workers.network.reasons import Drug, Reason, reasons_for
from workers.network.repair import attachment
from workers.network.resource import (
    AS_OF,
    HL7,
    ICD10,
    LOINC,
    RXNORM,
    SNOMED,
    Json,
    Source,
    concept,
    link,
    named,
    of,
    quantity,
    stamp,
)

ADULT_YEARS = 18
ADDENDUM = "Addendum to history and physical note"
"""Title of the notes that amend another one."""

NOTE_CATEGORY = "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category"

LABS = (
    ("2951-2", "Sodium [Moles/volume] in Serum or Plasma", "mmol/L", None, 136.0, 145.0),
    ("2823-3", "Potassium [Moles/volume] in Serum or Plasma", "mmol/L", None, 3.5, 5.1),
    ("2160-0", "Creatinine [Mass/volume] in Serum or Plasma", "mg/dL", None, 0.6, 1.3),
    ("718-7", "Hemoglobin [Mass/volume] in Blood", "g/dL", None, 12.0, 17.0),
    ("6690-2", "Leukocytes [#/volume] in Blood by Automated count", "10*3/uL", "10*3/uL", 4.5, 11.0),
)
"""Drawn every morning: LOINC code and name, unit, UCUM code, and the normal range."""


@dataclass(frozen=True, slots=True)
class Stay:
    """A current stay and who is involved."""

    source: Source
    key: str
    patient: Json
    encounter: Json
    condition: Json
    reason: Reason
    admitted: datetime
    attending: Json
    nurse: Json

    @property
    def fact(self) -> Json:
        """What every resource of the stay refers to."""
        return {"subject": link(self.patient), "encounter": link(self.encounter)}


def current_stays(resources: list[Json], source: Source, count: int) -> list[Stay]:
    """Stays of at most `count` patients, as many as there are living adults who are not in hospital already."""
    chances = source.random("stays")
    lying = {item["subject"]["reference"] for item in of(resources, "Encounter") if "end" not in item["period"]}
    able = [
        patient
        for patient in of(resources, "Patient")
        if living_adult(patient) and f"Patient/{patient['id']}" not in lying
    ]
    chosen = chances.sample(able, min(count, len(able)))
    return [_stay(patient, resources, source, chances) for patient in chosen]


def living_adult(patient: Json) -> bool:
    """Whether a patient may be given stays and conditions of adults."""
    died = patient.get("deceasedBoolean") or "deceasedDateTime" in patient
    return not died and int(patient["birthDate"][:4]) < AS_OF.year - ADULT_YEARS


def chronic_codes(patient: Json, resources: list[Json]) -> Sequence[str]:
    """ICD-10-CM codes of the active conditions of a patient."""
    subject = f"Patient/{patient['id']}"
    return [
        coding["code"]
        for item in of(resources, "Condition")
        if item["subject"]["reference"] == subject and item["clinicalStatus"]["coding"][0]["code"] == "active"
        for coding in item["code"].get("coding", [])
        if "code" in coding
    ]


def staff(resources: list[Json], role: str) -> list[Json]:
    """Practitioners of a facility with this role: doctor or nurse."""
    wanted = {
        item["practitioner"]["reference"].partition("/")[2]
        for item in of(resources, "PractitionerRole")
        if any(coding["code"] == role for code in item["code"] for coding in code.get("coding", []))
    }
    return [item for item in of(resources, "Practitioner") if item["id"] in wanted]


def _stay(patient: Json, resources: list[Json], source: Source, chances: Random) -> Stay:
    key = patient["id"]
    reason = chances.choice(reasons_for(chronic_codes(patient, resources)))
    admitted = AS_OF - timedelta(days=chances.randint(1, 5), minutes=chances.randint(0, 900))
    attending, nurse = chances.choice(staff(resources, "doctor")), chances.choice(staff(resources, "nurse"))
    condition: Json = {
        "resourceType": "Condition",
        "id": source.id("Condition", f"stay {key}"),
        "clinicalStatus": concept(HL7 + "condition-clinical", "active", "Active"),
        "verificationStatus": concept(HL7 + "condition-ver-status", "confirmed", "Confirmed"),
        "category": [concept(HL7 + "condition-category", "encounter-diagnosis", "Encounter Diagnosis")],
        "code": concept(ICD10, reason.code, reason.display),
        "subject": link(patient),
        "encounter": source.reference("Encounter", f"stay {key}"),
        "onsetDateTime": stamp(admitted - timedelta(days=2)),
        "recordedDate": stamp(admitted),
    }
    ward = source.reference("Location", f"loc-ward-{reason.ward}")
    beds = [item for item in of(resources, "Location") if item.get("partOf") == ward]
    bed = chances.choice(beds)
    encounter: Json = {
        "resourceType": "Encounter",
        "id": source.id("Encounter", f"stay {key}"),
        "status": "in-progress",
        "class": {"system": HL7 + "v3-ActCode", "code": "IMP", "display": "inpatient encounter"},
        "type": [concept(SNOMED, "32485007", "Hospital admission")],
        "subject": link(patient),
        "serviceProvider": source.facility.reference,
        "period": {"start": stamp(admitted)},
        "reasonCode": [concept(ICD10, reason.code, reason.display)],
        "participant": [
            _participant("ATND", "attender", attending),
            _participant("SPRF", "secondary performer", nurse),
        ],
        "hospitalization": {"admitSource": concept(HL7 + "admit-source", "emd", "From accident/emergency department")},
        "location": [
            {"location": ward | {"display": f"{source.facility.ward} {reason.ward}"}, "status": "active"},
            {"location": link(bed) | {"display": bed["name"]}, "status": "active"},
        ],
    }
    return Stay(source, key, patient, encounter, condition, reason, admitted, attending, nurse)


def _participant(code: str, display: str, practitioner: Json) -> Json:
    return {"type": [concept(HL7 + "v3-ParticipationType", code, display)], "individual": named(practitioner)}


def stay_resources(stay: Stay) -> Iterator[Json]:
    """The stay itself and what was written and ordered in it."""
    yield stay.encounter
    yield stay.condition
    yield _team(stay)
    yield from (_order(stay, drug) for drug in stay.reason.drugs)
    yield from _laboratory(stay)
    yield from _notes(stay)


def team_id(stay: Stay) -> str:
    """Id of the care team of a stay."""
    return stay.source.id("CareTeam", f"stay {stay.key}")


def _team(stay: Stay) -> Json:
    return stay.fact | {
        "resourceType": "CareTeam",
        "id": team_id(stay),
        "status": "active",
        "name": f"Inpatient team, {stay.source.facility.ward} {stay.reason.ward}",
        "category": [concept(LOINC, "LA27976-2", "Encounter-focused care team")],
        "period": {"start": stamp(stay.admitted)},
        "participant": [
            {"role": [concept(SNOMED, "309343006", "Physician")], "member": named(stay.attending)},
            {"role": [concept(SNOMED, "106292003", "Professional nurse")], "member": named(stay.nurse)},
            {"role": [concept(SNOMED, "116154003", "Patient")], "member": link(stay.patient)},
        ],
    }


def _order(stay: Stay, drug: Drug) -> Json:
    return stay.fact | {
        "resourceType": "MedicationRequest",
        "id": stay.source.id("MedicationRequest", f"stay {stay.key} {drug.code}"),
        "status": "active",
        "intent": "order",
        "category": [concept(HL7 + "medicationrequest-category", "inpatient", "Inpatient")],
        "medicationCodeableConcept": concept(RXNORM, drug.code, drug.name),
        "authoredOn": stamp(stay.admitted + timedelta(hours=1)),
        "requester": named(stay.attending),
        "reasonReference": [link(stay.condition)],
        "dosageInstruction": [{"text": drug.dosage}],
    }


def _laboratory(stay: Stay) -> Iterator[Json]:
    """Results of every morning, beginning a little outside the normal range and moving with the days."""
    chances = stay.source.random(f"laboratory {stay.key}")
    for code, name, unit, ucum, low, high in LABS:
        width = high - low
        value = chances.uniform(low - width * 0.2, high + width * 0.3)
        day = stay.admitted + timedelta(hours=1)
        while day < AS_OF:
            drawn = stamp(day)
            yield stay.fact | {
                "resourceType": "Observation",
                "id": stay.source.id("Observation", f"stay {stay.key} {code} {drawn}"),
                "status": "final",
                "category": [concept(HL7 + "observation-category", "laboratory", "Laboratory")],
                "code": concept(LOINC, code, name),
                "effectiveDateTime": drawn,
                "issued": stamp(day + timedelta(minutes=50)),
                "valueQuantity": quantity(round(value, 1), unit, ucum),
                "referenceRange": [{"low": quantity(low, unit, ucum), "high": quantity(high, unit, ucum)}],
                "interpretation": [_interpretation(round(value, 1), low, high)],
            }
            value += chances.gauss(0, width * 0.08)
            day = (day + timedelta(days=1)).replace(hour=6, minute=0)


def _interpretation(value: float, low: float, high: float) -> Json:
    code, display = ("L", "Low") if value < low else ("H", "High") if value > high else ("N", "Normal")
    return concept(HL7 + "v3-ObservationInterpretation", code, display)


def _notes(stay: Stay) -> Iterator[Json]:
    """A signed admission note, an addendum to it, and a progress note of this morning."""
    reason, given = stay.reason, " ".join(stay.patient["name"][0].get("given", ["The patient"]))
    history = (
        f"# Chief complaint\n{reason.complaint}\n\n"
        f"# History of present illness\n{given} came through the emergency department. {reason.complaint} "
        "No recent travel and no sick contacts.\n\n"
        f"# Physical examination\nHeart rate {reason.heart_rate}/min, blood pressure {reason.systolic}/80 mmHg, "
        f"respiratory rate {reason.respiratory_rate}/min, oxygen saturation {reason.saturation} %. "
        "Awake and oriented.\n\n"
        f"# Assessment\n{reason.display}.\n\n# Plan\n{reason.plan}"
    )
    addendum = "# Addendum\nFamily reached by telephone: home medications confirmed, no further allergies known."
    progress = (
        f"# Subjective\n{given} slept well and feels better than on admission.\n\n"
        "# Objective\nVital signs from the monitor reviewed, morning laboratory results reviewed.\n\n"
        f"# Assessment\n{reason.display}, improving.\n\n# Plan\n{reason.plan} Goal: {reason.goal}."
    )
    came = stay.admitted
    admission = _note(stay, "34117-2", "History and physical note", came + timedelta(minutes=40), history)
    later = _note(stay, "34117-2", ADDENDUM, came + timedelta(hours=5), addendum)
    yield admission
    yield later | {"relatesTo": [{"code": "appends", "target": link(admission)}]}
    yield _note(stay, "11506-3", "Progress note", AS_OF - timedelta(minutes=30), progress)


def _note(stay: Stay, code: str, title: str, written: datetime, text: str) -> Json:
    return {
        "resourceType": "DocumentReference",
        "id": stay.source.id("DocumentReference", f"stay {stay.key} {title}"),
        "status": "current",
        "docStatus": "final",
        "type": concept(LOINC, code, title),
        "category": [concept(NOTE_CATEGORY, "clinical-note", "Clinical Note")],
        "subject": link(stay.patient),
        "date": stamp(written),
        "author": [named(stay.attending)],
        "authenticator": named(stay.attending),
        "custodian": stay.source.facility.reference,
        "content": [attachment(text, title)],
        "context": {"encounter": [link(stay.encounter)], "period": {"start": stamp(written)}},
    }
