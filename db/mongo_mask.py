"""The policy's forms as stages of a pipeline: what masked views are in SQL (db/views.py)."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime

from db.notes_schema import Collection
from db.policy import Form, Phi, View
from db.visible import Document


def year_of(value: str) -> Document:
    """Expression of year precision: of an instant the start of its year, of a FHIR text its first four characters.

    As in SQL (access.mask_year, mask_order) a year from which an age over 89 follows is null, or for an instant, by
    which lists are ordered, the last such year.
    """
    untold = datetime(datetime.now(UTC).year - 90, 1, 1, tzinfo=UTC)
    is_date, is_text = ({"$eq": [{"$type": value}, kind]} for kind in ("date", "string"))
    year: Document = {"$substrBytes": [value, 0, 4]}
    start: Document = {"$dateTrunc": {"date": value, "unit": "year"}}
    return {
        "$switch": {
            "branches": [
                {"case": is_date, "then": {"$cond": [{"$gt": [start, untold]}, start, untold]}},
                {"case": is_text, "then": {"$cond": [{"$gt": [year, str(untold.year)]}, year, None]}},
            ],
            "default": None,
        }
    }


def mask(collection: Collection, seen: View) -> list[Document]:
    """Stages that give each declared path the form that the policy has in a view; [] where all is shown.

    A hidden field is left out; a hidden part of a field becomes null, as in SQL: $unset of the embedded server does not
    reach into arrays. Text that is shown scrubbed is left out too: it leaves the store through `unscrubbed` alone.
    """
    forms = {
        path: seen.forms[kind]
        for path, kind in collection.kinds.items()
        if kind is not None and seen.forms[kind] is not Form.SHOW
    }
    hidden = [path for path, wanted in forms.items() if "." not in path and not _is_year(path, wanted, collection)]
    changed: Document = {}
    parts: defaultdict[str, Document] = defaultdict(dict)
    for path, wanted in forms.items():
        parent, _, name = path.rpartition(".")
        field = parent.removesuffix("[]")
        source = "$$entry" if parent.endswith("[]") else f"${field}"
        if path in hidden or field in hidden:
            continue
        if not parent:
            changed[name] = year_of(f"${name}")
        else:
            parts[parent][name] = year_of(f"{source}.{name}") if _is_year(path, wanted, collection) else None
    changed |= {parent.removesuffix("[]"): _merged(parent, values) for parent, values in parts.items()}
    return [*([{"$unset": hidden}] if hidden else []), *([{"$set": changed}] if changed else [])]


def _is_year(path: str, wanted: Form, collection: Collection) -> bool:
    """Whether a path is shown as a year; a form that does not fit a kind hides it."""
    return wanted is Form.YEAR and collection.kinds[path] is Phi.DATE


def _merged(parent: str, values: Document) -> Document:
    """Expression of a field, or of each entry of an array, with other values of these parts."""
    name = parent.removesuffix("[]")
    if parent.endswith("[]"):
        return {"$map": {"input": f"${name}", "as": "entry", "in": {"$mergeObjects": ["$$entry", values]}}}
    is_object = {"$eq": [{"$type": f"${name}"}, "object"]}
    return {"$cond": [is_object, {"$mergeObjects": [f"${name}", values]}, f"${name}"]}
