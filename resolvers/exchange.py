"""Records of a patient at other facilities."""

from __future__ import annotations

from loaders.exchange import exchanges_of_patients
from resolvers.connection import link

of_patients = link(exchanges_of_patients, "id")
