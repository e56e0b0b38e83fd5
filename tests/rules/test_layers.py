"""The house: workers → graph → resolvers → loaders → db, each importing only to its right; no exceptions."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("workers", "graph", "resolvers", "loaders", "db")
DRIVERS = ("asyncpg", "motor", "pymongo", "bson", "gridfs", "aioboto3", "aiobotocore", "boto3", "botocore", "snowflake")
ABOVE_LOADERS = ("strawberry", "graphql", "starlette")
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 400
FILES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py")) if "node_modules" not in path.parts]
TESTS = [path for path in sorted((ROOT / "tests").rglob("*.py")) if "node_modules" not in path.parts]


def imported(path: Path) -> Iterator[str]:
    """Modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module or ""


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_imports_point_to_the_right() -> None:
    for path, module in ((file, module) for file in FILES for module in imported(file)):
        place = LAYERS.index(path.relative_to(ROOT).parts[0])
        top = module.split(".")[0]
        assert top not in LAYERS[:place], f"{named(path)} imports {module}"
        assert top not in ("tests", "docs", "deploy")
        if LAYERS[place] != "db":
            assert top not in DRIVERS, f"{named(path)} imports the driver {module}"
        if LAYERS[place] in ("loaders", "db"):
            assert top not in ABOVE_LOADERS, f"{named(path)} imports {module}"


@pytest.mark.parametrize("layer", LAYERS)
def test_packages_are_ours(layer: str) -> None:
    """PyPI has distributions called `db` and `workers`."""
    assert Path(importlib.import_module(layer).__file__ or "").is_relative_to(ROOT)


def test_files_and_functions_are_short() -> None:
    for path in FILES + TESTS:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= FILE_LINES_MAX, named(path)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                assert lines <= FUNCTION_LINES_MAX, f"{named(path)}: {node.name} has {lines} lines"


def test_every_public_thing_says_what_it_means() -> None:
    for path in FILES:
        module = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(module), named(path)
        for node in module.body:
            kind = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            if kind and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{named(path)}: {node.name}"


def test_no_drawer_for_anything() -> None:
    names = {part.removesuffix(".py") for path in FILES for part in path.relative_to(ROOT).parts}
    assert not names & {"common", "utils", "helpers", "core", "misc"}
