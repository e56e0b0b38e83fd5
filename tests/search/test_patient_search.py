"""Patient search as users want it: exact before prefix before similar, whatever the order, accents and apostrophes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import orjson
import pytest
import pytest_asyncio

from db.caller import Profile
from db.settings import Settings
from db.stores import FacilityName, Stores
from tests.asking import Graph
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
