"""Every setting of Caregraph, in one place, read from the environment and validated at start.

A variable that is not set is looked up in `stores.env` under the data directory, which `make run` writes for the
embedded stores; so `python -m workers …` finds a running instance by `CAREGRAPH_DATA` alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from db.errors import SettingsError

STORES_FILE = "stores.env"

URL_SCHEMES = {
    "CAREGRAPH_CLINICAL_URL": ("postgresql", "postgres"),
    "CAREGRAPH_IMAGING_URL": ("postgresql", "postgres"),
    "CAREGRAPH_VITALS_URL": ("postgresql", "postgres"),
    "CAREGRAPH_NOTES_URL": ("mongodb", "mongodb+srv"),
    "CAREGRAPH_ARCHIVE_URL": ("http", "https"),
    "CAREGRAPH_WAREHOUSE_URL": ("snowflake",),
}
"""Variables that replace an embedded store by a real server, and the URL schemes that each takes."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the processes of one instance need to know; see README.md for the table of variables."""

    data: Path
    """CAREGRAPH_DATA: directory of the embedded stores."""
    port: int
    """CAREGRAPH_PORT: TCP port of the API on 127.0.0.1."""
    demo: bool
    """CAREGRAPH_DEMO: 1 loads the demo network and lets the demo's own token issuer in."""
    secret: bytes
    """CAREGRAPH_SECRET: at least 32 characters; signs contexts, cursors and demo tokens, derives role passwords."""
    clinical_url: str
    """CAREGRAPH_CLINICAL_URL: owner's URL of the clinical database (roles of the profiles log in beside it)."""
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
    issuer: str
    """CAREGRAPH_ISSUER: `iss` of accepted tokens."""
    audience: str
    """CAREGRAPH_AUDIENCE: `aud` of accepted tokens."""


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
        secret=_secret(values),
        clinical_url=_url(values, "CAREGRAPH_CLINICAL_URL"),
        imaging_url=_url(values, "CAREGRAPH_IMAGING_URL"),
        vitals_url=_url(values, "CAREGRAPH_VITALS_URL"),
        notes_url=_url(values, "CAREGRAPH_NOTES_URL"),
        archive_url=_url(values, "CAREGRAPH_ARCHIVE_URL"),
        warehouse_url=_url(values, "CAREGRAPH_WAREHOUSE_URL"),
        store_timeout_s=_integer(values, "CAREGRAPH_STORE_TIMEOUT_S", 5, 1, 600),
        issuer=values.get("CAREGRAPH_ISSUER", "caregraph-demo"),
        audience=values.get("CAREGRAPH_AUDIENCE", "caregraph"),
    )


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


def _secret(values: Mapping[str, str]) -> bytes:
    raw = values.get("CAREGRAPH_SECRET", "")
    if len(raw) < 32:
        raise SettingsError("CAREGRAPH_SECRET must have at least 32 characters (`make run` makes one).")
    return raw.encode()


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
