"""Registering patients: what is answered, who is offered as a possible duplicate first, what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from db.caller import Profile
from tests.asking import Answer, Graph
from tests.psql.transcript import psql
from tests.writes.registrar import (
    REGISTER,
    SEARCH,
    asked,
    family,
    fetched,
    person,
    refusal,
    register,
    registered,
    ssn,
    update,
    written,
)

ADDRESS = {"use": "home", "line": ["1 Main St"], "city": "Boston", "district": "Suffolk", "state": "MA"}
SPOUSE: dict[str, Any] = {
    "name": {"family": "Testa", "given": ["Otto"]},
    "telecom": [{"system": "phone", "value": "+1 617 555 0101"}],
    "address": {"city": "Salem"},
}
SAID: dict[str, Any] = {
    "gender": "female",
    "birthSex": "F",
    "birthDate": "1971-02-03",
    "race": "White",
    "maritalStatus": {"text": "Married"},
    "multipleBirth": 2,
    "address": [{**ADDRESS, "postalCode": "02115", "country": "US"}],
    "telecom": [{"system": "phone", "value": "+1 617 555 0100", "use": "mobile"}],
}
"""What is answered as it was given."""


async def test_who_is_registered_is_answered_masked_and_found_at_once(graph: Graph) -> None:
    number, secret = str(uuid4().int)[:12], ssn()  # without letters, which a search would take for a name's
    given = person(
        **SAID,
        mrn=number,
        identifier=[
            {"kind": "SSN", "system": "http://hl7.org/fhir/sid/us-ssn", "value": secret.replace("-", "")},
            {"kind": "LICENSE_NUMBER", "type": {"text": "Driver"}, "value": f"D-{number}-7890"},
            {"kind": "HEALTH_PLAN_NUMBER", "value": f"H-{number}"},
        ],
        contact=[{**SPOUSE, "relationship": {"text": "Spouse"}}],
        communication=[{"language": {"system": "urn:ietf:bcp:47", "code": "en-US"}, "preferred": True}],
    )
    answer = await graph.ask(REGISTER, Profile.REGISTRAR, input=given)
    patient = written(answer, "registerPatient")["patient"]
    name = {**given["name"][0], "prefix": [], "suffix": [], "text": None}
    plain = {"type": None, "system": None}
    assert patient == SAID | {
        "id": patient["id"],
        "version": 1,
        "mrn": number,
        "active": True,
        "deceased": None,
        "deceasedDateTime": None,
        "name": [name],
        "identifier": [
            {**plain, "kind": "SSN", "system": given["identifier"][0]["system"], "value": f"***-**-{secret[-4:]}"},
            {**plain, "kind": "LICENSE_NUMBER", "type": {"text": "Driver"}, "value": "***7890"},
            {**plain, "kind": "HEALTH_PLAN_NUMBER", "value": f"H-{number}"},
        ],
        "contact": [{**SPOUSE, "relationship": [{"text": "Spouse"}]}],
        "communication": [{"language": {"coding": [{"code": "en-US"}]}, "preferred": True}],
    }
    assert asked(answer)[:10] == [
        "claim_idempotency_key",
        "lock_registration",
        "registered_as",
        "possible_duplicates",
        "register_patient",
        "register_at_facility",
        "add_patient_names",
        "add_patient_identifiers",
        "keep_outcome",
        "patient_by_id",
    ]
    for search in (name["family"], f"{name['family']} ada 1971-02-03", number):
        found = await graph.ask(SEARCH, search=search)
        assert found.data["patients"]["nodes"] == [{"id": patient["id"]}]


async def test_who_comes_without_a_number_gets_one_of_its_own(graph: Graph) -> None:
    numbers = [(await registered(graph))["mrn"] for _ in range(2)]
    assert len(set(numbers)) == 2
    taken = f"M{int(max(numbers)[1:]) + 1:09d}"
    assert (await registered(graph, mrn=taken))["mrn"] == taken
    assert (await registered(graph))["mrn"] > taken, "what somebody was given by hand is passed over"


async def names_called(graph: Graph, name: str) -> int:
    """How many patients have a family name, wherever registered."""
    [row] = await fetched(graph, "SELECT count(*) FROM clinical.patient_name WHERE family = $1", name)
    return row[0]


async def test_a_possible_duplicate_is_offered_and_nobody_registered_until_it_is_confirmed(graph: Graph) -> None:
    first = await registered(graph, identifier=[{"kind": "SSN", "value": ssn()}])
    called = first["name"][0]["family"].upper()
    again = person(name=[{"family": called, "given": ["Ada"]}])
    answer = await graph.ask(REGISTER, Profile.REGISTRAR, input=again)
    error = refusal(answer, "registerPatient")
    assert (error["code"], error["field"]) == ("POSSIBLE_DUPLICATE", ["confirmedNew"])
    [found] = answer.data["registerPatient"]["possibleDuplicates"]
    assert found == {"score": 1, "patient": {key: first[key] for key in ("id", "mrn", "birthDate")} | {
        "name": [{"family": first["name"][0]["family"], "given": ["Ada", "Maria"]}],
        "identifier": [{key: first["identifier"][0][key] for key in ("kind", "value")}],
    }}  # fmt: skip
    assert found["patient"]["identifier"][0]["value"].startswith("***-**-")
    assert asked(answer)[:5] == [
        "claim_idempotency_key",
        "lock_registration",
        "possible_duplicates",
        "keep_outcome",
        "patient_by_id",
    ]
    assert await names_called(graph, called) == 0
    repeated = await graph.ask(REGISTER, Profile.REGISTRAR, input=again)
    assert repeated.data == answer.data
    assert "possible_duplicates" not in asked(repeated)
    other = await graph.ask(
        REGISTER, Profile.REGISTRAR, input={**again, "idempotencyKey": str(uuid4()), "confirmedNew": True}
    )
    assert written(other, "registerPatient")["patient"]["id"] != first["id"]
    assert "possible_duplicates" not in asked(other)


SHARED = {"kind": "HEALTH_PLAN_NUMBER", "system": "urn:plan:a", "value": ""}
ALIKE: dict[str, tuple[dict[str, Any], str]] = {
    "the same name in another order": ({"name": {"given": ["Maria"]}}, "1"),
    "born on another day of the month": ({"birthDate": "1971-02-20"}, "0.75"),
    "born in the month": ({"birthDate": "1971-02"}, "0.75"),
    "of whom only the year is known": ({"birthDate": "1971"}, "1"),
    "of whom no birth date is known": ({"birthDate": None}, "1"),
    "with the beginning of the given name": ({"name": {"given": ["Mar"]}}, "0.9"),
    "a whole name as text": ({"name": {"family": None, "given": None}}, "1"),
    "another name with the same number": ({"name": {"family": "other"}, "identifier": {}}, "1"),
    "another name with the number written otherwise": (
        {"name": {"family": "other"}, "identifier": {"value": "lower"}},
        "1",
    ),
    "a number of which nobody says whose": ({"name": {"family": "other"}, "identifier": {"system": None}}, "1"),
}
"""What differs from somebody who is registered, and how well they match."""
OTHERS: dict[str, dict[str, Any]] = {
    "a twin": {"name": {"given": ["Boris"]}},
    "born in another month": {"birthDate": "1971-03-03"},
    "the beginning of a name without a birth date": {"birthDate": None, "name": {"given": ["Mar"]}},
    "a number of another system": {"name": {"family": "other"}, "identifier": {"system": "urn:plan:b"}},
    "a number of another kind": {"name": {"family": "other"}, "identifier": {"kind": "ACCOUNT_NUMBER"}},
    "a name without Latin letters": {"name": {"family": "王", "given": ["伟"]}},
}


def resembling(known: dict[str, Any], differs: dict[str, Any]) -> dict[str, Any]:
    """Input of somebody who differs from a registered one."""
    name = {**known["name"][0], **differs.get("name", {})}
    if name["family"] is None:
        name = {"text": f"Maria {known['name'][0]['family']}"}
    elif name["family"] == "other":
        name["family"] = family()
    given: dict[str, Any] = {"name": [name]}
    if "birthDate" in differs:
        given["birthDate"] = differs["birthDate"]
    if "identifier" in differs:
        identifier = {**known["identifier"][0], **differs["identifier"]}
        if identifier["value"] == "lower":
            identifier["value"] = known["identifier"][0]["value"].replace("-", " ").lower()
        given["identifier"] = [identifier]
    return person(**given)


@pytest.mark.parametrize(("differs", "score"), ALIKE.values(), ids=ALIKE.keys())
async def test_who_resembles_is_offered(graph: Graph, differs: dict[str, Any], score: str) -> None:
    known = person(identifier=[{**SHARED, "value": f"HP-{uuid4().hex[:12].upper()}"}])
    first = written(await graph.ask(REGISTER, Profile.REGISTRAR, input=known), "registerPatient")["patient"]
    answer = await graph.ask(REGISTER, Profile.REGISTRAR, input=resembling(known, differs))
    assert refusal(answer, "registerPatient")["code"] == "POSSIBLE_DUPLICATE"
    [found] = answer.data["registerPatient"]["possibleDuplicates"]
    assert (found["patient"]["id"], Decimal(found["score"])) == (first["id"], Decimal(score))


@pytest.mark.parametrize("differs", OTHERS.values(), ids=OTHERS.keys())
async def test_who_is_another_is_registered(graph: Graph, differs: dict[str, Any]) -> None:
    known = person(identifier=[{**SHARED, "value": f"HP-{uuid4().hex[:12].upper()}"}])
    written(await graph.ask(REGISTER, Profile.REGISTRAR, input=known), "registerPatient")
    written(await graph.ask(REGISTER, Profile.REGISTRAR, input=resembling(known, differs)), "registerPatient")


async def test_who_is_registered_elsewhere_is_not_told(graph: Graph) -> None:
    known = person(mrn=uuid4().hex[:10], identifier=[{"kind": "SSN", "value": ssn()}])
    payloads = [
        written(await graph.ask(REGISTER, Profile.REGISTRAR, facility, input=known), "registerPatient")
        for facility in (1, 0)
    ]
    assert payloads[0]["patient"]["id"] != payloads[1]["patient"]["id"]
    assert payloads[1]["possibleDuplicates"] == []


DUPLICATES = "SELECT count(*) FROM access.possible_duplicates('{names}', '1971-02-03', '[]', 0, 10)"


async def test_who_has_the_login_alone_learns_nobody(graph: Graph) -> None:
    given = person()
    written(await graph.ask(REGISTER, Profile.REGISTRAR, input=given), "registerPatient")
    sql = DUPLICATES.format(names=f'[["{given["name"][0]["family"]}"]]')
    async with psql(graph.settings, graph.caller(Profile.REGISTRAR)) as session:
        assert (await session.say(sql)).sqlstate == "42501"
        await session.say("SET ROLE caregraph_registrar_writer")
        assert (await session.say(sql)).value == 0


def outcomes(answers: Sequence[Answer]) -> list[str]:
    """What registrations came to: a hyphen, or the code of the refusal."""
    payloads = [answer.data["registerPatient"] for answer in answers]
    return sorted(payload["userErrors"][0]["code"] if payload["userErrors"] else "-" for payload in payloads)


SECRET = ssn()
AT_ONCE: dict[str, tuple[dict[str, Any], str]] = {
    "one name": ({"name": [{"family": family(), "given": ["Ada"]}]}, "POSSIBLE_DUPLICATE"),
    "one social security number": ({"identifier": [{"kind": "SSN", "value": SECRET}]}, "POSSIBLE_DUPLICATE"),
    "one medical record number": ({"mrn": uuid4().hex[:10]}, "ALREADY_EXISTS"),
}


@pytest.mark.parametrize(("shared", "code"), AT_ONCE.values(), ids=AT_ONCE.keys())
async def test_of_many_who_register_somebody_at_once_one_does(graph: Graph, shared: dict[str, Any], code: str) -> None:
    answers = await asyncio.gather(*(register(graph, **shared) for _ in range(6)))
    assert outcomes(answers) == ["-", *[code] * 5]


async def test_a_number_that_is_taken_is_refused_with_who_has_it(graph: Graph) -> None:
    first = await registered(graph, mrn=uuid4().hex[:10])
    answer = await register(graph, mrn=first["mrn"], confirmedNew=True)
    error = refusal(answer, "registerPatient")
    assert (error["code"], error["field"]) == ("ALREADY_EXISTS", ["mrn"])
    [found] = answer.data["registerPatient"]["possibleDuplicates"]
    assert found["patient"]["id"] == first["id"]
    assert asked(answer)[:4] == ["claim_idempotency_key", "lock_registration", "registered_as", "keep_outcome"]


NAMED = {"family": "Testa"}
WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no name": ({"name": []}, ["name"]),
    "a name without any part": ({"name": [{"prefix": ["Dr"]}]}, ["name", "0", "family"]),
    "a blank name": ({"name": [NAMED, {"family": " "}]}, ["name", "1", "family"]),
    "a blank given name": ({"name": [{"given": [""]}]}, ["name", "0", "given"]),
    "an unknown use": ({"name": [{**NAMED, "use": "stage"}]}, ["name", "0", "use"]),
    "too many names": ({"name": [NAMED] * 21}, ["name"]),
    "a gender that is none": ({"gender": "f"}, ["gender"]),
    "a birth sex that is none": ({"birthSex": "female"}, ["birthSex"]),
    "a birth in the future": ({"birthDate": "2999-01-01"}, ["birthDate"]),
    "a birth at a time": ({"birthDate": "1971-02-03T10:00:00Z"}, ["birthDate"]),
    "a birth that is no date": ({"birthDate": "1971-02-30"}, ["birthDate"]),
    "a death in the future": ({"deceasedDateTime": "2999"}, ["deceasedDateTime"]),
    "a death of one who lives": ({"deceasedDateTime": "2020", "deceased": False}, ["deceased"]),
    "a zeroth twin": ({"multipleBirth": 0}, ["multipleBirth"]),
    "an empty number": ({"mrn": " "}, ["mrn"]),
    "a masked number": ({"identifier": [{"kind": "SSN", "value": "***-**-1234"}]}, ["identifier", "0", "value"]),
    "a masked number of a kind without a form": (
        {"identifier": [{"kind": "LICENSE_NUMBER", "value": "***7890"}]},
        ["identifier", "0", "value"],
    ),
    "a short number": ({"identifier": [{"kind": "SSN", "value": "123-45-678"}]}, ["identifier", "0", "value"]),
    "a kind of no identifier": ({"identifier": [{"kind": "PHONE", "value": "1"}]}, ["identifier", "0", "kind"]),
    "a way that leads nowhere": ({"telecom": [{"system": "pigeon", "value": "1"}]}, ["telecom", "0", "system"]),
    "an address of no use": ({"address": [{"use": "summer"}]}, ["address", "0", "use"]),
    "an empty street": ({"address": [{"line": [" "]}]}, ["address", "0", "line"]),
    "a contact without a name": ({"contact": [{"name": {}}]}, ["contact", "0", "name", "family"]),
    "a language without a code": ({"communication": [{"language": {}}]}, ["communication", "0", "language"]),
    "a record that is neither": ({"active": None}, ["active"]),
}
"""What a registration is refused for, and the place that the refusal names."""


@pytest.mark.parametrize(("given", "place"), WRONG.values(), ids=WRONG.keys())
async def test_what_is_wrong_in_itself_is_refused_by_its_place(
    graph: Graph, given: dict[str, Any], place: list[str]
) -> None:
    answer = await register(graph, **given)
    error = refusal(answer, "registerPatient")
    assert (error["code"], error["field"]) == ("INVALID", place)
    assert not answer.statements


async def test_a_death_before_the_birth_is_refused(graph: Graph) -> None:
    error = refusal(await register(graph, deceasedDateTime="1971-01"), "registerPatient")
    assert (error["code"], error["field"]) == ("INVALID", ["deceasedDateTime"])
    patient = await registered(graph, deceasedDateTime="2020-05")
    error = refusal(await update(graph, patient, birthDate="2020-06-01"), "updatePatient")
    assert (error["code"], error["field"]) == ("INVALID", ["deceasedDateTime"])
