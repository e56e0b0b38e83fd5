"""Compressed answers: by size and by what the client takes, whole or not at all, and never in parts."""

from __future__ import annotations

import zlib

import pytest
import zstandard

from graph.coding import CODED_FROM, GZIP_WINDOW_BITS, Coding, coding_for, compressed
from tests.http.serving import Client

LONG = b'{"query": "{ counted(to: 500) }"}'
SHORT = b'{"query": "{ name }"}'


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("", None),
        ("gzip", Coding.GZIP),
        ("GZIP", Coding.GZIP),
        ("zstd", Coding.ZSTD),
        ("gzip, deflate, br, zstd", Coding.ZSTD),
        ("gzip;q=1.0, zstd;q=0.5", Coding.GZIP),
        ("zstd;q=0, gzip;q=0.1", Coding.GZIP),
        ("gzip ; q = 0", None),
        ("identity", None),
        ("br, deflate, *", None),
        ("gzip;q=2", None),
        ("gzip;quality=1, zstd;;", None),
        (",,", None),
    ],
)
def test_coding_of_a_header(header: str, coding: Coding | None) -> None:
    assert coding_for(header) is coding


@pytest.mark.parametrize("coding", Coding)
def test_compressed_bytes_are_the_same_when_opened(coding: Coding) -> None:
    body = b'{"data": 1}' * 1000
    assert opened(compressed(body, coding), coding.value) == body


def opened(body: bytes, coding: str | None) -> bytes:
    """The bytes that a client reads."""
    if coding == "zstd":
        return zstandard.ZstdDecompressor().decompress(body)
    return zlib.decompress(body, GZIP_WINDOW_BITS) if coding == "gzip" else body


@pytest.mark.parametrize(("accept", "coding"), [("gzip", "gzip"), ("gzip, zstd", "zstd"), ("br", None), (None, None)])
def test_long_answer(client: Client, accept: str | None, coding: str | None) -> None:
    plain = client.send(LONG)
    answer = client.send(LONG, headers={"accept-encoding": accept})
    assert (answer.status, answer.headers.get("content-encoding")) == (200, coding)
    assert opened(answer.body, coding) == plain.body
    assert len(plain.body) >= CODED_FROM
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert "Accept-Encoding" in answer.headers["vary"].split(", ")
    assert answer.headers["cache-control"] == "no-store"
    if coding:
        assert len(answer.body) < len(plain.body) / 2


def test_short_answer_and_refusal(client: Client) -> None:
    headers = {"accept-encoding": "gzip, zstd"}
    for body in (SHORT, b"{}"):
        assert "content-encoding" not in client.send(body, headers=headers).headers


def test_parts_are_not_compressed(client: Client) -> None:
    query = b'{"query": "{ chart { title ... @defer { notes } } }"}'
    answer = client.send(query, headers={"accept": "multipart/mixed", "accept-encoding": "gzip, zstd"})
    assert "content-encoding" not in answer.headers
    assert b"hasNext" in answer.body
