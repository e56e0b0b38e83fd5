"""Hostile documents: each is refused with its code, after little work, and the engine then still answers."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from graphql import GraphQLSyntaxError, Lexer, Source, TokenKind, get_introspection_query, parse
from hypothesis import given
from hypothesis import strategies as st

from db.caller import Caller, PurposeOfUse
from db.errors import AppError, CircularFragment, LimitExceeded
from db.policy import ROLES
from graph.document import VALIDATION_ERRORS_MAX
from graph.errors import described
from graph.execution import Engine, Operation
from graph.limits import Limit, check_document, check_text, check_variables
from graph.plan import plan
from graph.request import RequestInfo, Transport
from graph.schema import schema
from tests.hostile.document_cases import BOUNDS, HIDDEN, PARSED, VALIDATED, VARIABLES, Case, repeated

ROOT = Path(__file__).parents[2]
LEGITIMATE = sorted(
    [*(ROOT / "tests/queries").glob("*.graphql"), *(ROOT / "graph/graphiql/examples").glob("*.graphql")]
)

CALLER = Caller("hostile", ROLES["physician"], UUID(int=1), PurposeOfUse.TREAT)
REQUEST = RequestInfo("0" * 32, Transport.HTTP)

CALLS_MAX = 250_000
"""Calls of Python functions that a refusal may take; on a machine of 2020 a hundred thousand are 10 to 15 ms."""


@contextmanager
def counted() -> Generator[list[int]]:
    """Calls of functions inside the block."""
    calls = [0]

    def count(_frame: object, event: str, _argument: object) -> None:
        calls[0] += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(None)


class Asker:
    """One engine for all cases, and what each cost: calls, which are the same on every machine, and CPU time."""

    def __init__(self) -> None:
        self.sessions = 0
        self.engine = Engine(schema._schema, plan, self._session)  # pyright: ignore[reportPrivateUsage] - as graph.app
        self.report: list[tuple[str, int, float]] = []

    def _session(self, _caller: Caller) -> nullcontext[None]:
        self.sessions += 1
        return nullcontext()

    async def ask(self, case: Case) -> dict[str, Any]:
        """First payload of the answer, or its refusal."""
        operation = self.engine.prepare(case.query, None, explores=case.explores)
        if isinstance(operation, list):
            return {"errors": operation}
        run = self.engine.run(operation, dict(case.variables), CALLER, REQUEST, incremental=False)
        try:
            return await anext(run)
        except AppError as error:
            return {"errors": [described(error)]}
        finally:
            await run.aclose()

    async def measured(self, name: str, case: Case) -> tuple[dict[str, Any], int]:
        """The answer, and the calls of functions that it took."""
        started = time.process_time()
        answer = await self.ask(case)
        cpu_s = time.process_time() - started
        with counted() as calls:
            await self.ask(case)
        self.report.append((name, calls[0], cpu_s))
        return answer, calls[0]

    async def answers(self) -> bool:
        """Whether a normal query still is answered."""
        return await self.ask(Case("{ __typename }", "")) == {"data": {"__typename": "Query"}}


@pytest.fixture(scope="module")
def asker() -> Iterator[Asker]:
    """Its report is printed at the end (`pytest -rA` shows it)."""
    made = Asker()
    yield made
    for name, calls, cpu_s in sorted(made.report, key=lambda entry: entry[1]):
        print(f"{cpu_s * 1e3:7.1f} ms CPU {calls:8,} calls  {name}")


def never(*_args: object, **_kwargs: object) -> Any:
    """Stands for what a hostile document must not reach."""
    raise AssertionError("the bounds let it through")


async def check(asker: Asker, name: str, case: Case) -> None:
    """Refused with its code, and a limit by its name and value, in few calls; the engine still answers."""
    answer, calls = await asker.measured(name, case)
    assert "data" not in answer
    extensions = answer["errors"][0]["extensions"]
    assert extensions["code"] == case.code
    limit = case.code.removesuffix("_LIMIT_EXCEEDED")
    if limit in Limit.__members__:
        assert (extensions["limit"], extensions["max"]) == (limit, Limit[limit].value.maximum)
        assert str(Limit[limit].value.maximum) in answer["errors"][0]["message"]
        assert limit in answer["errors"][0]["message"]
    assert len(answer["errors"]) <= VALIDATION_ERRORS_MAX + 1
    assert calls < CALLS_MAX
    assert await asker.answers()


@pytest.mark.parametrize(("name", "case"), BOUNDS.items(), ids=BOUNDS.keys())
async def test_bounds(asker: Asker, monkeypatch: pytest.MonkeyPatch, name: str, case: Case) -> None:
    """Nothing is validated; what the scan refuses is not even parsed."""
    with monkeypatch.context() as patched:
        patched.setattr("graph.document.validate", never)
        if case.code.split("_")[0] in ("CHARACTER", "TOKEN", "COMMENT"):
            patched.setattr("graph.document.parse", never)
        assert (await asker.ask(case))["errors"][0]["extensions"]["code"] == case.code
    await check(asker, name, case)


@pytest.mark.parametrize(("name", "case"), PARSED.items(), ids=PARSED.keys())
async def test_malformed(asker: Asker, name: str, case: Case) -> None:
    await check(asker, name, case)


@pytest.mark.parametrize(("name", "case"), VALIDATED.items(), ids=VALIDATED.keys())
async def test_invalid(asker: Asker, name: str, case: Case) -> None:
    await check(asker, name, case)


@pytest.mark.parametrize(("name", "case"), HIDDEN.items(), ids=HIDDEN.keys())
async def test_introspection_that_is_not_allowed(
    asker: Asker, monkeypatch: pytest.MonkeyPatch, name: str, case: Case
) -> None:
    """Refused before validation; to who may explore the same document is a valid one, also from the cache."""
    with monkeypatch.context() as patched:
        patched.setattr("graph.document.validate", never)
        assert (await asker.ask(case))["errors"][0]["extensions"]["code"] == case.code
    await check(asker, name, case)
    name_of_one = "A" if "query A" in case.query else None
    assert isinstance(asker.engine.prepare(case.query, name_of_one, explores=True), Operation)
    refused = asker.engine.prepare(case.query, name_of_one)
    assert isinstance(refused, list)
    assert refused[0]["extensions"] == {"code": "INTROSPECTION_DISABLED"}


@pytest.mark.parametrize(("name", "case"), VARIABLES.items(), ids=VARIABLES.keys())
async def test_variables(asker: Asker, name: str, case: Case) -> None:
    await check(asker, name, case)


LARGE = {
    "aliases of lists": '{ patient(id: "x") {'
    + repeated("a{i}: conditions(first: 1) { nodes { id code { text } } }", 60)
    + "} }",
    "the same field with long lists": "{"
    + ('patient(id: "x") { labResults(code: [' + '"a" ' * 30 + "]) { nodes { id } } } ") * 20
    + "}",
    "long lists": "{"
    + repeated('a{i}: patient(id: "x") { labResults(code: [' + '"a" ' * 95 + "]) { nodes { id } } }", 10)
    + "}",
    "escapes": '{ node(id: "' + "\\u00e9" * 4_900 + '") { id } }',
}


@pytest.mark.parametrize("query", LARGE.values(), ids=LARGE.keys())
async def test_what_just_passes_is_cheap_too(asker: Asker, query: str) -> None:
    """The bounds leave validation little to do, for the largest documents that they let through."""
    with counted() as calls:
        operation = asker.engine.prepare(query, None)
    assert isinstance(operation, Operation)
    assert calls[0] < CALLS_MAX


def test_there_are_enough_cases() -> None:
    counts = [len(cases) for cases in (BOUNDS, PARSED, VALIDATED, HIDDEN, VARIABLES)]
    print(f"{sum(counts)} hostile documents")
    assert sum(counts) >= 50
    covered = {case.code for cases in (BOUNDS, VARIABLES) for case in cases.values()}
    assert {f"{limit.name}_LIMIT_EXCEEDED" for limit in Limit} <= covered


async def test_typename_is_not_introspection(asker: Asker) -> None:
    assert isinstance(asker.engine.prepare("{ __typename me { __typename } }", None), Operation)


SUGGESTED = {
    "a field": "{ patiens { id } }",
    "an argument": "{ patient(idd: 1) { id } }",
    "a type": "{ node(id: 1) { ... on Patien { id } } }",
    "a field of a fragment": "{ node(id: 1) { mrn } }",
    "a directive's argument": "{ me @skip(iff: true) { subject } }",
}


@pytest.mark.parametrize("query", SUGGESTED.values(), ids=SUGGESTED.keys())
def test_suggestions_are_for_explorers(asker: Asker, query: str) -> None:
    """They would give the schema away, one guess at a time."""

    def words(*, explores: bool) -> str:
        errors = asker.engine.prepare(query, None, explores=explores)
        assert isinstance(errors, list)
        return " ".join(error["message"] for error in errors).lower()

    assert "did you mean" in words(explores=True)
    assert "did you mean" not in words(explores=False)


@pytest.mark.parametrize("path", LEGITIMATE, ids=lambda path: path.stem)
def test_legitimate_documents_pass(asker: Asker, path: Path) -> None:
    query = path.read_text(encoding="utf-8")
    assert check_text(query) <= Limit.TOKEN.value.maximum / 3
    for definition in parse(query).definitions:
        operation = asker.engine.prepare(query, definition.name.value if definition.name else None)  # pyright: ignore
        assert isinstance(operation, Operation)


def test_introspection_of_tools_passes(asker: Asker) -> None:
    query = get_introspection_query(
        specified_by_url=True, directive_is_repeatable=True, schema_description=True, input_value_deprecation=True
    )
    assert isinstance(asker.engine.prepare(query, None, explores=True), Operation)


BOUND_CASES = {
    Limit.DEPTH: lambda n: "{ " + "a { " * (n - 1) + "a" + " }" * n,
    Limit.ROOT_FIELD: lambda n: "{ " + " ".join(f"a{i}" for i in range(n)) + " }",
    Limit.ALIAS: lambda n: "{ x { " + " ".join(f"a{i}: b" for i in range(n)) + " } }",
    Limit.DIRECTIVE: lambda n: "{ a " + "@x " * n + "}",
    Limit.OPERATION: lambda n: " ".join(f"query Q{i} {{ a }}" for i in range(n)),
    Limit.FRAGMENT: lambda n: "{ a } " + " ".join(f"fragment F{i} on Q {{ a }}" for i in range(n)),
    Limit.VARIABLE: lambda n: f"query ({' '.join(f'$v{i}: Int' for i in range(n))}) {{ a }}",
    Limit.LIST: lambda n: "{ a(b: [" + "1 " * n + "]) }",
    Limit.INPUT_DEPTH: lambda n: "{ a(b: " + "[" * n + "]" * n + ") }",
    Limit.FIELD: lambda n: "{ " + "... { } " * n + "}",
}


@pytest.mark.parametrize(("limit", "document"), BOUND_CASES.items(), ids=lambda value: getattr(value, "name", ""))
def test_limit_is_exact(limit: Limit, document: Callable[[int], str]) -> None:
    """What a limit allows passes it, one more does not."""
    check_document(parse(document(limit.value.maximum)))
    with pytest.raises(LimitExceeded) as refused:
        check_document(parse(document(limit.value.maximum + 1)))
    assert refused.value.limit == limit.name


def test_limits_of_the_text_are_exact() -> None:
    for limit, text in {
        Limit.CHARACTER: " ",
        Limit.TOKEN: "a ",
        Limit.COMMENT: "#\n",
        Limit.NESTING: "{",
    }.items():
        check_text(text * limit.value.maximum)
        with pytest.raises(LimitExceeded) as refused:
            check_text(text * (limit.value.maximum + 1))
        assert refused.value.limit == limit.name


def test_limits_of_variables_are_exact() -> None:
    deep: dict[Limit, Callable[[int], dict[str, Any]]] = {
        Limit.LIST: lambda n: {"v": [1] * n},
        Limit.TEXT: lambda n: {"v": "x" * n},
        Limit.INPUT: lambda n: {f"v{i}": 1 for i in range(n)},
        Limit.INPUT_DEPTH: lambda n: {"v": nested_list(n)},
    }
    for limit, variables in deep.items():
        check_variables(variables(limit.value.maximum))
        with pytest.raises(LimitExceeded) as refused:
            check_variables(variables(limit.value.maximum + 1))
        assert refused.value.limit == limit.name


def nested_list(depth: int) -> list[Any]:
    """A list in a list …, so many in all."""
    return [nested_list(depth - 1)] if depth > 1 else []


def lexed(text: str) -> tuple[int, bool]:
    """Tokens that graphql-core finds in a text, and whether it is well-formed to its end."""
    lexer, tokens = Lexer(Source(text)), 0
    try:
        while lexer.advance().kind is not TokenKind.EOF:
            tokens += 1
    except GraphQLSyntaxError:
        return tokens, False
    return tokens, True


@given(st.text(alphabet='"\\#{}[]().,:$@!|&= \n\r\tab_1.-e+\ufeffé\0', max_size=80))
def test_scan_counts_what_the_lexer_finds(text: str) -> None:
    """So that nothing is parsed that the scan would have refused."""
    tokens, complete = lexed(text)
    try:
        scanned = check_text(text)
    except LimitExceeded:
        return
    assert scanned == tokens if complete else scanned >= tokens


NAMES = st.sampled_from(["me", "patient", "a", "F0", "F1", "F2"])
SELECTIONS = st.recursive(
    st.one_of(NAMES, NAMES.map(lambda name: f"...{name}"), NAMES.map(lambda name: f"x: {name}")),
    lambda inner: st.tuples(st.one_of(NAMES, st.just("...")), st.lists(inner, max_size=6)).map(
        lambda pair: f"{pair[0]} {{ {' '.join(pair[1])} }}"
    ),
    max_leaves=30,
)


@given(st.lists(SELECTIONS, min_size=1, max_size=4))
def test_any_fragments_are_walked_within_the_bounds(bodies: list[str]) -> None:
    """Circles, unknown names and fragments of fragments: never more steps than FIELD, no recursion error."""
    fragments = " ".join(f"fragment F{i} on Query {{ {body} }}" for i, body in enumerate(bodies))
    document = parse(f"{{ ...F0 }} {fragments}")
    try:
        selections = check_document(document).selections
    except (LimitExceeded, CircularFragment):
        return
    assert selections <= Limit.FIELD.value.maximum
