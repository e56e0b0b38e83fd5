"""Methods of de-identification that a dataset is made by."""

from __future__ import annotations

from enum import Enum


class Method(Enum):
    """What leaves the records: see docs/research.md for what each keeps of every kind of information."""

    SAFE_HARBOR = "SAFE_HARBOR"
    """Nothing of the 18 identifiers (45 CFR 164.514(b)(2)), and k-anonymous besides."""
    LIMITED = "LIMITED"
    """A limited data set (45 CFR 164.514(e)): dates and places stay; needs a data use agreement on file."""
    TRUSTED = "TRUSTED"
    """What an IRB has approved besides, until its approval expires; ids may be asked back for clinical necessity."""
