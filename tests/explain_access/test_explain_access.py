"""What explainAccess says is what happens: for the caller, or for another one of whom a privacy officer asks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from db.caller import Caller, Profile, PurposeOfUse
from db.context import role_password, sign
from db.policy import ROLES
from db.postgres import login_url
from tests.asking import Graph

ASK = """query ($patient: ID!, $fields: [String!]!, $role: String, $subject: String, $purpose: String, $provider: ID,
    $department: ID) {
  explainAccess(patient: $patient, fields: $fields, role: $role, subject: $subject, purpose: $purpose,
    provider: $provider, department: $department) { coordinate decision reason rule form kinds }
}"""
CHART = "query ($id: ID!) { patient(id: $id) { birthDate conditions { nodes { id } } } }"
FIELDS = ["Patient.birthDate", "Patient.conditions", "Condition.code", "Identifier.value", "Appointment.description"]

TREATED = """
SELECT e.provider_id, e.patient_id, e.department_id FROM clinical.encounter AS e
WHERE e.facility_id = $1 AND e.provider_id IS NOT NULL AND e.department_id IS NOT NULL
    AND access.is_current(e.status, e.end_time)
ORDER BY e.id LIMIT 1"""
UNTREATED = """
SELECT r.patient_id FROM clinical.registration AS r
WHERE r.facility_id = $1
    AND r.patient_id NOT IN (SELECT access.treated($1, $2, NULL))
    AND r.patient_id NOT IN (SELECT access.treated($1, NULL, $3))
ORDER BY r.patient_id LIMIT 1"""
ELSEWHERE = """
SELECT patient_id FROM clinical.registration WHERE facility_id = $2
    AND patient_id NOT IN (SELECT patient_id FROM clinical.registration WHERE facility_id = $1) LIMIT 1"""
GRANT = """
INSERT INTO clinical.break_glass_grant (id, facility_id, patient_id, subject, profile, reason, expires_at)
VALUES ($1, $2, $3, $4, $5, 'found unconscious', clock_timestamp() + interval '1 hour')"""
CONSENT = """
INSERT INTO clinical.consent (id, facility_id, patient_id, status, provision, sort_time)
VALUES ($1, $2, $3, 'active', '{"type": "deny", "actor": [{"role": {"coding": [{"code": "clinician"}]}}]}', now())"""
EXPLAINED_FOR = """
SELECT * FROM access.explained_for($1, NULL, 'nurse', 'TREAT', 'x', 'FACILITY', NULL, NULL, '{}', '{}')"""


@dataclass(frozen=True, slots=True)
class Places:
    """Who treats whom at the first facility of the network."""

    facility: UUID
    provider: UUID
    department: UUID
    treated: str
    untreated: str
    elsewhere: str


@pytest_asyncio.fixture
async def admin(graph: Graph) -> AsyncIterator[asyncpg.Connection]:
    """The administrator, past row-level security."""
    connection = await asyncpg.connect(graph.settings.clinical_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def places(graph: Graph, admin: asyncpg.Connection) -> Places:
    """Targets of the tests."""
    here, other = graph.facilities[0].id, graph.facilities[1].id
    [[provider, treated, department]] = await admin.fetch(TREATED, here)
    untreated = await admin.fetchval(UNTREATED, here, provider, department)
    elsewhere = await admin.fetchval(ELSEWHERE, here, other)
    return Places(here, provider, department, f"Patient/{treated}", f"Patient/{untreated}", f"Patient/{elsewhere}")


async def explained(graph: Graph, caller: Caller, patient: str, **other: str) -> Any:
    """The explanation of FIELDS by coordinate; None for no such patient."""
    answer = await graph.ask_as(caller, ASK, patient=patient, fields=FIELDS, **other)
    assert answer.errors == []
    found = answer.data["explainAccess"]
    return found and {one["coordinate"]: one for one in found}


def consultant(places: Places, subject: str = "consultant") -> Caller:
    """The provider who treats the one patient and not the other."""
    return Caller(subject, ROLES["consultant"], places.facility, PurposeOfUse.TREAT, provider_id=places.provider)


def officer(graph: Graph) -> Caller:
    """The privacy officer of the first facility."""
    return graph.caller(Profile.PRIVACY_OFFICER)


def decisions(found: Mapping[str, Mapping[str, str]]) -> Mapping[str, tuple[str, str]]:
    """Decision and reason by coordinate."""
    return {coordinate: (one["decision"], one["reason"]) for coordinate, one in found.items()}


async def codes(graph: Graph, caller: Caller, patient: str) -> list[str]:
    """Codes of the errors of a chart."""
    return (await graph.ask_as(caller, CHART, id=patient)).codes


@asynccontextmanager
async def inserted(admin: asyncpg.Connection, sql: str, table: str, *values: object) -> AsyncGenerator[None]:
    """One row for the length of a test."""
    key = uuid4()
    await admin.execute(sql, key, *values)
    try:
        yield
    finally:
        await admin.execute(f"DELETE FROM clinical.{table} WHERE id = $1", key)


async def test_a_relationship_decides_the_chart(graph: Graph, places: Places) -> None:
    caller = consultant(places)
    treated, untreated = [await explained(graph, caller, one) for one in (places.treated, places.untreated)]
    assert decisions(treated)["Condition.code"] == ("SHOWN", "SENSITIVITY")
    assert decisions(untreated) == {
        "Patient.birthDate": ("SHOWN", "POLICY"),
        "Patient.conditions": ("SUPPRESSED", "RELATIONSHIP"),
        "Condition.code": ("SUPPRESSED", "RELATIONSHIP"),
        "Identifier.value": ("MASKED", "POLICY"),
        "Appointment.description": ("SUPPRESSED", "RELATIONSHIP"),
    }
    assert untreated["Condition.code"]["rule"] == "reach of consultant: RELATIONSHIP"
    assert await codes(graph, caller, places.treated) == []
    assert await codes(graph, caller, places.untreated) == ["SUPPRESSED"]


async def test_an_officer_learns_what_the_other_caller_would(graph: Graph, places: Places) -> None:
    provider, department = f"Provider/{places.provider}", f"Department/{places.department}"
    for patient in (places.treated, places.untreated):
        own = await explained(graph, consultant(places), patient)
        assert await explained(graph, officer(graph), patient, role="consultant", provider=provider) == own
    nurse = Caller("nurse", ROLES["ward_nurse"], places.facility, PurposeOfUse.TREAT, department_id=places.department)
    asked = {"role": "ward_nurse", "department": department}
    own = await explained(graph, nurse, places.treated)
    assert own is not None
    assert await explained(graph, officer(graph), places.treated, **asked) == own
    assert await explained(graph, nurse, places.untreated) is None
    found = await explained(graph, officer(graph), places.untreated, **asked)
    assert set(decisions(found).values()) == {("HIDDEN", "DEPARTMENT")}


async def test_break_glass_decides_while_it_lasts(graph: Graph, places: Places, admin: asyncpg.Connection) -> None:
    caller = consultant(places, subject="breaker")
    patient = UUID(places.untreated.partition("/")[2])
    asked = {"role": "consultant", "provider": f"Provider/{places.provider}"}
    async with inserted(admin, GRANT, "break_glass_grant", places.facility, patient, "breaker", "clinician"):
        own = await explained(graph, caller, places.untreated)
        assert decisions(own)["Condition.code"] == ("SHOWN", "BREAK_GLASS")
        assert own["Condition.code"]["rule"] == "break-glass of consultant: lifts RELATIONSHIP, ETH"
        assert await explained(graph, officer(graph), places.untreated, **asked, subject="breaker") == own
        other = await explained(graph, officer(graph), places.untreated, **asked, subject="somebody else")
        assert decisions(other)["Condition.code"] == ("SUPPRESSED", "RELATIONSHIP")
    assert decisions(await explained(graph, caller, places.untreated))["Condition.code"][0] == "SUPPRESSED"


async def test_consent_decides(graph: Graph, places: Places, admin: asyncpg.Connection) -> None:
    patient = UUID(places.untreated.partition("/")[2])
    async with inserted(admin, CONSENT, "consent", places.facility, patient):
        own = await explained(graph, graph.caller(), places.untreated)
        assert decisions(own)["Patient.conditions"] == ("SUPPRESSED", "CONSENT")
        assert decisions(own)["Patient.birthDate"] == ("SHOWN", "POLICY")
        assert await codes(graph, graph.caller(), places.untreated) == ["SUPPRESSED"]
        assert await explained(graph, officer(graph), places.untreated, role="physician") == own
        nurse = await explained(graph, officer(graph), places.untreated, role="nurse")
        assert decisions(nurse)["Patient.conditions"] == ("SHOWN", "SENSITIVITY")


async def test_other_purposes_are_refused(graph: Graph, places: Places) -> None:
    found = await explained(graph, officer(graph), places.treated, role="nurse", purpose="HRESCH")
    assert set(decisions(found).values()) == {("REFUSED", "PURPOSE")}


async def test_patients_of_other_facilities_are_like_none(graph: Graph, places: Places) -> None:
    for patient in (places.elsewhere, f"Patient/{uuid4()}"):
        assert await explained(graph, graph.caller(), patient) is None
        assert await explained(graph, officer(graph), patient) is None
        assert await explained(graph, officer(graph), patient, role="nurse") is None


async def test_others_are_for_privacy_officers(graph: Graph, places: Places) -> None:
    for other in ({"role": "nurse"}, {"role": "physician"}, {"subject": "test-clinician"}, {"purpose": "TREAT"}):
        answer = await graph.ask_as(graph.caller(), ASK, patient=places.treated, fields=FIELDS, **other)
        assert (answer.codes, answer.data) == (["FORBIDDEN"], {"explainAccess": None})
        assert not answer.statements


async def test_the_function_is_for_privacy_officers(graph: Graph, places: Places) -> None:
    """Another profile may not call it, and without the proof of the application it tells an officer nothing either."""
    patient, secret = UUID(places.treated.partition("/")[2]), graph.settings.secret
    for profile in (Profile.NURSE, Profile.PRIVACY_OFFICER):
        role = f"caregraph_{profile.value}"
        connection = await asyncpg.connect(login_url(graph.settings.clinical_url, role, role_password(secret, role)))
        try:
            context = sign(secret, graph.caller(profile), connection.get_server_pid())
            await connection.execute("SELECT set_config('app.context', $1, false)", context)
            if profile is Profile.NURSE:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.fetch(EXPLAINED_FOR, patient)
            else:
                assert await connection.fetch(EXPLAINED_FOR, patient) == []
        finally:
            await connection.close()


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"fields": []}, "fields"),
        ({"fields": ["Patient.birthDate"] * 51}, "fields"),
        ({"fields": ["Patient.nothing"]}, "fields"),
        ({"fields": ["Nothing.id"]}, "fields"),
        ({"fields": ["__Type.name"]}, "fields"),
        ({"fields": ["Patient"]}, "fields"),
        ({"fields": ["PhiKind.NAME"]}, "fields"),
        ({"patient": "Provider/00000000-0000-0000-0000-000000000000"}, "patient"),
        ({"role": "nobody"}, "role"),
        ({"subject": "somebody"}, "role"),
        ({"role": "nurse", "purpose": "CURIOSITY"}, "purpose"),
        ({"role": "nurse", "subject": "\0"}, "subject"),
        ({"role": "consultant"}, "provider"),
        ({"role": "ward_nurse"}, "department"),
        ({"role": "consultant", "provider": "x"}, "provider"),
    ],
)
async def test_arguments_are_named(graph: Graph, places: Places, arguments: Mapping[str, Any], argument: str) -> None:
    variables = {"patient": places.treated, "fields": FIELDS, **arguments}
    answer = await graph.ask_as(officer(graph), ASK, **variables)
    assert [error["extensions"]["argument"] for error in answer.errors] == [argument]
    assert answer.codes[0] in ("INVALID_ARGUMENT", "INVALID_ID")
    assert not answer.statements


async def test_a_bound_patient_is_the_only_one(graph: Graph, places: Places) -> None:
    oneself = UUID(places.treated.partition("/")[2])
    caller = replace(graph.caller(Profile.PATIENT), patient_id=oneself)
    own = await explained(graph, caller, places.treated)
    assert own is not None
    assert await explained(graph, caller, places.untreated) is None
    assert await explained(graph, officer(graph), places.treated, role="patient") == own
