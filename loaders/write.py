"""What every write of a caller goes through: its key, its transaction, its lock, and what it came to.

A mutation's file (loaders/writes/) has the statements and the rules that need the data; it raises Refusal where they
forbid a change, and then nothing is written.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, LiteralString, TypeAlias
from uuid import UUID

from db.errors import StoreConflict
from db.transaction import Transaction
from loaders.reader import Reader, Writable

ATTEMPTS = 4
"""Times that a transaction is begun which the server gives up for another's sake."""

CLAIM_KEY = """/* claim_idempotency_key */
INSERT INTO access.idempotency_key (facility_id, subject, key, operation, input)
SELECT c.facility_id, c.subject, $1::text, $2::text, $3::bytea FROM access.context() AS c
ON CONFLICT DO NOTHING
RETURNING key"""

KNOWN_OUTCOME = """/* outcome_of_idempotency_key */
SELECT operation = $2::text AND input = $3::bytea, outcome
FROM access.idempotency_key
WHERE key = $1::text"""

KEEP_OUTCOME = """/* keep_outcome */
UPDATE access.idempotency_key SET outcome = $2::jsonb WHERE key = $1::text"""

LOCK_CHART = """/* lock_chart */
SELECT pg_advisory_xact_lock(hashtextextended('chart ' || access.facility_id() || ' ' || $1::uuid, 0))"""


class Code(Enum):
    """Why a change was not made: stable codes of user errors."""

    CONFLICT = "CONFLICT"
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    NOT_FOUND = "NOT_FOUND"
    INVALID = "INVALID"
    NOT_ALLOWED_NOW = "NOT_ALLOWED_NOW"
    POSSIBLE_DUPLICATE = "POSSIBLE_DUPLICATE"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    ALLERGY = "ALLERGY"
    SLOT_TAKEN = "SLOT_TAKEN"
    TOO_FEW = "TOO_FEW"


@dataclass(frozen=True, slots=True)
class UserErrorRow:
    """One reason why a change was not made; `field` is the place in the input, `message` has no value in it."""

    code: Code
    field: tuple[str, ...]
    message: str
    version: int | None = None
    """Of a CONFLICT the version that is current."""


class Refusal(Exception):
    """The change is not made; `found` are ids that tell why: possible duplicates, allergies.

    `scores` say of each of them how well it matches, where they were searched for.
    """

    def __init__(
        self,
        code: Code,
        field: Sequence[str] | str,
        message: str,
        *,
        version: int | None = None,
        found: Sequence[UUID] = (),
        scores: Sequence[Decimal] = (),
    ) -> None:
        names = (field,) if isinstance(field, str) else tuple(field)
        self.error = UserErrorRow(code, names, message, version)
        self.found = tuple(found)
        self.scores = tuple(scores)
        super().__init__(code.value)


@dataclass(frozen=True, slots=True)
class Concept:
    """A concept as a client gives it: a code of a system, a text, or both; as columns, or `fhir` as CodeableConcept."""

    system: str | None
    code: str | None
    display: str | None
    text: str | None

    def fhir(self) -> dict[str, Any]:
        """The same as FHIR's element, without what is not there."""
        coding = {"system": self.system, "code": self.code, "display": self.display}
        codings = [{name: value for name, value in coding.items() if value is not None}] if self.code else []
        return ({"coding": codings} if codings else {}) | ({"text": self.text} if self.text else {})


@dataclass(frozen=True, slots=True)
class Moment:
    """A FHIR dateTime as a client gives it, with the precision that it has, and its first instant, which orders it."""

    text: str
    instant: datetime


@dataclass(frozen=True, slots=True)
class Written:
    """What a write came to: the id of what it made or changed, or why it did not.

    A payload's relations read the object anew, as the caller may see it now.
    """

    id: UUID | None
    errors: tuple[UserErrorRow, ...] = ()
    found: tuple[UUID, ...] = ()
    """Of a refusal the ids that tell why; of a batch those of all that it made, in its order."""
    scores: tuple[Decimal, ...] = ()
    """How well each of these matches, where they were searched for."""
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    """Of a batch, how many came to what, by the payload's names."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A client's key for one write: with the same key and input it gets the same answer.

    `input` is an HMAC of 32 bytes of the whole input, so that another one with this key is noticed.
    """

    key: str
    operation: str
    input: bytes


Change: TypeAlias = Callable[[Transaction], Awaitable[UUID | Written]]
"""Makes a change and gives the id of what it made or changed; a batch gives several. Raises Refusal."""


async def write_once(reader: Reader, claim: Claim, change: Change, store: Writable = "clinical") -> Written:
    """Makes a change, in one transaction with what its key came to; or gives what it came to the first time.

    Raises Forbidden, StoreError.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            async with reader.transaction(store) as writing:
                return await _once(writing, claim, change)
        except StoreConflict:
            if attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable")


async def _once(writing: Transaction, claim: Claim, change: Change) -> Written:
    asked = (claim.key, claim.operation, claim.input)
    if not await writing.fetch(CLAIM_KEY, *asked):
        [(same, outcome)] = await writing.fetch(KNOWN_OUTCOME, *asked)
        return _written(outcome) if same else refused(another_input())
    try:
        async with writing.attempt():
            made = await change(writing)
            written = made if isinstance(made, Written) else Written(made)
    except Refusal as refusal:
        written = refused(refusal)
    await writing.fetch(KEEP_OUTCOME, claim.key, _outcome(written))
    return written


def refused(refusal: Refusal) -> Written:
    """What a refused write came to."""
    return Written(None, (refusal.error,), refusal.found, refusal.scores)


def another_input() -> Refusal:
    """Of a key that came before with another input."""
    return Refusal(Code.IDEMPOTENCY_CONFLICT, "idempotencyKey", "The key was used for another input.")


def conflict(current: int) -> Refusal:
    """Of an update that saw another version than the current one."""
    return Refusal(Code.CONFLICT, "version", "Somebody changed this meanwhile; read it again.", version=current)


def not_found(field: Sequence[str] | str) -> Refusal:
    """Of an id of nothing that the caller may write to: what is not there and what is another facility's are alike."""
    return Refusal(Code.NOT_FOUND, field, "There is nothing of this id.")


async def lock_chart(writing: Transaction, patient_id: UUID) -> None:
    """Waits until nobody else writes to this patient's chart at the facility, and keeps others waiting to the end."""
    await writing.fetch(LOCK_CHART, patient_id)


def check_version(seen: int, current: int) -> None:
    """Raises Refusal where the client saw another version than the current one."""
    if seen != current:
        raise conflict(current)


async def row_for_update(writing: Transaction, sql: LiteralString, id: UUID, version: int) -> Any:
    """The row of an update, which nobody else changes before the end. Raises Refusal: not found, another version.

    `sql` takes the id, locks the row (FOR UPDATE) and gives its version among what the update needs.
    """
    rows = await writing.fetch(sql, id)
    if not rows:
        raise not_found("id")
    check_version(version, rows[0]["version"])
    return rows[0]


def _outcome(written: Written) -> dict[str, Any]:
    errors = [asdict(error) | {"code": error.code.value} for error in written.errors]
    found, scores = [str(one) for one in written.found], [str(one) for one in written.scores]
    came = {"errors": errors, "found": found, "scores": scores, "counts": dict(written.counts)}
    return {"id": written.id and str(written.id), **came}


def _written(outcome: dict[str, Any]) -> Written:
    errors = [
        UserErrorRow(Code(one["code"]), tuple(one["field"]), one["message"], one["version"])
        for one in outcome["errors"]
    ]
    found, scores = tuple(map(UUID, outcome["found"])), tuple(map(Decimal, outcome["scores"]))
    return Written(outcome["id"] and UUID(outcome["id"]), tuple(errors), found, scores, outcome["counts"])
