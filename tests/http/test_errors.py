"""Errors name arguments, types, stores and codes; a value never reaches the client or the log."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.http.serving import Answer, Client
from tests.http.small_graph import PATIENT_VALUE

LITERALS = {
    '{ record(first: "VALUE") }': ("BAD_USER_INPUT", "first", "'Int!'"),
    '{ record(first: [1, "VALUE"]) }': ("BAD_USER_INPUT", "first", "'Int!'"),
    '{ record(status: "VALUE") }': ("BAD_USER_INPUT", "status", "'Status!'"),
    "{ record(status: Lovelace) }": ("BAD_USER_INPUT", "status", "'Status!'"),
    '{ record(range: "VALUE") }': ("BAD_USER_INPUT", "range", "'Range'"),
    '{ record(range: {low: "VALUE"}) }': ("BAD_USER_INPUT", "range", "'Range'"),
    "{ record(range: {Lovelace: 1}) }": ("BAD_USER_INPUT", "range", "'Range'"),
    "{ record(name: Lovelace) }": ("BAD_USER_INPUT", "name", "'String'"),
    "{ record(name: 1815) }": ("BAD_USER_INPUT", "name", "'String'"),
    '{ record(id: "VALUE") }': ("INVALID_ID", "id", "'id'"),
    '{ record @include(if: "VALUE") }': ("BAD_USER_INPUT", "if", "'Boolean!'"),
}


def leaks(answer: Answer, client: Client) -> list[str]:
    """Lines of the answer and of the log that hold a part of the value; a random request id may hold any digits."""
    lines = [re.sub(r"[0-9a-f]{32}", "", line) for line in (answer.body.decode(), *client.served.log)]
    return [line for line in lines for part in ("Lovelace", "1815") if part in line]


@pytest.mark.parametrize(("query", "expected"), LITERALS.items(), ids=LITERALS.keys())
def test_literals(client: Client, query: str, expected: tuple[str, str, str]) -> None:
    code, argument, named = expected
    answer = client.ask(query.replace("VALUE", PATIENT_VALUE))
    error = answer.json["errors"][0]
    assert error["extensions"] == {"code": code, "argument": argument}
    assert named in error["message"]
    assert error["locations"][0]["line"] == 1
    assert leaks(answer, client) == []


VARIABLES: dict[str, tuple[str, Any]] = {
    "an integer": ("query ($v: Int!) { record(first: $v) }", PATIENT_VALUE),
    "an integer too large": ("query ($v: Int!) { record(first: $v) }", 1815_1815_1815),
    "an enum": ("query ($v: Status!) { record(status: $v) }", PATIENT_VALUE),
    "an object": ("query ($v: Range) { record(range: $v) }", PATIENT_VALUE),
    "a field of an object": ("query ($v: Range) { record(range: $v) }", {"low": PATIENT_VALUE}),
    "a field that is not there": ("query ($v: Range) { record(range: $v) }", {"low": 1, PATIENT_VALUE: 1}),
    "a string": ("query ($v: String) { record(name: $v) }", [PATIENT_VALUE]),
    "null": ("query ($v: Int!) { record(first: $v) }", None),
}


@pytest.mark.parametrize(("query", "value"), VARIABLES.values(), ids=VARIABLES.keys())
def test_variables(client: Client, query: str, value: object) -> None:
    answer = client.ask(query, variables={"v": value})
    error = answer.json["errors"][0]
    declared = query[query.index(":") + 2 : query.index(")")]
    assert (answer.status, answer.code) == (400, "BAD_USER_INPUT")
    assert error["message"] == f"Variable '$v' expects a value of type '{declared}'."
    assert answer.json.keys() == {"errors"}
    assert leaks(answer, client) == []


def test_variable_that_a_scalar_of_ours_refuses(client: Client) -> None:
    answer = client.ask("query ($v: RecordId) { record(id: $v) }", variables={"v": PATIENT_VALUE})
    assert answer.json["errors"][0]["extensions"] == {"code": "INVALID_ID", "argument": "id"}
    assert leaks(answer, client) == []


def test_default_of_a_variable(client: Client) -> None:
    answer = client.ask(f'query ($v: Int = "{PATIENT_VALUE}") {{ record(first: $v) }}')
    assert answer.json["errors"][0]["message"] == "Variable '$v' expects a value of type 'Int'."
    assert leaks(answer, client) == []


def test_variable_that_is_null_where_an_argument_must_not_be(client: Client) -> None:
    """Valid for the document, because the variable has a default; refused at the field."""
    answer = client.ask("query ($v: Int = 1) { record(first: $v) }", variables={"v": None})
    error = answer.json["errors"][0]
    assert (error["path"], error["extensions"]) == (["record"], {"code": "BAD_USER_INPUT", "argument": "first"})


SYNTAX = {
    '{ record(name: "a" "VALUE") }': "Syntax Error: Expected Name, found String.",
    "{ record(name: a.Lovelace) }": "Syntax Error: Unexpected character.",
    "{ record(name: Ada Lovelace) }": "Syntax Error: Expected ':', found ')'.",
    "{ record(first: 1 1815) }": "Syntax Error: Expected Name, found Int.",
    "{ record(first: .1815) }": "Syntax Error: Invalid number, expected digit before '.'.",
    '{ record(name: "Lovelace': "Syntax Error: Unterminated string.",
    '{ record(name: "\\u{Lovelace}") }': "Syntax Error: Invalid Unicode escape sequence.",
    "Lovelace": "Syntax Error: Unexpected Name.",
    "{ name": "Syntax Error: Expected Name, found <EOF>.",
}


@pytest.mark.parametrize(("query", "message"), SYNTAX.items(), ids=SYNTAX.keys())
def test_syntax(client: Client, query: str, message: str) -> None:
    answer = client.ask(query.replace("VALUE", PATIENT_VALUE))
    error = answer.json["errors"][0]
    assert (error["message"], error["extensions"]) == (message, {"code": "GRAPHQL_PARSE_FAILED"})
    assert error["locations"]
    assert leaks(answer, client) == []


def test_mistake_of_ours(client: Client) -> None:
    """The client gets a request id; under it the log has the type and place of the exception, once."""
    answer = client.ask("query Broken { a: broken b: broken name }")
    request_id = answer.headers["x-request-id"]
    assert answer.json["data"] == {"a": None, "b": None, "name": "***"}
    for error, path in zip(answer.json["errors"], ("a", "b"), strict=True):
        assert (error["message"], error["path"]) == ("Internal error.", [path])
        assert error["extensions"] == {"code": "INTERNAL", "requestId": request_id}
    logged = client.served.log
    assert [request_id in line for line in logged] == [True, True]
    assert "builtins.RuntimeError at tests/http/small_graph.py:" in logged[0]
    assert leaks(answer, client) == []


@pytest.mark.parametrize("field", ["row", "infinite"])
def test_answer_that_can_not_be_written(client: Client, field: str) -> None:
    """A row that slipped through is not written out, and a number that JSON lacks is not replaced."""
    answer = client.ask(f"{{ {field} }}")
    assert (answer.status, answer.code) == (500, "INTERNAL")
    assert leaks(answer, client) == []


def test_store_that_is_away(client: Client) -> None:
    answer = client.ask("{ chart { title vitals } }")
    error = answer.json["errors"][0]
    assert answer.json["data"] == {"chart": {"title": "chart", "vitals": None}}
    assert error["extensions"] == {"code": "STORE_UNAVAILABLE", "store": "vitals"}
    assert error["path"] == ["chart", "vitals"]
    assert [line for line in client.served.log if "internal error" in line] == []


def test_log_line(client: Client) -> None:
    """Operation, status, time and id; neither the query nor an URL."""
    answer = client.ask(f'query Chart_2 {{ record(name: "{PATIENT_VALUE}") }}')
    (line,) = client.served.log
    fields = dict(part.split("=") for part in line.split())
    assert fields.keys() == {"request", "operation", "status", "ms"}
    assert re.fullmatch(r"[0-9a-f]{12}", fields["operation"])
    assert fields["status"] == "200"
    assert fields["request"] == answer.headers["x-request-id"]


def test_log_of_a_get_request(client: Client) -> None:
    client.send(method="GET", path=f"/graphql?query={{record(name:%22{PATIENT_VALUE}%22)}}")
    client.send(method="GET", path=f"/{PATIENT_VALUE}")
    assert len(client.served.log) == 2
    assert [line for line in client.served.log if "Lovelace" in line or "record" in line] == []


def test_operation_name_that_is_not_there_is_not_logged(client: Client) -> None:
    client.ask("query A { name } query B { name }", operationName=PATIENT_VALUE)
    assert "operation=- " in client.served.log[0]
