"""Words that a scrubbed text may keep, and words that are names of people: the lists of philter-lite.

Only its lists are used. Its engine asks a part-of-speech tagger of NLTK that no package registry has, and some of its
patterns take time that grows with the square of a text and more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

QUOTED = re.compile(r'"([^"]*)"')

CONTRACTIONS = frozenset(["s", "t", "re", "ve", "ll", "d", "m"])
"""What may follow the apostrophe of a word."""

CURRENT = frozenset(
    "asian covid sars cov telehealth videoconference telemedicine smartphone e-mail wellcare medicaid medicare".split()
)
"""Words of clinical texts that are younger than the lists."""

DATES = frozenset(
    """january february march april may june july august september october november december jan feb mar apr jun jul aug
    sep sept oct nov dec monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thur thurs fri
    sat sun""".split()
)
"""Left to the patterns of dates, which know when `may` is a month."""


@dataclass(frozen=True, slots=True)
class Words:
    """Folded words: `safe` are no names, `names` are names; words that are in both need a look at their place."""

    safe: frozenset[str]
    names: frozenset[str]


@cache
def words() -> Words:
    """The lists, read once: some 40 MB. They are in small ASCII letters, as folded text is."""
    path = Path(str(distribution("philter-lite").locate_file("philter_lite/filters/set.toml")))
    # A list of TOML on each line: read as text it takes a tenth of the time.
    lines = (line.partition(" = ") for line in path.read_text(encoding="ascii").splitlines())
    lists = {name: QUOTED.findall(listed) for name, _, listed in lines}
    return Words(CURRENT.union(lists["nonames"], DATES), frozenset([*lists["firstnames"], *lists["lastnames"]]) - DATES)
