"""Bytes of an answer: numbers as exact as the laboratory wrote them, and nothing that is not meant to go out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.encoding import encoded
from tests.http.serving import Client


def test_decimals_of_an_answer(client: Client) -> None:
    body = client.ask("{ exact }").body
    assert body == b'{"data":{"exact":[1.20,0.000000000000000000123,98765432109876543210.5,-0.0,1000]}}'


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_every_decimal_comes_back(value: Decimal) -> None:
    """A number in JSON whose text gives the same decimal, trailing zeros and sign included."""
    text = encoded(value).decode()
    assert Decimal(text).as_tuple() == value.as_tuple()
    assert isinstance(orjson.loads(text), int | float)


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"), object(), b"bytes"])
def test_value_without_a_form(value: object) -> None:
    with pytest.raises(TypeError):
        encoded({"value": value})


def test_dataclass_is_not_written_out() -> None:
    @dataclass
    class Row:
        """A row of a loader."""

        name: str

    with pytest.raises(TypeError):
        encoded([Row("x")])


def test_what_the_encoder_knows() -> None:
    when = datetime(2024, 2, 29, 12, 30, tzinfo=UTC)
    value = {"id": UUID(int=1), "when": when, "day": when.date(), "text": "Zoë 🏥"}
    expected = '{"id":"00000000-0000-0000-0000-000000000001","when":"2024-02-29T12:30:00+00:00","day":"2024-02-29"'
    assert encoded(value).decode() == expected + ',"text":"Zoë 🏥"}'
