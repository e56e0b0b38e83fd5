"""What a client learns of an error: a code, a place and a message without any value; the log learns its type."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias, cast

from graphql import (
    ArgumentNode,
    GraphQLError,
    GraphQLSyntaxError,
    Node,
    ValuesOfCorrectTypeRule,
    VariableDefinitionNode,
    print_ast,
)

from db.errors import AppError, ArgumentError, CostLimitExceeded, LimitError, LimitExceeded, StoreError, Suppressed

FormattedError: TypeAlias = dict[str, Any]
"""One entry of `errors`: message, extensions with a code, and where they are known locations and path."""

_log = logging.getLogger("caregraph.errors")
_ROOT = Path(__file__).parents[1]

# Punctuators are quoted alone; anything else that a syntax error quotes may be a value of the document.
_QUOTED = re.compile(r"(\s*'[^\w']+')|(?:, did you mean)?[:,]?\s*'.*", re.DOTALL)
_ARGUMENT = re.compile(r"Argument '(\w+)'")


def described(error: AppError) -> FormattedError:
    """An error of ours: its message, its code, and the store, argument or limit that it names."""
    extensions: dict[str, Any] = {"code": error.code}
    if isinstance(error, StoreError):
        extensions["store"] = error.store
    if isinstance(error, ArgumentError):
        extensions["argument"] = error.argument
    if isinstance(error, LimitError):
        extensions["limit"] = error.limit
    if isinstance(error, LimitExceeded):
        extensions["max"] = error.at_most
    if isinstance(error, CostLimitExceeded):
        extensions["cost"] = {"requested": error.requested, "max": error.at_most}
    if isinstance(error, Suppressed):
        extensions |= {"reason": error.reason, "breakGlass": error.break_glass}
    return {"message": error.message, "extensions": extensions}


def request_error(message: str, code: str) -> FormattedError:
    """An error of the request as a whole; the message is ours and holds no value."""
    return {"message": message, "extensions": {"code": code}}


def syntax_error(error: GraphQLSyntaxError) -> FormattedError:
    """A document that does not parse; what graphql-core quotes of it is left out."""
    message = _QUOTED.sub(r"\1", error.message).rstrip(".,: ") + "."
    return _placed(request_error(message, "GRAPHQL_PARSE_FAILED"), error)


def validation_error(error: GraphQLError) -> FormattedError:
    """A document that the schema does not allow; names are repeated, values never (see ValuesOfCorrectType)."""
    cause = _cause(error)
    if isinstance(cause, AppError):
        return _placed(described(cause), error)
    extensions = {"code": "GRAPHQL_VALIDATION_FAILED", **(error.extensions or {})}
    return _placed({"message": error.message, "extensions": extensions}, error)


def variable_error(error: GraphQLError) -> FormattedError:
    """A variable whose value its type does not take: names the variable and the type."""
    cause = _cause(error)
    if isinstance(cause, AppError):
        return _placed(described(cause), error)
    node = error.nodes[0] if error.nodes else None
    if not isinstance(node, VariableDefinitionNode):
        return request_error("Variables are not valid.", "BAD_USER_INPUT")
    return _placed(_unfit(f"Variable '${node.variable.name.value}'", print_ast(node.type)), error)


def execution_errors(errors: Iterable[GraphQLError], request_id: str) -> list[FormattedError]:
    """Errors of fields, each at its path. What is not ours becomes INTERNAL, and its type is logged once a place."""
    logged: set[str] = set()
    return [_placed(_execution_error(error, request_id, logged), error) for error in errors]


def internal_error(error: BaseException, request_id: str) -> FormattedError:
    """An error nobody expected: the client gets the request id, under which the log has the exception's type."""
    _log_once(error, request_id, set())
    return _internal(request_id)


def _execution_error(error: GraphQLError, request_id: str, logged: set[str]) -> FormattedError:
    cause = _cause(error)
    if isinstance(cause, AppError):
        return described(cause)
    # graphql-core's own error inside: a variable that turns out null where an argument must not be.
    argument = _ARGUMENT.match(error.message) if isinstance(error.original_error, GraphQLError) else None
    if argument:
        return _argument_unfit(argument[1])
    _log_once(cause, request_id, logged)
    return _internal(request_id)


def _internal(request_id: str) -> FormattedError:
    return {"message": "Internal error.", "extensions": {"code": "INTERNAL", "requestId": request_id}}


def _log_once(error: BaseException, request_id: str, logged: set[str]) -> None:
    """Logs type and place, never text: that of a driver or of graphql-core may quote a value."""
    entry = f"{type(error).__module__}.{type(error).__qualname__} at {_place(error)}"
    if entry not in logged:
        logged.add(entry)
        _log.error("request=%s internal error: %s", request_id, entry)


def _place(error: BaseException) -> str:
    """Innermost line of ours that the exception went through."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.is_relative_to(_ROOT) and "site-packages" not in file.parts:
            return f"{file.relative_to(_ROOT)}:{frame.lineno}"
    return "-"


def _cause(error: GraphQLError) -> Exception:
    """Innermost exception that graphql-core wrapped."""
    cause: Exception = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause


def _placed(formatted: FormattedError, error: GraphQLError) -> FormattedError:
    if error.locations:
        formatted["locations"] = [location.formatted for location in error.locations]
    if error.path is not None:
        formatted["path"] = error.path
    return formatted


def _unfit(what: str, type_name: str) -> FormattedError:
    return request_error(f"{what} expects a value of type '{type_name}'.", "BAD_USER_INPUT")


def _argument_unfit(name: str, type_name: str | None = None) -> FormattedError:
    what = f"Argument '{name}'"
    formatted = _unfit(what, type_name) if type_name else request_error(f"{what} is not valid.", "BAD_USER_INPUT")
    formatted["extensions"]["argument"] = name
    return formatted


class ValuesOfCorrectType(ValuesOfCorrectTypeRule):
    """graphql-core's rule for literals, with messages that name argument and type instead of quoting the value."""

    _place: ArgumentNode | VariableDefinitionNode | None = None

    def enter_argument(self, node: ArgumentNode, *_args: Any) -> None:
        """Remembers the argument that the next literals belong to."""
        self._place = node

    def enter_variable_definition(self, node: VariableDefinitionNode, *_args: Any) -> None:
        """Remembers the variable whose default comes next."""
        self._place = node

    def report_error(self, error: GraphQLError) -> None:
        """Replaces the message; keeps the place and an error of ours that a scalar raised."""
        place = self._place
        if isinstance(place, VariableDefinitionNode):
            formatted = _unfit(f"Variable '${place.variable.name.value}'", print_ast(place.type))
        elif place is not None and (argument := cast("Any", self.context).get_argument()):
            formatted = _argument_unfit(place.name.value, str(argument.type))
        else:
            formatted = request_error("A literal is not of the expected type.", "BAD_USER_INPUT")
        # A scalar gets lists and objects as copies that have no location.
        nodes: list[Node] = [node for node in error.nodes or [] if node.loc] or ([place] if place else [])
        cause = _cause(error)
        super().report_error(
            GraphQLError(
                formatted["message"],
                nodes,
                original_error=cause if isinstance(cause, AppError) else None,
                extensions=formatted["extensions"],
            )
        )
