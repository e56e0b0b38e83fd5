"""Methods of de-identification that a dataset is made by."""

from __future__ import annotations

from enum import Enum
from typing import LiteralString

from db.policy import Phi

APPROVABLE = frozenset({Phi.DATE, Phi.GEOGRAPHY, Phi.MEDICAL_RECORD_NUMBER})
"""Kinds that an IRB approval may name for TRUSTED."""
TODAY: LiteralString = "(now() AT TIME ZONE 'UTC')::date"
"""The day on which approvals are judged, whatever the server's time zone."""
IN_FORCE: LiteralString = f"""CASE method WHEN 'LIMITED' THEN p.data_use_expires >= {TODAY}
    WHEN 'TRUSTED' THEN p.irb_expires >= {TODAY} ELSE true END"""
"""Condition on a project `p`: what `method` demands of it has not expired."""


class Method(Enum):
    """What leaves the records: see docs/research.md for what each keeps of every kind of information."""

    SAFE_HARBOR = "SAFE_HARBOR"
    """Nothing of the 18 identifiers (45 CFR 164.514(b)(2)), and k-anonymous besides."""
    LIMITED = "LIMITED"
    """A limited data set (45 CFR 164.514(e)): dates and places stay; needs a data use agreement on file."""
    TRUSTED = "TRUSTED"
    """What an IRB has approved besides, until its approval expires; ids may be asked back for clinical necessity."""
