"""Places that a crash of the server leaves true: they name no transaction as over that may not be on disk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.feed import lasting


@pytest.mark.parametrize(
    ("snapshot", "newest", "expected"),
    [
        ("100:110:100,105", 120, "100:110:100,105"),
        ("100:110:100,105", 109, "100:110:100,105"),
        ("100:110:100,105", 103, "100:104:100"),
        ("100:110:", 90, "91:91:"),
        ("5:5:", 0, "1:1:"),
    ],
)
def test_a_snapshot_ends_behind_the_newest_event(snapshot: str, newest: int, expected: str) -> None:
    assert lasting(snapshot, newest) == expected


def sees(snapshot: str, transaction: int) -> bool:
    """What PostgreSQL's pg_visible_in_snapshot says."""
    xmin, xmax, running = snapshot.split(":")
    assert int(xmin) <= int(xmax)
    return transaction < int(xmin) or (
        transaction < int(xmax) and str(transaction) not in [one for one in running.split(",") if one]
    )


@given(st.integers(1, 50), st.integers(0, 20), st.sets(st.integers(0, 19)), st.integers(0, 80))
def test_it_sees_the_same_events_and_nothing_after_them(xmin: int, width: int, offsets: set[int], newest: int) -> None:
    running = sorted(xmin + offset for offset in offsets if offset < width)
    snapshot = f"{running[0] if running else xmin + width}:{xmin + width}:{','.join(map(str, running))}"
    cut = lasting(snapshot, newest)
    for transaction in range(1, 90):
        assert sees(cut, transaction) == (sees(snapshot, transaction) and transaction <= newest)
