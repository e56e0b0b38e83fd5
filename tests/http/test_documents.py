"""Documents are parsed and validated once, and the cache of them has a bound."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from graph import document
from graph.execution import Engine, Operation
from tests.http.small_graph import SCHEMA, plan


def engine() -> Engine:
    """An engine with an empty cache."""
    return Engine(SCHEMA._schema, plan, lambda caller: nullcontext(caller))  # pyright: ignore[reportPrivateUsage] - no public name


def prepared(engine: Engine, query: str) -> Operation:
    """The only operation of a valid document."""
    operation = engine.prepare(query, None)
    assert isinstance(operation, Operation)
    return operation


def test_same_text_same_document() -> None:
    used = engine()
    first = prepared(used, "{ name }")
    assert prepared(used, "{ name }").document is first.document
    assert prepared(used, "{ name  }").document is not first.document


def test_document_without_incremental_directives() -> None:
    """Is made only where there are some."""
    used = engine()
    plain = prepared(used, "{ chart { notes } }").document
    assert plain.whole is plain.incremental
    deferred = prepared(used, "{ chart { ... @defer { notes } } }").document
    assert deferred.whole is not deferred.incremental


def test_least_recently_used_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "CACHE_CHARACTERS_MAX", 2 * document.ENTRY_CHARACTERS_MIN)
    used = engine()
    a, b = prepared(used, "{ a: name }").document, prepared(used, "{ b: name }").document
    assert prepared(used, "{ a: name }").document is a
    prepared(used, "{ c: name }")
    assert prepared(used, "{ a: name }").document is a
    assert prepared(used, "{ b: name }").document is not b


def test_document_that_is_larger_than_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stays alone, until the next one comes."""
    monkeypatch.setattr(document, "CACHE_CHARACTERS_MAX", document.ENTRY_CHARACTERS_MIN)
    used = engine()
    query = "{ name" + " " * 2_000 + "}"
    large = prepared(used, query).document
    assert prepared(used, query).document is large
    prepared(used, "{ name }")
    assert prepared(used, query).document is not large
