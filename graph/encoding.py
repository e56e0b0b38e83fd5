"""JSON as it is sent."""

from __future__ import annotations

from decimal import Decimal

import orjson


def encoded(content: object) -> bytes:
    """JSON in UTF-8; decimals keep every digit. Raises TypeError for a value that has no form in JSON."""
    # A dataclass is a row that a resolver let through: orjson would write all of it out.
    return orjson.dumps(content, _decimal, orjson.OPT_PASSTHROUGH_DATACLASS)


def _decimal(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(format(value, "f"))  # as PostgreSQL writes it: without exponent
    raise TypeError("no form in JSON")
