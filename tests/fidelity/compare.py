"""Whether two tellings of a patient's facts are the same: as multisets, numbers by their digits, dates as written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, cast

from tests.fidelity.files import Files, Json, elements, visible

CATALOGUED = {"labResults": "test", "medicationRequests": "medication", "medicationAdministrations": "medication"}
"""Relations whose facts share a catalogue: what a code is called there is any one of the wordings of its sources."""


def canonical(value: Any) -> Any:
    """A comparable form: no nulls and no empty lists, numbers as digits, labels without invisible characters."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list):
        return [canonical(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    given = cast(Json, value)
    if isinstance(given.get("id"), str):  # the graph names its own type before an id, the files name FHIR's
        given = given | {"id": given["id"].partition("/")[2]}
    labels = ("display", "text") if "coding" in given else ("display",)
    seen: Json = {
        key: visible(item) if key in labels and item else canonical(item) for key, item in sorted(given.items())
    }
    if "nodes" in seen:
        seen["nodes"].sort(key=json.dumps)
    return {key: item for key, item in seen.items() if item not in (None, [], {})}


def differences(files: Files, relation: str, in_files: Sequence[Json], in_graph: Sequence[Json]) -> list[str]:
    """Facts that only the files or only the graph tell, or tell more often, sorted so that the like stand together."""
    told, shown = (
        Counter(json.dumps(_comparable(files, relation, fact)) for fact in facts) for facts in (in_files, in_graph)
    )
    missing = [(fact, "files") for fact in (told - shown).elements()]
    extra = [(fact, "graph") for fact in (shown - told).elements()]
    return [f"{fact} only in the {where}" for fact, where in sorted(missing + extra)]


def _comparable(files: Files, relation: str, fact: Json) -> Json:
    own = canonical(fact)
    if relation == "vitalSigns":
        del own["id"]  # a reading of a panel has an id that no file knows
    if relation in CATALOGUED and (what := own.get(CATALOGUED[relation])):
        what["code"] = _in_any_wording(files, what["code"])
    return own


def _in_any_wording(files: Files, concept: Json) -> Json:
    """A concept under the first wording of each of its codes; a wording that no file has stays, and differs."""
    codings = [dict(item) for item in elements(concept.get("coding"))]
    for item in codings:
        known = files.wordings(item)
        if item.get("display") in known:
            item["display"] = min(known)
    return {"coding": codings} if codings else concept
