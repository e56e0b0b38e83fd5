"""The documents of the differential test: they are valid, and reach every field and argument of the schema."""

from __future__ import annotations

from collections import Counter

import pytest
from graphql import parse, validate

from tests.differential.arguments import UNKNOWN, Choices, Values
from tests.differential.comparing import selected
from tests.differential.documents import coordinates, generated
from tests.differential.faults import field_at
from tests.schema_walk import GRAPH, NODES

DOCUMENTS = 900
VALUES = Values(
    {kind: [f"{kind}/{UNKNOWN}"] for kind in sorted(NODES)},
    {},
    {("", "code"): [["8867-4"]], ("", "status"): [["final"]], ("", "search"): ["Smith"], ("", "mrn"): ["1"]},
)


@pytest.fixture(scope="module")
def reached() -> Counter[str]:
    """How often fields and arguments were asked for."""
    return Counter()


def test_documents_are_valid(reached: Counter[str]) -> None:
    for number in range(DOCUMENTS):
        document = generated(Choices(number), VALUES)
        assert validate(GRAPH, parse(document.text)) == []
        for found in selected(document):
            reached.update(found)


def test_all_of_the_schema_is_reached(reached: Counter[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Of every type every field; nearly every argument, of which few are given to a field at a time."""
    fields = set(coordinates())
    arguments = {f"{place}({argument}:)" for place in fields for argument in field_at(place).args}
    with capsys.disabled():
        print(f"\ndocuments: {len(fields)} fields and {len(arguments)} arguments of the schema")
    assert sorted(fields - set(reached)) == []
    assert len(arguments & set(reached)) >= 0.9 * len(arguments), sorted(arguments - set(reached))
