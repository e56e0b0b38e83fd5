"""Streams resources out of FHIR files: bundles entry by entry, NDJSON line by line, plain or gzipped."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, cast

import ijson

from db.errors import AppError
from workers.fhir.elements import Json

SUFFIXES = (".json", ".ndjson", ".jsonl", ".json.gz", ".ndjson.gz", ".jsonl.gz")
LINES = (".ndjson", ".jsonl")
LFS = b"version https://git-lfs"


class BrokenFile(AppError):
    """This file can't be read."""


def files(paths: Iterable[Path]) -> list[Path]:
    """The FHIR files among these files and folders, by name. Raises BrokenFile for a missing one."""
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise BrokenFile(f"{path.name}: there is no such file or folder.")
        inside = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
        found.update(dict.fromkeys(item for item in inside if path.is_file() or item.name.lower().endswith(SUFFIXES)))
    return list(found)


def entries(path: Path) -> Iterator[tuple[str | None, Json]]:
    """(fullUrl, resource) of every entry of a file; memory holds one at a time. Raises BrokenFile.

    An NDJSON line or a lone resource has no fullUrl. A line of a log (no resourceType) is passed over.
    """
    try:
        with _opened(path) as (stream, name):
            yield from _lines(stream) if name.endswith(LINES) else _document(stream)
    except (ijson.JSONError, ValueError, RecursionError):
        raise BrokenFile("it is not well-formed JSON") from None
    except (EOFError, OSError, zlib.error):
        raise BrokenFile("it is cut off or can't be read") from None


def kind_of(path: Path) -> str | None:
    """Type of the first resource of a file; None where it can't be read."""
    try:
        return next((resource["resourceType"] for _, resource in entries(path)), None)
    except BrokenFile:
        return None


@contextmanager
def _opened(path: Path) -> Generator[tuple[BinaryIO, str]]:
    """The file's bytes, unpacked, and its name without .gz; told by content, since names lie."""
    with path.open("rb") as raw:
        head = raw.peek(64)[:64]
        if not head.strip():
            raise BrokenFile("it is empty")
        if head.startswith(LFS):
            raise BrokenFile("it is a Git LFS pointer, not the data")
        name = path.name.lower().removesuffix(".gz")
        if head.startswith(b"\x1f\x8b"):
            with gzip.open(raw) as unpacked:
                yield BufferedReader(cast(Any, unpacked), 1 << 18), name
        else:
            yield raw, name


def _lines(stream: BinaryIO) -> Iterator[tuple[str | None, Json]]:
    for line in stream:
        if line.strip():
            value: object = json.loads(line, parse_float=Decimal, parse_constant=_refuse)
            if not isinstance(value, dict):
                raise BrokenFile("a line is not an object")
            yield from _resource(None, cast(Json, value))


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _document(stream: BinaryIO) -> Iterator[tuple[str | None, Json]]:
    """A bundle, or one resource by itself."""
    kind = _resource_type(stream)
    stream.seek(0)
    if kind == "Bundle":
        for entry in ijson.items(stream, "entry.item"):
            yield from _resource(entry.get("fullUrl"), entry.get("resource"))
    elif kind is None:
        raise BrokenFile("it is no FHIR resource")
    else:
        for resource in ijson.items(stream, ""):
            yield None, resource


def _resource_type(stream: BinaryIO) -> str | None:
    """Type of the outermost object; a bundle is told by its `entry` where the type comes after it."""
    for prefix, event, value in ijson.parse(stream):
        if prefix == "resourceType" and event == "string":
            return cast(str, value)
        if prefix == "entry" and event == "start_array":
            return "Bundle"
    return None


def _resource(full_url: object, resource: object) -> Iterator[tuple[str | None, Json]]:
    if isinstance(resource, dict) and isinstance(cast(Json, resource).get("resourceType"), str):
        yield (full_url if isinstance(full_url, str) else None), cast(Json, resource)
