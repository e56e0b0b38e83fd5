"""Selections as SQL: an expression that gives the JSON text which graphql-core would give of the same row.

Texts have no spaces, keys are in the order of the selection, numbers keep their digits. Where a value is not as its
type says, the text holds FAULT, which no JSON has: then rows are read instead, and graphql-core says what is wrong.
Names of columns and elements are those of the declarations; a client's aliases travel as parameters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import Any, NamedTuple, TypeAlias, get_args, get_origin, get_type_hints
from uuid import UUID

from loaders.element import Concept, Element, GlobalId, Inside, JoinedName, Listed, Member, ValueQuantity, fhir_name

FAULT = "\x01"
"""Raw control character: JSON only has it escaped."""
LINK = "\x02"
"""Another one: what stands between two of them is the place and key of a row whose text comes in its place."""
_FAULT = "chr(1)"
_ARGUMENTS_MAX = 80
"""Arguments of one concat; PostgreSQL takes 100."""

PLAIN = ("Date", "DateTime")
"""Scalars of columns whose domain (access.fhir_date, access.fhir_date_time) lets nothing in that JSON escapes."""
TEXTS = ("String", "ID", *PLAIN)
"""Scalars that write a text as it is."""


DOCUMENTS: Collection[object] = (dict[str, Any], list[dict[str, Any]])
"""Types of a row's attributes that are columns of JSON."""


class NotComposable(Exception):
    """A selection that SQL does not write: it is made of rows."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar of this name, or an Enum."""

    scalar: str
    nullable: bool


@dataclass(frozen=True, slots=True)
class Many:
    """A list."""

    item: Selection
    nullable: bool


@dataclass(frozen=True, slots=True)
class Fields:
    """An object."""

    fields: Sequence[Field]
    nullable: bool


@dataclass(frozen=True, slots=True)
class Field:
    """One selected field: the key in the answer, where its value comes from, and what is selected of it."""

    key: str
    aliased: bool
    """Whether the client chose the key."""
    value: object
    """Name of an attribute, a value function of loaders.element, a Constant, or a Joined."""
    of: Selection


Selection: TypeAlias = Leaf | Many | Fields


@dataclass(frozen=True, slots=True)
class Constant:
    """JSON text that is the same for every row: the name of the type, or null where the caller's view hides a field."""

    text: str


@dataclass(frozen=True, slots=True)
class Joined:
    """The row of another statement, by an id that this row has.

    Rows refer to it, and its text is made once, however many refer to it: see LINK.
    """

    sql: str
    """Statement whose $1 is the ids; its rows begin with the id, then come the attributes of `row`."""
    row: type
    hidden: frozenset[str]
    key: str
    """Attribute of the id."""


@dataclass(frozen=True, slots=True)
class Row:
    """Source: a row of the statement under an alias."""

    alias: str
    types: Mapping[str, object]
    hidden: frozenset[str]

    def column(self, name: str) -> str:
        """SQL of a column; NULL of one that is hidden."""
        return "NULL" if name in self.hidden else f'{self.alias}."{name}"'


@dataclass(frozen=True, slots=True)
class Json:
    """Source: a jsonb expression."""

    sql: str


@dataclass(frozen=True, slots=True)
class Scalar:
    """Source: an expression of a Python type's column."""

    sql: str
    type: object
    plain: bool = False
    """Whether its text never has what JSON escapes."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Source: the name of the member of an enum whose value an expression has."""

    sql: str
    enum: type[Enum]


@dataclass(frozen=True, slots=True)
class Struct:
    """Source: an object made of columns, unless `missing` holds."""

    missing: str
    parts: Mapping[str, Source]


@dataclass(frozen=True, slots=True)
class Listing:
    """Source: a list of one struct, where `first_present` holds, and of the elements of a jsonb array."""

    first_present: str
    first: Struct
    rest: str


Source: TypeAlias = Row | Json | Scalar | Chosen | Struct | Listing


def row_types(row: type) -> Mapping[str, object]:
    """Types of a row's attributes, without None."""
    hints = get_type_hints(row)
    return {one.name: _present(hints[one.name]) for one in dataclasses.fields(row)}


def column_names(types: Mapping[str, object], hidden: frozenset[str]) -> str:
    """List of the columns of a row, for the alias of a statement; those that a view hides are not named."""
    return ", ".join(f"_{n}" if name in hidden else f'"{name}"' for n, name in enumerate(types))


def _present(hint: Any) -> object:
    if get_origin(hint) is UnionType:
        [hint] = [part for part in get_args(hint) if part is not NoneType]
    return hint


class Reference(NamedTuple):
    """Rows that a text refers to."""

    joined: Joined
    fields: Sequence[Field]
    absent: str
    """Text where there is no such row."""


@dataclass(slots=True)
class JsonText:
    """Writes one selection over one row; collects the parameters and the references that it needs."""

    first_parameter: int
    first_reference: int
    """Place of the first reference among all parts of the statement."""
    parameters: list[str] = field(default_factory=list[str])
    """Values of the parameters from `first_parameter` on: aliases, as they stand in the text."""
    references: list[Reference] = field(default_factory=list[Reference])

    def object(self, source: Row | Json | Struct, fields: Sequence[Field]) -> str:
        """Text of an object of this row, or of what is in it."""
        if not fields:
            return "'{}'::text"
        parts: list[str] = []
        for place, one in enumerate(fields):
            parts += [self._key(one, "," if place else "{"), *self._field(source, one)]
        parts.append("'}'")
        chunks = [parts[n : n + _ARGUMENTS_MAX] for n in range(0, len(parts), _ARGUMENTS_MAX)]
        return " || ".join(f"concat({', '.join(chunk)})" for chunk in chunks)

    def _key(self, one: Field, before: str) -> str:
        if not one.aliased:
            assert one.key.isidentifier()
            return f"'{before}\"{one.key}\":'"
        self.parameters.append(f'{before}"{one.key}":')
        return f"${self.first_parameter + len(self.parameters) - 1}::text"

    def _field(self, source: Row | Json | Struct, one: Field) -> Sequence[str]:
        """What a field adds to the arguments of concat."""
        if isinstance(one.value, Constant):
            return [f"'{one.value.text}'"]
        if isinstance(one.value, Joined):
            assert isinstance(source, Row)
            return self._joined(source, one.value, one.of)
        found = _value(source, one.value)
        return [_null(one.of) if found is None else self._text(found, one.of)]

    def _joined(self, source: Row, joined: Joined, of: Selection) -> Sequence[str]:
        if not isinstance(of, Fields) or joined.key in source.hidden or "$" in joined.sql.replace("$1::uuid[]", ""):
            raise NotComposable
        place = self.first_reference + len(self.references)
        self.references.append(Reference(joined, of.fields, "null" if of.nullable else FAULT))
        return [f"E'\\x02{place}.'", f"{source.alias}.{joined.key}", "E'\\x02'"]

    def _text(self, source: Source, of: Selection) -> str:
        match source, of:
            case Scalar(), Leaf():
                return _leaf(source, of)
            case Json(), Leaf():
                return _json_leaf(source.sql, of)
            case Chosen(sql, enum), Leaf("Enum"):
                names = " ".join(f"WHEN '{one.value}' THEN '\"{one.name}\"'" for one in enum)
                return f"CASE {sql} {names} ELSE {_FAULT} END"
            case Scalar(sql), Many(item) if source.type == list[str]:
                whole = f"CASE WHEN array_position({sql}, NULL) IS NULL THEN to_json({sql})::text ELSE {_FAULT} END"
                if item.nullable or not isinstance(item, Leaf) or item.scalar not in TEXTS:
                    whole = f"to_json({sql})::text"
                return f"coalesce({whole}, {_null(of)})"
            case Json(sql), Many(item):
                elements = f"jsonb_array_elements({sql}) AS e{self._depth(item)} (v)"
                text = self._text(Json(f"e{self._depth(item)}.v"), item)
                whole = f"(SELECT concat('[', string_agg({text}, ','), ']') FROM {elements})"
                return _of_kind(sql, "array", whole, of)
            case Json(sql), Fields(fields):
                return _of_kind(sql, "object", self.object(source, fields), of)
            case Struct(missing), Fields(fields):
                return f"CASE WHEN {missing} THEN {_null(of)} ELSE {self.object(source, fields)} END"
            case Listing(), Many(item):
                first = f"CASE WHEN {source.first_present} THEN {self._text(source.first, item)} END"
                text = self._text(Json("e.v"), item)
                elements = f"(SELECT string_agg({text}, ',') FROM jsonb_array_elements({source.rest}) AS e (v))"
                rest = f"CASE jsonb_typeof({source.rest}) WHEN 'array' THEN {elements} END"
                return f"concat('[', concat_ws(',', {first}, {rest}), ']')"
            case _:
                raise NotComposable

    def _depth(self, of: Selection) -> int:
        """Lists inside: so each list's elements have a name of their own."""
        if isinstance(of, Many):
            return 1 + self._depth(of.item)
        return max((1 + self._depth(one.of) for one in of.fields), default=0) if isinstance(of, Fields) else 0


def _null(of: Selection) -> str:
    return "'null'" if of.nullable else _FAULT


def _of_kind(sql: str, kind: str, text: str, of: Selection) -> str:
    return (
        f"CASE coalesce(jsonb_typeof({sql}), 'null') WHEN '{kind}' THEN {text} WHEN 'null' THEN {_null(of)} "
        f"ELSE {_FAULT} END"
    )


def _leaf(source: Scalar, of: Leaf) -> str:
    sql = source.sql
    if of.scalar in TEXTS and source.type is str:
        if source.plain or of.scalar in PLAIN:
            return f"coalesce('\"' || {sql} || '\"', {_null(of)})"
        # Inside concat json is text, and a cast would be one more call for each row.
        return f"coalesce(to_json({sql}), 'null')" if of.nullable else f"coalesce(to_json({sql})::text, {_FAULT})"
    if (of.scalar, source.type) in (("Decimal", Decimal), ("Boolean", bool)):
        return f"coalesce(({sql})::text, {_null(of)})"
    if of.scalar == "Int" and source.type is int:
        return f"coalesce(({sql})::int4::text, {_null(of)})"
    raise NotComposable


def _json_leaf(sql: str, of: Leaf) -> str:
    if of.scalar in TEXTS:
        return _of_kind(sql, "string", f"({sql})::text", of)
    if of.scalar == "Boolean":
        return _of_kind(sql, "boolean", f"({sql})::text", of)
    if of.scalar == "Decimal":
        return _of_kind(sql, "number", f"({sql})::text", of)
    if of.scalar == "Int":
        whole = f"CASE WHEN ({sql})::text ~ '^-?[0-9]{{1,9}}$' THEN ({sql})::text ELSE {_FAULT} END"
        return _of_kind(sql, "number", whole, of)
    raise NotComposable


def _value(source: Row | Json | Struct, value: object) -> Source | None:
    """Source of a field's value; None of one that is always null."""
    match source:
        case Row():
            return _of_row(source, value)
        case Json(sql):
            return _of_json(sql, value)
        case Struct():
            return source.parts.get(_name(value))


def _name(value: object) -> str:
    match value:
        case str(name) | Element(name) | Listed(name):
            return name
        case _:
            raise NotComposable


def _of_json(sql: str, value: object) -> Json:
    name = _name(value)
    element = fhir_name(name)
    found = f"{sql}->'{element}'"
    if element != name:
        found = f"CASE WHEN {sql} ? '{name}' THEN {sql}->'{name}' ELSE {found} END"
    if isinstance(value, Listed):
        # As Python's `or`: what is nothing is an empty list.
        found = f"coalesce(nullif({found}, 'null'), '[]')"
    return Json(f"({found})")


def _of_row(row: Row, value: object) -> Source | None:
    match value:
        case GlobalId(type_name, attribute):
            if attribute not in row.types or attribute in row.hidden:
                raise NotComposable
            return Scalar(f"'{type_name}/' || {row.column(attribute)}", str, plain=row.types[attribute] is UUID)
        case Concept():
            return _concept(row)
        case Member(enum, name):
            return Chosen(row.column(name), enum)
        case ValueQuantity():
            names = {"value": "value_number", "comparator": "value_comparator", "unit": "value_unit"}
            names |= {"system": "value_system", "code": "value_code"}
            missing = f"{row.column('value_number')} IS NULL AND {row.column('value_comparator')} IS NULL"
            parts = {name: _column(row, column) for name, column in names.items()}
            return Struct(missing, {name: part for name, part in parts.items() if part})
        case JoinedName():
            lists = " || ".join(f"coalesce({row.column(name)}, '{{}}')" for name in ("prefix", "given"))
            family = f"nullif({row.column('family')}, '')"
            return Scalar(f"concat_ws(' ', nullif(array_to_string({lists}, ' '), ''), {family})", str)
        case Inside(column, path):
            if column in row.hidden:
                return None
            keys = ",".join(path)
            return Json(f"({row.column(column)} #> '{{{keys}}}')")
        case _:
            return _column(row, _name(value))


def _column(row: Row, name: str) -> Source | None:
    type_: Any = row.types.get(name)
    if name in row.hidden:
        return None
    if type_ in (str, int, bool, Decimal, list[str]):
        return Scalar(row.column(name), type_)
    if type_ in DOCUMENTS:
        return Json(row.column(name))
    raise NotComposable


def _concept(row: Row) -> Source | None:
    code, display, text = row.column("code"), row.column("code_display"), row.column("code_text")
    main = f"({code} <> '' OR {display} <> '')"
    rest = f"({row.column('code_translation') if 'code_translation' in row.types else 'NULL'})::jsonb"
    names = {"system": "code_system", "code": "code", "display": "code_display"}
    parts = {name: _column(row, column) for name, column in names.items()}
    first = Struct("false", {name: part for name, part in parts.items() if part})
    missing = f"{main} IS NOT TRUE AND coalesce({rest}, '[]') IN ('[]', 'null') AND coalesce({text}, '') = ''"
    words = _column(row, "code_text")
    return Struct(missing, {"coding": Listing(main, first, rest)} | ({"text": words} if words else {}))
