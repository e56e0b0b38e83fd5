"""Documents by hash: what a request may name, what it may persist, and who runs documents of the manifest only."""

from __future__ import annotations

import hashlib
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from db.caller import Caller, Profile, PurposeOfUse
from db.errors import BadRequest, DocumentNotTrusted, PersistedQueryMismatch, PersistedQueryNotFound, SettingsError
from db.policy import POLICY, ROLES
from graph import trusted
from graph.execution import Engine, Operation
from graph.limits import Limit
from graph.plan import plan
from graph.request import Asked
from graph.schema import schema
from graph.trusted import Documents, load, printed

QUERY = "{ me { subject } }"
OTHER = "{ me { role } }"
INTROSPECTION = "{ __schema { queryType { name } } }"
UNKNOWN = "0" * 64

PHYSICIAN, CDS, ANALYST = (
    Caller(name, ROLES[name], UUID(int=1), purpose)
    for name, purpose in (
        ("physician", PurposeOfUse.TREAT),
        ("cds", PurposeOfUse.TREAT),
        ("analyst", PurposeOfUse.HOPERAT),
    )
)


def digest(text: str) -> str:
    """SHA-256 of a text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def apq(named: object, version: object = 1) -> dict[str, Any]:
    """Extensions of a request that names a document as Apollo's clients do."""
    return {"persistedQuery": {"version": version, "sha256Hash": named}}


def test_policy_names_who_explores_and_who_needs_trusted_documents() -> None:
    assert POLICY.explorers == {Profile.ANALYST}
    assert POLICY.trusting == {Profile.CDS}


def test_text_alone() -> None:
    assert Documents().resolve(QUERY, None, {}, PHYSICIAN).query == QUERY


def test_persisting_and_asking_again() -> None:
    """Not found, then sent with its hash, then found; for any other caller too, since the hash is of the text."""
    documents = Documents()
    with pytest.raises(PersistedQueryNotFound, match="PersistedQueryNotFound"):
        documents.resolve(None, None, apq(digest(QUERY)), PHYSICIAN)
    assert documents.resolve(QUERY, None, apq(digest(QUERY)), PHYSICIAN).query == QUERY
    assert documents.resolve(None, None, apq(digest(QUERY)), ANALYST).query == QUERY
    assert documents.resolve(None, f"sha256:{digest(QUERY)}", {}, PHYSICIAN).query == QUERY


def test_text_without_hash_is_not_kept() -> None:
    documents = Documents()
    documents.resolve(QUERY, None, {}, PHYSICIAN)
    with pytest.raises(PersistedQueryNotFound):
        documents.resolve(None, None, apq(digest(QUERY)), PHYSICIAN)


def test_nobody_puts_a_document_in_the_place_of_another() -> None:
    documents = Documents()
    with pytest.raises(PersistedQueryMismatch):
        documents.resolve(OTHER, None, apq(digest(QUERY)), PHYSICIAN)
    with pytest.raises(PersistedQueryNotFound):
        documents.resolve(None, None, apq(digest(QUERY)), PHYSICIAN)


def test_kept_texts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was asked for longest ago goes first."""
    texts = [f"{{ a{i}: me {{ subject }} }}" for i in range(3)]
    monkeypatch.setattr(trusted, "CACHE_CHARACTERS_MAX", 2 * len(texts[0]))
    documents = Documents()
    for text in texts[:2]:
        documents.resolve(text, None, apq(digest(text)), PHYSICIAN)
    documents.resolve(None, None, apq(digest(texts[0])), PHYSICIAN)
    documents.resolve(texts[2], None, apq(digest(texts[2])), PHYSICIAN)
    assert documents.resolve(None, None, apq(digest(texts[0])), PHYSICIAN).query == texts[0]
    with pytest.raises(PersistedQueryNotFound):
        documents.resolve(None, None, apq(digest(texts[1])), PHYSICIAN)


def test_a_text_that_is_too_large_to_run_is_not_kept() -> None:
    """It would drive out those of others."""
    documents = Documents()
    text = QUERY + " " * Limit.CHARACTER.value.maximum
    documents.resolve(text, None, apq(digest(text)), PHYSICIAN)
    with pytest.raises(PersistedQueryNotFound):
        documents.resolve(None, None, apq(digest(text)), PHYSICIAN)


MALFORMED: dict[str, tuple[str | None, dict[str, Any]]] = {
    "nothing": (None, {}),
    "an id that is none": ("sha256:123", {}),
    "an id with a path": ("../manifest.json", {}),
    "an id of another algorithm": ("md5:" + "0" * 32, {}),
    "capital letters": ("A" * 64, {}),
    "a line break at the end": ("0" * 64 + "\n", {}),
    "a hash that is a number": (None, apq(1)),
    "a hash that is a list": (None, apq([UNKNOWN])),
    "another version": (None, apq(UNKNOWN, version=2)),
    "no version": (None, {"persistedQuery": {"sha256Hash": UNKNOWN}}),
    "no object": (None, {"persistedQuery": UNKNOWN}),
}


@pytest.mark.parametrize(("document_id", "extensions"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_names(document_id: str | None, extensions: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        Documents().resolve(None, document_id, extensions, PHYSICIAN)


def test_a_profile_that_needs_trusted_documents() -> None:
    """Its documents may come as text or by their hash; any other is refused, known or not, and not kept."""
    documents = Documents({digest(QUERY): QUERY})
    assert documents.resolve(QUERY, None, {}, CDS).query == QUERY
    assert documents.resolve(None, digest(QUERY), {}, CDS).query == QUERY
    assert documents.resolve(None, None, apq(digest(QUERY)), CDS).query == QUERY
    documents.resolve(OTHER, None, apq(digest(OTHER)), PHYSICIAN)
    for query, document_id in ((OTHER, None), (None, digest(OTHER)), (QUERY + " ", None), (None, UNKNOWN)):
        with pytest.raises(DocumentNotTrusted):
            documents.resolve(query, document_id, {}, CDS)
    fresh = Documents()
    with pytest.raises(DocumentNotTrusted):
        fresh.resolve(OTHER, None, apq(digest(OTHER)), CDS)
    with pytest.raises(PersistedQueryNotFound):
        fresh.resolve(None, None, apq(digest(OTHER)), PHYSICIAN)


def test_who_explores() -> None:
    """Analysts, documents of the manifest, and everybody where the demo opens it."""
    documents = Documents({digest(INTROSPECTION): INTROSPECTION})
    assert documents.resolve(QUERY, None, {}, ANALYST).explores
    assert not documents.resolve(QUERY, None, {}, PHYSICIAN).explores
    assert documents.resolve(INTROSPECTION, None, {}, PHYSICIAN).explores
    assert documents.resolve(None, digest(INTROSPECTION), {}, CDS).explores
    opened = Documents(open_to_all=True)
    for caller in (PHYSICIAN, CDS):
        assert opened.resolve(INTROSPECTION, None, {}, caller).explores


def asked(query: str | None, document_id: str | None = None) -> Asked:
    """Parameters of a request."""
    return Asked(query, None, {}, {}, document_id)


def test_the_engine_asks_for_what_a_request_names() -> None:
    documents = Documents({digest(INTROSPECTION): INTROSPECTION})
    graph = schema._schema  # pyright: ignore[reportPrivateUsage] - no public name for it
    engine = Engine(graph, plan, lambda caller: nullcontext(caller), documents=documents)
    assert isinstance(engine.requested(asked(QUERY), PHYSICIAN), Operation)
    assert isinstance(engine.requested(asked(None, digest(INTROSPECTION)), PHYSICIAN), Operation)
    assert isinstance(engine.requested(asked(INTROSPECTION + " "), ANALYST), Operation)
    refused = engine.requested(asked(INTROSPECTION + " "), PHYSICIAN)
    assert isinstance(refused, list)
    assert refused[0]["extensions"]["code"] == "INTROSPECTION_DISABLED"
    missing = engine.requested(asked(None, UNKNOWN), PHYSICIAN)
    assert isinstance(missing, list)
    assert missing[0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"
    with pytest.raises(DocumentNotTrusted):
        engine.requested(asked(QUERY), CDS)


def test_engine_without_documents_is_closed() -> None:
    """What nobody configured is refused."""
    graph = schema._schema  # pyright: ignore[reportPrivateUsage] - no public name for it
    engine = Engine(graph, plan, lambda caller: nullcontext(caller))
    with pytest.raises(DocumentNotTrusted):
        engine.requested(asked(QUERY), CDS)
    assert isinstance(engine.requested(asked(INTROSPECTION), PHYSICIAN), list)


def test_the_committed_manifest_is_the_printed_one() -> None:
    assert trusted.MANIFEST.read_text(encoding="utf-8") == printed() + "\n", "run `make schema`"
    assert len(load()) == len(list(trusted.OPERATIONS.glob("*.graphql")))


def test_trusted_documents_are_valid() -> None:
    graph = schema._schema  # pyright: ignore[reportPrivateUsage] - no public name for it
    engine = Engine(graph, plan, lambda caller: nullcontext(caller), documents=Documents(load()))
    for name in load():
        assert isinstance(engine.requested(asked(None, name), CDS), Operation)


def test_manifest_that_was_changed(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({digest(QUERY): OTHER}), encoding="utf-8")
    with pytest.raises(SettingsError, match=digest(QUERY)[:12]):
        load(path)
