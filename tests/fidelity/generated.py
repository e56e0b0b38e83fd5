"""FHIR files made from a seed: three patients, each in another kind of file, and a registry that all refer to."""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, cast
from uuid import UUID, uuid5

from tests.fidelity.files import Json, name
from tests.fidelity.generated_chart import Maker

SPACE = UUID("6f1de5f4-0000-4000-8000-000000000000")
SERVER = "https://ehr.example.org/fhir/"
EXACT = re.compile(r'"#([^"#]+)#"')
"""A number as the generator writes it, between # so that its digits stay."""


def write_network(folder: Path, seed: int) -> list[Path]:
    """Writes the files; what refers comes before what it refers to."""
    random = Random(seed)
    maker = Maker(random)
    registry = maker.registry()
    transaction, collection, export = (maker.chart(number) for number in range(3))
    random.shuffle(transaction)
    paths = [
        _transaction(folder / "a-transaction.json", transaction, {name(item): item for item in registry}),
        _collection(folder / "b-collection.json.gz", collection),
        *_export(folder / "c-export", export),
        *_export(folder / "d-registry", registry),
    ]
    return paths


def _written(value: object) -> str:
    return EXACT.sub(r"\1", json.dumps(value, ensure_ascii=False))


def _pointing(value: Any, to: Callable[[str], str]) -> Any:
    """A resource whose references are written another way; those into itself stay."""
    if isinstance(value, list):
        return [_pointing(item, to) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    given = {key: _pointing(item, to) for key, item in cast(Json, value).items()}
    if "/" in str(given.get("reference")):
        given["reference"] = to(given["reference"])
    return given


def _transaction(path: Path, resources: Sequence[Json], registry: dict[str, Json]) -> Path:
    """Transaction bundle: fullUrls that are not the ids, and searches for what is elsewhere."""

    def address(key: str) -> str:
        if key not in registry:
            return f"urn:uuid:{uuid5(SPACE, key)}"
        token = registry[key]["identifier"][0]
        return f"{key.partition('/')[0]}?identifier={token['system']}|{token['value']}"

    entries = [
        {
            "fullUrl": address(name(item)),
            "resource": _pointing(item, address),
            "request": {"method": "POST", "url": item["resourceType"], "ifNoneExist": f"_id={item['id']}"},
        }
        for item in resources
    ]
    path.write_text(_written({"resourceType": "Bundle", "type": "transaction", "entry": entries}))
    return path


def _collection(path: Path, resources: Sequence[Json]) -> Path:
    """Gzipped collection bundle: fullUrls of a server, relative references."""
    entries = [{"fullUrl": f"{SERVER}{name(item)}", "resource": item} for item in resources]
    path.write_bytes(
        gzip.compress(_written({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode())
    )
    return path


def _export(folder: Path, resources: Sequence[Json]) -> list[Path]:
    """Bulk export: NDJSON, one file for each type."""
    folder.mkdir()
    lines: dict[str, list[str]] = defaultdict(list)
    for item in resources:
        lines[item["resourceType"]].append(_written(item))
    paths = {kind: folder / f"{kind}.ndjson" for kind in sorted(lines)}
    for kind, path in paths.items():
        path.write_text("\n".join(lines[kind]) + "\n")
    return list(paths.values())
