"""Every error class of the application.

AppError
  StoreError      StoreUnavailable, StoreTimeout, StoreOverloaded
  AccessError     Unauthenticated, Forbidden
  RequestError    InvalidArgument, InvalidCursor, InvalidId, BadRequest, PhiFilterForbidden
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


class AccessError(AppError):
    """This is not allowed."""


class Unauthenticated(AccessError):
    """A valid bearer token is required."""


class Forbidden(AccessError):
    """The caller's role or purpose does not allow this."""


class RequestError(AppError):
    """The request can't be served as it stands."""


class ArgumentError(RequestError):
    """An argument of the request is not valid."""

    def __init__(self, argument: str, why: str | None = None) -> None:
        self.argument = argument
        super().__init__(f"Argument '{argument}' {why or 'is not valid'}.")


class InvalidArgument(ArgumentError):
    """An argument is out of range or malformed."""


class InvalidId(ArgumentError):
    """An id is malformed."""


class InvalidCursor(ArgumentError):
    """A cursor is forged, damaged or from another tenant."""


class PhiFilterForbidden(ArgumentError):
    """An argument filters by a value that the caller may not read."""


class BadRequest(RequestError):
    """The HTTP request is malformed."""


class SettingsError(AppError):
    """A setting is missing or malformed; the message names the variable."""
