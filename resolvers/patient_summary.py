"""Summary of each patient."""

from __future__ import annotations

from loaders.patient_summary import summary_of_patients
from resolvers.connection import link

of_patients = link(summary_of_patients, "id")
