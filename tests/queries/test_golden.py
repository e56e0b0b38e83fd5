"""Golden queries: each `name.graphql` with its answer (`name.json`) and the statements that it took (`name.reads`).

`UPDATE=1 pytest tests/queries` writes them anew. A `.graphql` file's first line may say `# as: profile`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import orjson
import pytest

from db.caller import Profile
from graph.http import encoded
from tests.asking import Answer, Graph

FOLDER = Path(__file__).parent
QUERIES = sorted(FOLDER.glob("*.graphql"))
PRESIGNED = re.compile(rb'"http://127\.0\.0\.1:\d+/[^"]*"')


def answer_text(answer: Answer) -> str:
    """Answer as indented JSON; presigned URLs, which differ each time, by their place only."""
    body = {"data": answer.data, "errors": answer.errors, "extensions": answer.extensions}
    stable = PRESIGNED.sub(b'"(presigned URL)"', encoded({key: value for key, value in body.items() if value}))
    return orjson.dumps(orjson.loads(stable), option=orjson.OPT_INDENT_2).decode() + "\n"


def reads_text(answer: Answer) -> str:
    """Statements by store and name, with their number."""
    return "".join(f"{store} {name} {count}\n" for (store, name), count in sorted(answer.statements.items()))


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.stem)
async def test_golden(graph: Graph, path: Path) -> None:
    query = path.read_text(encoding="utf-8")
    asked_as = re.match(r"# as: (\w+)", query)
    answer = await graph.ask(query, Profile(asked_as[1]) if asked_as else Profile.CLINICIAN)
    texts = {".json": answer_text(answer), ".reads": reads_text(answer)}
    for suffix, text in texts.items():
        golden = path.with_suffix(suffix)
        if os.environ.get("UPDATE") == "1":
            golden.write_text(text, encoding="utf-8")
        assert golden.read_text(encoding="utf-8") == text, golden.name


def test_there_are_golden_queries() -> None:
    assert len(QUERIES) >= 10
