"""Masked forms of PostgreSQL and MongoDB: none shows its value or can be mistaken for one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.caller import Profile
from db.mongo_mask import mask, year_of
from db.notes_schema import CLINICAL_NOTES, COLLECTIONS, Collection
from db.policy import VIEWS, Form, Phi, View
from loaders.reader import Reader
from tests.asking import Graph

FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ADDRESS = """
SELECT access.mask_address(jsonb_build_array(jsonb_build_object('line', jsonb_build_array($1::text), 'city', $1::text,
    'district', $1::text, 'text', $1::text, 'state', 'MA', 'country', 'US', 'postalCode', $2::text)))"""
SPARSE = "036 059 102 202 203 204 205 369 556 692 753 772 821 823 878 879 884 893".split()
"""Prefixes in use of which fewer than 20,001 people live in each (2020 Census)."""
TELECOM = "SELECT access.mask_telecom($1::text::jsonb, $2::text[])::text"


async def rows(graph: Graph, sql: str, *args: object) -> Sequence[Any]:
    """Rows of a statement over the masks alone."""
    return await graph.stores.clinical.worker_fetch(sql, *args)  # pyright: ignore[reportArgumentType] - constants above


@FEW
@given(
    street=st.text(st.characters(codec="ascii", categories=["L"]), min_size=6, max_size=20),
    five=st.text("0123456789", min_size=5, max_size=5),
)
async def test_addresses_keep_state_and_three_digits(graph: Graph, street: str, five: str) -> None:
    for postal_code in (five, f"{five}-1234"):
        [[[masked]]] = await rows(graph, ADDRESS, street, postal_code)
        assert masked.keys() == {"state", "country", "postalCode"}
        assert masked["postalCode"] in (f"{five[:3]}**", "000**")
        assert masked["postalCode"] == "000**" or five[:3] not in SPARSE


async def test_postal_codes_outside_the_list_are_000(graph: Graph) -> None:
    sparse = [f"{prefix}01" for prefix in SPARSE]
    foreign = [
        "",
        " ",
        "021",
        "0213",
        "021399",
        "02139-",
        "02139-12",
        "2139",
        "SW1A 1AA",
        "H0H 0H0",
        "０２１３９",
        " 02139",
        "02139 ",
    ]
    unused = ["00001", "09012", "96201"]
    for postal_code in [None, *sparse, *foreign, *unused]:
        [[[masked]]] = await rows(graph, ADDRESS, "Main St", postal_code)
        assert masked["postalCode"] == "000**", postal_code
    for postal_code in ("02139", "02139-4307"):
        [[[masked]]] = await rows(graph, ADDRESS, "Main St", postal_code)
        assert masked["postalCode"] == "021**"


@pytest.mark.parametrize(
    ("system", "kinds"),
    [
        ("phone", {"PHONE"}),
        ("sms", {"PHONE"}),
        ("pager", {"PHONE"}),
        ("fax", {"FAX"}),
        ("email", {"EMAIL"}),
        ("url", {"PHONE", "FAX", "EMAIL"}),
        ("other", {"PHONE", "FAX", "EMAIL"}),
        ("no such system", {"PHONE", "FAX", "EMAIL"}),
    ],
)
async def test_ways_to_reach_are_masked_by_their_system(graph: Graph, system: str, kinds: set[str]) -> None:
    point = f'[{{"system": "{system}", "value": "reach me", "use": "home", "rank": 1}}]'
    for shown in ([], ["PHONE"], ["EMAIL"], ["PHONE", "FAX"], ["PHONE", "FAX", "EMAIL"]):
        [[text]] = await rows(graph, TELECOM, point, shown)
        assert ("reach me" in text) == (kinds <= set(shown)), shown


async def test_fragments_lose_their_words_and_times(graph: Graph) -> None:
    dosage = {
        "text": "as before", "patientInstruction": "for Ann", "route": {"text": "oral"},
        "timing": {"event": ["2024-05-06"], "repeat": {"frequency": 2, "boundsPeriod": {"start": "2024-05-06"}}},
    }  # fmt: skip
    coded = {"route": {"text": "oral"}, "timing": {"repeat": {"frequency": 2}}}
    for hidden, masked in (
        ([], dosage),
        (["FREE_TEXT"], {name: dosage[name] for name in ("route", "timing")}),
        (["DATE"], dosage | {"timing": coded["timing"]}),
        (["FREE_TEXT", "DATE"], coded),
    ):
        for value, expected in ((dosage, masked), ([dosage, {}], [masked, {}]), ([], []), (None, None)):
            [[found]] = await rows(graph, "SELECT access.mask_fragment($1::jsonb, $2::text[])", value, hidden)
            assert found == expected, hidden


def parts(document: Any, path: str) -> Iterator[Any]:
    """Values at a path such as `signatures[].time`."""
    name, _, rest = path.partition(".")
    value = document.get(name.removesuffix("[]")) if isinstance(document, dict) else None
    for one in value or [] if name.endswith("[]") else [value]:
        if rest:
            yield from parts(one, rest)
        else:
            yield one


@pytest.mark.parametrize("seen", VIEWS, ids=lambda seen: seen.name)
@pytest.mark.parametrize("collection", COLLECTIONS, ids=lambda collection: collection.name)
async def test_documents_have_the_forms_of_the_policy(graph: Graph, collection: Collection, seen: View) -> None:
    originals = {one["_id"]: one for one in await graph.stores.notes.worker_find(collection, {})}
    masked = await graph.stores.notes.aggregate(collection, mask(collection, seen))
    assert {one["_id"] for one in masked} == set(originals)
    for document in masked:
        for path, kind in collection.kinds.items():
            if any(inner.startswith((f"{path}.", f"{path}[]")) for inner in collection.kinds):
                continue  # a part has another kind: its own path is looked at
            before, after = list(parts(originals[document["_id"]], path)), list(parts(document, path))
            wanted = seen.forms[kind] if kind else Form.SHOW
            outer = collection.kinds.get(re.split(r"\[\]|\.", path)[0]) if "." in path else None
            if outer and seen.forms[outer] is not Form.SHOW:
                assert not any(after), path
            elif wanted is Form.SHOW:
                assert after == before, path
            elif wanted is Form.YEAR and kind is Phi.DATE:
                assert [one and _year(one) for one in before] == after, path
            else:
                assert not any(after), path


def _year(value: str | datetime) -> str | datetime | None:
    untold = datetime.now(UTC).year - 90
    if isinstance(value, datetime):
        return datetime(max(value.year, untold), 1, 1, tzinfo=UTC)
    return value[:4] if int(value[:4]) > untold else None


async def test_years_of_old_documents_are_not_told(graph: Graph) -> None:
    """Of a text nothing is left, of an instant that orders a list the last year that is not told."""
    last = datetime.now(UTC).year - 90
    values = [
        f"{last}-12-31",
        f"{last + 1}-01-01",
        datetime(1899, 5, 6, tzinfo=UTC),
        datetime(2001, 5, 6, tzinfo=UTC),
        None,
    ]
    stage: Any = {"$project": {f"v{place}": year_of(f"$v{place}") for place in range(len(values))}}
    seeds: Any = {"$project": {f"v{place}": {"$literal": value} for place, value in enumerate(values)}}
    [found] = await graph.stores.notes.aggregate(CLINICAL_NOTES, [{"$limit": 1}, seeds, stage])
    assert [found[f"v{place}"] for place in range(len(values))] == [
        None, str(last + 1), datetime(last, 1, 1, tzinfo=UTC), datetime(2001, 1, 1, tzinfo=UTC), None
    ]  # fmt: skip


AGES = "/* ages */ SELECT age, birth_date FROM patient WHERE birth_date IS NOT NULL"


async def test_psql_shows_the_ages_that_the_graph_shows(graph: Graph) -> None:
    seen: dict[Profile, list[tuple[str, str]]] = {}
    for profile in (Profile.CLINICIAN, Profile.ANALYST):
        reader = Reader(graph.stores, graph.caller(profile))
        seen[profile] = [(row[0], row[1]) for row in await reader.clinical.fetch(AGES)]
        await reader.close()
    assert seen[Profile.CLINICIAN]
    assert all(age is None or age.isdigit() for age, _ in seen[Profile.CLINICIAN])
    assert all(age is None or re.fullmatch(r"\d+-\d+", age) for age, _ in seen[Profile.ANALYST])
    assert all(re.fullmatch(r"\d{4}", born) for _, born in seen[Profile.ANALYST])
