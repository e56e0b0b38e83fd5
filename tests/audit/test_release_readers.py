"""Who saw which release of research: noted with each reading and each URL, chained, told to the facility's officers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from db import migrate as migrations
from db.audit import AuditLog, Event, EventKind
from db.audit_chain import verify
from db.caller import Caller, Profile
from db.context import role_password, sign
from db.errors import PhiFilterForbidden
from db.migrate import migrate
from db.postgres import login_url
from db.release_files import CONTENT_TYPE, file_key
from db.seen import Seen
from db.warehouse_release import Release, Releases
from graph.execution import Engine
from graph.plan import plan
from graph.request import RequestInfo, Transport
from graph.schema import schema
from graph.trail import Trail
from loaders.reader import Reader
from loaders.research_release import ColumnRow, TableRow, release_rows
from resolvers.context import Context
from tests.access.test_explain import index_conditions, nodes
from tests.asking import CURSOR_KEY, Answer, Graph
from tests.audit.conftest import FACILITY, SECRET, Ledger, event
from tests.callers import caller_of
from tests.research.test_research_rows import CHANGE, MEMBER, PROJECT, REVOKED, WHOLE, owner, researcher
from tests.warehouse.releases import COLUMNS, PARTITIONS, released

READERS = """query($id: ID!, $first: Int! = 20, $after: String, $from: String, $to: String) {
  accessesToRelease(release: $id, first: $first, after: $after, from: $from, to: $to) {
    nodes { type subject role purposeOfUse outcome patientIds releaseIds shown }
    pageInfo { hasNextPage endCursor } } }"""
BY = """query($who: String!) { accessesBy(subject: $who, from: "2020", to: "2100") { nodes { type releaseIds } } }"""
NEWEST = "SELECT * FROM audit.event WHERE subject = $1 ORDER BY seq"
ALL_TIME: Mapping[str, Any] = {"from": None, "to": None, "after": None}


@dataclass(frozen=True, slots=True)
class Read:
    """A release of a project whose one member reads it, and the graph, recorded."""

    graph: Graph
    member: Caller
    project_id: UUID
    release: Release

    @property
    def id(self) -> str:
        """Global id of the release."""
        return f"ResearchDatasetVersion/{self.release.id}"

    async def ask(self, selection: str) -> Answer:
        """Fields of the release, as its member."""
        document = f"query ($id: ID!) {{ node(id: $id) {{ ... on ResearchDatasetVersion {{ {selection} }} }} }}"
        return await self.graph.ask_as(self.member, document, id=self.id)

    async def readers(self, profile: Profile = Profile.PRIVACY_OFFICER, at: int = 0, **variables: Any) -> Answer:
        """Who read the release, as somebody at a facility is told."""
        return await self.graph.ask(READERS, profile, at, **({"id": self.id, **ALL_TIME, **variables}))

    async def events(self) -> Sequence[asyncpg.Record]:
        """Events of the member, as they are stored."""
        connection = await asyncpg.connect(self.graph.settings.clinical_url)
        try:
            return await connection.fetch(NEWEST, self.member.subject)
        finally:
            await connection.close()


@pytest_asyncio.fixture
async def read(graph: Graph, log: AuditLog, tmp_path: Path) -> Read:
    """A new project at the first facility with a release, whose files are in the archive."""
    project_id, member = uuid4(), researcher(graph, f"analyst-{uuid4()}")
    await owner(graph, PROJECT, project_id, member.facility_id)
    await owner(graph, MEMBER, project_id, member.facility_id, member.subject)
    release = await released(Releases(graph.stores.warehouse), tmp_path, project_id)
    for table in COLUMNS:
        for partition in range(PARTITIONS):
            content = (tmp_path / f"{table}-{partition:05}-0.parquet").read_bytes()
            await graph.stores.archive.worker_put(file_key(release.id, table, partition), content, CONTENT_TYPE)
    return Read(Graph(graph.settings, graph.stores, graph.facilities, log), member, project_id, release)


def entries(answer: Answer) -> Sequence[Mapping[str, Any]]:
    """Entries of the list of readers."""
    assert answer.errors == []
    return answer.data["accessesToRelease"]["nodes"]


async def test_an_officer_learns_who_read_a_release_and_had_its_files(read: Read) -> None:
    assert (await read.graph.ask_as(read.member, WHOLE, id=read.id)).errors == []
    answer = await read.readers()
    told = {"subject": read.member.subject, "role": "analyst", "purposeOfUse": "HRESCH", "outcome": "OK"}
    told |= {"patientIds": [], "releaseIds": [read.id], "shown": ["CLINICAL"]}
    assert [one["type"] for one in entries(answer)] == ["PRESIGN", "QUERY"]
    assert [{**one, "type": None} for one in entries(answer)] == [told | {"type": None}] * 2
    assert answer.statements["clinical", "accesses_of_release"] == 1
    by = await read.graph.ask(BY, Profile.PRIVACY_OFFICER, who=read.member.subject)
    assert [one["releaseIds"] for one in by.data["accessesBy"]["nodes"]] == [[read.id]] * 2
    # Who looks at the list has not read the release.
    assert len(entries(await read.readers())) == 2


async def test_another_facility_and_other_releases_have_lists_of_their_own(read: Read) -> None:
    await read.ask("report { k }")
    assert len(entries(await read.readers())) == 1
    assert entries(await read.readers(at=1)) == []
    assert entries(await read.readers(id=f"ResearchDatasetVersion/{uuid4()}")) == []
    period: dict[str, Any] = {"from": "2020", "to": "2021"}
    assert entries(await read.readers(**period)) == []
    assert (await read.readers(id=f"ResearchDataset/{read.release.dataset_id}")).codes == ["INVALID_ID"]


@pytest.mark.parametrize("profile", set(Profile) - {Profile.PRIVACY_OFFICER}, ids=lambda profile: profile.value)
async def test_nobody_but_an_officer_is_told(read: Read, profile: Profile) -> None:
    await read.ask("report { k }")
    try:
        answer = await read.readers(profile)
    except PhiFilterForbidden:
        return  # before any store is asked: the arguments are PHI
    assert answer.codes == ["FORBIDDEN"]
    assert read.member.subject not in json.dumps(answer.data)


async def test_the_list_is_paged_back_in_time(read: Read) -> None:
    for _ in range(3):
        await read.ask('tables(name: ["patients"]) { files { nodes { presignedUrl(expiresIn: 60) } } }')
    kinds: list[str] = []
    after, more = None, True
    while more:
        answer = await read.readers(first=2, after=after)
        kinds += [one["type"] for one in entries(answer)]
        page = answer.data["accessesToRelease"]["pageInfo"]
        after, more = page["endCursor"], page["hasNextPage"]
    assert kinds == ["PRESIGN", "QUERY"] * 3


@pytest.mark.parametrize(
    ("selection", "known"),
    [
        ("tables { name columns { name } }", True),
        ("report { k }", True),
        ("lineage { codeVersion }", True),
        ('tables(name: ["patients"]) { rows(first: 1) { nodes { values } } }', True),
        ("id version released method rowCount sha256 dataset { title latestVersion { version } }", False),
    ],
)
async def test_what_counts_as_reading_a_release(read: Read, selection: str, known: bool) -> None:
    assert (await read.ask(selection)).errors == []
    [found] = await read.events()
    assert [found["kind"], found["result"], found["purpose"]] == ["QUERY", "OK", "HRESCH"]
    assert found["releases"] == ([read.release.id] if known else [])
    assert [found["patients"], found["grants"], found["home_facility_id"]] == [[], [], None]


def patients_of(release: Release) -> TableRow:
    """The table of patients, without asking for it."""
    columns = [ColumnRow(c.name, c.type, c.description, None, c.rule) for c in COLUMNS["patients"]]
    return TableRow(release.id, "patients", columns, [])


async def test_rows_and_urls_are_noted_where_they_are_given(read: Read) -> None:
    reader = Reader(read.graph.stores, read.member)
    assert await release_rows(reader, patients_of(read.release), (-1, -1), 2)
    assert reader.seen.new_releases() == {read.release.id}
    await release_rows(reader, patients_of(read.release), (-1, -1), 2)
    assert reader.seen.new_releases() == frozenset()  # told once
    for _ in range(2):
        assert all(await reader.archive.presigned_release(read.release.id, [("patients", 0)], 60))
        assert reader.seen.new_releases_presigned() == {read.release.id}
        assert reader.seen.new_releases_presigned() == frozenset()
    assert reader.seen.new_releases() == frozenset()
    await reader.close()


async def test_who_gets_nothing_has_seen_nothing(read: Read) -> None:
    await owner(read.graph, CHANGE.format(change=REVOKED), read.project_id)
    assert (await read.ask("report { k }")).data == {"node": None}
    [found] = await read.events()
    assert found["releases"] == []
    reader = Reader(read.graph.stores, read.member)
    assert await release_rows(reader, patients_of(read.release), (-1, -1), 2) == []
    assert await reader.archive.presigned_release(read.release.id, [("patients", 0)], 60) == [None]
    assert [reader.seen.new_releases(), reader.seen.new_releases_presigned()] == [frozenset(), frozenset()]
    await reader.close()


async def test_later_payloads_tell_what_is_new_and_other_facilities_nothing(read: Read, log: AuditLog) -> None:
    core = schema._schema  # pyright: ignore[reportPrivateUsage] - as graph.app
    operation = Engine(core, plan, nullcontext).prepare("{ me { role } }", None)
    assert not isinstance(operation, list)
    context = Context(Reader(read.graph.stores, read.member), CURSOR_KEY)
    context.reader.seen = seen = Seen()
    first, second, third, patient = (uuid4() for _ in range(4))

    async def leaves(payload: Mapping[str, Any], is_first: bool = False) -> None:
        request = RequestInfo("r", Transport.HTTP)
        await Trail(log, core).witness(operation, read.member, context, payload, request, is_first)

    seen.add(read.graph.facilities[1].id, [patient])
    seen.releases([first])
    seen.url(second)
    seen.url()
    await leaves({"data": {}}, True)
    seen.releases([first, third])
    await leaves({"hasNext": True})
    seen.url(second)
    await leaves({"hasNext": True})
    seen.url()
    await leaves({"hasNext": True})
    await leaves({"hasNext": False})
    assert [(one["kind"], one["patients"], one["releases"]) for one in await read.events()] == [
        ("QUERY", [], [first]),
        ("EXCHANGE", [patient], []),
        ("PRESIGN", [], [second]),
        ("QUERY", [], [third]),
        ("PRESIGN", [], [second]),
        ("PRESIGN", [], []),
    ]


def reading(number: int, *releases: UUID, facility_id: UUID = FACILITY) -> Event:
    """An event of an analyst who read releases."""
    caller = caller_of(Profile.ANALYST, facility_id, f"analyst-{number}")
    return Event(EventKind.QUERY, "OK", f"request-{number}", caller, "ab" * 32, releases=frozenset(releases))


class BeforeReleases(Event):
    """An event as a process writes it that was started before this column was there."""

    def columns(self) -> dict[str, Any]:
        """As they were."""
        return {name: value for name, value in Event.columns(self).items() if name != "releases"}


def before_releases() -> Event:
    """One of these, of a clinician."""
    one = event()
    return BeforeReleases(one.kind, one.result, one.request_id, one.caller, one.document, patients=one.patients)


@pytest_asyncio.fixture
async def grown(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """A ledger that was migrated as its chain went on: events 1 to 3 are older than the column, 4 to 6 are not.

    Four is of an old process, 5 read nothing and 6 a release.
    """
    name = f"grown_{uuid4().hex[:8]}"
    connection = await ledger.owner()
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    old = Ledger(ledger.server, ledger.url.rpartition("/")[0] + f"/{name}")
    every = migrations.files
    monkeypatch.setattr(
        migrations, "files", lambda *of: [path for path in every(*of) if path.name < "0054" or "access" in path.parts]
    )
    await migrate("clinical", old.url, SECRET)
    before = old.log()
    for _ in range(3):
        await before.append(before_releases())
    await before.close()
    monkeypatch.undo()
    assert "clinical/0054_audit_releases.sql" in await migrate("clinical", old.url, SECRET)
    log = old.log()
    for one in (before_releases(), event(), reading(6, UUID(int=7), UUID(int=8))):
        await log.append(one)
    await log.close()
    return old


async def test_the_chain_goes_on_from_events_that_knew_no_releases(grown: Ledger) -> None:
    verdict = await verify(grown.url, SECRET)
    assert (verdict.events, verdict.broken) == (6, None)
    connection = await grown.owner()
    stored = [row["releases"] for row in await connection.fetch("SELECT releases FROM audit.event ORDER BY seq")]
    await connection.close()
    assert stored == [None, None, None, None, [], [UUID(int=7), UUID(int=8)]]


@pytest.mark.parametrize(
    ("changed", "seq"),
    [
        ("'{}' WHERE seq = 6", 6),
        ("NULL WHERE seq = 6", 6),
        ("releases[1:1] WHERE seq = 6", 6),
        ("ARRAY[releases[2], releases[1]] WHERE seq = 6", 6),
        ("array_append(releases, gen_random_uuid()) WHERE seq = 5", 5),
        ("NULL WHERE seq = 5", 5),
        ("'{}' WHERE seq = 4", 4),
        ("ARRAY[gen_random_uuid()] WHERE seq = 2", 2),
    ],
)
async def test_releases_are_hashed(grown: Ledger, changed: str, seq: int) -> None:
    connection = await grown.owner()
    await connection.execute("SET session_replication_role = replica")
    await connection.execute(f"UPDATE audit.event SET releases = {changed}")
    await connection.close()
    broken = (await verify(grown.url, SECRET)).broken
    assert broken
    assert (broken.seq, broken.what) == (seq, "HASH")


def test_the_rest_of_an_event_is_as_it_was() -> None:
    one = reading(1, UUID(int=2), UUID(int=1))
    assert one.columns() == replace(one, releases=frozenset()).columns() | {
        "releases": [str(UUID(int=1)), str(UUID(int=2))]
    }
    assert replace(one, caller=None).columns()["releases"] == []


FUNCTION = "SELECT prosrc FROM pg_proc WHERE proname = 'accesses_of_release'"
MANY = """
INSERT INTO audit.event (seq, occurred_at, id, kind, subject, facility_id, shown, masked, patients, result, grants,
    request_id, hash, releases)
SELECT n, now() - n * interval '60 seconds', gen_random_uuid(), 'QUERY', 'subject-' || n % 1000, $1, '{NAME}', '{}',
    '{}', 'OK', '{}', 'r', decode(repeat('ab', 32), 'hex'),
    CASE WHEN n % 10 = 0 THEN ARRAY[lpad((n % 2000)::text, 32, '0')::uuid] ELSE '{}' END
FROM generate_series(1, 40000) AS n"""


async def test_readers_of_a_release_are_found_by_an_index_in_the_facility(ledger: Ledger) -> None:
    connection = await ledger.owner()
    await connection.execute("SELECT audit.ensure_month('audit.event', now() - interval '1 month')")
    await connection.execute(MANY, FACILITY)
    await connection.execute("ANALYZE audit.event")
    body = str(await connection.fetchval(FUNCTION))
    for place, name in enumerate(("of_release", "rows_max", "before", "since", "until"), 1):
        body = body.replace(name, f"${place}")
    await connection.execute(f"PREPARE asked (uuid, int, timestamptz, timestamptz, timestamptz) AS {body}")
    # Off, a sequential scan stands only where no index could. The plan is for any values, as a function's may be.
    await connection.execute("SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan")
    values = "'00000000-0000-0000-0000-000000000070', 21, 'infinity', '-infinity', 'infinity'"
    explained = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE asked ({values})")
    every = list(nodes(json.loads(str(explained))[0]["Plan"]))
    found = [index_conditions(node) for node in every if node["Node Type"] == "Bitmap Index Scan"]
    assert len([one for one in found if "facility_id =" in one and "releases @>" in one]) >= 2  # one for each month
    # Of months ahead, which are empty, any index will do.
    scans = [node for node in every if str(node.get("Relation Name", "")).startswith("event")]
    assert {node["Node Type"] for node in scans} <= {"Bitmap Heap Scan", "Index Scan"}
    await connection.close()


TOLD = {
    "privacy officer": (caller_of(Profile.PRIVACY_OFFICER, FACILITY), 1),
    "of another facility": (caller_of(Profile.PRIVACY_OFFICER, UUID(int=2)), 0),
    "analyst": (caller_of(Profile.ANALYST, FACILITY), 0),
    "patient": (replace(caller_of(Profile.PATIENT, FACILITY), patient_id=UUID(int=1000)), 0),
}
"""Callers, and how many readings the database tells them."""


@pytest.mark.parametrize("who", TOLD)
async def test_the_database_itself_tells_officers_only(ledger: Ledger, who: str) -> None:
    log, (caller, count) = ledger.log(), TOLD[who]
    await log.append(reading(1, UUID(int=7)), reading(2, UUID(int=8)), event())
    await log.close()
    login = f"caregraph_{caller.profile.value}"
    connection = await asyncpg.connect(login_url(ledger.url, login, role_password(SECRET, login)))
    asked = "SELECT * FROM access.accesses_of_release($1, 9, 'infinity', '-infinity', 'infinity')"
    assert await connection.fetch(asked, UUID(int=7)) == []  # no signed context, no row
    await connection.execute(f"SET app.context = '{sign(SECRET, caller, connection.get_server_pid())}'")
    found = await connection.fetch(asked, UUID(int=7))
    await connection.close()
    assert [(row["subject"], row["releases"]) for row in found] == [("analyst-1", [UUID(int=7)])] * count
