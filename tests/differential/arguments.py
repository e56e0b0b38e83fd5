"""Arguments of generated documents: mostly what the data holds, or null, unknown, malformed and out of range."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

from graphql import GraphQLArgument, GraphQLEnumType, GraphQLNonNull, Undefined, get_named_type, is_list_type

from db.caller import Caller
from db.policy import shows
from graph.plan import kinds_of
from tests.schema_walk import Place

T = TypeVar("T")

UNKNOWN = "00000000-0000-4000-8000-000000000000"
"""Key of nothing."""

GOOD: Mapping[str, Sequence[Any]] = {
    "first": [1, 2, 3, 2, 5],
    "from": ["1900", "2015-06", "2020-01-01"],
    "to": ["2100", "2024", "2026-01-01T00:00:00Z"],
    "expiresIn": [60, 300],
    "maxStaleness": [31_536_000],
    "unreviewed": [True, False],
    "bucket": ["RAW", "HOURLY", "DAILY"],
    "class": [["AMB"], ["IMP", "EMER"]],
    "category": [["social-history"], ["survey"]],
    "modality": [["CT"], ["MR", "CR", "CT"]],
    "physicalType": [["wa"], ["wa", "bd"]],
    "measure": [["population"], ["condition-prevalence", "lab-results"]],
    "type": [["11506-3"], ["18842-5", "34117-2"]],
    "text": ["patient", "pain", "history of"],
    "fields": [["Condition.code"], ["Patient.birthDate", "LabResult.valueQuantity", "ClinicalNote.text"]],
    "role": ["nurse", "physician"],
    "purpose": ["TREAT", "HPAYMT"],
    "subject": ["test-clinician"],
    "release": [f"ResearchDatasetVersion/{UNKNOWN}"],
    "project": [f"ResearchProject/{UNKNOWN}"],
    "epsilon": [0.1, 1.0],
    "sex": [["female"], ["male", "unknown"]],
    "ageFrom": [0, 40],
    "ageTo": [64, 90],
    "facility": [[f"Facility/{UNKNOWN}"]],
    "encounterClass": [["AMB"], ["IMP", "EMER"]],
    "condition": [["http://snomed.info/sct|44054006"]],
    "procedure": [["http://snomed.info/sct|387713003"]],
    "medication": [["http://www.nlm.nih.gov/research/umls/rxnorm|6809"]],
    "labResult": [["http://loinc.org|4548-4"]],
    "withoutCondition": [["http://snomed.info/sct|73211009"]],
    "below": [True, False],
    "dimension": [["SEX"], ["SEX", "AGE_BAND"]],
    "asOf": ["2026", "2100-01-01"],
    "version": [1],
    "name": [["patients"], ["patients", "encounters"]],
    "status": [["active"], ["final"], ["finished"]],
}
"""Values that are good everywhere; others are of the data."""
BAD: Mapping[str, Sequence[Any]] = {
    "first": [0, -1, 101],
    "after": ["nonsense", "AAAA", ""],
    "from": ["soon", "2020-13"],
    "to": ["2020-02-30", "0001"],
    "expiresIn": [0, 301],
    "maxStaleness": [-1],
    "status": [["bogus"], []],
    "code": [["bogus"], [], [""]],
    "class": [["bogus"], []],
    "category": [[]],
    "modality": [[]],
    "physicalType": [["xx"], []],
    "measure": [["bogus"]],
    "type": [[]],
    "text": ["", "qqqqqq"],
    "search": [" ", "zzzzzz"],
    "mrn": ["", "0"],
    "fields": [[], ["Nothing.field"]],
    "role": ["nobody"],
    "purpose": ["NOTHING"],
    "subject": [""],
    "release": [f"Patient/{UNKNOWN}", ""],
    "project": ["ResearchProject/x", ""],
    "epsilon": [0.0, -1.0, 100.0],
    "sex": [["bogus"], []],
    "ageFrom": [-1, 91],
    "facility": [["x"]],
    "condition": [["bogus"]],
    "dimension": [[]],
    "asOf": ["soon"],
    "version": [0],
}
"""Values that are refused when they are used, or find nothing; of ids see `Values`."""
RATHER: Mapping[str, int] = {"first": 70, "id": 100, "search": 40}
"""Per cent of the fields with an optional argument that give it; 20 for others, of which each narrows what is found."""


class Choices:
    """Choices of one document, from its number: hypothesis would repeat much of other documents."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def below(self, count: int) -> int:
        """An integer from 0 up."""
        return self._random.randrange(count)

    def pick(self, values: Sequence[T]) -> T:
        """One of several."""
        return values[self.below(len(values))]

    def chance(self, percent: int) -> bool:
        """Whether something happens that happens this often."""
        return self.below(100) < percent

    def weighted(self, weights: Mapping[T, int]) -> T:
        """One of several, some of which are more frequent."""
        return self._random.choices(list(weights), list(weights.values()))[0]


class Variables:
    """Variables of a document: as they are declared, and the values that a request gives."""

    def __init__(self, choices: Choices) -> None:
        self.declared: dict[str, str] = {}
        self.values: dict[str, Any] = {}
        self._choices = choices
        self._made: dict[str, list[str]] = {}

    def condition(self, usual: bool) -> str:
        """The argument of @include or @skip: a literal or a variable, more often what keeps the field."""
        value = usual if self._choices.chance(65) else not usual
        if self._choices.chance(50):
            return _literal(value, enum=False)
        return self.of("if", "Boolean!", value, enum=False, omitted=False)

    def of(self, argument: str, type_: str, value: Any, *, enum: bool, omitted: bool) -> str:
        """A variable of a type that stands for a value: given, by default, or with `omitted` also left out or null."""
        made = self._made.setdefault(f"{argument} {type_}", [])
        if made and self._choices.chance(25):
            return f"${self._choices.pick(made)}"
        name = f"v{len(self.declared)}"
        nullable, choices = not type_.endswith("!"), self._choices
        how = choices.weighted({"given": 7, "default": 2, "both": 1, "omitted": 1} | ({"null": 1} if omitted else {}))
        if how == "omitted" and not (nullable and omitted):
            how = "given"
        declared = type_ if nullable or how != "default" or choices.chance(50) else type_.rstrip("!")
        if how == "null":
            declared = type_.rstrip("!")
        default = "" if how in ("given", "omitted", "null") else f" = {_literal(value, enum=enum)}"
        self.declared[name] = f"${name}: {declared}{default}"
        if how in ("given", "both"):
            self.values[name] = value
        elif how == "null":
            self.values[name] = None
        made.append(name)
        return f"${name}"


@dataclass(frozen=True, slots=True)
class Values:
    """What the data holds that arguments can name."""

    ids: Mapping[str, Sequence[str]]
    """Global ids by type."""
    cursors: Mapping[str, Sequence[str]]
    """Cursors that a connection gave, by its coordinate."""
    words: Mapping[tuple[str, str], Sequence[Any]] = field(default_factory=dict[tuple[str, str], Sequence[Any]])
    """Statuses and codes, by the type that is filtered and the argument; words to search for, by type and argument."""
    caller: Caller | None = None
    """Who asks, where that is known."""

    def given(self, place: Place, choices: Choices, variables: Variables, likely: str) -> str:
        """The arguments of a field, in parentheses; empty where it gets none."""
        given: list[str] = []
        for name, argument in place.arguments.items():
            required = name in place.required
            likely_to = RATHER.get(name, 20) if self.may_filter(argument) else 1  # it refuses the whole request
            if not required and not choices.chance(likely_to):
                continue
            if str(place) == "Query.patient" and name == "mrn" and given and not choices.chance(20):
                continue  # by id or by number, not both
            given.append(f"{name}: {self._value(place, name, argument, choices, variables, likely)}")
        return f"({', '.join(given)})" if given else ""

    def may_filter(self, argument: GraphQLArgument) -> bool:
        """Whether the caller may give an argument."""
        return self.caller is None or shows(self.caller, *kinds_of(argument))

    def _value(
        self, place: Place, name: str, argument: GraphQLArgument, choices: Choices, variables: Variables, likely: str
    ) -> str:
        type_ = str(argument.type)
        nullable, defaults = not type_.endswith("!"), argument.default_value is not Undefined
        kind = choices.weighted({"good": 88, "bad": 8, "null": 4})
        if kind == "null" and nullable:
            return "null" if choices.chance(50) else variables.of(f"{name} null", type_, None, enum=False, omitted=True)
        value = choices.pick(self._of(place, name, likely, choices, bad=kind == "bad"))
        if is_list_type(argument.type) and len(value) == 1 and choices.chance(20):
            value = value[0]  # one value is taken as a list of it
        enum = isinstance(get_named_type(argument.type), GraphQLEnumType)
        if choices.chance(35):
            stricter = nullable and choices.chance(30)
            declared = str(GraphQLNonNull(argument.type)) if stricter else type_  # pyright: ignore[reportArgumentType]
            return variables.of(name, declared, value, enum=enum, omitted=defaults and not stricter)
        return _literal(value, enum=enum)

    def _of(self, place: Place, name: str, likely: str, choices: Choices, *, bad: bool) -> Sequence[Any]:
        kinds = {"patient": "Patient", "provider": "Provider", "department": "Department"}
        if name == "id" or name in kinds:
            kind = kinds.get(name) or (place.gives.name if place.gives.name in self.ids else likely)
            kind = kind if kind in self.ids else choices.pick(sorted(self.ids))
            if bad:
                return [f"{kind}/{UNKNOWN}", f"{kind}/x", "", f"Nothing/{UNKNOWN}"]
            return self.ids[kind] or [f"{kind}/{UNKNOWN}"]
        if bad and name in BAD:
            return BAD[name]
        if name == "after":
            return self.cursors.get(str(place)) or BAD["after"]
        filtered = re.sub("(Match)?Connection$|Search$", "", place.gives.name)
        return self.words.get((filtered, name)) or self.words.get(("", name)) or GOOD[name]

    def kind_of(self, given: str, variables: Variables) -> str:
        """The type that the id among arguments names; empty where there is none."""
        found = re.search(r'id: (?:"(\w+)/|\$(\w+))', given)
        if not found:
            return ""
        return found[1] or str(variables.values.get(found[2]) or "").partition("/")[0]


def _literal(value: Any, *, enum: bool) -> str:
    """A value as a document writes it."""
    written = json.dumps(value)
    return written.replace('"', "") if enum else written
