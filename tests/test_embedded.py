"""The embedded stores from outside: what they keep, what they refuse, and how they start over."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit

import pymongo
import pymongo.errors
import pytest

from db.errors import SettingsError
from db.settings import load, stores_file
from workers.embedded.archive_server import operation
from workers.embedded.child import ROOT
from workers.embedded.stores import Stores, stores

BUCKET = "caregraph"
SUPERVISOR = """
import sys, time
from pathlib import Path
from workers.embedded.stores import stores
with stores(Path(sys.argv[1]), {"CAREGRAPH_%s_URL" % name: "x" for name in sys.argv[2].split(",")}) as running:
    print(*(running.pid(name) for name in running.names), flush=True)
    time.sleep(600)
"""


def sql(url: str, statement: str) -> Any:
    """One statement on its own connection; the first value of its answer."""

    asyncpg: Any = importlib.import_module("asyncpg")

    async def run() -> Any:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(run())


def asyncpg_error(name: str) -> type[Exception]:
    """Exception class of the driver, which has no types."""
    return getattr(importlib.import_module("asyncpg"), name)


@contextmanager
def s3(running: Stores) -> Generator[Any, None, None]:
    """A botocore client (untyped) of the archive."""
    url = running.env["CAREGRAPH_ARCHIVE_URL"]
    parts = urlsplit(url)
    config: Any = importlib.import_module("botocore.config")
    session: Any = importlib.import_module("botocore.session").Session()
    client = session.create_client(
        "s3",
        endpoint_url=f"http://{parts.hostname}:{parts.port}",
        region_name=parse_qs(parts.query)["region"][0],
        aws_access_key_id=parts.username,
        aws_secret_access_key=parts.password,
        config=config.Config(signature_version="s3v4", retries={"max_attempts": 0}),
    )
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def archive(embedded: Stores) -> Iterator[Any]:
    """The client of one test."""
    with s3(embedded) as client:
        yield client


def alive(pid: int) -> bool:
    """Whether this process lives; one that ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def refusal(client: Any, method: str, **arguments: Any) -> int:
    """HTTP status with which the archive refuses this operation."""
    errors: Any = importlib.import_module("botocore.exceptions")
    with pytest.raises(errors.ClientError) as caught:
        getattr(client, method)(Bucket=BUCKET, **arguments)
    error: Any = caught.value
    return error.response["ResponseMetadata"]["HTTPStatusCode"]


@contextmanager
def warehouse(url: str, password: str | None = None) -> Generator[Any, None, None]:
    """A cursor (untyped) of the warehouse."""
    parts = urlsplit(url)
    connector: Any = importlib.import_module("snowflake.connector")
    database, schema = parts.path.strip("/").split("/")
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    connection = connector.connect(
        user=parts.username,
        password=password or parts.password,
        host=parts.hostname,
        port=parts.port,
        database=database,
        schema=schema,
        login_timeout=5,
        network_timeout=5,
        **query,
    )
    try:
        yield connection.cursor()
    finally:
        connection.close()


def write_and_read_sql(store: str) -> tuple[Callable[[Stores], object], Callable[[Stores], object]]:
    """How the crash test writes to and reads from a PostgreSQL store."""
    name = f"CAREGRAPH_{store.upper()}_URL"
    return (
        lambda running: sql(running.env[name], "create table kept as select 42 as answer"),
        lambda running: sql(running.env[name], "select answer from kept"),
    )


def write_note(running: Stores) -> None:
    with pymongo.MongoClient[dict[str, Any]](running.env["CAREGRAPH_NOTES_URL"]) as client:
        client.get_default_database()["kept"].insert_one({"answer": 42})


def read_note(running: Stores) -> object:
    with pymongo.MongoClient[dict[str, Any]](running.env["CAREGRAPH_NOTES_URL"]) as client:
        found = client.get_default_database()["kept"].find_one()
        return found and found["answer"]


def write_object(running: Stores) -> None:
    with s3(running) as client:
        client.put_object(Bucket=BUCKET, Key="kept/a b.dcm", Body=b"42")


def read_object(running: Stores) -> object:
    with s3(running) as client:
        return int(client.get_object(Bucket=BUCKET, Key="kept/a b.dcm")["Body"].read())


def write_dataset(running: Stores) -> None:
    with warehouse(running.env["CAREGRAPH_WAREHOUSE_URL"]) as cursor:
        cursor.execute("create table kept (answer int)")
        cursor.execute("insert into kept values (42)")


def read_dataset(running: Stores) -> object:
    with warehouse(running.env["CAREGRAPH_WAREHOUSE_URL"]) as cursor:
        return cursor.execute("select answer from kept").fetchone()[0]


@pytest.mark.parametrize(
    ("store", "write", "read"),
    [
        ("clinical", *write_and_read_sql("clinical")),
        ("imaging", *write_and_read_sql("imaging")),
        ("vitals", *write_and_read_sql("vitals")),
        ("notes", write_note, read_note),
        ("archive", write_object, read_object),
        ("warehouse", write_dataset, read_dataset),
    ],
)
def test_a_store_keeps_what_it_acknowledged_over_kill_and_restart(
    embedded: Stores, store: str, write: Callable[[Stores], object], read: Callable[[Stores], object]
) -> None:
    before = embedded.env
    write(embedded)
    embedded.kill(store)
    assert store in embedded.ended()
    embedded.start(store)
    assert read(embedded) == 42
    embedded.stop(store)
    embedded.start(store)
    assert read(embedded) == 42
    assert embedded.env == before
    assert not embedded.ended()


def test_the_announcement_is_private_and_complete(embedded: Stores) -> None:
    data = embedded.directory.path
    assert stat.S_IMODE((data / "stores.env").stat().st_mode) == 0o600
    assert stat.S_IMODE((data / "secrets.json").stat().st_mode) == 0o600
    assert stores_file(data) == embedded.env
    settings = load({"CAREGRAPH_DATA": str(data)})
    assert settings.clinical_url == embedded.env["CAREGRAPH_CLINICAL_URL"]
    assert len(settings.secret) == 64


def test_no_secret_is_on_a_command_line(embedded: Stores) -> None:
    secrets = (embedded.directory.path / "secrets.json").read_text()
    for name in embedded.names:
        command = Path(f"/proc/{embedded.pid(name)}/cmdline").read_text().split("\0")
        assert not [argument for argument in command if len(argument) >= 32 and argument in secrets]


def test_postgres_takes_the_password_only_and_feeds_changes(embedded: Stores) -> None:
    url = urlsplit(embedded.env["CAREGRAPH_CLINICAL_URL"])
    assert sql(url.geturl(), "show wal_level") == "logical"
    assert sql(url.geturl(), "show server_version").startswith("18.")
    with pytest.raises(asyncpg_error("InvalidPasswordError")):
        sql(f"postgresql://{url.username}:wrong@{url.hostname}:{url.port}/clinical", "select 1")


def test_postgres_keeps_values_out_of_its_log(embedded: Stores) -> None:
    url = embedded.env["CAREGRAPH_VITALS_URL"]
    sql(url, "create table once (id text primary key)")
    sql(url, "insert into once values ('Zebedee')")
    with pytest.raises(asyncpg_error("UniqueViolationError")):
        sql(url, "insert into once values ('Zebedee')")
    log = embedded.directory.log("vitals").read_text()
    assert "once_pkey" in log
    assert "Zebedee" not in log


def test_notes_refuse_who_did_not_log_in(embedded: Stores) -> None:
    url = urlsplit(embedded.env["CAREGRAPH_NOTES_URL"])
    for who in ("", f"{url.username}:wrong@"):
        address = f"mongodb://{who}{url.hostname}:{url.port}/?directConnection=true&authSource=admin"
        with (
            pymongo.MongoClient[dict[str, Any]](address) as client,
            pytest.raises(pymongo.errors.OperationFailure),
        ):
            client["caregraph"]["kept"].find_one()


def test_the_warehouse_refuses_a_wrong_password(embedded: Stores) -> None:
    errors: Any = importlib.import_module("snowflake.connector.errors")
    with (
        pytest.raises(errors.Error),
        warehouse(embedded.env["CAREGRAPH_WAREHOUSE_URL"], password="wrong"),
    ):
        pass


def test_the_archive_serves_presigned_ranges_and_refuses_tampering(archive: Any) -> None:
    archive.put_object(Bucket=BUCKET, Key="range/é+ x.dcm", Body=bytes(range(256)))
    url = archive.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "range/é+ x.dcm"}, ExpiresIn=60)
    request = urllib.request.Request(url, headers={"Range": "bytes=16-31"})
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 206
        assert answer.read() == bytes(range(16, 32))
    other = url.replace("range/", "other/")
    for tampered in (other, url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"), url.split("?")[0]):
        with pytest.raises(HTTPError) as caught:
            urllib.request.urlopen(tampered)
        with caught.value as refused:
            assert refused.code == 403


def test_the_archive_takes_multipart_uploads_and_lists_pages(archive: Any) -> None:
    upload = {"Bucket": BUCKET, "Key": "parts/0"}
    upload["UploadId"] = archive.create_multipart_upload(**upload)["UploadId"]
    bodies = [b"a" * (5 << 20), b"b"]
    parts = [
        {"PartNumber": n, "ETag": archive.upload_part(**upload, PartNumber=n, Body=body)["ETag"]}
        for n, body in enumerate(bodies, 1)
    ]
    assert len(archive.list_parts(**upload)["Parts"]) == 2
    archive.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert archive.get_object(Bucket=BUCKET, Key="parts/0")["Body"].read() == b"".join(bodies)
    archive.put_object(Bucket=BUCKET, Key="parts/1", Body=b"")
    pages = archive.get_paginator("list_objects_v2").paginate(
        Bucket=BUCKET, Prefix="parts/", PaginationConfig={"PageSize": 1}
    )
    assert [entry["Key"] for page in pages for entry in page.get("Contents", ())] == ["parts/0", "parts/1"]
    archive.delete_object(Bucket=BUCKET, Key="parts/1")
    assert refusal(archive, "head_object", Key="parts/1") == 404


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("put_object_tagging", {"Tagging": {"TagSet": [{"Key": "a", "Value": "b"}]}}),
        ("delete_object_tagging", {}),
        ("put_object_acl", {"ACL": "private"}),
        ("put_object_legal_hold", {"LegalHold": {"Status": "ON"}}),
        ("put_object_retention", {"Retention": {"Mode": "GOVERNANCE"}}),
        ("restore_object", {"RestoreRequest": {"Days": 1}}),
        ("upload_part_copy", {"CopySource": f"{BUCKET}/guarded/other", "PartNumber": 1, "UploadId": "a"}),
    ],
)
def test_the_archive_refuses_what_would_damage_an_object(archive: Any, method: str, arguments: dict[str, Any]) -> None:
    archive.put_object(Bucket=BUCKET, Key="guarded/a", Body=b"pixels")
    assert refusal(archive, method, Key="guarded/a", **arguments) == 501
    assert archive.get_object(Bucket=BUCKET, Key="guarded/a")["Body"].read() == b"pixels"


@pytest.mark.parametrize(
    ("method", "path", "query", "expected"),
    [
        ("GET", "/b/k", "x-id=GetObject&response-content-type=a&X-Amz-Signature=1", "GetObject"),
        ("GET", "/b/", "list-type=2&prefix=p&continuation-token=t", "ListObjectsV2"),
        ("GET", "/b", "prefix=p", None),
        ("PUT", "/b/k", "tagging", None),
        ("PUT", "/b/k", "tagging=", None),
        ("PUT", "/b/k", "%74agging", None),
        ("PUT", "/b/k", "partNumber=1", None),
        ("PUT", "/b", "lifecycle", None),
        ("POST", "/b", "delete", None),
        ("DELETE", "/b", "", None),
        ("GET", "/", "", None),
    ],
)
def test_an_operation_is_known_by_method_level_and_parameters(
    method: str, path: str, query: str, expected: str | None
) -> None:
    scope: dict[str, Any] = {"method": method, "path": path, "query_string": query.encode(), "headers": []}
    assert operation(scope) == expected


def test_a_store_with_a_url_is_not_started(tmp_path: Path) -> None:
    real = {f"CAREGRAPH_{name}_URL": "x" for name in ("CLINICAL", "IMAGING", "VITALS", "NOTES", "WAREHOUSE")}
    with stores(tmp_path, real | {"CAREGRAPH_SECRET": "x" * 32}) as running:
        assert list(running.names) == ["archive"]
        assert list(running.env) == ["CAREGRAPH_ARCHIVE_URL"]
    assert not (tmp_path / "stores.env").exists()


def test_a_directory_has_one_supervisor(embedded: Stores) -> None:
    with pytest.raises(SettingsError, match="in use by another Caregraph"), stores(embedded.directory.path, {}):
        pass
    assert not embedded.ended()
    assert stores_file(embedded.directory.path) == embedded.env


@pytest.mark.parametrize("store", ["clinical", "archive"])
def test_a_killed_supervisor_leaves_nothing_that_hinders_the_next(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.embedded.child.GRACE_S", 0.5)
    others = ",".join({"CLINICAL", "IMAGING", "VITALS", "NOTES", "ARCHIVE", "WAREHOUSE"} - {store.upper()})
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(tmp_path), others], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout
        child = int(supervisor.stdout.readline())
        os.kill(child, signal.SIGSTOP)  # it can't follow the supervisor: the next start has to end it
        supervisor.kill()
    real = {f"CAREGRAPH_{name}_URL": "x" for name in others.split(",")}
    assert alive(child)
    with stores(tmp_path, real) as running:
        assert not alive(child)
        assert running.pid(store) != child


def test_children_follow_a_killed_supervisor(tmp_path: Path) -> None:
    others = "CLINICAL,IMAGING,VITALS,NOTES,WAREHOUSE"
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(tmp_path), others], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout
        child = int(supervisor.stdout.readline())
        supervisor.kill()
    deadline = time.monotonic() + 30
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(child)


def test_a_port_in_use_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environ = os.environ | {"CAREGRAPH_PORT": str(port), "CAREGRAPH_DATA": str(tmp_path / "data")}
        result = subprocess.run(
            [sys.executable, "-m", "workers", "run"], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
        )
    assert result.returncode == 1
    assert result.stderr == f"caregraph run: Port {port} is in use; set CAREGRAPH_PORT to another one.\n"
    assert not (tmp_path / "data").exists()


def test_an_unknown_worker_is_answered_with_the_usage() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "workers", "wrok"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stderr.startswith("usage: python -m workers {run|migrate|import|")
