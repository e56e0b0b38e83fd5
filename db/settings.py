"""Every setting of Caregraph, in one place, read from the environment and validated at start.

A variable that is not set is looked up in `stores.env` under the data directory, which `make run` writes for the
embedded stores; so `python -m workers …` finds a running instance by `CAREGRAPH_DATA` alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

from db.errors import SettingsError

STORES_FILE = "stores.env"

URL_SCHEMES = {
    "CAREGRAPH_CLINICAL_URL": ("postgresql", "postgres"),
    "CAREGRAPH_CLINICAL_DIRECT_URL": ("postgresql", "postgres"),
    "CAREGRAPH_RESEARCH_URL": ("postgresql", "postgres"),
    "CAREGRAPH_IMAGING_URL": ("postgresql", "postgres"),
    "CAREGRAPH_VITALS_URL": ("postgresql", "postgres"),
    "CAREGRAPH_NOTES_URL": ("mongodb", "mongodb+srv"),
    "CAREGRAPH_ARCHIVE_URL": ("http", "https"),
    "CAREGRAPH_WAREHOUSE_URL": ("snowflake",),
}
"""Variables that replace an embedded store by a real server, and the URL schemes that each takes."""

KAFKA_SCHEMES = ("kafka", "kafka+tls")

CONNECTIONS_MAX = 16
"""Connections of one process to each PostgreSQL database by default: several for each core of its server."""


class Pooler(Enum):
    """What stands between the API and PostgreSQL."""

    NONE = "none"
    TRANSACTION = "transaction"
    """PgBouncer in transaction mode: nothing stays prepared, every statement is planned anew."""
    PREPARED = "prepared"
    """PgBouncer 1.21 or later in transaction mode with `max_prepared_statements`: what is prepared stays so."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the processes of one instance need to know; see README.md for the table of variables."""

    data: Path
    """CAREGRAPH_DATA: directory of the embedded stores."""
    port: int
    """CAREGRAPH_PORT: TCP port of the API on 127.0.0.1."""
    demo: bool
    """CAREGRAPH_DEMO: 1 loads the demo network, lets its own token issuer in, and opens schema and documents to all."""
    demo_live: bool
    """CAREGRAPH_DEMO_LIVE: 1 lets `make run` simulate bedside monitors whose readings arrive as they are made."""
    secret: bytes
    """CAREGRAPH_SECRET: at least 32 characters; signs contexts, cursors and demo tokens, derives role passwords."""
    clinical_url: str
    """CAREGRAPH_CLINICAL_URL: owner's URL of the clinical database (roles of the profiles log in beside it)."""
    clinical_direct_url: str
    """CAREGRAPH_CLINICAL_DIRECT_URL: the same past a pooler, which audit and notifications can't go through."""
    research_url: str
    """CAREGRAPH_RESEARCH_URL: a replica of the clinical database that research reads, so that charts do not wait."""
    research_mb_per_s: int
    """CAREGRAPH_RESEARCH_MB_PER_S: megabytes that a worker of extractions reads in a second at most; 0: no bound."""
    imaging_url: str
    """CAREGRAPH_IMAGING_URL: the same for the imaging database."""
    vitals_url: str
    """CAREGRAPH_VITALS_URL: the same for the vitals database, TimescaleDB or plain PostgreSQL."""
    notes_url: str
    """CAREGRAPH_NOTES_URL: mongodb://user:password@host:port/database."""
    archive_url: str
    """CAREGRAPH_ARCHIVE_URL: http(s)://access_key:secret_key@host:port/bucket?region=…"""
    warehouse_url: str
    """CAREGRAPH_WAREHOUSE_URL: snowflake://user:password@host:port/database/schema?account=…&warehouse=…&protocol=…"""
    store_timeout_s: float
    """CAREGRAPH_STORE_TIMEOUT_S: seconds until a store's fields are given up."""
    request_deadline_s: float
    """CAREGRAPH_REQUEST_DEADLINE_S: seconds that one operation may take, its body and the sending included."""
    requests_per_minute: int
    """CAREGRAPH_REQUESTS_PER_MINUTE: operations of one caller; a minute's worth may come at once."""
    in_flight_max: int
    """CAREGRAPH_IN_FLIGHT_MAX: operations of one access profile under way or waiting for a connection."""
    connections_max: int
    """CAREGRAPH_CONNECTIONS_MAX: connections of one process to each PostgreSQL database, over all access profiles."""
    pooler: Pooler
    """CAREGRAPH_POOLER: `transaction` or `prepared` where the URLs lead to PgBouncer."""
    processes: int
    """CAREGRAPH_PROCESSES: processes of the API that `make run` starts; one for each core by default, up to eight."""
    allowed_origins: frozenset[str]
    """CAREGRAPH_ALLOWED_ORIGINS: origins of other sites, separated by commas, whose pages may ask; none by default."""
    oidc_issuer: str | None
    """CAREGRAPH_OIDC_ISSUER: `iss` of accepted tokens and base of the issuer's discovery; None: only the demo's."""
    oidc_audience: str
    """CAREGRAPH_OIDC_AUDIENCE: what `aud` of its tokens must name; needed with the issuer, else empty."""
    oidc_jwks_url: str | None
    """CAREGRAPH_OIDC_JWKS_URL: where the issuer's keys are; None finds it by discovery."""
    export_url: str | None
    """CAREGRAPH_EXPORT_URL: file:///directory or kafka[+tls]://host:port/topic that changes go to; None: none does."""


def stores_file(data: Path) -> dict[str, str]:
    """Variables that the embedded stores of this data directory announce; empty when none was started there."""
    path = data / STORES_FILE
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment, then from the data directory. Raises SettingsError naming the variable."""
    given = dict(os.environ if environ is None else environ)
    data = Path(given.get("CAREGRAPH_DATA") or ".caregraph")
    values = stores_file(data) | {key: value for key, value in given.items() if value}
    return Settings(
        data=data,
        port=_integer(values, "CAREGRAPH_PORT", 8000, 1, 65535),
        demo=_flag(values, "CAREGRAPH_DEMO", default=True),
        demo_live=_flag(values, "CAREGRAPH_DEMO_LIVE", default=False),
        secret=_secret(values),
        clinical_url=_url(values, "CAREGRAPH_CLINICAL_URL"),
        clinical_direct_url=_direct_url(values),
        research_url=_research_url(values),
        research_mb_per_s=_integer(values, "CAREGRAPH_RESEARCH_MB_PER_S", 10, 0, 10_000),
        imaging_url=_url(values, "CAREGRAPH_IMAGING_URL"),
        vitals_url=_url(values, "CAREGRAPH_VITALS_URL"),
        notes_url=_url(values, "CAREGRAPH_NOTES_URL"),
        archive_url=_url(values, "CAREGRAPH_ARCHIVE_URL"),
        warehouse_url=_url(values, "CAREGRAPH_WAREHOUSE_URL"),
        store_timeout_s=_integer(values, "CAREGRAPH_STORE_TIMEOUT_S", 5, 1, 600),
        request_deadline_s=_integer(values, "CAREGRAPH_REQUEST_DEADLINE_S", 30, 1, 600),
        requests_per_minute=_integer(values, "CAREGRAPH_REQUESTS_PER_MINUTE", 6_000, 1, 1_000_000),
        in_flight_max=_integer(values, "CAREGRAPH_IN_FLIGHT_MAX", 200, 1, 10_000),
        connections_max=_integer(values, "CAREGRAPH_CONNECTIONS_MAX", CONNECTIONS_MAX, 2, 1_000),
        pooler=_pooler(values, "CAREGRAPH_POOLER"),
        processes=_integer(values, "CAREGRAPH_PROCESSES", min(os.cpu_count() or 1, 8), 1, 256),
        allowed_origins=_origins(values, "CAREGRAPH_ALLOWED_ORIGINS"),
        oidc_issuer=_issuer_url(values, "CAREGRAPH_OIDC_ISSUER"),
        oidc_audience=_audience(values),
        oidc_jwks_url=_issuer_url(values, "CAREGRAPH_OIDC_JWKS_URL"),
        export_url=_export_url(values, "CAREGRAPH_EXPORT_URL"),
    )


def is_trusted_url(raw: str) -> bool:
    """Whether keys may be fetched from a URL: https, or http on 127.0.0.1; no user or fragment in it."""
    try:
        parts = urlsplit(raw)
        secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname == "127.0.0.1")
        return secure and bool(parts.hostname) and parts.port != 0 and not {"@", "#"} & set(raw)
    except ValueError:
        return False


def _integer(values: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    raw = values.get(name, str(default))
    if not raw.isascii() or not raw.isdigit() or not low <= int(raw) <= high:
        raise SettingsError(f"{name} must be a whole number from {low} to {high}.")
    return int(raw)


def _flag(values: Mapping[str, str], name: str, *, default: bool) -> bool:
    raw = values.get(name, "1" if default else "0")
    if raw not in ("0", "1"):
        raise SettingsError(f"{name} must be 0 or 1.")
    return raw == "1"


def _pooler(values: Mapping[str, str], name: str) -> Pooler:
    raw = values.get(name, Pooler.NONE.value)
    if raw not in {pooler.value for pooler in Pooler}:
        raise SettingsError(f"{name} must be {', '.join(pooler.value for pooler in Pooler)}.")
    return Pooler(raw)


def _direct_url(values: Mapping[str, str]) -> str:
    """URL of the clinical database for connections that last as long as the process."""
    name = "CAREGRAPH_CLINICAL_DIRECT_URL"
    if values.get(name):
        return _url(values, name)
    if _pooler(values, "CAREGRAPH_POOLER") is not Pooler.NONE:
        raise SettingsError(f"{name} must be set where CAREGRAPH_POOLER is: one session must keep its connection.")
    return _url(values, "CAREGRAPH_CLINICAL_URL")


def _research_url(values: Mapping[str, str]) -> str:
    """URL of the replica that research reads; without one it reads the clinical database itself."""
    name = "CAREGRAPH_RESEARCH_URL"
    return _url(values, name if values.get(name) else "CAREGRAPH_CLINICAL_URL")


def _secret(values: Mapping[str, str]) -> bytes:
    raw = values.get("CAREGRAPH_SECRET", "")
    if len(raw) < 32:
        raise SettingsError("CAREGRAPH_SECRET must have at least 32 characters (`make run` makes one).")
    return raw.encode()


def _origins(values: Mapping[str, str], name: str) -> frozenset[str]:
    """Origins (RFC 6454) as a browser writes them; no pattern, and not `null`, which any sandboxed page has."""
    origins = frozenset(origin.strip() for origin in values.get(name, "").split(",") if origin.strip())
    if not all(re.fullmatch(r"https?://[a-z0-9.-]+(:[1-9][0-9]{0,4})?", origin) for origin in origins):
        raise SettingsError(f"{name} must hold origins such as https://ehr.example.org, separated by commas.")
    return origins


def _issuer_url(values: Mapping[str, str], name: str) -> str | None:
    raw = values.get(name)
    if raw is not None and not is_trusted_url(raw):
        raise SettingsError(f"{name} must be an https URL without user and fragment (http on 127.0.0.1 only).")
    return raw


def _export_url(values: Mapping[str, str], name: str) -> str | None:
    """Of files an absolute path; of Kafka a server and a topic, whose names have letters, digits and ._- only."""
    raw = values.get(name)
    if raw is None:
        return None
    try:
        parts = urlsplit(raw)
        port = parts.port
    except ValueError:
        raise SettingsError(f"{name} is not a URL.") from None
    of_files = parts.scheme == "file" and not parts.netloc and parts.path.startswith("/")
    of_kafka = parts.scheme in KAFKA_SCHEMES and parts.hostname and port and not parts.username
    topic = re.fullmatch(r"/[A-Za-z0-9._-]{1,249}", parts.path)
    if parts.query or parts.fragment or not (of_files or (of_kafka and topic)):
        raise SettingsError(f"{name} must look like file:///directory or kafka+tls://host:port/topic.")
    return raw


def _audience(values: Mapping[str, str]) -> str:
    """Audience of the issuer's tokens: without one, tokens for any other application of the issuer would do."""
    issuer, audience = values.get("CAREGRAPH_OIDC_ISSUER"), values.get("CAREGRAPH_OIDC_AUDIENCE", "")
    if issuer and not audience:
        raise SettingsError("CAREGRAPH_OIDC_AUDIENCE must be set where CAREGRAPH_OIDC_ISSUER is.")
    for name in ("CAREGRAPH_OIDC_AUDIENCE", "CAREGRAPH_OIDC_JWKS_URL"):
        if values.get(name) and not issuer:
            raise SettingsError(f"{name} needs CAREGRAPH_OIDC_ISSUER.")
    return audience


def _url(values: Mapping[str, str], name: str) -> str:
    raw = values.get(name)
    if not raw:
        raise SettingsError(f"{name} is not set and no embedded store is running (start one with `make run`).")
    try:
        parts = urlsplit(raw)
        port = parts.port
    except ValueError:
        raise SettingsError(f"{name} is not a URL.") from None
    if parts.scheme not in URL_SCHEMES[name] or not parts.hostname or (port is not None and port < 1):
        raise SettingsError(f"{name} must look like {URL_SCHEMES[name][0]}://user:password@host:port/name.")
    return raw
