"""No byte of a value that the policy hides occurs in an answer; no value at all occurs in error, log, audit or output.

There are no traces and no metrics in the tree to look at: what the process says beside its answers is its log, its
output and the audit. Audit of writes (`audit.change`) holds values on purpose and is not of an access.
"""

from __future__ import annotations

import re
from random import Random
from typing import Any

import asyncpg
import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.caller import PurposeOfUse, Role
from db.notes_schema import COLLECTIONS
from db.policy import ROLES, Form, Phi, purposes_of, view
from tests.leaks.canaries import SIGNS, TEXT, decoded, hidden_in, signs_in
from tests.leaks.chart import DATABASES, NOT_TEXTUAL, WHERE_PATIENT, Chart, declared
from tests.leaks.listening import Listening
from tests.leaks.operations import Operation, drawn, everything, misused

CALLERS = [(role, purpose) for role in ROLES.values() for purpose in purposes_of(role.profile)]
SLOW = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)
SOME = settings(max_examples=40, deadline=None, database=None, derandomize=True, suppress_health_check=SLOW)
ROWS = "SELECT to_jsonb(t) AS row FROM {table} AS t WHERE {column} = $1"
SIGN = re.compile("|".join(re.escape(sign) for signs in SIGNS.values() for sign in signs), re.IGNORECASE)
UNSEEN = {Phi.VEHICLE, Phi.BIOMETRIC, Phi.PHOTO, Phi.IP_ADDRESS}
"""Kinds that no column is declared with."""


def errors_of(response: httpx.Response) -> str:
    """Errors of an answer as text; all of an answer that is no JSON."""
    try:
        errors: list[dict[str, Any]] = orjson.loads(response.content).get("errors", [])
    except orjson.JSONDecodeError:
        return response.text
    return orjson.dumps(errors).decode()


async def leaks(listened: Listening, role: Role, purpose: PurposeOfUse, operation: Operation) -> httpx.Response:
    """Asks, and fails where a value shows that must not; the answer."""
    response = await listened.ask(listened.headers(role, purpose), operation.query, operation.variables)
    assert hidden_in(response.text, view(role.profile, purpose)) == []
    assert signs_in(errors_of(response)) == []
    assert signs_in(str(response.headers)) == []
    # What breaks shows nothing, and so proves nothing.
    assert response.status_code < 500
    assert '"INTERNAL"' not in response.text
    return response


@pytest.mark.parametrize("database", DATABASES)
async def test_every_protected_column_holds_a_canary(chart: Chart, database: str) -> None:
    """A column without one would leak unseen."""
    tables = await declared(chart.settings, database)
    async with asyncpg.create_pool(getattr(chart.settings, f"{database}_url"), min_size=1, max_size=1) as pool:
        for table, columns in tables.items():
            names = {column["column_name"] for column in columns}
            column = WHERE_PATIENT.get(table, "patient_id" if "patient_id" in names else "facility_id")
            found = ROWS.format(table=f'{database}."{table}"', column=column)
            key = chart.facility if column == "facility_id" else chart.patient
            rows = [orjson.loads(row["row"]) for row in await pool.fetch(found, key)]
            for one in columns:
                at = f"{table}.{one['column_name']}"
                if one["kind"] != "NONE" and at not in NOT_TEXTUAL:
                    assert any(SIGN.search(str(row[one["column_name"]])) for row in rows), at


NOT_TEXTUAL_PATHS = {"signatures[].digest"}
"""Paths that can hold no canary: a digest."""


@pytest.mark.parametrize("collection", COLLECTIONS, ids=lambda one: one.name)
async def test_every_protected_path_holds_a_canary(chart: Chart, collection: Any) -> None:
    [document] = await chart.stores.notes.worker_find(collection, {"metadata.patient_id": str(chart.patient)})
    for path, kind in collection.kinds.items():
        if path in NOT_TEXTUAL_PATHS:
            continue
        values: list[Any] = [document]
        for name in path.split("."):
            values = [one[name.removesuffix("[]")] for one in values]
            values = [entry for one in values for entry in one] if name.endswith("[]") else values
        assert kind is None or any(SIGN.search(str(value)) for value in values), path


@pytest.mark.parametrize(("role", "purpose"), CALLERS, ids=lambda one: getattr(one, "name", str(one)))
async def test_everything_asked_shows_what_the_policy_shows(
    listened: Listening, capfd: pytest.CaptureFixture[str], role: Role, purpose: PurposeOfUse
) -> None:
    """Every field of the schema; and what is shown does show, so that there is something to leak."""
    texts: list[str] = []
    for operation in everything(listened.chart.nodes):
        response = await leaks(listened, role, purpose, operation)
        assert response.status_code in (200, 403), response.text
        texts.append(decoded(response.text))
    assert signs_in(await listened.said()) == []
    assert signs_in("".join(capfd.readouterr())) == []
    whole, forms = "\n".join(texts), view(role.profile, purpose).forms
    for kind in set(Phi) - UNSEEN:
        if forms[kind] is Form.SHOW:
            assert any(sign in whole for sign in SIGNS[kind]), kind
    if forms[Phi.SSN] is Form.LAST4:
        assert "***-**-7723" in whole


@SOME
@given(caller=st.sampled_from(CALLERS), seed=st.integers(0, 2**32 - 1))
async def test_no_random_query_shows_what_is_hidden(
    listened: Listening, capfd: pytest.CaptureFixture[str], caller: tuple[Role, PurposeOfUse], seed: int
) -> None:
    random = Random(seed)
    for _ in range(3):
        await leaks(listened, *caller, drawn(random, listened.chart.nodes))
    assert signs_in(await listened.said()) == []
    assert signs_in("".join(capfd.readouterr())) == []


@SOME
@given(caller=st.sampled_from(CALLERS), seed=st.integers(0, 2**32 - 1))
async def test_no_bad_argument_is_repeated(
    listened: Listening, capfd: pytest.CaptureFixture[str], caller: tuple[Role, PurposeOfUse], seed: int
) -> None:
    random = Random(seed)
    for _ in range(10):
        await leaks(listened, *caller, misused(random))
    assert signs_in(await listened.said()) == []
    assert signs_in("".join(capfd.readouterr())) == []


@pytest.mark.parametrize("kind", [kind for kind in Phi if kind not in UNSEEN])
async def test_no_value_around_a_query_is_kept(listened: Listening, kind: Phi) -> None:
    """In the URL, as name of the operation, as user agent, as token, as choice of role."""
    value, query = TEXT[kind], "query($text: String) { patients(search: $text) { nodes { id } } }"
    role = ROLES["physician"]
    headers = listened.headers(role, PurposeOfUse.TREAT) | {"User-Agent": value, "X-Requested-With": value}
    variables = orjson.dumps({"text": value}).decode()
    named = {"query": query, "operationName": value, "extensions": orjson.dumps({value: value}).decode()}
    responses = [
        await listened.client.get("/graphql", params={"query": query, "variables": variables}, headers=headers),
        await listened.client.get("/graphql", params=named, headers=headers),
        await listened.client.get(f"/{value}", headers=headers),
        await listened.client.post("/graphql", content=value.encode(), headers=headers),
        await listened.client.post("/graphql", json={"query": value, "variables": value}, headers=headers),
        await listened.ask({**headers, "Authorization": f"Bearer {value}"}, query, {"text": value}),
        await listened.ask({**headers, "Caregraph-Role": value}, query, {"text": value}),
        await listened.ask({**headers, "Caregraph-Purpose": value}, query, {"text": value}),
    ]
    assert [signs_in(errors_of(response) + str(response.headers)) for response in responses] == [[]] * len(responses)
    assert [response for response in responses if response.status_code >= 500] == []
    assert signs_in(await listened.said()) == []


async def test_the_ear_hears(listened: Listening) -> None:
    """What is looked at is there: a line of the log and an event for each operation."""
    await listened.said()
    await leaks(listened, ROLES["physician"], PurposeOfUse.TREAT, Operation("{ me { subject } }", {}))
    said = await listened.said()
    assert "status=200" in said
    assert "QUERY" in said
