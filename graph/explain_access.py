"""Why a caller sees what: for each schema coordinate the rule that decides, with a patient at hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache

import strawberry
from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_composite_type,
)

import resolvers.explain_access
from db.caller import Caller, Reach
from db.errors import InvalidArgument
from db.policy import POLICY, Form, Phi, View, purposes_of, unseen_labels
from graph.definition import metadata_of
from graph.field import REQUIRED, arg, field
from graph.plan import LABELLED, changed_by_purpose, form_at, kinds_of, scrubs
from graph.scopes import PARTS, READABLE, needed_types
from loaders.explain_access import StandingRow
from resolvers.context import Context
from resolvers.explain_access import Other
from resolvers.node import BATCHES, WITHOUT_CLINICAL

FIELDS_MAX = 50
"""Coordinates of one explanation at most."""
COORDINATE = re.compile(r"([A-Za-z]\w{0,99})\.([A-Za-z]\w{0,99})", re.ASCII)

APART = {"Location", "Medication", "Organization", "Patient", "Practitioner", "ResearchStudy"}
"""FHIR types that are no part of a patient's chart; the patient's own fields are found without one."""


class AccessDecision(Enum):
    """What becomes of a field."""

    SHOWN = "SHOWN"
    MASKED = "MASKED"
    HIDDEN = "HIDDEN"
    SUPPRESSED = "SUPPRESSED"
    REFUSED = "REFUSED"


class AccessReason(Enum):
    """Layer whose rule decides."""

    POLICY = "POLICY"
    PURPOSE = "PURPOSE"
    SCOPE = "SCOPE"
    DEPARTMENT = "DEPARTMENT"
    RELATIONSHIP = "RELATIONSHIP"
    CONSENT = "CONSENT"
    SENSITIVITY = "SENSITIVITY"
    BREAK_GLASS = "BREAK_GLASS"


strawberry.enum(AccessDecision, description="What becomes of a field; a suppressed one can be opened by other means")
strawberry.enum(AccessReason, description="Layer of access control whose rule decides")
strawberry.enum(Form, name="PhiForm", description="What is shown of a kind of protected health information")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one field, and by which rule; `form` is None where no form was looked at."""

    coordinate: str
    decision: AccessDecision
    reason: AccessReason
    rule: str
    kinds: Sequence[Phi] = ()
    form: Form | None = None


@strawberry.type(description="Why a caller sees a field of a patient's record, or does not")
class AccessExplanation:
    """Served from Verdict."""

    coordinate: str = field("Field that is explained, as Type.field", phi=None)
    decision: AccessDecision = field("What becomes of the field", phi=None)
    reason: AccessReason = field("Layer whose rule decides", phi=None)
    rule: str = field("Rule that decides", phi=None)
    form: Form | None = field("Form that the policy gives the field; null where another layer decides", phi=None)
    kinds: list[Phi] = field("Kinds of protected health information that the field carries", phi=None)


ARGUMENTS = (
    arg("patient", strawberry.ID, "Global id of the patient", phi=None, default=REQUIRED),
    arg("fields", list[str], "Schema coordinates (Type.field), 1 to 50", phi=None, default=REQUIRED),
    arg("role", str | None, "Role of another caller, for privacy officers", phi=None),
    arg("subject", str | None, "Subject of another caller: whose break-glass grants count", phi=None),
    arg("purpose", str | None, "Purpose of use of another caller; the role's usual one by default", phi=None),
    arg("provider", strawberry.ID | None, "Provider who another caller is", phi=None),
    arg("department", strawberry.ID | None, "Department of another caller", phi=None),
)


async def explained(
    schema: GraphQLSchema, context: Context, *, patient: str, fields: Sequence[str], **other: str | None
) -> Sequence[Verdict] | None:
    """A verdict for each coordinate, in their order; None for a patient who is not there.

    Raises InvalidArgument for what is no coordinate of the schema, Forbidden for another caller unless a privacy
    officer asks.
    """
    if not 1 <= len(fields) <= FIELDS_MAX:
        raise InvalidArgument("fields", f"must have 1 to {FIELDS_MAX} entries")
    declared = {coordinate: declaration(schema, coordinate) for coordinate in fields}
    asked = await resolvers.explain_access.standing(context, patient, Other(**other))
    if asked is None:
        return None
    chart = chart_of(schema)
    return [
        verdict(asked.caller, asked.row, coordinate, declared[coordinate], in_chart=coordinate in chart)
        for coordinate in fields
    ]


def declaration(schema: GraphQLSchema, coordinate: str) -> GraphQLField:
    """Field of a coordinate. Raises InvalidArgument for what the schema does not have."""
    parts = COORDINATE.fullmatch(coordinate)
    type_ = schema.type_map.get(parts[1]) if parts else None
    if not parts or not isinstance(type_, GraphQLObjectType | GraphQLInterfaceType) or parts[2] not in type_.fields:
        raise InvalidArgument("fields", "must be coordinates (Type.field) of the schema")
    return type_.fields[parts[2]]


def verdict(caller: Caller, row: StandingRow, coordinate: str, declared: GraphQLField, *, in_chart: bool) -> Verdict:
    """What becomes of a field: of the layers that withhold it the first one decides, as in a request."""
    owner = coordinate.partition(".")[0]
    seen = POLICY.views.get((caller.profile, caller.purpose))
    found = Verdict(coordinate, AccessDecision.SHOWN, AccessReason.POLICY, "carries no protected health information")
    if seen is None:
        purposes = ", ".join(purpose.value for purpose in purposes_of(caller.profile))
        rule = f"purposes of {caller.profile.value}: {purposes}"
        return replace(found, decision=AccessDecision.REFUSED, reason=AccessReason.PURPOSE, rule=rule)
    if missing := _not_granted(caller, owner, declared):
        rule = f"scopes of the token: not {', '.join(sorted(missing))}"
        return replace(found, decision=AccessDecision.REFUSED, reason=AccessReason.SCOPE, rule=rule)
    if not row.found:
        return _withheld(found, caller, row.standing, AccessDecision.HIDDEN)
    found = _formed(found, seen, caller, _kinds(owner, declared), scrubbed=scrubs(declared))
    if found.decision is AccessDecision.HIDDEN or not in_chart:
        return found
    if row.standing != "OPEN":
        return _withheld(replace(found, form=None), caller, row.standing, AccessDecision.SUPPRESSED)
    inner = get_named_type(declared.type).name.removesuffix("Connection")
    return _labelled(found, caller, row, not LABELLED.isdisjoint((owner, inner)))


def _not_granted(caller: Caller, owner: str, declared: GraphQLField) -> set[str]:
    """FHIR types that a field needs and the token does not grant."""
    if caller.types is None:
        return set()
    inner = get_named_type(declared.type)
    names = (owner, inner.name) if is_composite_type(inner) else (owner,)
    return {needed for name in names for needed in needed_types(name)} - caller.types


def _kinds(owner: str, declared: GraphQLField) -> Sequence[Phi]:
    """Kinds of a field; without any, those of the existence of what it belongs to."""
    existence = (Phi.CLINICAL,) if owner in BATCHES and owner not in WITHOUT_CLINICAL else ()
    return kinds_of(declared) or existence


def _formed(found: Verdict, seen: View, caller: Caller, kinds: Sequence[Phi], *, scrubbed: bool) -> Verdict:
    """Verdict of the policy file: a field of several kinds is hidden where all of them are, and shown where all are."""
    if not kinds:
        return found
    forms = {kind: form_at(seen.forms[kind], scrubbed) for kind in kinds}
    masked = [kind for kind, form in forms.items() if form is not Form.SHOW]
    deciding = masked[0] if masked else next(iter(forms))
    if not masked:
        decision = AccessDecision.SHOWN
    elif set(forms.values()) == {Form.HIDE}:
        decision = AccessDecision.HIDDEN
    else:
        decision = AccessDecision.MASKED
    rule = f"policy of {caller.profile.value} for {caller.purpose.value}: {deciding.value} = {forms[deciding].value}"
    found = replace(found, decision=decision, rule=rule, kinds=list(forms), form=forms[deciding])
    return replace(found, reason=AccessReason.PURPOSE) if changed_by_purpose(caller, masked) else found


def _withheld(found: Verdict, caller: Caller, standing: str, decision: AccessDecision) -> Verdict:
    """Verdict where consent or reach closes a patient's record."""
    if standing == "CONSENT":
        return replace(found, decision=decision, reason=AccessReason.CONSENT, rule="consent of the patient")
    reason = AccessReason.DEPARTMENT if caller.reach is Reach.DEPARTMENT else AccessReason.RELATIONSHIP
    return replace(found, decision=decision, reason=reason, rule=f"reach of {caller.role.name}: {caller.reach.value}")


def _labelled(found: Verdict, caller: Caller, row: StandingRow, labelled: bool) -> Verdict:
    """Verdict inside an open chart. It names the labels that a role lacks, never those of a row."""
    lifted = [row.unbroken] if row.unbroken != row.standing else []
    if row.broken and labelled:
        lifted += sorted(caller.role.lifts)
    if lifted:
        rule = f"break-glass of {caller.role.name}: lifts {', '.join(lifted)}"
        return replace(found, reason=AccessReason.BREAK_GLASS, rule=rule)
    lacking = unseen_labels(caller.role)
    if lacking and labelled and found.decision is AccessDecision.SHOWN:
        rule = f"labels of {caller.role.name}: rows without {', '.join(lacking)}"
        return replace(found, reason=AccessReason.SENSITIVITY, rule=rule)
    return found


def _is_chart(schema: GraphQLSchema, coordinate: str) -> bool:
    """Whether a field of Patient was declared to be suppressed with the chart."""
    return bool(metadata_of(declaration(schema, coordinate), "chart"))


@cache
def chart_of(schema: GraphQLSchema) -> frozenset[str]:
    """Coordinates of charts: fields of their types, of parts that only these have, and of Patient leading to these."""
    fields = {
        (owner, f"{owner}.{name}", get_named_type(declared.type).name)
        for owner, type_ in schema.type_map.items()
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType) and not owner.startswith("__")
        for name, declared in type_.fields.items()
    }
    owners = {owner for owner, _, _ in fields}
    roots = {root.name for root in (schema.query_type, schema.mutation_type, schema.subscription_type) if root}
    of_charts = READABLE - APART
    relations = {at for owner, at, _ in fields if owner == "Patient" and _is_chart(schema, at)}
    chart = {owner for owner in owners if of_charts.intersection(needed_types(owner))} - {"LabTest"} | {
        "PatientSummary"
    }
    while True:
        inside = {one for one in fields if one[0] in chart or one[1] in relations}
        outside = {inner for _, _, inner in fields - inside}
        parts = (PARTS & owners) - outside - chart - roots
        if not parts:
            return frozenset(at for _, at, _ in inside)
        chart |= parts
