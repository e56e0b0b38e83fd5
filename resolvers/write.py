"""From a mutation's input to a write: who may, what the input says, and its idempotency key."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import orjson

from db.errors import Forbidden, InvalidArgument, InvalidId
from db.policy import may_write
from loaders.reader import Writable
from loaders.write import Change, Claim, Code, Concept, Moment, Refusal, Written, refused, write_once
from resolvers.arguments import resource_id, time_range
from resolvers.context import Context

KEY_MAX = 200
"""Characters of an idempotency key."""
TEXT_MAX, SYSTEM_MAX, UNIT_MAX = 500, 200, 50
"""Characters of a concept's code and texts, of the URI of its system, and of a unit."""
UCUM = "http://unitsofmeasure.org"
_KEY = re.compile(r"[\x21-\x7e]{1,200}")

Input = Mapping[str, Any]
"""An input object as its client gave it: names in snake_case, what was not given is not in it, null is None."""


class Given:
    """An input object that is being checked; `path` is where it is in the whole input, in the client's names."""

    def __init__(self, values: Input, path: tuple[str, ...] = ()) -> None:
        self._values = values
        self._path = path

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def get(self, name: str) -> Any:
        """A value as it was given; None where it was not."""
        return self._values.get(name)

    def at(self, name: str) -> tuple[str, ...]:
        """Where a value stands, as `userErrors.field` says it."""
        first, *rest = name.rstrip("_").split("_")
        return (*self._path, first + "".join(word.capitalize() for word in rest))

    def invalid(self, name: str, why: str) -> Refusal:
        """The refusal of a value; `why` goes on "This …" and quotes nothing."""
        return Refusal(Code.INVALID, self.at(name), f"This {why}.")

    def text(self, name: str, maximum: int, minimum: int = 1) -> str | None:
        """A text without blanks at its ends; None where none was given. Raises Refusal by its length."""
        value = self.get(name)
        if value is None:
            return None
        text = cast("str", value).strip()
        if not minimum <= len(text) <= maximum or "\x00" in text:
            raise self.invalid(name, f"must have from {minimum} to {maximum} characters")
        return text

    def needed_text(self, name: str, maximum: int, minimum: int = 1) -> str:
        """A text that must be given."""
        return self._needed(name, self.text(name, maximum, minimum))

    def id(self, name: str, type_name: str) -> UUID | None:
        """Key of a global id of a type. Raises Refusal for one of another type or a malformed one."""
        value = self.get(name)
        if value is None:
            return None
        try:
            return resource_id(name, value, type_name)
        except InvalidId:
            raise self.invalid(name, f"must be an id of {type_name}") from None

    def needed_id(self, name: str, type_name: str) -> UUID:
        """An id that must be given."""
        return self._needed(name, self.id(name, type_name))

    def ids(self, name: str, type_name: str, maximum: int) -> list[UUID]:
        """Keys of a list of ids, each once. Raises Refusal for a malformed one, and for too many."""
        values = cast("Sequence[str]", self.get(name) or ())
        if len(values) > maximum:
            raise self.invalid(name, f"may have {maximum} entries at most")
        try:
            return list(dict.fromkeys(resource_id(name, value, type_name) for value in values))
        except InvalidId:
            raise self.invalid(name, f"must be ids of {type_name}") from None

    def one_of(self, name: str, allowed: Collection[str]) -> str | None:
        """A code of a value set; None where none was given. Raises Refusal naming the codes."""
        value = self.get(name)
        if value is not None and value not in allowed:
            raise self.invalid(name, f"must be one of {', '.join(sorted(allowed))}")
        return value

    def concept(self, name: str) -> Concept | None:
        """A concept with a code of a system, a text, or both; None where none was given."""
        part = self.part(name)
        return part and part._concept()

    def concepts(self, name: str, maximum: int) -> list[Concept]:
        """The concepts of a list, each as `concept` has it. Raises Refusal for too many."""
        return [part._concept() for part in self.parts(name, maximum)]

    def _concept(self) -> Concept:
        """This object as a concept."""
        values = [
            self.text(of, SYSTEM_MAX if of == "system" else TEXT_MAX) for of in ("system", "code", "display", "text")
        ]
        concept = Concept(*values)
        if concept.code is None and concept.text is None:
            raise Refusal(Code.INVALID, self._path, "This needs a code or a text.")
        if (concept.code is None) != (concept.system is None):
            raise Refusal(Code.INVALID, self._path, "This needs a code and its system, or neither.")
        return concept

    def needed_concept(self, name: str) -> Concept:
        """A concept that must be given."""
        return self._needed(name, self.concept(name))

    def quantity(self, name: str) -> dict[str, Any] | None:
        """An amount as FHIR Quantity, its unit in UCUM where it has a code; None where none was given."""
        part = self.part(name)
        if part is None:
            return None
        comparator = part.one_of("comparator", ("<", "<=", ">=", ">"))
        unit, code = part.text("unit", UNIT_MAX), part.text("code", UNIT_MAX)
        amount = {"value": part.get("value"), "comparator": comparator, "unit": unit, "code": code}
        return {key: value for key, value in amount.items() if value is not None} | ({"system": UCUM} if code else {})

    def moment(self, name: str) -> Moment | None:
        """A FHIR dateTime of any precision; None where none was given."""
        value = self.get(name)
        if value is None:
            return None
        try:
            return Moment(cast("str", value), time_range(value, None)[0])
        except InvalidArgument:
            raise self.invalid(name, "must be a FHIR dateTime") from None

    def needed_moment(self, name: str) -> Moment:
        """A moment that must be given."""
        return self._needed(name, self.moment(name))

    def needed_one_of(self, name: str, allowed: Collection[str]) -> str:
        """A code that must be given."""
        return self._needed(name, self.one_of(name, allowed))

    def time(self, name: str) -> datetime | None:
        """An instant with its offset (FHIR instant); None where none was given."""
        value = self.get(name)
        if value is None:
            return None
        try:
            time = datetime.fromisoformat(cast("str", value))
        except ValueError:
            raise self.invalid(name, "must be a time as YYYY-MM-DDThh:mm:ss with an offset") from None
        if time.tzinfo is None:
            raise self.invalid(name, "must have an offset from UTC")
        return time

    def needed_time(self, name: str) -> datetime:
        """An instant that must be given."""
        return self._needed(name, self.time(name))

    def date(self, name: str) -> date | None:
        """A day (FHIR date of full precision); None where none was given."""
        value = self.get(name)
        if value is None:
            return None
        try:
            return date.fromisoformat(cast("str", value))
        except ValueError:
            raise self.invalid(name, "must be a date as YYYY-MM-DD") from None

    def part(self, name: str) -> Given | None:
        """An input object inside this one; None where none was given."""
        value = self.get(name)
        return None if value is None else Given(cast("Input", value), self.at(name))

    def parts(self, name: str, maximum: int) -> Sequence[Given]:
        """The input objects of a list. Raises Refusal for too many."""
        values = cast("Sequence[Input]", self.get(name) or ())
        if len(values) > maximum:
            raise self.invalid(name, f"may have {maximum} entries at most")
        return [Given(value, (*self.at(name), str(place))) for place, value in enumerate(values)]

    @property
    def version(self) -> int:
        """The version that the client saw."""
        return int(self.get("version"))

    def _needed(self, name: str, value: Any) -> Any:
        if value is None:
            raise self.invalid(name, "must be given")
        return value


def claim(context: Context, operation: str, input: Input) -> Claim:
    """The idempotency key of an input, with an HMAC of the rest. Raises Refusal for a malformed key."""
    key = input.get("idempotency_key")
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise Refusal(
            Code.INVALID, "idempotencyKey", f"This must have from 1 to {KEY_MAX} ASCII characters, no blanks."
        )
    rest = {name: value for name, value in input.items() if name != "idempotency_key"}
    raw = orjson.dumps([operation, rest], default=_plain, option=orjson.OPT_SORT_KEYS)
    return Claim(key, operation, hmac.digest(context.cursor_key, b"idempotency\n" + raw, hashlib.sha256))


def _plain(value: object) -> str:
    assert isinstance(value, Decimal), type(value)
    return str(value)


Prepared = Change
"""What an input that is right becomes."""


async def write(
    context: Context,
    operation: str,
    input: Input,
    tables: Sequence[str],
    prepare: Callable[[Given], Prepared],
    store: Writable = "clinical",
) -> Written:
    """What a mutation came to. `prepare` checks the input and gives what then changes the data; either raises Refusal.

    `tables`: what the change inserts into or updates. Raises Forbidden for a caller whose profile may not write there,
    StoreError.
    """
    if not may_write(context.caller, *tables):
        raise Forbidden
    try:
        change = prepare(Given(input))
        return await write_once(context.reader, claim(context, operation, input), change, store)
    except Refusal as refusal:
        return refused(refusal)
