"""Laboratory results of patients, encounters and reports; the latest of each test; one by id."""

from __future__ import annotations

from loaders.diagnostic_report import diagnostic_report_by_id
from loaders.lab import (
    LabResultRow,
    lab_result_by_id,
    lab_results_of_encounters,
    lab_results_of_patients,
    lab_results_of_reports,
    lab_test_by_id,
    latest_lab_results_of_patients,
    versions_of_lab_results,
)
from resolvers.arguments import codes, resource_id
from resolvers.chart import OBSERVATION_STATUS
from resolvers.connection import link, listing, relation
from resolvers.context import Context

of_patients = relation("Patient.labResults", lab_results_of_patients, status=OBSERVATION_STATUS, code=codes)
of_encounters = relation("Encounter.labResults", lab_results_of_encounters, status=OBSERVATION_STATUS, code=codes)
of_reports = relation("DiagnosticReport.results", lab_results_of_reports, status=OBSERVATION_STATUS, code=codes)
test = link(lab_test_by_id, "lab_test_id")
history = link(versions_of_lab_results, "id")
"""What each result said before, newest first."""
report = link(diagnostic_report_by_id, "diagnostic_report_id")
latest = listing(latest_lab_results_of_patients, code=codes)
"""The latest result of each test of each patient."""


async def one(context: Context, *, id: str) -> LabResultRow | None:
    """The laboratory result of an id; None for what is not there."""
    [row] = await context.reader.load_many(lab_result_by_id, [resource_id("id", id, "LabResult")])
    return row
