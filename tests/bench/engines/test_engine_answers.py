"""What the benchmark takes for the same answer: other names and shapes are, other values and orders are not."""

from __future__ import annotations

import pytest

from tests.bench.engines.questions import entities, leaves

PATIENT = "5f0c9c1e-0d5c-4f0e-8a51-3a1d3c2b1a00"


def ours(value: object = 1.5, status: str = "final", codes: tuple[str, ...] = ("a", "b")) -> object:
    """An answer of Caregraph's form."""
    lab = {"status": status, "valueQuantity": {"value": value}, "test": {"code": {"coding": [{"code": "718-7"}]}}}
    nodes = [{"code": {"text": code}} for code in codes]
    return {
        "patients": {"nodes": [{"id": f"Patient/{PATIENT}", "lab": {"nodes": [lab]}, "conditions": {"nodes": nodes}}]}
    }


THEIRS = {
    "allPatients": {
        "nodes": [
            {
                "conditions": {"nodes": [{"codeText": "a"}, {"codeText": "b"}]},
                "labResults": {
                    "nodes": [{"test": {"code": "718-7"}, "valueNumber": "1.50", "status": "final", "note": None}]
                },
                "rowId": PATIENT,
            }
        ]
    }
}
"""The same answer in another server's form."""


def test_same_answer_in_another_form() -> None:
    """Names, nesting, one-element lists, nulls and numbers as text make no difference."""
    assert entities(ours()) == entities(THEIRS)


@pytest.mark.parametrize(
    "other",
    [
        ours(value=1.51),
        ours(status="amended"),
        ours(codes=("b", "a")),
        ours(codes=("a",)),
        ours(codes=("a", "b", "b")),
        {"patients": {"nodes": []}},
    ],
    ids=["value", "text", "order", "missing", "repeated", "empty"],
)
def test_other_answer(other: object) -> None:
    """A value, an order or a number of objects that differs is seen."""
    assert entities(other) != entities(THEIRS)


def test_leaves_count_nulls() -> None:
    """A field that is null was asked for and answered."""
    assert leaves({"a": None, "b": [1, {"c": "x"}], "d": []}) == 3
