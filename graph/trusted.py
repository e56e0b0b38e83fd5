"""Documents by hash: trusted ones from the manifest, and others that a client persists as it goes (Apollo's APQ).

`python -m graph.trusted` prints the manifest of `operations/*.graphql`: an object of SHA-256 (hex) to text, the form
that Relay's compiler and GraphQL Code Generator write. A request names a document by `documentId` ("sha256:…", draft of
persisted documents in GraphQL over HTTP) or by `extensions.persistedQuery.sha256Hash`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from db.caller import Caller
from db.errors import BadRequest, DocumentNotTrusted, PersistedQueryMismatch, PersistedQueryNotFound, SettingsError
from db.policy import POLICY
from graph.limits import Limit

OPERATIONS = Path(__file__).parents[1] / "operations"
MANIFEST = OPERATIONS / "manifest.json"

CACHE_CHARACTERS_MAX = 1_000_000
"""Text of all documents that clients persisted; who is asked least recently is dropped first."""

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Resolved:
    """The text of a document, and whether its caller may explore the schema with it."""

    query: str
    explores: bool


class Documents:
    """What callers may run. `open_to_all` lets every profile run any document and explore: the demo's GraphiQL.

    Persisted documents are shared by all callers: an entry is found by the hash of its own text and holds no answer, so
    that nobody can put a document in another's place.
    """

    def __init__(self, manifest: Mapping[str, str] | None = None, *, open_to_all: bool = False) -> None:
        self._manifest = manifest or {}
        self._open_to_all = open_to_all
        self._persisted: OrderedDict[str, str] = OrderedDict()
        self._characters = 0

    def resolve(
        self, query: str | None, document_id: str | None, extensions: Mapping[str, Any], caller: Caller
    ) -> Resolved:
        """The document that a request names or brings. Raises BadRequest, DocumentNotTrusted, PersistedQueryNotFound,
        and PersistedQueryMismatch for a text that is not the one of its hash.
        """
        named = _named(document_id, extensions)
        digest = named if query is None else hashlib.sha256(query.encode()).hexdigest()
        if digest is None:
            raise BadRequest("'query' must be a string, unless the request names a document by its hash.")
        if named not in (None, digest):
            raise PersistedQueryMismatch
        trusted = self._manifest.get(digest)
        if trusted is None and caller.profile in POLICY.trusting and not self._open_to_all:
            raise DocumentNotTrusted
        explores = trusted is not None or self._open_to_all or caller.profile in POLICY.explorers
        text = query if trusted is None else trusted
        if text is None:
            text = self._found(digest)
        elif named and trusted is None:
            self._persist(digest, text)
        return Resolved(text, explores)

    def _found(self, digest: str) -> str:
        text = self._persisted.get(digest)
        if text is None:
            # Clients compare the message: https://www.apollographql.com/docs/apollo-server/performance/apq
            raise PersistedQueryNotFound("PersistedQueryNotFound")
        self._persisted.move_to_end(digest)
        return text

    def _persist(self, digest: str, text: str) -> None:
        """Keeps a text that can be run under its hash, and drops others beyond the bound."""
        if digest not in self._persisted and len(text) <= Limit.CHARACTER.value.maximum:
            self._persisted[digest] = text
            self._characters += len(text)
            while self._characters > CACHE_CHARACTERS_MAX:
                _, dropped = self._persisted.popitem(last=False)
                self._characters -= len(dropped)


def load(path: Path = MANIFEST) -> Mapping[str, str]:
    """The trusted documents of a manifest. Raises SettingsError for one whose hash is not its own."""
    manifest: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    for digest, text in manifest.items():
        if hashlib.sha256(text.encode()).hexdigest() != digest:
            raise SettingsError(f"{path.name}: a document is not the one of its hash {digest[:12]}.")
    return manifest


def printed(folder: Path = OPERATIONS) -> str:
    """The manifest of a folder's documents, in the order of their names."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.graphql"))]
    manifest = {hashlib.sha256(text.encode()).hexdigest(): text for text in texts}
    return json.dumps(manifest, indent=2, ensure_ascii=False)


def _named(document_id: str | None, extensions: Mapping[str, Any]) -> str | None:
    """The hash that a request names, in hex; None for none. Raises BadRequest for one that is malformed."""
    persisted = extensions.get("persistedQuery")
    given: object = document_id
    if given is None and persisted is not None:
        entry = cast("dict[str, object]", persisted) if isinstance(persisted, dict) else {}
        given = entry.get("sha256Hash") if entry.get("version") == 1 else ""
    if given is None:
        return None
    match = _DIGEST.fullmatch(given) if isinstance(given, str) else None
    if match is None:
        raise BadRequest("A document is named by 64 hexadecimal digits of its SHA-256.")
    return match[1]


if __name__ == "__main__":
    print(printed())
