"""Releases of records through the graph: to members of an open project, by pages and as parquet; to others, nothing."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import polars as pl
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from db.caller import Caller, Profile, PurposeOfUse
from db.release_files import CONTENT_TYPE, file_key
from db.research_method import Method
from db.warehouse_release import Release, Releases
from loaders.reader import Reader
from resolvers.connection import Scope
from resolvers.research_release import FILES, ROWS
from tests.asking import CURSOR_KEY, Answer, Graph
from tests.imaging.images import get
from tests.warehouse.releases import COLUMNS, PARTITIONS, RELEASED, REPORT, TRICKY, frame, released, whole

PROJECT = """INSERT INTO clinical.research_project (id, facility_id, name, aim, status, methods, data_use_agreement,
    data_use_expires, proposed_by, approved_by, approved_at)
VALUES ($1, $2, 'P', 'A', 'APPROVED', '{SAFE_HARBOR, LIMITED}', 'DUA', current_date, 'x', 'y', now())"""
MEMBER = "INSERT INTO clinical.research_member (project_id, facility_id, subject, added_by) VALUES ($1, $2, $3, 'x')"
CHANGE = "UPDATE clinical.research_project SET {change} WHERE id = $1"
REVOKED = "status = 'REVOKED', revoked_by = 'z', revoked_at = now()"
APPROVED = "status = 'APPROVED', methods = '{SAFE_HARBOR, LIMITED}', data_use_expires = current_date"

WHOLE = """query ($id: ID!) { node(id: $id) { ... on ResearchDatasetVersion {
  version method rowCount dataset { title threshold latestVersion { id } }
  tables { name rowCount columns { name type description kind rule } rows(first: 3) { nodes { researchId values } }
    files { nodes { rows sizeBytes sha256 presignedUrl(expiresIn: 300) } } }
  report { k l t patientsIn patientsOut suppressedShare risk findings json }
  lineage { extraction definition codeVersion rulesVersion } } } }"""
PAGE = """query ($id: ID!, $name: [String!], $first: Int!, $after: String) { node(id: $id) {
  ... on ResearchDatasetVersion { tables(name: $name) { rows(first: $first, after: $after) {
    nodes { researchId values } pageInfo { hasNextPage endCursor } } } } } }"""
AT = """query ($id: ID!, $version: Int, $asOf: String) {
  researchDataset(id: $id, version: $version, asOf: $asOf) { version } }"""
LISTED = "{ researchDatasets(first: 100) { nodes { id title } } }"


@dataclass(frozen=True, slots=True)
class Study:
    """A project with a dataset of two releases, and one by the method LIMITED."""

    graph: Graph
    project_id: UUID
    member: Caller
    first: Release
    second: Release
    limited: Release

    async def change(self, change: str) -> None:
        """Changes the project as a privacy officer could."""
        await owner(self.graph, CHANGE.format(change=change), self.project_id)

    async def seen(self, caller: Caller, release: Release) -> Answer:
        """All of a release, as a caller sees it."""
        return await self.graph.ask_as(caller, WHOLE, id=f"ResearchDatasetVersion/{release.id}")


async def owner(graph: Graph, sql: str, *args: object) -> None:
    """One statement as the owner of the clinical database."""
    connection = await asyncpg.connect(graph.settings.clinical_url)
    try:
        await connection.execute(sql, *args)
    finally:
        await connection.close()


def researcher(graph: Graph, subject: str = "ada", facility: int = 0) -> Caller:
    """An analyst who asks for research."""
    return replace(graph.caller(Profile.ANALYST, facility), subject=subject, purpose=PurposeOfUse.HRESCH)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def study(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Study]:
    """The project of Ada and Bob at the first facility; the files of its first release are in the archive."""
    folder, project_id, member = tmp_path_factory.mktemp("releases"), uuid4(), researcher(graph)
    await owner(graph, PROJECT, project_id, member.facility_id)
    for subject in ("ada", "bob"):
        await owner(graph, MEMBER, project_id, member.facility_id, subject)
    releases = Releases(graph.stores.warehouse)
    first = await released(releases, folder, project_id)
    later = {"dataset_id": first.dataset_id, "version": 2, "released": RELEASED + timedelta(days=1)}
    second = await released(releases, folder, project_id, 1, **later)
    limited = await released(releases, folder, project_id, 2, method=Method.LIMITED, title="Limited")
    for table in COLUMNS:
        for partition in range(PARTITIONS):
            content = (folder / f"{table}-{partition:05}-0.parquet").read_bytes()
            await graph.stores.archive.worker_put(file_key(first.id, table, partition), content, CONTENT_TYPE)
    yield Study(graph, project_id, member, first, second, limited)


async def test_a_member_sees_all_of_a_release(study: Study) -> None:
    answer = await study.seen(study.member, study.first)
    assert answer.errors == []
    seen = answer.data["node"]
    assert (seen["version"], seen["method"]) == (1, "SAFE_HARBOR")
    assert seen["rowCount"] == sum(whole(name).height for name in COLUMNS)
    newest = {"id": f"ResearchDatasetVersion/{study.second.id}"}
    assert seen["dataset"] == {"title": study.first.title, "threshold": 11, "latestVersion": newest}
    assert [table["name"] for table in seen["tables"]] == list(COLUMNS)
    for table in seen["tables"]:
        described = [(column["name"], column["type"], column["kind"], column["rule"]) for column in table["columns"]]
        declared = [(c.name, c.type, c.kind and c.kind.value, c.rule) for c in COLUMNS[table["name"]]]
        assert described == declared
        assert table["rowCount"] == whole(table["name"]).height
    report = seen["report"]
    assert json.loads(report["json"]) == REPORT
    assert (report["k"], report["patientsOut"], float(report["suppressedShare"])) == (11, 15, 0.25)
    lineage = seen["lineage"]
    assert lineage["extraction"] == f"ResearchExtraction/{study.first.id}"
    assert json.loads(lineage["definition"]) == study.first.definition
    assert answer.statements["clinical", "open_projects"] == 1
    assert answer.statements["warehouse", "release_by_id"] == 1
    assert answer.statements["warehouse", "release_rows"] == len(COLUMNS)


async def test_values_are_texts_in_the_order_of_the_columns(study: Study) -> None:
    answer = await study.graph.ask_as(
        study.member, PAGE, id=f"ResearchDatasetVersion/{study.first.id}", name=["lab_results"], first=3
    )
    [table] = answer.data["node"]["tables"]
    rows = [row["values"] for row in table["rows"]["nodes"]]
    first, second = (str(2**62), "0"), (str(2**62 + 7), "0")
    assert rows == [
        [*first, "0.5", "2024-02-29", "true", TRICKY, None],
        [*second, "0.5", "2024-02-29", "true", TRICKY, None],
        [second[0], "1", None, "2024-02-28", "false", TRICKY, None],
    ]
    assert [row["researchId"] for row in table["rows"]["nodes"]] == [row[0] for row in rows]


@settings(max_examples=12, deadline=None)
@given(first=st.integers(1, 100), name=st.sampled_from(list(COLUMNS)))
async def test_pages_neither_lose_nor_repeat_a_row(study: Study, first: int, name: str) -> None:
    rows: list[tuple[int, int]] = []
    after, more = None, True
    while more:
        answer = await study.graph.ask_as(
            study.member, PAGE, id=f"ResearchDatasetVersion/{study.first.id}", name=[name], first=first, after=after
        )
        [table] = answer.data["node"]["tables"]
        page = table["rows"]
        assert 1 <= len(page["nodes"]) <= first
        rows += [(int(row["values"][0]), int(row["values"][1])) for row in page["nodes"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    assert rows == whole(name).select("research_id", "row_id").rows()


@pytest.mark.parametrize("after", ["nonsense", "AAAA"])
async def test_a_forged_cursor_is_refused(study: Study, after: str) -> None:
    answer = await study.graph.ask_as(
        study.member, PAGE, id=f"ResearchDatasetVersion/{study.first.id}", name=["patients"], first=1, after=after
    )
    assert answer.codes == ["INVALID_CURSOR"]


async def test_a_cursor_is_of_its_field_and_facility(study: Study) -> None:
    key, facility_id = CURSOR_KEY, study.member.facility_id
    signers = [Scope(key, FILES, facility_id), Scope(key, ROWS, uuid4()), Scope(b"k" * 32, ROWS, facility_id)]
    version = f"ResearchDatasetVersion/{study.first.id}"
    for signer in (Scope(key, ROWS, facility_id), *signers):
        after = signer.sign(str(2**62), "0")
        answer = await study.graph.ask_as(study.member, PAGE, id=version, name=["patients"], first=1, after=after)
        assert answer.codes == (["INVALID_CURSOR"] if signer in signers else [])


async def test_a_presigned_file_is_parquet_with_the_same_rows(study: Study) -> None:
    tables = (await study.seen(study.member, study.first)).data["node"]["tables"]
    for table in tables:
        for partition, file in enumerate(table["files"]["nodes"]):
            status, content = get(file["presignedUrl"])
            assert status == 200
            assert hashlib.sha256(content).hexdigest() == file["sha256"]
            assert (len(content), file["rows"]) == (int(file["sizeBytes"]), frame(table["name"], partition).height)
            assert (
                pl.read_parquet(io.BytesIO(content))
                .drop("object", strict=False)
                .equals(frame(table["name"], partition))
            )
            assert "X-Amz-Expires=300" in file["presignedUrl"]


async def test_files_are_paged_by_partition(study: Study) -> None:
    query = """query ($id: ID!, $after: String) { node(id: $id) { ... on ResearchDatasetVersion {
        tables(name: ["lab_results"]) { files(first: 2, after: $after) {
            nodes { sha256 } pageInfo { hasNextPage hasPreviousPage endCursor } } } } } }"""
    digests: list[str] = []
    after = None
    for more in (True, False):
        answer = await study.graph.ask_as(
            study.member, query, id=f"ResearchDatasetVersion/{study.first.id}", after=after
        )
        page = answer.data["node"]["tables"][0]["files"]
        assert page["pageInfo"]["hasNextPage"] is more
        assert page["pageInfo"]["hasPreviousPage"] is not more
        digests += [file["sha256"] for file in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
    assert digests == [file.sha256 for file in study.first.tables[1].files]


async def test_urls_are_counted_for_the_audit_and_good_for_five_minutes_at_most(study: Study) -> None:
    reader = Reader(study.graph.stores, study.member)
    urls = await reader.archive.presigned_release(study.first.id, [("patients", 0), ("patients", 1)], 300)
    assert all(urls)
    assert reader.seen.new_urls() == 2
    with pytest.raises(ValueError, match="seconds"):
        await reader.archive.presigned_release(study.first.id, [("patients", 0)], 301)
    await reader.close()


@pytest.mark.parametrize(("argument", "value"), [("expiresIn", 0), ("expiresIn", 301), ("first", 0), ("first", 101)])
async def test_files_are_asked_for_within_bounds(study: Study, argument: str, value: int) -> None:
    files, url = ("", f"(expiresIn: {value})") if argument == "expiresIn" else (f"(first: {value})", "")
    query = f"""query ($id: ID!) {{ node(id: $id) {{ ... on ResearchDatasetVersion {{
        tables(name: ["patients"]) {{ files{files} {{ nodes {{ presignedUrl{url} }} }} }} }} }} }}"""
    answer = await study.graph.ask_as(study.member, query, id=f"ResearchDatasetVersion/{study.first.id}")
    assert {error["extensions"]["code"] for error in answer.errors} == {"INVALID_ARGUMENT"}
    assert {error["extensions"]["argument"] for error in answer.errors} == {argument}


@pytest.mark.parametrize(
    ("version", "as_of", "found"),
    [
        (None, None, 2),
        (1, None, 1),
        (2, None, 2),
        (3, None, None),
        (0, None, None),
        (None, "2026-03-01", 1),
        (None, "2026-03", 2),
        (None, RELEASED.isoformat(), 1),
        (None, (RELEASED - timedelta(seconds=1)).isoformat(), None),
        (None, "2025", None),
        (2, "2026-03-01", None),
    ],
)
async def test_a_version_is_found_by_number_and_by_moment(
    study: Study, version: int | None, as_of: str | None, found: int | None
) -> None:
    dataset = f"ResearchDataset/{study.first.dataset_id}"
    answer = await study.graph.ask_as(study.member, AT, id=dataset, version=version, asOf=as_of)
    assert answer.errors == []
    assert answer.data["researchDataset"] == (found and {"version": found})


async def test_a_moment_that_is_none_is_refused(study: Study) -> None:
    answer = await study.graph.ask_as(study.member, AT, id=f"ResearchDataset/{study.first.dataset_id}", asOf="soon")
    assert answer.codes == ["INVALID_ARGUMENT"]
    assert answer.errors[0]["extensions"]["argument"] == "asOf"


async def nothing(study: Study, caller: Caller, release: Release) -> None:
    """A release is to a caller like one that never was: same answers, same statements, no URL."""
    graph, never = study.graph, replace(release, id=uuid4(), dataset_id=uuid4())
    seen, unknown = await study.seen(caller, release), await study.seen(caller, never)
    assert (seen.data, seen.errors, seen.statements) == (unknown.data, unknown.errors, unknown.statements)
    assert seen.data == {"node": None}
    for one in (release, never):
        answer = await graph.ask_as(caller, AT, id=f"ResearchDataset/{one.dataset_id}")
        assert (answer.data, answer.errors) == ({"researchDataset": None}, [])
    listed = (await graph.ask_as(caller, LISTED)).data["researchDatasets"]
    assert f"ResearchDataset/{release.dataset_id}" not in {row["id"] for row in listed["nodes"]}
    reader = Reader(graph.stores, caller)
    assert await reader.archive.presigned_release(release.id, [("patients", 0)], 60) == [None]
    assert reader.seen.new_urls() == 0
    await reader.close()


async def test_who_is_no_member_here_and_for_research_sees_nothing(study: Study) -> None:
    graph = study.graph
    others = [
        researcher(graph, "eve"),
        researcher(graph, facility=1),
        replace(study.member, purpose=PurposeOfUse.HOPERAT),
        *(replace(graph.caller(profile), subject="ada") for profile in Profile if profile is not Profile.ANALYST),
    ]
    for caller in others:
        await nothing(study, caller, study.first)
    assert (await study.seen(researcher(graph, "bob"), study.first)).data["node"]["version"] == 1


async def test_a_member_of_another_project_sees_only_its_own(study: Study, tmp_path: Path) -> None:
    other, caller = uuid4(), researcher(study.graph, "cleo")
    await owner(study.graph, PROJECT, other, caller.facility_id)
    await owner(study.graph, MEMBER, other, caller.facility_id, "cleo")
    own = await released(Releases(study.graph.stores.warehouse), tmp_path, other, 3)
    await nothing(study, caller, study.first)
    await nothing(study, study.member, own)
    assert (await study.seen(caller, own)).data["node"]["version"] == 1


async def test_a_revoked_project_closes_at_once(study: Study) -> None:
    await study.change(REVOKED)
    try:
        await nothing(study, study.member, study.first)
    finally:
        await study.change(APPROVED)
    assert (await study.seen(study.member, study.first)).data["node"]["version"] == 1


@pytest.mark.parametrize("change", ["data_use_expires = current_date - 1", "methods = '{SAFE_HARBOR}'"])
async def test_a_method_closes_with_its_agreement(study: Study, change: str) -> None:
    assert (await study.seen(study.member, study.limited)).data["node"]["method"] == "LIMITED"
    await study.change(change)
    try:
        await nothing(study, study.member, study.limited)
        assert (await study.seen(study.member, study.first)).data["node"]["version"] == 1
    finally:
        await study.change(APPROVED)
