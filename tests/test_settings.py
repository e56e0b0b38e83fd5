"""Settings: every bad value stops the start with a message that names the variable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from db.errors import SettingsError
from db.settings import load

GOOD = {
    "CAREGRAPH_SECRET": "s" * 32,
    "CAREGRAPH_CLINICAL_URL": "postgresql://u:p@127.0.0.1:5432/clinical",
    "CAREGRAPH_IMAGING_URL": "postgresql://u:p@127.0.0.1:5432/imaging",
    "CAREGRAPH_VITALS_URL": "postgresql://u:p@127.0.0.1:5432/vitals",
    "CAREGRAPH_NOTES_URL": "mongodb://u:p@127.0.0.1:27017/caregraph",
    "CAREGRAPH_ARCHIVE_URL": "http://k:s@127.0.0.1:9000/bucket",
    "CAREGRAPH_WAREHOUSE_URL": "snowflake://u:p@127.0.0.1:443/db/schema?account=a",
}
BAD = [
    ("CAREGRAPH_SECRET", "short"),
    ("CAREGRAPH_PORT", "0"),
    ("CAREGRAPH_PORT", "65536"),
    ("CAREGRAPH_PORT", "eighty"),
    ("CAREGRAPH_PORT", "٣"),
    ("CAREGRAPH_DEMO", "yes"),
    ("CAREGRAPH_STORE_TIMEOUT_S", "0"),
    ("CAREGRAPH_REQUEST_DEADLINE_S", "601"),
    ("CAREGRAPH_REQUESTS_PER_MINUTE", "none"),
    ("CAREGRAPH_IN_FLIGHT_MAX", "-1"),
    ("CAREGRAPH_CONNECTIONS_MAX", "1001"),
    ("CAREGRAPH_PROCESSES", "0"),
    ("CAREGRAPH_POOLER", "session"),
    ("CAREGRAPH_CLINICAL_DIRECT_URL", "http://127.0.0.1"),
    ("CAREGRAPH_ALLOWED_ORIGINS", "https://ehr.example.org/app"),
    ("CAREGRAPH_CLINICAL_URL", "mysql://u:p@127.0.0.1/x"),
    ("CAREGRAPH_RESEARCH_URL", "http://127.0.0.1"),
    ("CAREGRAPH_CLINICAL_URL", "postgresql:///nohost"),
    ("CAREGRAPH_NOTES_URL", "mongodb://u:p@127.0.0.1:port/x"),
    ("CAREGRAPH_ARCHIVE_URL", "s3://bucket"),
    ("CAREGRAPH_WAREHOUSE_URL", "nonsense"),
    ("CAREGRAPH_OIDC_AUDIENCE", "without an issuer"),
    ("CAREGRAPH_OIDC_JWKS_URL", "https://login.example/keys"),
]
UNTRUSTED = [
    "login.example",
    "http://login.example",
    "http://localhost:8080",
    "http://127.0.0.1.login.example",
    "http://127.0.0.1@login.example",
    "https://user:password@login.example",
    "https://login.example/#keys",
    "https://:443/",
    "https://login.example:port",
    "https://[login",
    "file:///etc/passwd",
]


def test_good_settings_load(tmp_path: Path) -> None:
    settings = load({**GOOD, "CAREGRAPH_DATA": str(tmp_path)})
    assert (settings.port, settings.demo, settings.store_timeout_s) == (8000, True, 5)


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_refused_by_name_and_not_quoted(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load({**GOOD, "CAREGRAPH_DATA": str(tmp_path), name: value})
    assert name in refused.value.message
    assert value == "0" or value not in refused.value.message


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_value_is_refused_by_name(tmp_path: Path, name: str) -> None:
    given = {key: value for key, value in GOOD.items() if key != name}
    with pytest.raises(SettingsError, match=name):
        load({**given, "CAREGRAPH_DATA": str(tmp_path)})


def test_the_environment_wins_over_the_data_directory(tmp_path: Path) -> None:
    lines = [f"{key}={value}" for key, value in GOOD.items()]
    (tmp_path / "stores.env").write_text("\n".join(lines))
    other = "postgresql://u:p@127.0.0.1:1/other"
    settings = load({"CAREGRAPH_DATA": str(tmp_path), "CAREGRAPH_VITALS_URL": other})
    assert settings.vitals_url == other
    assert settings.clinical_url == GOOD["CAREGRAPH_CLINICAL_URL"]


def test_a_pooler_needs_a_way_past_it(tmp_path: Path) -> None:
    """The audit's writer and LISTEN keep one session; without a pooler they use the URL of everybody."""
    good = {**GOOD, "CAREGRAPH_DATA": str(tmp_path)}
    assert load(good).clinical_direct_url == GOOD["CAREGRAPH_CLINICAL_URL"]
    pooled = {**good, "CAREGRAPH_POOLER": "transaction"}
    with pytest.raises(SettingsError, match="CAREGRAPH_CLINICAL_DIRECT_URL"):
        load(pooled)
    direct = "postgresql://u:p@127.0.0.1:5433/clinical"
    assert load({**pooled, "CAREGRAPH_CLINICAL_DIRECT_URL": direct}).clinical_direct_url == direct


def test_every_variable_is_in_the_readme() -> None:
    root = Path(__file__).parents[1]
    readme = (root / "README.md").read_text(encoding="utf-8")
    source = (root / "db" / "settings.py").read_text(encoding="utf-8")
    names = set(re.findall(r"CAREGRAPH_\w+", source))
    assert len(names) > 10
    for name in names:
        assert name in readme, name


OIDC = {"CAREGRAPH_OIDC_ISSUER": "https://login.example/realms/one", "CAREGRAPH_OIDC_AUDIENCE": "caregraph"}


def test_an_issuer(tmp_path: Path) -> None:
    settings = load({**GOOD, **OIDC, "CAREGRAPH_DATA": str(tmp_path)})
    assert (settings.oidc_issuer, settings.oidc_audience) == tuple(OIDC.values())
    assert settings.oidc_jwks_url is None
    assert load({**GOOD, "CAREGRAPH_DATA": str(tmp_path)}).oidc_issuer is None


@pytest.mark.parametrize("name", ["CAREGRAPH_OIDC_ISSUER", "CAREGRAPH_OIDC_JWKS_URL"])
@pytest.mark.parametrize("url", UNTRUSTED)
def test_keys_come_over_https_only(tmp_path: Path, name: str, url: str) -> None:
    """Or from this machine."""
    given = {**GOOD, **OIDC, "CAREGRAPH_DATA": str(tmp_path)}
    assert load({**given, name: "http://127.0.0.1:9999/keys"})
    with pytest.raises(SettingsError, match=name) as refused:
        load({**given, name: url})
    assert url not in refused.value.message


def test_an_issuer_needs_an_audience(tmp_path: Path) -> None:
    """Without one, a token for any other application of the issuer would do."""
    with pytest.raises(SettingsError, match="CAREGRAPH_OIDC_AUDIENCE"):
        load({**GOOD, "CAREGRAPH_DATA": str(tmp_path), "CAREGRAPH_OIDC_ISSUER": OIDC["CAREGRAPH_OIDC_ISSUER"]})
