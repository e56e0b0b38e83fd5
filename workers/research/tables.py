"""Tables of a release, taken from the graph: a column for each field whose value has a shape that a table can hold.

What becomes of a column is decided by the PHI kinds that the graph declares for its field (workers/research/rules.py).
A field that is new in the graph is in the next release if there is a rule for its kinds, and in none if there is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, LiteralString, cast

import graph.schema  # noqa: F401  # pyright: ignore[reportUnusedImport] - ties the types of the graph together
from db.declared import kinds as declared_columns
from db.policy import Phi
from graph.chart import Condition, Procedure
from graph.datatype import CodeableConcept, FhirDate, FhirDateTime
from graph.encounter import Encounter
from graph.field import Source
from graph.lab import LabResult, LabTest
from graph.medication import Medication, MedicationAdministration, MedicationRequest
from loaders.element import Concept, Element, Inside, ValueQuantity
from loaders.research_cohort import in_days
from workers.research.fields import fields, kinds


class Kind(Enum):
    """Type of a column as it is read; of a release's columns the rule says the type."""

    TEXT = "TEXT"
    DATE = "DATE"
    """FHIR date or dateTime of any precision, as text."""
    NUMBER = "NUMBER"
    INTEGER = "INTEGER"
    BOOLEAN = "BOOLEAN"


SHAPES: Mapping[object, Kind] = {
    str: Kind.TEXT,
    FhirDate: Kind.DATE,
    FhirDateTime: Kind.DATE,
    Decimal: Kind.NUMBER,
    int: Kind.INTEGER,
    bool: Kind.BOOLEAN,
}
"""Types of the graph that one column holds."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column as it is read: `sql` is its expression, `kinds` what the graph says of its field (at `coordinate`)."""

    name: str
    sql: str
    kind: Kind
    kinds: tuple[Phi, ...]
    coordinate: str
    description: str


@dataclass(frozen=True, slots=True)
class Part:
    """A type of the graph in a table: the table of its rows, its alias, and the field that leads to it, if any."""

    type: Any
    table: str
    alias: LiteralString
    through: tuple[Any, str] | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a release: facts of the members `m` of a partition, after `joined`; those where `real` holds."""

    name: str
    joined: LiteralString
    parts: tuple[Part, ...]
    encounter: LiteralString
    """Expression of the encounter's id."""
    real: LiteralString
    """Condition on facts that happened; what was entered in error did not."""

    @property
    def facts(self) -> str:
        """Table of the facts."""
        return next(part.table for part in self.parts if part.alias == "f")

    @property
    def columns(self) -> Sequence[Column]:
        """Columns in the order of the graph's fields."""
        return [column for part in self.parts for column in _columns(part)]

    def sql(self, columns: Sequence[Column]) -> LiteralString:
        """Statement of some columns for partitions ($1 extraction, $2 partitions) and days ($3, $4), for COPY."""
        listed = "".join(f", {column.sql} AS {column.name}" for column in columns)
        # Names of fields and columns are the code's own, of which nothing comes from a caller.
        return cast(
            "LiteralString",
            f"""/* research_{self.name} */
SELECT m.research_id, {self.encounter}::text AS encounter{listed}
FROM vault.member AS m
{self.joined}
WHERE m.extraction_id = $1::uuid AND m.partition = ANY ($2::int[]) AND {self.real} AND {in_days("$3", "$4")}""",
        )


def _facts(table: LiteralString) -> LiteralString:
    return f"JOIN clinical.{table} AS f ON (f.facility_id, f.patient_id) = (m.facility_id, m.patient_id)"


OF_TEST: LiteralString = "\nJOIN clinical.lab_test AS t ON t.id = f.lab_test_id"
OF_MEDICATION: LiteralString = "\nJOIN clinical.medication AS d ON d.id = f.medication_id"

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        Table(
            "encounters",
            _facts("encounter"),
            (Part(Encounter, "encounter", "f"),),
            "f.id",
            "f.status NOT IN ('cancelled', 'entered-in-error', 'planned')",
        ),
        Table(
            "conditions",
            _facts("condition"),
            (Part(Condition, "condition", "f"),),
            "f.encounter_id",
            "coalesce(f.verification_status, '') NOT IN ('refuted', 'entered-in-error')",
        ),
        Table(
            "procedures",
            _facts("procedure"),
            (Part(Procedure, "procedure", "f"),),
            "f.encounter_id",
            "f.status NOT IN ('not-done', 'entered-in-error')",
        ),
        Table(
            "medication_requests",
            _facts("medication_request") + OF_MEDICATION,
            (
                Part(Medication, "medication", "d", (MedicationRequest, "medication")),
                Part(MedicationRequest, "medication_request", "f"),
            ),
            "f.encounter_id",
            "f.status <> 'entered-in-error'",
        ),
        Table(
            "medication_administrations",
            _facts("medication_administration") + OF_MEDICATION,
            (
                Part(Medication, "medication", "d", (MedicationAdministration, "medication")),
                Part(MedicationAdministration, "medication_administration", "f"),
            ),
            "f.encounter_id",
            "f.status NOT IN ('not-done', 'entered-in-error')",
        ),
        Table(
            "lab_results",
            _facts("lab_result") + OF_TEST,
            (Part(LabTest, "lab_test", "t", (LabResult, "test")), Part(LabResult, "lab_result", "f")),
            "f.encounter_id",
            "f.status NOT IN ('cancelled', 'entered-in-error')",
        ),
    )
}
"""Tables of facts that are read from the clinical database."""


def _columns(part: Part) -> Iterator[Column]:
    above = kinds(*part.through) if part.through else ()
    known = declared_columns(part.table)
    for field in fields(part.type):
        source: Source = field.metadata["source"]
        if source.relation or source.root or field.python_name in ("id", "version"):
            continue
        coordinate = f"{part.type.__name__}.{field.name or field.python_name}"
        shape = getattr(field.type, "of_type", field.type)
        for name, sql, kind in _parts(field.python_name.rstrip("_"), shape, source.value, part.alias, known):
            yield Column(name, sql, kind, tuple({*above, *source.kinds}), coordinate, field.description or "")


def _parts(
    name: str, shape: object, value: object, alias: str, known: Mapping[str, str]
) -> Iterator[tuple[str, str, Kind]]:
    """Name, expression and type of each column that a field becomes; none for a shape that no column holds."""
    prefix = "" if name == "code" else f"{name}_"
    if isinstance(value, Concept):
        yield f"{prefix}system", f"{alias}.code_system", Kind.TEXT
        yield f"{prefix}code", f"{alias}.code", Kind.TEXT
    elif isinstance(value, ValueQuantity):
        yield "value", f"{alias}.value_number", Kind.NUMBER
        yield "value_comparator", f"{alias}.value_comparator", Kind.TEXT
        yield "value_unit", f"coalesce({alias}.value_code, {alias}.value_unit)", Kind.TEXT
    elif isinstance(value, Element | None):
        column = value.name if value else name
        if column not in known:
            return
        if shape in SHAPES:
            yield name, f"{alias}.{column}", SHAPES[shape]
        elif shape is CodeableConcept:
            yield from _coding(prefix, f"{alias}.{column}", ())
    elif isinstance(value, Inside) and shape is CodeableConcept:
        yield from _coding(prefix, f"{alias}.{value.column}", value.path)


def _coding(prefix: str, column: str, path: tuple[str, ...]) -> Iterator[tuple[str, str, Kind]]:
    """System and code of the first coding of a concept that is kept as JSON."""
    for element in ("system", "code"):
        steps = ",".join((*path, "coding", "0", element))
        yield f"{prefix}{element}", f"{column} #>> '{{{steps}}}'", Kind.TEXT
