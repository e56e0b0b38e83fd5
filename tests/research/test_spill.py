"""Partitions that are read together: each once, no more than memory holds, enough for several workers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workers.research.spill import GROUPS_MIN, TOGETHER_MAX, groups


@given(partitions=st.integers(1, 500))
def test_every_partition_is_in_one_group(partitions: int) -> None:
    made = groups(partitions)
    assert [one for group in made for one in group] == list(range(partitions))
    assert all(1 <= len(group) <= TOGETHER_MAX for group in made)
    assert len(made) >= min(partitions, GROUPS_MIN) - 1
