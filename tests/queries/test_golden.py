"""Golden queries: each `name.graphql` here, and each example of GraphiQL, with its answer and the statements it took.

They stand in `name.profile.json` and `name.profile.reads`; `UPDATE=1 pytest tests/queries` writes them anew.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import orjson
import pytest

from db.caller import Profile
from graph.encoding import encoded
from tests.asking import Answer, Graph

FOLDER = Path(__file__).parent
EXAMPLES = FOLDER.parents[1] / "graph" / "graphiql" / "examples"
CHANGING = {"admission", "break-glass", "live"}
"""Examples that change something, or wait: tests/writes, tests/live and tests/break_glass ask such ones."""
FOUND = [path for path in (*FOLDER.glob("*.graphql"), *EXAMPLES.glob("*.graphql")) if path.stem not in CHANGING]
PATHS = sorted(FOUND, key=lambda path: path.stem)
AS_OTHERS = {"chart": list(Profile), "person": list(Profile), "me": [Profile.NURSE], "research": [Profile.ANALYST]}
"""Profiles that a query is asked as, where not as a clinician only."""
CASES = [(path, profile) for path in PATHS for profile in AS_OTHERS.get(path.stem, [Profile.CLINICIAN])]
PRESIGNED = re.compile(rb'"http://127\.0\.0\.1:\d+/[^"]*"')


def answer_text(answer: Answer) -> str:
    """Answer as indented JSON; presigned URLs, which differ each time, by their place only."""
    body = {"data": answer.data, "errors": answer.errors, "extensions": answer.extensions}
    stable = PRESIGNED.sub(b'"(presigned URL)"', encoded({key: value for key, value in body.items() if value}))
    return orjson.dumps(orjson.loads(stable), option=orjson.OPT_INDENT_2).decode() + "\n"


def reads_text(answer: Answer) -> str:
    """Statements by store and name, with their number."""
    return "".join(f"{store} {name} {count}\n" for (store, name), count in sorted(answer.statements.items()))


@pytest.mark.parametrize(("path", "profile"), CASES, ids=[f"{path.stem}-{who.value}" for path, who in CASES])
async def test_golden(graph: Graph, path: Path, profile: Profile) -> None:
    answer = await graph.ask(path.read_text(encoding="utf-8"), profile)
    texts = {".json": answer_text(answer), ".reads": reads_text(answer)}
    for suffix, text in texts.items():
        golden = FOLDER / f"{path.stem}.{profile.value}{suffix}"
        if os.environ.get("UPDATE") == "1":
            golden.write_text(text, encoding="utf-8")
        assert golden.read_text(encoding="utf-8") == text, golden.name


def test_there_are_golden_queries() -> None:
    assert len(PATHS) >= 12
    written = {path.name for path in FOLDER.iterdir() if path.suffix in (".json", ".reads")}
    assert written == {f"{path.stem}.{profile.value}{end}" for path, profile in CASES for end in (".json", ".reads")}
