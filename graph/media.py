"""Media types: what a client sends, and in which of this server's types it takes the answer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

JSON = "application/json"
GRAPHQL_JSON = "application/graphql-response+json"
MULTIPART = "multipart/mixed"
EVENT_STREAM = "text/event-stream"
PARTS_FORMAT = "v0.2"
"""Version of incremental delivery that graphql-core speaks: `pending`, `incremental` by id, `completed`."""

_NAME = r"[\w!#$%&'*+.^`|~-]+"  # "token" in RFC 9110
_VALUE = rf'{_NAME}|"(?:[^"\\]|\\.)*"'
_PARAMETER = re.compile(rf"\s*;\s*({_NAME})\s*=\s*({_VALUE})")
_MEDIA_TYPE = re.compile(rf"\s*({_NAME}/{_NAME})((?:\s*;\s*{_NAME}\s*=\s*(?:{_VALUE}))*)\s*;?\s*")
_QUALITY = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type or range with its parameters, names in lower case."""

    name: str
    parameters: dict[str, str]

    @property
    def quality(self) -> float:
        """Weight from 0 (refused) to 1; a malformed one counts as 0."""
        weight = self.parameters.get("q", "1")
        return float(weight) if _QUALITY.fullmatch(weight) else 0.0

    @property
    def is_utf8(self) -> bool:
        """Whether it is in UTF-8 or leaves that open."""
        return self.parameters.get("charset", "utf-8").lower() in ("utf-8", "utf8")


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the client takes: a media type for an answer in one piece, if any; whether it takes parts, and events."""

    whole: str | None
    parts: bool = False
    events: bool = False


def media_type(header: str) -> MediaType | None:
    """The media type of a Content-Type header; None when it is malformed."""
    match = _MEDIA_TYPE.fullmatch(header)
    return _parsed(match) if match else None


def accepted(headers: Iterable[str]) -> Accepted:
    """What Accept headers allow; without any, plain JSON. Malformed ranges are passed over."""
    header = ",".join(headers)
    ranges = [_parsed(match) for match in _MEDIA_TYPE.finditer(header)] if header.strip() else [MediaType("*/*", {})]
    json, graphql = _rank(JSON, ranges), _rank(GRAPHQL_JSON, ranges)
    # Between equals, a client that names the GraphQL type knows it; one that takes anything gets what anything reads.
    whole = GRAPHQL_JSON if graphql > json or (graphql == json and graphql[1] == 2) else JSON
    return Accepted(
        whole if max(json, graphql)[0] > 0 else None,
        any(_takes_parts(range_) for range_ in ranges),
        any(range_.name == EVENT_STREAM and range_.quality > 0 and range_.is_utf8 for range_ in ranges),
    )


def _parsed(match: re.Match[str]) -> MediaType:
    parameters = {name.lower(): value.strip('"') for name, value in _PARAMETER.findall(match[2])}
    return MediaType(match[1].lower(), parameters)


def _rank(name: str, ranges: Iterable[MediaType]) -> tuple[float, int]:
    """Quality of the most specific range that covers a media type, and how specific that is: 2 names it."""
    patterns = ("*/*", "application/*", name)
    found = [
        (patterns.index(range_.name), range_.quality) for range_ in ranges if range_.name in patterns and range_.is_utf8
    ]
    specificity, quality = max(found, default=(0, 0.0))
    return quality, specificity


def _takes_parts(range_: MediaType) -> bool:
    """Whether it asks for parts in this server's format: another `deferSpec` or `subscriptionSpec` does not."""
    wanted = range_.parameters.keys() - {"q", "boundary", "charset", "incrementalspec"}
    version = range_.parameters.get("incrementalspec", PARTS_FORMAT)
    return range_.name == MULTIPART and range_.quality > 0 and not wanted and version == PARTS_FORMAT
