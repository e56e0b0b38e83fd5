"""Every error class of the application.

AppError
  StoreError      StoreUnavailable, StoreTimeout, StoreOverloaded, StoreConflict, ConstraintViolated
  AccessError     Unauthenticated, IssuerUnavailable, Forbidden, InsufficientScope,
                  IntrospectionDisabled, DocumentNotTrusted
  RequestError    InvalidArgument, IdempotencyConflict, InvalidCursor, CursorExpired, InvalidId, BadRequest,
                  PhiFilterForbidden, CircularFragment, PersistedQueryNotFound, PersistedQueryMismatch
  LimitError      RateLimited, Overloaded, DeadlineExceeded, SlowConsumer, LimitExceeded, CostLimitExceeded
  AuditUnavailable
  Stale
  BudgetExhausted
  SettingsError   (start-up only)

The docstring is the default message; the class name in capitals is the stable code. No value of a patient ever
enters a message: an argument is named, never quoted.
"""

from __future__ import annotations

import re


class AppError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip().splitlines()[0])

    @property
    def message(self) -> str:
        """Text that is safe to show to a client."""
        return str(self.args[0])

    @property
    def code(self) -> str:
        """Stable code of `extensions.code`: the class name in capitals."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).upper()


class StoreError(AppError):
    """A store did not answer as it should."""

    def __init__(self, store: str, message: str | None = None) -> None:
        self.store = store
        super().__init__(message or f"{(self.__doc__ or '').strip().splitlines()[0].rstrip('.')}: {store}.")

    @property
    def code(self) -> str:
        """One code for every store failure: to a client they are the same."""
        return "STORE_UNAVAILABLE"


class StoreUnavailable(StoreError):
    """This store can't be reached now."""


class StoreTimeout(StoreError):
    """This store did not answer in time."""


class StoreOverloaded(StoreError):
    """This store has too many requests under way."""


class StoreConflict(StoreError):
    """This store gave up the transaction for another's sake, and may carry out the next one."""


class ConstraintViolated(StoreError):
    """This store does not take what is written."""

    def __init__(self, store: str, constraint: str) -> None:
        self.constraint = constraint
        """Name of the constraint; empty where the server names none."""
        super().__init__(store)


class Stale(AppError):
    """The copy is older than the caller allows, and its source can't be read in its place."""


class BudgetExhausted(AppError):
    """This answer costs more than is left of the project's privacy budget."""


class AuditUnavailable(AppError):
    """The audit can't be written now, and nothing is shown that is not recorded."""


class AccessError(AppError):
    """This is not allowed."""


class Unauthenticated(AccessError):
    """A valid bearer token is required."""

    def __init__(self, reason: str = "NO_TOKEN") -> None:
        self.reason = reason
        """Stable code for the audit, such as NO_TOKEN or EXPIRED; a client does not learn it."""
        super().__init__()


class IssuerUnavailable(AccessError):
    """Tokens can't be checked now: the keys of their issuer can't be fetched."""


class Forbidden(AccessError):
    """The caller's role or purpose does not allow this."""


class InsufficientScope(AccessError):
    """The token's scopes do not let this type be read."""

    def __init__(self, type_name: str) -> None:
        super().__init__(f"The token's scopes do not let {type_name} be read.")


class Suppressed(AccessError):
    """This chart is suppressed."""

    def __init__(self, reason: str, *, break_glass: bool) -> None:
        self.reason = reason
        self.break_glass = break_glass
        advice = " In an emergency, break the glass (mutation breakGlass)." if break_glass else ""
        super().__init__(f"This chart is suppressed: {reason}.{advice}")


class IntrospectionDisabled(AccessError):
    """The caller's profile may not ask for the schema; documents of the manifest may."""


class DocumentNotTrusted(AccessError):
    """The caller's profile may run documents of the manifest only; send its id."""


class RequestError(AppError):
    """The request can't be served as it stands."""


class ArgumentError(RequestError):
    """An argument of the request is not valid."""

    def __init__(self, argument: str, why: str | None = None) -> None:
        self.argument = argument
        super().__init__(f"Argument '{argument}' {why or 'is not valid'}.")


class InvalidArgument(ArgumentError):
    """An argument is out of range or malformed."""


class IdempotencyConflict(ArgumentError):
    """An idempotency key was used for another input."""


class InvalidId(ArgumentError):
    """An id is malformed."""


class InvalidCursor(ArgumentError):
    """A cursor is forged, damaged or from another tenant."""


class PhiFilterForbidden(ArgumentError):
    """An argument filters by a value that the caller may not read."""


class CursorExpired(ArgumentError):
    """A cursor is of a time whose changes are not kept any more: read anew."""


class BadRequest(RequestError):
    """The HTTP request is malformed."""


class CircularFragment(RequestError):
    """A fragment of the document is inside itself."""


class PersistedQueryNotFound(RequestError):
    """No document of this hash is known; send its text with the hash."""


class PersistedQueryMismatch(RequestError):
    """The hash is not the SHA-256 of the document."""


class LimitError(AppError):
    """A limit is reached."""

    def __init__(self, limit: str, at_most: int, retry_after_s: int | None = None) -> None:
        self.limit = limit
        """Name of the limit, as `extensions.limit` has it."""
        self.retry_after_s = retry_after_s
        """Whole seconds after which asking again makes sense; None where the same request would fail again."""
        super().__init__(f"{(self.__doc__ or '').strip().splitlines()[0]} {limit} is at most {at_most}.")


class RateLimited(LimitError):
    """The caller asks too often."""


class Overloaded(LimitError):
    """Too much is under way."""


class DeadlineExceeded(LimitError):
    """The operation took too long and was cancelled."""


class SlowConsumer(LimitError):
    """Messages of this subscription are not taken fast enough; go on from its last cursor."""


class LimitExceeded(LimitError):
    """The document or its variables are too large."""

    def __init__(self, limit: str, at_most: int) -> None:
        self.at_most = at_most
        super().__init__(limit, at_most)

    @property
    def code(self) -> str:
        """One code for each limit, such as DEPTH_LIMIT_EXCEEDED."""
        return f"{self.limit}_LIMIT_EXCEEDED"


class CostLimitExceeded(LimitExceeded):
    """The operation may cost more than one request is given."""

    def __init__(self, limit: str, requested: int, at_most: int) -> None:
        self.requested = requested
        super().__init__(limit, at_most)

    @property
    def code(self) -> str:
        """One code, whichever of the costs it was."""
        return "COST_LIMIT_EXCEEDED"


class SettingsError(AppError):
    """A setting is missing or malformed; the message names the variable."""
