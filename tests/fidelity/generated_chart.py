"""Resources of generated patients: every kind of value, offsets and partial dates, and what real sources do oddly."""

from __future__ import annotations

import base64
from random import Random
from typing import Any
from uuid import UUID

from tests.fidelity.files import Json

LOINC, SNOMED, UCUM = "http://loinc.org", "http://snomed.info/sct", "http://unitsofmeasure.org"
RXNORM, CVX = "http://www.nlm.nih.gov/research/umls/rxnorm", "http://hl7.org/fhir/sid/cvx"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
IDENTIFIERS, NPI = "https://ids.example.org", "http://hl7.org/fhir/sid/us-npi"
OFFSETS = ("Z", "+00:00", "-05:00", "-04:00", "+10:00", "+05:30")
PARTIAL = ("2019", "2019-03", "2019-03-07")
NUMBERS = ("161.93503897408004", "18.0000", "1.9E+2", "8E+1", "0.1", "-3.20", "879", "0.000001", "7")
TESTS = (
    ("2345-7", "Glucose"),
    ("2345-7", "Glucose [Mass/volume] in Serum"),
    ("718-7", "Hemo\u200bglobin"),
    ("4548-4", "HbA1c"),
)
VITALS = (("8867-4", "Heart rate", "beats/minute", "/min"), ("8310-5", "Body temperature", "F", "[degF]"))
NAMES = (("O'Keefe54", "Zoë12"), ("Muñoz", "María Luisa"), ("Nguyễn", "Đức"))
CLASSES = ("AMB", "IMP", "EMER", "HH", "VR", "ACUTE", "OBSENC", "SS")


def coded(code: str, system: str, display: str, *others: Json) -> Json:
    """CodeableConcept."""
    return {"coding": [{"system": system, "code": code, "display": display}, *others], "text": display}


def snomed(code: str, display: str) -> Json:
    """CodeableConcept of SNOMED CT."""
    return coded(code, SNOMED, display)


def attachment(text: str) -> Json:
    """Attachment of a plain text."""
    return {"contentType": "text/plain; charset=utf-8", "data": base64.b64encode(text.encode()).decode()}


class Maker:
    """Makes resources; the same random numbers make the same ones."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.registered: dict[str, list[Json]] = {}
        self.patient = ""
        self.encounters: list[str] = []

    def registry(self) -> list[Json]:
        """Hospitals, their people and a drug, which every chart refers to."""
        hospitals = [self.resource("Organization", name=f"Hospital {n}", **self.token()) for n in range(2)]
        people = [self.resource("Practitioner", name=[{"family": f"Doctor{n}"}], **self.token(NPI)) for n in range(2)]
        drug = self.resource("Medication", code=coded("308182", RXNORM, "Amoxicillin 250 MG"), **self.token())
        self.registered = {"Organization": hospitals, "Practitioner": people, "Medication": [drug]}
        return [*hospitals, *people, drug]

    def chart(self, number: int) -> list[Json]:
        """One patient with visits and facts of every type."""
        family, given = NAMES[number % len(NAMES)]
        person = self.resource(
            "Patient",
            name=[
                {"use": "official", "family": family, "given": [given, "Mae"], "prefix": ["Mrs."]},
                {"use": "maiden", "family": f"{family}-Dorn", "given": [given]},
            ],
            gender=self.random.choice(("female", "male", "other")),
            birthDate=self.random.choice(("1931-02-28", "1960-02", "1988")),
            address=[{"line": ["1 Élan Way"], "city": "Łódź", "state": "MA", "country": "US"}],
            telecom=[{"system": "phone", "value": "555-0100", "use": "home"}],
            maritalStatus={"text": "Married"},
            **self.token(),
        )
        self.patient = f"Patient/{person['id']}"
        visits = [self.visit(code) for code in CLASSES]
        self.encounters = [f"Encounter/{visit['id']}" for visit in visits]
        inside = {"partOf": {"reference": self.encounters[1]}, "serviceProvider": visits[1]["serviceProvider"]}
        nested = self.visit("ACUTE") | inside
        facts = [*self.problems(), *self.labs(), *self.vitals(), *self.medications(), *self.documents(), *self.care()]
        return [person, *visits, nested, *facts, self.study()]

    def resource(self, resource_type: str, **elements: Any) -> Json:
        """A resource with an id."""
        return {"resourceType": resource_type, "id": str(UUID(int=self.random.getrandbits(128), version=4)), **elements}

    def fact(self, resource_type: str, **elements: Any) -> Json:
        """A resource about the patient, in one of the visits."""
        about = "patient" if resource_type in ("AllergyIntolerance", "Immunization") else "subject"
        visit = {"reference": self.random.choice(self.encounters)}
        return self.resource(resource_type, **{about: {"reference": self.patient}, "encounter": visit}, **elements)

    def token(self, system: str = IDENTIFIERS) -> Json:
        """Element with an identifier."""
        return {"identifier": [{"system": system, "value": str(self.random.randrange(10**9))}]}

    def elsewhere(self, resource_type: str) -> Json:
        """Reference to one of the registry."""
        return {"reference": f"{resource_type}/{self.random.choice(self.registered[resource_type])['id']}"}

    def moment(self, year: int = 2020) -> str:
        """A dateTime with an offset, sometimes with a fraction of a second."""
        pick = self.random
        fraction = pick.choice(("", "", ".5", ".791"))
        day, time = (
            f"{pick.randint(1, 12):02}-{pick.randint(1, 28):02}",
            f"{pick.randrange(24):02}:{pick.randrange(60):02}",
        )
        return f"{year}-{day}T{time}:{pick.randrange(60):02}{fraction}{pick.choice(OFFSETS)}"

    def some_date(self) -> str:
        """A dateTime, or a date of year, month or day."""
        return self.random.choice((*PARTIAL, self.moment(2019)))

    def number(self) -> str:
        """A number, written as sources write it."""
        return f"#{self.random.choice(NUMBERS)}#"

    def visit(self, code: str) -> Json:
        """An Encounter, whose end is in another offset than its start."""
        return self.resource(
            "Encounter",
            status="finished",
            subject={"reference": self.patient},
            period={"start": self.moment(2020), "end": self.moment(2021)},
            type=[snomed("185347001", "Encounter for problem")],
            reasonCode=[snomed("10509002", "Acute bronchitis")],
            hospitalization={"dischargeDisposition": {"text": "Home"}},
            serviceProvider=self.elsewhere("Organization"),
            participant=[{"individual": self.elsewhere("Practitioner")}],
            **{"class": {"code": code}},
        )

    def problems(self) -> list[Json]:
        """Conditions, procedures, allergies, immunizations."""
        active = {"coding": [{"code": "active"}]}
        icd = [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "I10"}]
        ongoing = self.fact(
            "Condition", code=coded("59621000", SNOMED, "Hyper\u200btension", *icd), clinicalStatus=active
        )
        over = self.fact("Condition", code=snomed("160903007", "Full-time employment"), recordedDate=self.moment())
        bare = self.fact("Condition", code={"coding": [{"system": "http://mimic.mit.edu/icd9", "code": "4019"}]})
        del bare["encounter"]
        done = self.fact("Procedure", status="completed", code=snomed("430193006", "Reconciliation"))
        reason = {"reasonReference": [{"reference": f"Condition/{ongoing['id']}", "display": "Hypertension"}]}
        at_once = self.fact("Procedure", status="completed", code=snomed("76601001", "Injection"), **reason)
        mites = self.fact("AllergyIntolerance", code=snomed("232350006", "Mites"), category=["food", "environment"])
        reaction = {"manifestation": [snomed("247472004", "Hives")], "severity": "mild", "description": "itchy"}
        shot = self.fact("Immunization", status="completed", vaccineCode=coded("140", CVX, "Influenza"), lotNumber="A1")
        return [
            ongoing | {"onsetDateTime": self.some_date()},
            over | {"onsetDateTime": self.some_date(), "abatementDateTime": self.some_date()},
            bare,
            done | {"performedPeriod": {"start": self.moment(2020), "end": self.moment(2021)}},
            at_once | {"performedDateTime": self.some_date()},
            mites | {"reaction": [reaction], "clinicalStatus": active, "criticality": "low", "type": "allergy"},
            shot | {"occurrenceDateTime": self.some_date(), "primarySource": True},
        ]

    def observation(self, category: str | None, code: Json, **elements: Any) -> Json:
        """An Observation."""
        shelf = {"category": [coded(category, CATEGORY, category)]} if category else {}
        issued = {"effectiveDateTime": self.some_date(), "issued": self.moment(2021)}
        return self.fact("Observation", status="final", code=code, **shelf, **issued, **elements)

    def values(self) -> list[Json]:
        """A value of each kind, a reason for none, and nothing."""
        amount = {"value": self.number(), "unit": "mg/dL", "system": UCUM, "code": "mg/dL"}
        absent = {"coding": [{"code": "unknown", "system": "http://terminology.hl7.org/CodeSystem/data-absent-reason"}]}
        return [
            {
                "valueQuantity": amount,
                "referenceRange": [{"low": {"value": "#3.50#", "unit": "mg/dL"}, "text": "> 3.5"}],
            },
            {"valueQuantity": {"value": self.number(), "unit": "of 10"}, "interpretation": [{"text": "High"}]},
            {"valueQuantity": amount | {"comparator": "<"}},
            {"valueCodeableConcept": snomed("260385009", "Negative")},
            {"valueString": "see “comment”"},
            {"valueDateTime": self.some_date()},
            {"valueInteger": 42},
            {"valueBoolean": False},
            {"dataAbsentReason": absent},
            {"component": [{"code": snomed("1", "Part"), "valueQuantity": amount}, {"code": snomed("2", "Void")}]},
            {},
        ]

    def labs(self) -> list[Json]:
        """Laboratory results of every kind of value, one told twice, and the report that lists some of them."""
        found = [
            self.observation("laboratory", coded(code, LOINC, display), **value)
            for code, display in TESTS
            for value in self.values()
        ]
        twin = found[0] | {"id": self.resource("Observation")["id"]}
        panel = coded("51990-0", LOINC, "Basic metabolic panel")
        results = [{"reference": f"Observation/{item['id']}"} for item in found[:7]]
        told = self.fact("DiagnosticReport", status="final", code=panel, issued=self.moment(), result=results)
        for item in found[:7]:
            item["encounter"] = told["encounter"]
        surveys = [self.observation("survey", coded("44261-6", LOINC, "PHQ-9"), **value) for value in self.values()]
        return [*found, twin, *surveys, told]

    def vitals(self) -> list[Json]:
        """Single readings, blood pressures with and without values, and what is no reading."""
        absent = {"dataAbsentReason": {"coding": [{"code": "unknown"}]}}

        def pressure(code: str, part: str, value: Json) -> Json:
            return {"code": coded(code, LOINC, part), **value}

        def amount(unit: str, code: str) -> Json:
            return {"valueQuantity": {"value": self.number(), "unit": unit, "system": UCUM, "code": code}}

        readings = [
            self.observation(category, coded(code, LOINC, display), **amount(unit, ucum))
            for code, display, unit, ucum in VITALS
            for category in ("vital-signs", "vital-sign", None)
        ]
        panels = [
            self.observation(
                "vital-signs",
                coded(code, LOINC, "Blood pressure"),
                component=[
                    pressure("8480-6", "Systolic", amount("mmHg", "mm[Hg]")),
                    pressure("8462-4", "Diastolic", value),
                ],
            )
            for code, value in (("85354-9", amount("mmHg", "mm[Hg]")), ("55284-4", absent))
        ]
        odd = self.observation("vital-signs", coded("8884-9", LOINC, "Heart rhythm"), valueString="regular")
        return [*readings, *panels, odd]

    def medications(self) -> list[Json]:
        """Doses, and orders whose drug is a code, a text, a resource, or contained under an id that others use too."""
        dose = {"type": {"text": "ordered"}, "doseQuantity": {"value": "#1.50#", "unit": "mg"}}
        timing = {"repeat": {"frequency": 2, "period": 1, "periodUnit": "d"}}
        dosage = {
            "sequence": 1,
            "text": "twice a day",
            "timing": timing,
            "asNeededBoolean": False,
            "doseAndRate": [dose],
        }
        inside = [
            [{"resourceType": "Medication", "id": "drug", "code": coded(code, RXNORM, f"Drug {code}")}]
            for code in ("999967", "310325")
        ]
        drugs: list[Json] = [
            {"medicationCodeableConcept": coded("308182", RXNORM, "Amoxicillin 250 MG"), "dosageInstruction": [dosage]},
            {"medicationCodeableConcept": {"text": "herbal tea"}},
            {"medicationReference": self.elsewhere("Medication")},
            *({"contained": drug, "medicationReference": {"reference": "#drug"}} for drug in inside),
        ]
        given = {"status": "completed", "medicationCodeableConcept": coded("308182", RXNORM, "Amoxicillin 250 MG")}
        at_once = self.fact("MedicationAdministration", effectiveDateTime=self.moment(), **given)
        dripped = {"start": self.moment(2020), "end": self.moment(2021)}
        orders = [
            self.fact("MedicationRequest", status="stopped", intent="order", authoredOn=self.some_date(), **drug)
            for drug in drugs
        ]
        doses = [at_once, self.fact("MedicationAdministration", effectivePeriod=dripped, **given)]
        for dose in doses:  # R4 calls the encounter of a dose its context
            dose["context"] = dose.pop("encounter")
        return [*orders, *doses]

    def documents(self) -> list[Json]:
        """Notes, the same text again in a report, and a report that alone has its text."""
        kind = coded("34117-2", LOINC, "History and physical note", {"system": LOINC, "code": "51847-2"})
        texts = [f"\n# Chief Complaint\nNo {word} complaints – 93 years.\n\n# Plan\nŁódź.\n" for word in ("old", "new")]
        notes: list[Json] = []
        for status, text in zip(("superseded", "current"), texts, strict=True):
            note = self.fact("DocumentReference", status=status, type=kind, date=self.moment())
            context = {"encounter": [note.pop("encounter")]}
            notes.append(note | {"context": context, "content": [{"attachment": attachment(text)}]})
        again, alone = (
            self.fact(
                "DiagnosticReport", status="final", code=kind, issued=self.moment(), presentedForm=[attachment(text)]
            )
            for text in (texts[0], "Only here.")
        )
        return [*notes, again | {"encounter": notes[0]["context"]["encounter"][0]}, alone]

    def care(self) -> list[Json]:
        """A goal, two plans, one of which has no title and no end, and a team."""
        description = {"text": "HbA1c < 7.0"}
        target = {
            "measure": snomed("1", "HbA1c"),
            "detailQuantity": {"value": "#7.0#", "unit": "%"},
            "dueDate": "2021-06",
        }
        goal = self.fact("Goal", lifecycleStatus="accepted", description=description, target=[target])
        del goal["encounter"]
        detail = {
            "code": snomed("229065009", "Exercise therapy"),
            "status": "in-progress",
            "location": {"display": "Gym"},
        }
        shelf = [{"coding": [{"system": SNOMED, "code": "assess-plan"}]}, snomed("443402002", "Lifestyle education")]
        plan = self.fact(
            "CarePlan", status="active", intent="order", category=shelf, period={"start": self.some_date()}
        )
        del plan["encounter"]  # at the hospital that has the goal, which names no encounter either
        titled = self.fact("CarePlan", status="completed", intent="plan", title="After the stay", category=shelf)
        doctor = {"role": [snomed("309343006", "Physician")], "member": self.elsewhere("Practitioner")}
        themselves = {"role": [snomed("116154003", "Patient")], "member": {"reference": self.patient}}
        team = self.fact("CareTeam", status="active", name="Team", participant=[themselves, doctor])
        return [
            goal,
            team | {"period": {"start": self.some_date()}},
            plan | {"goal": [{"reference": f"Goal/{goal['id']}"}], "activity": [{"detail": detail}]},
            titled | {"period": {"start": self.moment(2019), "end": self.moment(2020)}},
        ]

    def study(self) -> Json:
        """An ImagingStudy of two series."""
        uid = f"1.2.840.99999999.{self.random.randrange(10**9)}"
        series = [
            {
                "uid": f"{uid}.{number}",
                "number": number,
                "modality": {"code": modality},
                "bodySite": {"system": SNOMED, "code": "40983000", "display": "Arm"},
                "started": self.moment(),
                "instance": [
                    {"uid": f"{uid}.{number}.1", "number": 1, "sopClass": {"code": "urn:oid:1.2.840.10008.5.1.4.1.1.2"}}
                ],
            }
            for number, modality in ((1, "DX"), (2, "CT"))
        ]
        token = [{"system": "urn:ietf:rfc:3986", "value": f"urn:oid:{uid}"}]
        return self.fact("ImagingStudy", status="available", identifier=token, started=self.moment(), series=series)
