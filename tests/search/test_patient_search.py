"""Patient search as users want it: exact before prefix before similar, whatever the order, accents and apostrophes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import asyncpg
import orjson
import pytest
import pytest_asyncio

from db.caller import Caller, Profile
from db.settings import Settings
from db.stores import FacilityName, Stores
from loaders.page import LAST_ID
from loaders.patient import Match, patients_by_search
from loaders.reader import Reader
from tests.asking import Graph
from tests.callers import caller_of
from workers.import_fhir import import_paths

SPACE = UUID("00000000-0000-5000-8000-000000000000")
PEOPLE: dict[str, tuple[str, list[dict[str, Any]], str]] = {
    "maria": ("1980-05-17", [{"family": "Núñez O'Brien", "given": ["María", "Luisa"]}], "SRCH-100"),
    "mario": ("1981-01-02", [{"family": "Nunes", "given": ["Mario"]}], "SRCH-101"),
    "ann": ("1950-05-17", [{"family": "Lee", "given": ["Ann"]}], "SRCH-102"),
    "anna": ("1990-12-31", [{"family": "Leeds", "given": ["Anna"]}], "SRCH-200"),
    "wed": (
        "1975-07-07",
        [
            {"use": "official", "family": "Married", "given": ["Jane"]},
            {"use": "maiden", "family": "Kowalska", "given": ["Jane"]},
        ],
        "SRCH-201",
    ),
    "digits": ("1975", [{"family": "Stamm704", "given": ["Todd315"]}], "SRCH-202"),
}
DENIED = """
INSERT INTO clinical.consent (id, facility_id, patient_id, status, provision, sort_time)
VALUES ($3, $1, $2, 'active', '{"type": "deny"}', now())"""
SEARCH = "query ($text: String) { patients(search: $text, first: 100) { edges { score node { id } } } }"


def patient_id(key: str) -> str:
    return str(uuid5(SPACE, key))


@pytest_asyncio.fixture(scope="session")
async def clinic(configured: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Graph]:
    """The graph with one facility of six people, beside whatever else is in the stores."""
    resources = [
        {
            "resourceType": "Patient",
            "id": patient_id(key),
            "birthDate": born,
            "name": names,
            "identifier": [{"type": {"coding": [{"code": "MR"}]}, "value": number}],
        }
        for key, (born, names, number) in PEOPLE.items()
    ]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in resources]}
    path: Path = tmp_path_factory.mktemp("search") / "people.json"
    path.write_bytes(orjson.dumps(bundle))
    await import_paths(configured, [path], "SEARCHCLINIC", lambda line: None)
    stores = Stores(configured)
    facilities: list[FacilityName] = [f for f in await stores.facilities() if f.code == "SEARCHCLINIC"]
    yield Graph(configured, stores, facilities)
    await stores.close()


async def search(clinic: Graph, text: str) -> dict[str, Decimal]:
    """Keys of the people found, best first, with their scores."""
    keys = {f"Patient/{patient_id(key)}": key for key in PEOPLE}
    answer = await clinic.ask(SEARCH, text=text)
    assert answer.errors == []
    return {keys[edge["node"]["id"]]: edge["score"] for edge in answer.data["patients"]["edges"]}


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("María Luisa", "maria"),
        ("maria luisa", "maria"),
        ("NÚÑEZ", "maria"),
        ("nunez maria", "maria"),
        ("obrien", "maria"),
        ("O'Brien", "maria"),
        ("O’Brien luisa", "maria"),
        ("kowalska", "wed"),
        ("jane married", "wed"),
        ("stamm", "digits"),
        ("Lee Ann", "ann"),
        ("SRCH-200", "anna"),
        ("srch-200", "anna"),
        ("1980-05-17", "maria"),
        ("ann 1950-05-17", "ann"),
    ],
)
async def test_what_is_meant_comes_first_with_score_one(clinic: Graph, text: str, first: str) -> None:
    found = await search(clinic, text)
    assert next(iter(found)) == first
    assert found[first] == 1


async def test_exact_before_prefix_before_similar(clinic: Graph) -> None:
    found = await search(clinic, "ann")
    assert list(found)[:2] == ["ann", "anna"]
    assert found["ann"] == 1
    assert found["anna"] == Decimal("0.9")
    similar = await search(clinic, "nunnez")
    assert "maria" in similar
    assert similar["maria"] < Decimal("0.9")


@pytest.mark.parametrize("text", ["an", "le", "mar", "obr"])
async def test_two_or_three_letters_are_enough(clinic: Graph, text: str) -> None:
    assert await search(clinic, text)


async def test_similar_adds_and_never_removes(clinic: Graph) -> None:
    """Whoever a word finds exactly is found by the same word with a slip in it."""
    for right, slipped, key in (
        ("kowalska", "kowalksa", "wed"),
        ("obrien", "obrein", "maria"),
        ("married", "maried", "wed"),
    ):
        assert (await search(clinic, right))[key] == 1
        assert 0 < (await search(clinic, slipped))[key] < 1


async def test_an_estimated_day_lowers_the_score(clinic: Graph) -> None:
    assert (await search(clinic, "luisa 1980-05-01"))["maria"] == Decimal("0.75")
    assert await search(clinic, "luisa 1980-06-17") == {}


async def test_number_by_its_beginning(clinic: Graph) -> None:
    found = await search(clinic, "SRCH-10")
    assert {"maria", "mario", "ann"} <= set(found)
    assert set(found.values()) == {Decimal("0.9")}


WAYS = [
    "jane",
    "ja",
    "jan",
    "marr",
    "jane married",
    "jan mar",
    "maried",
    "jane maried",
    "srch-201",
    "srch",
    "1975-07-07",
]
"""A patient by whole words, beginnings, resemblance, number and birth date."""


async def told(clinic: Graph, caller: Caller, text: str) -> set[UUID]:
    """Whom the store tells of, before row-level security leaves rows out: what says how many there are."""
    born = [text] if text.startswith("1975-") else []
    reader = Reader(clinic.stores, caller)
    try:
        matches = await patients_by_search(
            reader, [] if born else text.split(" "), born[0] if born else None, Match(LAST_ID, Decimal(2)), 100
        )
    finally:
        await reader.close()
    return {match.patient_id for match in matches}


@pytest.mark.parametrize("text", WAYS)
async def test_a_patient_is_told_of_oneself_alone(clinic: Graph, text: str) -> None:
    """Each way of the search asks whom the caller reaches."""
    caller = caller_of(Profile.PATIENT, clinic.facilities[0].id)
    wed, maria = (UUID(patient_id(key)) for key in ("wed", "maria"))
    assert await told(clinic, replace(caller, patient_id=wed), text) == {wed}
    assert await told(clinic, replace(caller, patient_id=maria), text) <= {maria}


@pytest.mark.parametrize("text", WAYS)
async def test_whose_consent_says_no_is_not_told_of_for_payment(clinic: Graph, text: str) -> None:
    """Each way of the search asks whose consent forbids the caller everything."""
    wed, caller = UUID(patient_id("wed")), clinic.caller(Profile.BILLING)
    connection = await asyncpg.connect(clinic.settings.clinical_url)
    assert wed in await told(clinic, caller, text)
    try:
        await connection.execute(DENIED, clinic.facilities[0].id, wed, SPACE)
        assert wed not in await told(clinic, caller, text)
    finally:
        await connection.execute("DELETE FROM clinical.consent WHERE id = $1", SPACE)
        await connection.close()


@pytest.mark.parametrize("text", ["an", "ann", "mari", "nunnez", "jane", "lee an", "mario nunez", "luisa nunnez"])
async def test_pages_of_one_are_the_whole_list(clinic: Graph, text: str) -> None:
    """Whole words, beginnings and what resembles follow each other, each patient once."""
    query = """query ($text: String, $after: String) { patients(search: $text, first: 1, after: $after) {
        edges { score node { id } } pageInfo { hasNextPage endCursor } } }"""
    whole = (await clinic.ask(SEARCH, text=text)).data["patients"]["edges"]
    seen: list[dict[str, Any]] = []
    after, more = None, True
    while more and len(seen) <= len(whole):
        page = (await clinic.ask(query, text=text, after=after)).data["patients"]
        seen += page["edges"]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    assert whole
    assert seen == whole
    assert len({edge["node"]["id"] for edge in seen}) == len(seen)


async def test_pages_are_the_whole_list_without_doubles(clinic: Graph) -> None:
    query = """query ($after: String) { patients(search: "srch", first: 2, after: $after) {
        nodes { id } pageInfo { hasNextPage endCursor } } }"""
    seen: list[str] = []
    after = None
    while True:
        page = (await clinic.ask(query, after=after)).data["patients"]
        seen += [node["id"] for node in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    assert sorted(seen) == sorted(f"Patient/{patient_id(key)}" for key in PEOPLE)


async def test_one_statement_finds_and_one_fetches(clinic: Graph) -> None:
    answer = await clinic.ask(SEARCH, text="mar")
    assert answer.statements == {("clinical", "patients_by_search"): 1, ("clinical", "patient_by_id"): 1}


@pytest.mark.parametrize("text", ["' OR 1=1 --", "%", "_", "%%%", "\\", "a%b", "; DROP TABLE patient", "(.*)", "ı̇"])
async def test_what_looks_like_a_pattern_is_a_text(clinic: Graph, text: str) -> None:
    answer = await clinic.ask(SEARCH, Profile.NURSE, text=text if len(text) > 1 else text * 2)
    assert answer.errors == []
    assert answer.data["patients"]["edges"] == []
