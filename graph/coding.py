"""Content codings of answers (RFC 9110, section 8.4): which one a client takes, and the bytes in it.

Why compressing an answer tells nobody what is in it: docs/decisions/0013.
"""

from __future__ import annotations

import re
import zlib
from enum import Enum
from functools import lru_cache

import zstandard

CODED_FROM = 1024
"""Bytes from which an answer is compressed: a smaller one fits into one packet as it is."""
GZIP_LEVEL = 1
ZSTD_LEVEL = 1
"""The fastest levels: the next ones take half as much time again for a tenth of the bytes."""
GZIP_WINDOW_BITS = 31
"""What tells zlib to make, or to expect, the gzip format."""

_CODING = re.compile(r"\s*([\w.*-]+)\s*(?:;\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?", re.ASCII)


class Coding(Enum):
    """A coding by its registered name."""

    ZSTD = "zstd"
    GZIP = "gzip"


@lru_cache(maxsize=256)
def coding_for(accept_encoding: str) -> Coding | None:
    """The coding that a client prefers, zstd (RFC 8878) between equals; None for the bytes as they are.

    Malformed entries are passed over.
    """
    found = (_CODING.fullmatch(entry) for entry in accept_encoding.lower().split(","))
    qualities = {match[1]: float(match[2] or "1") for match in found if match}
    quality, chosen = max(
        ((qualities.get(coding.value, 0.0), coding) for coding in Coding), key=lambda choice: choice[0]
    )
    return chosen if quality > 0 else None


def compressed(body: bytes, coding: Coding) -> bytes:
    """The body in a coding."""
    if coding is Coding.ZSTD:
        return _ZSTD.compress(body)
    deflating = zlib.compressobj(GZIP_LEVEL, wbits=GZIP_WINDOW_BITS)
    return deflating.compress(body) + deflating.flush()


_ZSTD = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
