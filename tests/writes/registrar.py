"""A registrar of tests: who registers people whom nobody knows, and changes them."""

from __future__ import annotations

import random
from typing import Any
from uuid import uuid4

import asyncpg

from db.caller import Profile
from tests.asking import Answer, Graph

PATIENT = """
  id version mrn active gender birthSex birthDate deceased deceasedDateTime race
  maritalStatus { text } multipleBirth
  name { use family given prefix suffix text }
  identifier { kind type { text } system value }
  address { use line city district state postalCode country }
  telecom { system value use }
  contact { relationship { text } name { family given } telecom { system value } address { city } }
  communication { language { coding { code } } preferred }"""
REGISTER = f"""
mutation ($input: RegisterPatientInput!) {{
  registerPatient(input: $input) {{
    patient {{ {PATIENT} }}
    possibleDuplicates {{ score patient {{ id mrn birthDate name {{ family given }} identifier {{ kind value }} }} }}
    userErrors {{ code field message version }}
  }}
}}"""
UPDATE = f"""
mutation ($input: UpdatePatientInput!) {{
  updatePatient(input: $input) {{ patient {{ {PATIENT} }} userErrors {{ code field message version }} }}
}}"""
SEARCH = "query ($search: String!) { patients(search: $search) { nodes { id } } }"


def family() -> str:
    """A family name that nobody in the network has, nor one that resembles it."""
    return "".join(random.choices("bcdfghjklmnpqrstvwxz", k=14)).capitalize()


def person(**more: Any) -> dict[str, Any]:
    """Input of a registration; a new person in each."""
    name = [{"use": "official", "family": family(), "given": ["Ada", "Maria"]}]
    return {"idempotencyKey": str(uuid4()), "name": name, "birthDate": "1971-02-03", **more}


def account() -> dict[str, Any]:
    """An account number that nobody else has."""
    return {"kind": "ACCOUNT_NUMBER", "value": f"A-{uuid4().hex}"}


def ssn() -> str:
    """A number of an area that is never issued (SSA: 900 to 999)."""
    return f"9{random.randint(10, 99)}-{random.randint(10, 99)}-{random.randint(1000, 9999)}"


def change(patient: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Input of an update of a patient as it was answered."""
    return {"idempotencyKey": str(uuid4()), "id": patient["id"], "version": patient["version"], **more}


async def register(graph: Graph, facility: int = 0, **given: Any) -> Answer:
    """The answer to a registrar's registration."""
    return await graph.ask(REGISTER, Profile.REGISTRAR, facility, input=person(**given))


async def registered(graph: Graph, facility: int = 0, **given: Any) -> dict[str, Any]:
    """A patient whom a registrar registered."""
    payload = written(await register(graph, facility, **given), "registerPatient")
    assert payload["possibleDuplicates"] == []
    return payload["patient"]


async def update(graph: Graph, patient: dict[str, Any], **more: Any) -> Answer:
    """The answer to a registrar's update."""
    return await graph.ask(UPDATE, Profile.REGISTRAR, input=change(patient, **more))


async def updated(graph: Graph, patient: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A patient whom a registrar changed."""
    return written(await update(graph, patient, **more), "updatePatient")["patient"]


def written(answer: Answer, name: str) -> dict[str, Any]:
    """The payload of a write that was made."""
    assert not answer.errors
    assert answer.data[name]["userErrors"] == []
    return answer.data[name]


def refusal(answer: Answer, name: str) -> dict[str, Any]:
    """The one user error of a write that was not made."""
    assert not answer.errors
    assert answer.data[name]["patient"] is None
    [error] = answer.data[name]["userErrors"]
    return error


def asked(answer: Answer) -> list[str]:
    """Names of the statements of an answer, in the order in which they were first sent."""
    return [name for _, name in answer.statements]


async def fetched(graph: Graph, sql: str, *args: object) -> list[asyncpg.Record]:
    """Rows that no login of ours may read."""
    connection = await asyncpg.connect(graph.settings.clinical_url)
    try:
        return await connection.fetch(sql, *args)
    finally:
        await connection.close()
