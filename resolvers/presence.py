"""Who else has a patient's chart open now."""

from __future__ import annotations

from loaders.presence import chart_presence_of_patients
from resolvers.connection import listing

of_patients = listing(chart_presence_of_patients)
