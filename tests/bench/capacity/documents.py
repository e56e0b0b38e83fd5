"""What the measured clinicians ask: one document for each kind of request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
NOT_ASKED = re.compile(r"^ *cohort .*\n", re.MULTILINE)
"""The embedded warehouse is no measure of Snowflake."""

CHART = """query Chart($patient: ID!) {
  patient(id: $patient) {
    mrn birthDate gender name { family given }
    encounters(first: 20) { nodes { class status type { text } periodStart periodEnd provider { name } } }
    conditions(first: 20) { nodes { code { text coding { system code } } clinicalStatus onsetDateTime } }
    allergyIntolerances(first: 20) { nodes { code { text } criticality } }
    medicationRequests(first: 20) { nodes { status authoredOn medication { code { text coding { system code } } } } }
    labResults(first: 50) {
      nodes { effectiveDateTime status valueQuantity { value unit } test { code { coding { code display } } } }
    }
  }
}"""
TABLE = """query Table {
  patients(first: 40) {
    nodes {
      id mrn
      labResults(first: 50) {
        nodes { id effectiveDateTime status valueQuantity { value unit } test { code { text } } }
      }
    }
  }
}"""
SEARCH = """query Search($search: String!) {
  patients(search: $search, first: 20) { nodes { id mrn gender birthDate name { family given } } }
}"""


@dataclass(frozen=True, slots=True)
class Document:
    """A kind of request, who asks it, and which of the variables that `measuring` finds it takes."""

    kind: str
    persona: str
    text: str
    variables: tuple[str, ...] = ()


def chosen(document: Document, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the variables that the document takes."""
    return {name: variables[name] for name in document.variables}


def _example(name: str) -> str:
    text = (ROOT / "graph" / "graphiql" / "examples" / f"{name}.graphql").read_text("utf-8")
    return NOT_ASKED.sub("", text)


def _trusted(name: str) -> str:
    return (ROOT / "operations" / f"{name}.graphql").read_text("utf-8")


DOCUMENTS = (
    Document("chart", "physician", CHART, ("patient",)),
    Document("five_stores", "physician", _example("chart")),
    Document("ward", "physician", _example("ward")),
    Document("table", "physician", TABLE),
    Document("search", "physician", SEARCH, ("search",)),
    Document("trend", "physician", _example("trends")),
    Document("patient_view", "cds", _trusted("PatientView"), ("patient",)),
    Document("order_select", "cds", _trusted("OrderSelect"), ("patient", "laboratoryCodes")),
)
"""`patient_view` and `order_select` are asked by decision support, for hooks of CDS Hooks."""
