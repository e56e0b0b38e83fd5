"""Documents and variables that only somebody hostile sends, each with the code that refuses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graph.limits import Limit


@dataclass(frozen=True, slots=True)
class Case:
    """One attack: a document, its variables, and the code of its refusal."""

    query: str
    code: str
    variables: Mapping[str, Any] = field(default_factory=dict[str, Any])
    explores: bool = False


def over(limit: Limit) -> int:
    """One more than a limit allows."""
    return limit.value.maximum + 1


def repeated(part: str, times: int) -> str:
    """`part` many times, each `{i}` replaced by its number."""
    return " ".join(part.replace("{i}", str(i)) for i in range(times))


def chain(fragments: int, spreads: int) -> str:
    """Fragments of which each spreads the next one several times: spreads ** fragments fields in few bytes."""
    links = repeated("fragment F{i} on Query {" + " ...F{next}" * spreads + "}", fragments)
    for i in range(fragments):
        links = links.replace("{next}", str(i + 1), spreads)
    return f"{{ ...F0 }} {links} fragment F{fragments} on Query {{ me {{ subject }} }}"


def nested(depth: int, of: str = "patient", leaf: str = "id") -> str:
    """A patient whose conditions have a patient whose conditions …"""
    return '{ patient(id: "x") {' + " conditions { nodes { patient {" * depth + " id " + "} } }" * depth + "} }"


MANY_PATIENTS = """{ patients(first: 100) { nodes {
  encounters(first: 100) { nodes { conditions(first: 100) { nodes { id } } } }
} } }"""

BOUNDS = {
    "a document of 100,000 spaces": Case("{ me { subject } }" + " " * 100_000, "CHARACTER_LIMIT_EXCEEDED"),
    "a string of 100,000 characters": Case(f'{{ node(id: "{"x" * 100_000}") {{ id }} }}', "CHARACTER_LIMIT_EXCEEDED"),
    "one comment of 100,000 characters": Case("#" + "x" * 100_000, "CHARACTER_LIMIT_EXCEEDED"),
    "10,000 times the same field": Case("{" + "me " * 9_000 + "}", "TOKEN_LIMIT_EXCEEDED"),
    "quotation marks": Case('"' * 29_000, "TOKEN_LIMIT_EXCEEDED"),
    "punctuation": Case("!" * 29_000, "TOKEN_LIMIT_EXCEEDED"),
    "a flood of comments": Case("#\n" * 14_000 + "{ me { subject } }", "COMMENT_LIMIT_EXCEEDED"),
    "brackets that open": Case("[" * 29_000, "NESTING_LIMIT_EXCEEDED"),
    "a deep list": Case("{ node(id: " + "[" * 5_000 + "]" * 5_000 + ") { id } }", "NESTING_LIMIT_EXCEEDED"),
    "a deep object": Case("{ node(id: " + "{a: " * 1_000 + "1" + "}" * 1_000 + ") { id } }", "NESTING_LIMIT_EXCEEDED"),
    "a deep type of a variable": Case(f"query ($v: {'[' * 900}Int{']' * 900}) {{ me }}", "NESTING_LIMIT_EXCEEDED"),
    "deep inline fragments": Case("{" + "... {" * 1_000 + "id" + "}" * 1_001, "NESTING_LIMIT_EXCEEDED"),
    "fragments that add up to deep ones": Case(
        "{ ...F0 }"
        + repeated("fragment F{i} on Query { ... { ... { ...G{i} } } }", 20)
        + "".join(f" fragment G{i} on Query {{ ...F{i + 1} }}" for i in range(19))
        + " fragment G19 on Query { me { subject } }",
        "NESTING_LIMIT_EXCEEDED",
    ),
    "a hundred operations": Case(repeated("query Q{i} { me { subject } }", 100), "OPERATION_LIMIT_EXCEEDED"),
    "a hundred fragments": Case(
        "{ me { subject } }" + repeated("fragment F{i} on Me { subject }", 100), "FRAGMENT_LIMIT_EXCEEDED"
    ),
    "a hundred variables": Case(
        f"query ({repeated('$v{i}: Int', 100)}) {{ me {{ subject }} }}", "VARIABLE_LIMIT_EXCEEDED"
    ),
    "a variable declared a hundred times": Case(
        f"query ({repeated('$v: Int', 100)}) {{ me {{ subject }} }}", "VARIABLE_LIMIT_EXCEEDED"
    ),
    "a flood of directives": Case("{ me { subject " + "@skip(if: true) " * 150 + "} }", "DIRECTIVE_LIMIT_EXCEEDED"),
    "a flood of unknown directives": Case("query " + "@x " * 300 + "{ me { subject } }", "DIRECTIVE_LIMIT_EXCEEDED"),
    "directives that fragments multiply": Case(
        "{ ...A ...A ...A ...A } fragment A on Query { ...B ...B ...B ...B } "
        "fragment B on Query {" + " ... @skip(if: true) { }" * 4 + "}",
        "DIRECTIVE_LIMIT_EXCEEDED",
    ),
    "an alias bomb below the root": Case(
        '{ patient(id: "x") {' + repeated("a{i}: conditions { nodes { id } }", 105) + "} }", "ALIAS_LIMIT_EXCEEDED"
    ),
    "an alias bomb through fragments": Case(
        '{ patient(id: "x") { ...A b: encounters { nodes { patient { ...A } } } '
        "c: encounters { nodes { patient { ...A } } } } }"
        f"fragment A on Patient {{ {repeated('a{i}: id', 40)} }}",
        "ALIAS_LIMIT_EXCEEDED",
    ),
    "an alias bomb at the root": Case(
        "{" + repeated('a{i}: patient(id: "x") { id }', 90) + "}", "ROOT_FIELD_LIMIT_EXCEEDED"
    ),
    "unknown fields at the root": Case("{" + repeated("x{i}", 1_000) + "}", "ROOT_FIELD_LIMIT_EXCEEDED"),
    "a patient's condition's patient's condition's …": Case(nested(10), "DEPTH_LIMIT_EXCEEDED"),
    "depth through fragments": Case(
        '{ patient(id: "x") { ...F0 } }'
        + "".join(
            f"fragment F{i} on Patient {{ conditions {{ nodes {{ patient {{ ...F{i + 1} }} }} }} }}" for i in range(8)
        )
        + "fragment F8 on Patient { id }",
        "DEPTH_LIMIT_EXCEEDED",
    ),
    "a billion fields in 1,000 bytes": Case(chain(30, 2), "FIELD_MERGE_LIMIT_EXCEEDED"),
    "nested fragments in 717 bytes": Case(chain(15, 2), "FIELD_MERGE_LIMIT_EXCEEDED"),
    "nested fragments of nothing": Case(chain(30, 2).replace("me { subject }", "... { }"), "FIELD_LIMIT_EXCEEDED"),
    "fragments that nothing reaches": Case(
        "{ me { subject } }" + chain(20, 3).partition("}")[2], "FIELD_MERGE_LIMIT_EXCEEDED"
    ),
    "the dear one of two fragments of one name": Case(
        "{ ...F } fragment F on Query {" + ' patient(id: "x") { id }' * 90 + "} fragment F on Query { me { subject } }",
        "FIELD_MERGE_LIMIT_EXCEEDED",
    ),
    "a field with arguments, a hundred times": Case(
        "{" + 'patient(id: "x") { id } ' * 100 + "}", "FIELD_MERGE_LIMIT_EXCEEDED"
    ),
    "fields in fields, repeated at both levels": Case(
        "{" + ('patient(id: "x") {' + "id " * 20 + "}") * 20 + "}", "FIELD_MERGE_LIMIT_EXCEEDED"
    ),
    "a fragment inside itself": Case("{ ...F } fragment F on Query { me { subject } ...F }", "CIRCULAR_FRAGMENT"),
    "fragments inside each other": Case(
        '{ patient(id: "x") { ...A } } fragment A on Patient { conditions { nodes { ...B } } } '
        "fragment B on Condition { patient { ...A } }",
        "CIRCULAR_FRAGMENT",
    ),
    "a circle that nothing reaches": Case(
        "{ me { subject } } fragment A on Query { ...B } fragment B on Query { ...A }", "CIRCULAR_FRAGMENT"
    ),
    "every fragment in every other": Case(
        "{ ...F0 }" + "".join(f"fragment F{i} on Query {{ {repeated('...F{i}', 15)} }}" for i in range(15)),
        "CIRCULAR_FRAGMENT",
    ),
    "the schema, three times": Case(
        "{ __schema { queryType { name } } a: __schema { types { name } } b: __schema { types { name } } }",
        "INTROSPECTION_LIMIT_EXCEEDED",
        explores=True,
    ),
    "aliases inside the schema": Case(
        "{ __schema { " + repeated("a{i}: types { fields { type { fields { name } } } }", 20) + " } }",
        "INTROSPECTION_LIMIT_EXCEEDED",
        explores=True,
    ),
    "a list of a thousand codes": Case(
        '{ patient(id: "x") { labResults(code: [' + '"x" ' * 1_000 + "]) { nodes { id } } } }", "LIST_LIMIT_EXCEEDED"
    ),
    "a list of a thousand in a default": Case(
        "query ($v: [Int] = [" + "1 " * 1_000 + "]) { me { subject } }", "LIST_LIMIT_EXCEEDED"
    ),
    "an object in an object in an object": Case(
        "{ node(id: " + "{a: " * 10 + "1" + "}" * 10 + ") { id } }", "INPUT_DEPTH_LIMIT_EXCEEDED"
    ),
}
"""Refused before validation."""

PARSED = {
    "nothing": Case("", "GRAPHQL_PARSE_FAILED"),
    "only commas": Case("," * 20_000, "GRAPHQL_PARSE_FAILED"),
    "a null byte": Case("{ me\0 { subject } }", "GRAPHQL_PARSE_FAILED"),
    "a letter that looks like another": Case("{ mе { subject } }", "GRAPHQL_PARSE_FAILED"),
    "text from right to left": Case("{ me { \u202etcejbus } }", "GRAPHQL_PARSE_FAILED"),
    "half a surrogate in a string": Case('{ node(id: "\\uD800") { id } }', "GRAPHQL_PARSE_FAILED"),
    "a code point beyond Unicode": Case('{ node(id: "\\u{110000}") { id } }', "GRAPHQL_PARSE_FAILED"),
    "an integer of 29,000 digits with a letter": Case(
        f"{{ patients(first: {'9' * 29_000}x) }}", "GRAPHQL_PARSE_FAILED"
    ),
    "a block string without end": Case('"""' + '\\"""' * 7_000, "GRAPHQL_PARSE_FAILED"),
    "a selection without end": Case("{ me { subject", "GRAPHQL_PARSE_FAILED"),
    "brackets that close": Case("}" * 1_000, "GRAPHQL_PARSE_FAILED"),
}
"""Refused by the parser."""

VALIDATED = {
    "fifty spreads of an unknown fragment": Case("{" + "...X " * 50 + "}", "GRAPHQL_VALIDATION_FAILED"),
    "unknown arguments": Case(
        '{ patient(id: "x" ' + repeated("x{i}: 1", 200) + ") { id } }", "GRAPHQL_VALIDATION_FAILED"
    ),
    "a variable twice": Case(
        "query ($v: ID!, $v: ID!) { patient(id: $v) { id } }", "GRAPHQL_VALIDATION_FAILED", {"v": "x"}
    ),
    "a type system of one's own": Case("type Query { id: ID } { me { subject } }", "GRAPHQL_VALIDATION_FAILED"),
    "introspection ten levels deep": Case(
        "{ __schema { types {" + " fields { type {" * 8 + " name " + "} }" * 8 + "} } }",
        "GRAPHQL_VALIDATION_FAILED",
        explores=True,
    ),
    "an integer of 29,000 digits": Case(
        f"{{ patients(first: {'9' * 29_000}) {{ nodes {{ id }} }} }}", "BAD_USER_INPUT"
    ),
    "a float beyond all floats": Case("{ patients(first: 1e99999) { nodes { id } } }", "BAD_USER_INPUT"),
    "an object as an id": Case("{ node(id: {a: {b: 1}}) { id } }", "BAD_USER_INPUT"),
    "a list as an id": Case('{ node(id: ["Patient/1"]) { id } }', "BAD_USER_INPUT"),
    "an operator as an id": Case('{ patient(id: {_ne: ""}) { id } }', "BAD_USER_INPUT"),
    "two anonymous operations": Case("{ me { subject } } { me { subject } }", "GRAPHQL_VALIDATION_FAILED"),
    "ten operations, and no name": Case(repeated("query Q{i} { me { subject } }", 10), "OPERATION_RESOLUTION_FAILURE"),
}
"""Refused by validation, which the bounds keep short."""

HIDDEN = {
    "the whole schema": Case("{ __schema { types { name fields { name } } } }", "INTROSPECTION_DISABLED"),
    "a type by name": Case(
        '{ me { subject } t: __type(name: "Patient") { fields { name } } }', "INTROSPECTION_DISABLED"
    ),
    "the schema in a fragment": Case(
        "{ ...F } fragment F on Query { s: __schema { queryType { name } } }", "INTROSPECTION_DISABLED"
    ),
    "the schema in an operation that is not asked for": Case(
        "query A { me { subject } } query B { __schema { queryType { name } } }", "INTROSPECTION_DISABLED"
    ),
}
"""Refused because the caller's profile does not explore."""

CODES = 'query ($code: [String!]) { patient(id: "x") { labResults(code: $code) { nodes { id } } } }'
SEARCH = "query ($search: String) { patients(search: $search) { nodes { id } } }"
FIRST = "query ($first: Int!) { patients(first: $first) { nodes { id } } }"

VARIABLES = {
    "a hundred thousand codes": Case(CODES, "LIST_LIMIT_EXCEEDED", {"code": ["x"] * 100_000}),
    "a deep value": Case(CODES, "INPUT_DEPTH_LIMIT_EXCEEDED", {"code": [[[[[[["x"]]]]]]]}),
    "a deep value that is not asked for": Case(SEARCH, "INPUT_DEPTH_LIMIT_EXCEEDED", {"x": [{"a": [{"a": [[[1]]]}]}]}),
    "a hundred thousand variables": Case(SEARCH, "INPUT_LIMIT_EXCEEDED", {f"v{i}": 1 for i in range(100_000)}),
    "lists of lists": Case(CODES, "INPUT_LIMIT_EXCEEDED", {"code": [["x"] * 90] * 90}),
    "a novel to search for": Case(SEARCH, "TEXT_LIMIT_EXCEEDED", {"search": "x" * 900_000}),
    "an integer beyond 32 bits": Case(FIRST, "BAD_USER_INPUT", {"first": 2**63}),
    "not a number": Case(FIRST, "BAD_USER_INPUT", {"first": float("nan")}),
    "a boolean for a number": Case(FIRST, "BAD_USER_INPUT", {"first": True}),
    "an object for a string": Case(SEARCH, "BAD_USER_INPUT", {"search": {"$ne": None}}),
    "no value at all": Case(FIRST, "BAD_USER_INPUT"),
    "every condition of every encounter of every patient": Case(MANY_PATIENTS, "COST_LIMIT_EXCEEDED"),
    "the same with a variable": Case(
        MANY_PATIENTS.replace("{ patients(first: 100)", "query ($first: Int!) { patients(first: $first)"),
        "COST_LIMIT_EXCEEDED",
        {"first": 2_000_000_000},
    ),
    "the same through a fragment": Case(
        "{ patients(first: 100) { nodes { ...P } } } "
        "fragment P on Patient { encounters(first: 100) { edges { node { ...E } } } } "
        "fragment E on Encounter { labResults(first: 100) { nodes { id } } }",
        "COST_LIMIT_EXCEEDED",
    ),
    "thirty searches of a whole store": Case(
        "{" + repeated('a{i}: patients(search: "x") { nodes { id } }', 30) + "}", "COST_LIMIT_EXCEEDED"
    ),
}
"""Refused when the variables are known, before any store is asked."""
