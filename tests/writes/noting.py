"""Writing notes as callers do, and looking at what is stored."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from db.caller import Caller, Profile
from db.notes_schema import CLINICAL_NOTES
from loaders.reader import Reader
from tests.asking import Answer, Graph
from tests.people import People

PROGRESS = {"system": "http://loinc.org", "code": "11506-3", "display": "Progress note"}
PSYCHIATRY = {"system": "http://loinc.org", "code": "34788-0", "display": "Psychiatry consult note"}
NOTE = """
    id version status docStatus title date type { coding { system code display } text } patient { id }
    encounter { id } author { providerId display } text
    sections { title code { coding { system code display } text } text } signatureValid
    signatures { providerId display time type version digest valid } amendments { author reason text }
    history { version author text sections { title code { coding { system code display } text } text } }"""
SUFFIX = {
    "draft": "Draft",
    "update": "Update",
    "sign": "Sign",
    "cosign": "Sign",
    "amend": "Amend",
    "retract": "Retract",
}


def section(text: str, title: str | None = "Assessment") -> dict[str, Any]:
    """Input of a section."""
    return {"title": title, "text": text}


class Ward:
    """One patient, and people who write notes about the patient."""

    def __init__(self, graph: Graph, patient_id: UUID) -> None:
        self.graph = graph
        self.patient_id = patient_id
        self.author = self.caller("ada")

    def caller(self, subject: str, facility: int = 0, profile: Profile = Profile.CLINICIAN) -> Caller:
        """Somebody of this patient's hospital, or of another one."""
        return replace(self.graph.caller(profile, facility), subject=f"{subject}-{self.patient_id}")

    async def ask(self, verb: str, caller: Caller | None = None, **values: Any) -> Answer:
        """The answer of one mutation; its key is new unless it is given."""
        document = f"""mutation ($input: {SUFFIX[verb]}NoteInput!) {{
            {verb}Note(input: $input) {{ note {{ {NOTE} }} userErrors {{ code field message version }} }} }}"""
        asked = {"idempotencyKey": str(uuid4()), **values}
        return await self.graph.ask_as(caller or self.author, document, input=asked)

    async def write(self, verb: str, caller: Caller | None = None, **values: Any) -> dict[str, Any]:
        """The note of a mutation that was made."""
        answer = await self.ask(verb, caller, **values)
        assert not answer.errors
        payload = answer.data[f"{verb}Note"]
        assert payload["userErrors"] == []
        return payload["note"]

    async def refused(self, verb: str, caller: Caller | None = None, **values: Any) -> dict[str, Any]:
        """The one user error of a mutation that was not made."""
        answer = await self.ask(verb, caller, **values)
        assert not answer.errors
        payload = answer.data[f"{verb}Note"]
        assert payload["note"] is None
        [error] = payload["userErrors"]
        return error

    def new(self, *texts: str, **values: Any) -> dict[str, Any]:
        """Input of a draft."""
        sections = [section(text) for text in texts or ("Stable.",)]
        return {"patientId": f"Patient/{self.patient_id}", "type": PROGRESS, "sections": sections, **values}

    async def draft(self, *texts: str, **values: Any) -> dict[str, Any]:
        """A draft of the author."""
        return await self.write("draft", **self.new(*texts, **values))

    async def signed(self, *texts: str) -> dict[str, Any]:
        """A note that its author has signed."""
        note = await self.draft(*texts)
        return await self.write("sign", id=note["id"], version=note["version"])

    async def amended(self, note: dict[str, Any], text: str) -> dict[str, Any]:
        """The note with another section in place of its own."""
        at, version = note["id"], note["version"]
        return await self.write("amend", id=at, version=version, reason="mistaken", sections=[section(text)])

    async def read(self, id: str, caller: Caller | None = None) -> Any:
        """The note as a caller reads it."""
        query = f'{{ node(id: "{id}") {{ ... on ClinicalNote {{ {NOTE} }} }} }}'
        answer = await self.graph.ask_as(caller or self.author, query)
        return answer.data["node"]

    async def stored(self, id: str) -> dict[str, Any]:
        """The document."""
        wanted = {"_id": id.removeprefix("ClinicalNote/")}
        [found] = await self.graph.stores.notes.worker_find(CLINICAL_NOTES, wanted)
        return found

    async def stay(self) -> UUID:
        """A stay of the patient."""
        return await People(self.graph.stores).stay(self.graph.facilities[0].id, self.patient_id)

    async def another_patient(self) -> UUID:
        """Somebody else at the same facility."""
        return await People(self.graph.stores).patient(self.graph.facilities[0].id)

    def reader(self, caller: Caller) -> Reader:
        """The stores as a caller sees them."""
        return Reader(self.graph.stores, caller)

    async def tamper(self, id: str, **paths: Any) -> None:
        """Changes fields of the document past everything that is ours."""
        wanted, change = {"_id": id.removeprefix("ClinicalNote/")}, {"$set": paths}
        await self.graph.stores.notes.open(CLINICAL_NOTES).update_one(wanted, change)
