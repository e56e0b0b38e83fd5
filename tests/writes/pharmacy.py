"""Orders and doses of tests: documents, inputs, and patients with allergies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from db.caller import Profile
from tests.asking import Answer, Graph
from tests.people import People
from tests.writes.test_write import written

ORDER = """
mutation ($input: OrderMedicationInput!) {
  orderMedication(input: $input) {
    medicationRequest {
      id version status intent priority authoredOn allergyOverrideReason
      patient { id } encounter { id } provider { id } reason { text }
      medication { id code { text coding { system code display } } }
      dosageInstruction {
        text patientInstruction asNeeded route { coding { code } } dose { value code }
        frequency period periodUnit start end
      }
    }
    allergies { id code { coding { code } } }
    userErrors { code field message version }
  }
}"""
STOP = """
mutation ($input: StopMedicationInput!) {
  stopMedication(input: $input) {
    medicationRequest { id version status statusReason { text } }
    userErrors { code field message version }
  }
}"""
ADMINISTER = """
mutation ($input: AdministerMedicationInput!) {
  administerMedication(input: $input) {
    medicationAdministration {
      id version status statusReason { text } dueTime effectiveStart medication { id } patient { id }
      dosage { dose { value code } route { coding { code } } }
    }
    userErrors { code field message version }
  }
}"""
RETRACT = """
mutation ($input: RetractMedicationAdministrationInput!) {
  retractMedicationAdministration(input: $input) {
    medicationAdministration { id version status statusReason { text } }
    userErrors { code field message version }
  }
}"""
ALLERGY = """
INSERT INTO clinical.allergy_intolerance (id, facility_id, patient_id, clinical_status, verification_status,
    code_system, code, code_display, code_text, reaction, no_known_allergy, security, sort_time)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, now())"""

RXNORM, SNOMED, UCUM = (
    "http://www.nlm.nih.gov/research/umls/rxnorm",
    "http://snomed.info/sct",
    "http://unitsofmeasure.org",
)
METFORMIN = {"system": RXNORM, "code": "6809", "display": "metformin"}
AMOXICILLIN = {"system": RXNORM, "code": "723", "display": "amoxicillin"}
ORAL = {"system": SNOMED, "code": "26643006", "display": "Oral"}
TWICE_A_DAY = {
    "dose": {"value": "500", "unit": "mg", "code": "mg"},
    "route": ORAL,
    "frequency": 2,
    "period": "1",
    "periodUnit": "d",
}
AS_NEEDED = {"dose": TWICE_A_DAY["dose"], "route": ORAL, "asNeeded": True}
DUE = "2026-03-01T08:00:00+00:00"
REASON = {"text": "The patient would not take it"}


@dataclass(frozen=True, slots=True)
class Pharmacy:
    """One facility's patients, orders and doses."""

    graph: Graph
    facility: UUID

    async def patient(self, *others: UUID) -> str:
        """Global id of a new patient, who is registered at other facilities too."""
        return f"Patient/{await People(self.graph.stores).patient(self.facility, *others)}"

    async def allergy(
        self,
        patient: str,
        concept: dict[str, str],
        *security: str,
        status: str | None = "active",
        verification: str | None = None,
        substance: dict[str, Any] | None = None,
        is_none: bool = False,
    ) -> str:
        """Global id of a new allergy, to a concept or to what its reaction names."""
        key = uuid4()
        names = [concept.get(name) for name in ("system", "code", "display", "text")]
        reaction = [{"substance": substance}] if substance else []
        await self.graph.stores.clinical.worker_fetch(
            ALLERGY, key, self.facility, UUID(patient.removeprefix("Patient/")), status, verification, *names, reaction,
            is_none, list(security),
        )  # fmt: skip
        return f"AllergyIntolerance/{key}"

    async def order(self, patient: str, **more: Any) -> Answer:
        """The answer to an order of a physician."""
        return await self.graph.ask(ORDER, input=ordering(patient, **more))

    async def ordered(self, patient: str | None = None, **more: Any) -> dict[str, Any]:
        """An order that was made."""
        answer = await self.order(patient or await self.patient(), **more)
        return written(answer, "orderMedication")["medicationRequest"]

    async def administer(self, order: str, profile: Profile = Profile.NURSE, facility: int = 0, **more: Any) -> Answer:
        """The answer to a nurse who gave a dose."""
        return await self.graph.ask(ADMINISTER, profile, facility, input=giving(order, **more))

    async def given(self, order: str, **more: Any) -> dict[str, Any]:
        """The record of a dose, that was made."""
        return written(await self.administer(order, **more), "administerMedication")["medicationAdministration"]

    async def stop(
        self, order: str, profile: Profile = Profile.CLINICIAN, facility: int = 0, version: int = 1
    ) -> Answer:
        """The answer to a physician who stops an order."""
        return await self.graph.ask(STOP, profile, facility, input=changing(order, version))

    async def retract(self, dose: str, facility: int = 0, version: int = 1) -> Answer:
        """The answer to a nurse who says that a record is wrong."""
        return await self.graph.ask(RETRACT, Profile.NURSE, facility, input=changing(dose, version))


def ordering(patient: str, **more: Any) -> dict[str, Any]:
    """Input of an order."""
    usual = {"medication": METFORMIN, "dosage": TWICE_A_DAY}
    return {"idempotencyKey": str(uuid4()), "patientId": patient, **usual, **more}


def giving(order: str, **more: Any) -> dict[str, Any]:
    """Input of a dose that was given when it was due."""
    return {"idempotencyKey": str(uuid4()), "orderId": order, "status": "completed", "dueTime": DUE, **more}


def changing(id: str, version: int) -> dict[str, Any]:
    """Input of a change with its reason."""
    return {"idempotencyKey": str(uuid4()), "id": id, "version": version, "reason": {"text": "Not any more"}}
