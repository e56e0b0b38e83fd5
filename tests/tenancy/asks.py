"""What the schema lets be asked about something of a facility, found by walking it.

An argument that is not known here fails the walk: say what it names, or that it names nothing of a facility.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.schema_walk import GRAPH, NODES, Place, fields_of, selection

NAMES = {
    "patient": "Patient",
    "provider": "Provider",
    "department": "Department",
    "mrn": "mrn",
    "search": "family",
    "text": "word",
    "subject": "subject",
    "release": "release",
}
"""What an argument names: a type by its id, a release that was read, or a word that only some facility has. `id` names
what its field gives."""

USUAL: Mapping[str, object] = {
    "from": "1900",
    "to": "2100",
    "fields": ["Condition.code"],
    "reason": "Unconscious in the emergency department",
    "review": "Justified.",
    "code": ["8867-4"],
}
"""Values of arguments that must be given and name nothing of a facility."""
CHOICES = {
    "after",
    "asOf",
    "bucket",
    "category",
    "class",
    "close",
    "expiresIn",
    "first",
    "idempotencyKey",
    "maxStaleness",
    "measure",
    "minutes",
    "modality",
    "name",
    "physicalType",
    "purpose",
    "role",
    "status",
    "type",
    "unreviewed",
    "version",
    "vitals",
}
"""Arguments that choose among what is there, and name nothing of a facility; a cursor is tried in test_cursors."""
COMMON: Mapping[str, object] = {"text": "patient", "subject": "test-clinician"}
"""Words that every facility has."""
BESIDE: Mapping[tuple[str, str], Mapping[str, object]] = {
    ("Query.explainAccess", "provider"): {"role": "consultant"},
    ("Query.explainAccess", "department"): {"role": "ward_nurse"},
    ("Query.explainAccess", "subject"): {"role": "physician"},
}
"""Further arguments that one of a field needs."""
SHARED = {"LabTest", "Medication", "ResearchDataset", "ResearchDatasetVersion"}
"""Catalogues and aggregates without patients: every facility sees the same."""


OF_THEIR_SUBJECT = {
    "Query.cohort",
    *(f"CohortCounts.{answer}" for answer in ("budget", "by", "count")),
    "Query.imagingUpload",
    "Query.researchDataset",
    "ImagingUpload.study",
}
"""Roots that show somebody's own alone, wherever others are: tests/writes/test_imaging_writes.py, tests/research."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A root field, asked by one of its arguments for something of a facility."""

    root: Place
    argument: str
    kind: str
    """Type of the id that the argument takes, or kind of the word."""

    def __str__(self) -> str:
        """Name of the test."""
        return f"{self.root}({self.argument}: {self.kind})"

    @property
    def beside(self) -> Mapping[str, object]:
        """Other arguments; those that name something are left to the asking facility."""
        usual = {name: USUAL[name] for name in self.root.required if name in USUAL}
        return {**usual, **BESIDE.get((str(self.root), self.argument), {})}

    @property
    def others(self) -> Mapping[str, str]:
        """Other arguments that must name something: of the asking facility."""
        return {name: NAMES[name] for name in self.root.required if name in NAMES and name != self.argument}


def check(place: Place, *, names: bool) -> None:
    """Fails for an argument of which nothing is known here, or with `names` off for one that names something."""
    known = CHOICES | USUAL.keys() | ({"id"} | NAMES.keys() if names else set[str]())
    for argument in place.arguments:
        assert argument in known, f"say how to ask {place}({argument})"
    for argument in place.required:
        assert argument in USUAL or names, f"say how to ask {place}({argument})"


def roots(operation: str = "query") -> list[Place]:
    """Root fields of the queries or mutations."""
    return fields_of(GRAPH.query_type if operation == "query" else GRAPH.mutation_type)


def asks() -> list[Ask]:
    """Every root by each of its arguments that names something; `node` for every type."""
    found: list[Ask] = []
    for root in (*roots(), *roots("mutation")):
        if "input" in root.arguments or str(root) in OF_THEIR_SUBJECT:
            continue  # an input object needs more than an id: tests/writes asks each for what is elsewhere
        check(root, names=True)
        for argument in root.arguments:
            if argument == "id":
                kinds = sorted(NODES - SHARED) if root.gives.name == "Node" else [root.gives.name]
                found += [Ask(root, argument, kind) for kind in kinds]
            elif argument in NAMES:
                found.append(Ask(root, argument, NAMES[argument]))
    return found


def lists() -> list[Place]:
    """Root fields that answer without naming anything that only one facility has."""
    return [root for root in roots() if all(name in USUAL or name in COMMON for name in root.required)]


def document(root: Place, arguments: Mapping[str, object], chosen: str | None = None) -> str:
    """An operation that asks a root with variables of the arguments' names."""
    operation = "mutation" if root.owner == "Mutation" else "query"
    declared = ", ".join(f"${name}: {root.arguments[name].type}" for name in arguments)
    given = ", ".join(f"{name}: ${name}" for name in arguments)
    whole = chosen if chosen is not None else selection(root.field.type)
    if not arguments:
        return f"{operation} {{ {root.name} {whole} }}"
    return f"{operation}({declared}) {{ {root.name}({given}) {whole} }}"


def of_node(place: Place, arguments: str = "", chosen: str | None = None) -> str:
    """A query for one relation of the node $id."""
    check(place, names=False)
    literals = [f"{name}: {_literal(USUAL[name])}" for name in place.required] + ([arguments] if arguments else [])
    given = f"({', '.join(literals)})" if literals else ""
    whole = chosen if chosen is not None else selection(place.field.type)
    return f"query($id: ID!) {{ node(id: $id) {{ ... on {place.owner} {{ {place.name}{given} {whole} }} }} }}"


def _literal(value: object) -> str:
    return f'["{value[0]}"]' if isinstance(value, list) else f'"{value}"'
