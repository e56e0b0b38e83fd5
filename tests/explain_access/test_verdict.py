"""The verdict on a field follows from the caller, the standing towards the patient, and the policy alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from graphql import parse

from db.caller import Caller, PurposeOfUse
from db.policy import POLICY, ROLES, Form, Phi
from graph.explain_access import AccessDecision, AccessReason, Verdict, chart_of, declaration, verdict
from graph.plan import plan
from graph.schema import schema
from loaders.explain_access import StandingRow
from tests.access.test_masked_answers import KINDS

GRAPH = schema._schema  # pyright: ignore[reportPrivateUsage] - Strawberry has no public name for it
OPEN = StandingRow(found=True, standing="OPEN", unbroken="OPEN", broken=False)
CLOSED = StandingRow(found=True, standing="RELATIONSHIP", unbroken="RELATIONSHIP", broken=False)
DENIED = StandingRow(found=True, standing="CONSENT", unbroken="CONSENT", broken=False)
BROKEN = StandingRow(found=True, standing="OPEN", unbroken="RELATIONSHIP", broken=True)


def caller(role: str, purpose: PurposeOfUse | None = None, **more: Any) -> Caller:
    """A caller of a role, by default for its usual purpose."""
    usual = next(one for profile, one in POLICY.views if profile is ROLES[role].profile)
    return Caller("test", ROLES[role], uuid4(), purpose or usual, **more)


def explained(asked: Caller, row: StandingRow, coordinate: str) -> Verdict:
    """The verdict on one coordinate."""
    in_chart = coordinate in chart_of(GRAPH)
    return verdict(asked, row, coordinate, declaration(GRAPH, coordinate), in_chart=in_chart)


def decided(asked: Caller, row: StandingRow, coordinate: str) -> tuple[str, str]:
    """Decision and reason of one coordinate."""
    found = explained(asked, row, coordinate)
    return found.decision.value, found.reason.value


def documents() -> Iterator[tuple[str, str]]:
    """(coordinate, document that asks for it) of every field that carries a kind and has no required arguments."""
    for coordinate in KINDS:
        owner, _, name = coordinate.partition(".")
        yield coordinate, f'query {{ node(id: "x") {{ ... on {owner} {{ {name} }} }} }}'


@pytest.mark.parametrize("role", ROLES)
def test_verdicts_agree_with_the_plan(role: str) -> None:
    """`extensions.phi` of an answer names the fields that the explanation calls masked or hidden, in the same form."""
    asked = caller(role)
    for coordinate, document in documents():
        found = explained(asked, OPEN, coordinate)
        masked = plan(GRAPH, parse(document), None, {}, asked).masked
        named = {
            one["coordinate"]: {mask["kind"]: mask["form"] for mask in one["masks"]} for one in masked if "masks" in one
        }
        labelled = {one["coordinate"] for one in masked if one["reason"] == "SENSITIVITY"}
        assert (found.decision in (AccessDecision.MASKED, AccessDecision.HIDDEN)) == (coordinate in named), coordinate
        assert (coordinate in labelled) <= (found.reason is AccessReason.SENSITIVITY or coordinate in named), coordinate
        if coordinate in named and found.form is not None:
            assert found.form.value in named[coordinate].values(), coordinate
            hidden = set(named[coordinate].values()) == {"HIDE"} and len(named[coordinate]) == len(found.kinds)
            assert (found.decision is AccessDecision.HIDDEN) == hidden, coordinate


def test_a_policy_rule_is_named() -> None:
    found = explained(caller("physician"), OPEN, "Identifier.value")
    assert found.decision is AccessDecision.MASKED
    assert (found.form, found.reason) == (Form.LAST4, AccessReason.POLICY)
    assert Phi.SSN in found.kinds
    assert found.rule == "policy of clinician for TREAT: SSN = LAST4"
    found = explained(caller("analyst", PurposeOfUse.HRESCH), OPEN, "Address.postalCode")
    assert (found.rule, found.reason) == ("policy of analyst for HRESCH: GEOGRAPHY = HIDE", AccessReason.PURPOSE)
    assert explained(caller("analyst"), OPEN, "Address.postalCode").form is Form.ZIP3
    nothing = explained(caller("registrar"), OPEN, "Facility.name")
    assert (nothing.decision, nothing.kinds, nothing.form) == (AccessDecision.SHOWN, (), None)


def test_what_hides_a_row_hides_its_plain_fields() -> None:
    assert decided(caller("registrar"), OPEN, "Condition.id") == ("HIDDEN", "POLICY")
    assert explained(caller("registrar"), OPEN, "Condition.id").kinds == [Phi.CLINICAL]
    assert decided(caller("registrar"), OPEN, "Appointment.id") == ("SHOWN", "POLICY")


def test_another_purpose_is_refused() -> None:
    found = explained(caller("nurse", PurposeOfUse.HRESCH), OPEN, "Patient.gender")
    assert (found.decision, found.reason) == (AccessDecision.REFUSED, AccessReason.PURPOSE)
    assert found.rule == "purposes of nurse: TREAT, ETREAT"


def test_scopes_refuse_types() -> None:
    scoped = caller("physician", types=frozenset({"Patient", "Observation"}))
    assert decided(scoped, OPEN, "Condition.code") == ("REFUSED", "SCOPE")
    assert decided(scoped, OPEN, "Patient.conditions") == ("REFUSED", "SCOPE")
    assert explained(scoped, OPEN, "Patient.conditions").rule == "scopes of the token: not Condition"
    assert decided(scoped, OPEN, "Patient.birthDate") == ("SHOWN", "POLICY")
    assert decided(scoped, OPEN, "HumanName.family") == ("SHOWN", "POLICY")


def test_a_closed_chart_is_suppressed_and_the_person_is_not() -> None:
    asked = caller("consultant")
    for coordinate in ("Patient.conditions", "Condition.code", "Encounter.status", "ObservationComponent.code"):
        assert decided(asked, CLOSED, coordinate) == ("SUPPRESSED", "RELATIONSHIP"), coordinate
        assert decided(asked, DENIED, coordinate) == ("SUPPRESSED", "CONSENT"), coordinate
        assert decided(asked, OPEN, coordinate)[0] == "SHOWN", coordinate
    for coordinate in ("Patient.birthDate", "Patient.name", "HumanName.family", "Facility.name", "Provider.family"):
        assert decided(asked, CLOSED, coordinate) == ("SHOWN", "POLICY"), coordinate
    assert decided(caller("cds"), CLOSED, "Condition.note") == ("HIDDEN", "POLICY")


def test_a_patient_who_does_not_exist_for_a_caller_is_hidden() -> None:
    for row, reason in ((CLOSED, "DEPARTMENT"), (DENIED, "CONSENT")):
        for coordinate in ("Patient.birthDate", "Condition.code"):
            assert decided(caller("ward_nurse"), replace(row, found=False), coordinate) == ("HIDDEN", reason)
    away = caller("physician", home_facility_id=uuid4())
    assert decided(away, replace(CLOSED, found=False), "Patient.birthDate") == ("HIDDEN", "RELATIONSHIP")


def test_labels_are_those_that_the_role_lacks() -> None:
    found = explained(caller("nurse"), OPEN, "Condition.code")
    assert (found.decision, found.reason) == (AccessDecision.SHOWN, AccessReason.SENSITIVITY)
    assert found.rule == "labels of nurse: rows without ETH, PSYTHPN, SDV"
    assert decided(caller("nurse"), OPEN, "Appointment.status") == ("SHOWN", "POLICY")


def test_a_broken_glass_says_what_it_lifts() -> None:
    found = explained(caller("consultant"), BROKEN, "Condition.code")
    assert (found.decision, found.reason) == (AccessDecision.SHOWN, AccessReason.BREAK_GLASS)
    assert found.rule == "break-glass of consultant: lifts RELATIONSHIP, ETH"
    lifted = explained(caller("nurse"), replace(BROKEN, unbroken="OPEN"), "Condition.code")
    assert lifted.rule == "break-glass of nurse: lifts ETH, SDV"
    assert decided(caller("nurse"), replace(BROKEN, unbroken="OPEN"), "Appointment.status") == ("SHOWN", "POLICY")
