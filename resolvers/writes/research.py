"""Mutations of research projects: proposing, approving, revoking, and who works in them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

from db.disclosure import THRESHOLD
from db.errors import Forbidden
from db.policy import LABELS
from db.research_method import APPROVABLE, Method
from db.transaction import Transaction
from loaders.research_project import project_by_id
from loaders.write import Written
from loaders.writes.research import (
    Agreement,
    Terms,
    add_member,
    approve_facility,
    approve_project,
    propose_project,
    remove_member,
    revoke_facility,
    revoke_project,
)
from resolvers.connection import link
from resolvers.context import Context
from resolvers.research_project import is_officer, may_research
from resolvers.write import Given, Input, Prepared, write

NAME_MAX, TEXT_MAX, FACILITIES_MAX = 200, 2000, 100
"""Characters of a name and of an aim or a reason; facilities of a project."""
K_MAX, L_MAX, EPSILON_MAX = 1000, 100, 20
IRB_KINDS = sorted(kind.value for kind in APPROVABLE)
"""Kinds of identifiers that an IRB may let a trusted data set keep."""

written = link(project_by_id, "id")


async def propose(context: Context, input: Input) -> Written:
    """Proposes a project."""
    if not may_research(context):
        raise Forbidden

    def prepare(given: Given) -> Prepared:
        name, aim = given.needed_text("name", NAME_MAX), given.needed_text("aim", TEXT_MAX)
        facilities = given.ids("facility_ids", "Facility", FACILITIES_MAX)
        if not facilities:
            raise given.invalid("facility_ids", "must name a facility")
        return lambda writing: propose_project(writing, name, aim, facilities)

    tables = ["research_project", "research_facility", "research_member"]
    return await write(context, "proposeResearchProject", input, tables, prepare)


async def approve(context: Context, input: Input) -> Written:
    """Approves a project, or changes what it is approved for."""

    def prepare(given: Given) -> Prepared:
        id, terms = given.needed_id("id", "ResearchProject"), _terms(given)
        return lambda writing: approve_project(writing, id, given.version, terms)

    return await _as_officer(context, "approveResearchProject", input, prepare)


async def revoke(context: Context, input: Input) -> Written:
    """Ends a project at once."""

    def prepare(given: Given) -> Prepared:
        id = given.needed_id("id", "ResearchProject")
        return lambda writing: revoke_project(writing, id, given.version)

    return await _as_officer(context, "revokeResearchProject", input, prepare)


async def approve_at(context: Context, input: Input) -> Written:
    """Lets a project read the records of the caller's facility."""
    return await _as_officer(context, "approveResearchFacility", input, _of_project(approve_facility))


async def revoke_at(context: Context, input: Input) -> Written:
    """Lets a project read the records of the caller's facility no longer."""
    return await _as_officer(context, "revokeResearchFacility", input, _of_project(revoke_facility))


async def add(context: Context, input: Input) -> Written:
    """Adds a member to a project."""
    return await _as_officer(context, "addResearchMember", input, _of_member(add_member))


async def remove(context: Context, input: Input) -> Written:
    """Takes a member out of a project."""
    return await _as_officer(context, "removeResearchMember", input, _of_member(remove_member))


async def _as_officer(context: Context, operation: str, input: Input, prepare: Callable[[Given], Prepared]) -> Written:
    """What a privacy officer's mutation came to. Raises Forbidden for anybody else."""
    if not is_officer(context):
        raise Forbidden
    tables = ["research_project", "research_facility", "research_member"]
    return await write(context, operation, input, tables, prepare)


def _of_project(change: Callable[[Transaction, UUID], Awaitable[UUID]]) -> Callable[[Given], Prepared]:
    def prepare(given: Given) -> Prepared:
        project_id = given.needed_id("project_id", "ResearchProject")
        return lambda writing: change(writing, project_id)

    return prepare


def _of_member(change: Callable[[Transaction, UUID, str], Awaitable[UUID]]) -> Callable[[Given], Prepared]:
    def prepare(given: Given) -> Prepared:
        project_id = given.needed_id("project_id", "ResearchProject")
        subject = given.needed_text("subject", NAME_MAX)
        return lambda writing: change(writing, project_id, subject)

    return prepare


def _terms(given: Given) -> Terms:
    methods = [Method(method) for method in dict.fromkeys(given.get("methods"))]
    if not methods:
        raise given.invalid("methods", "must name a method")
    data_use, irb = _agreement(given, "data_use_agreement"), _agreement(given, "irb_approval")
    for method, name, agreement in (
        (Method.LIMITED, "data_use_agreement", data_use),
        (Method.TRUSTED, "irb_approval", irb),
    ):
        if method in methods and agreement is None:
            raise given.invalid(name, f"must be on file for {method.value}")
    labels = list(dict.fromkeys(given.get("labels") or ()))
    if not LABELS.keys() >= set(labels):
        raise given.invalid("labels", f"must be of {', '.join(sorted(LABELS))}")
    epsilon = given.get("epsilon") or Decimal(0)
    if not 0 <= epsilon <= EPSILON_MAX:
        raise given.invalid("epsilon", f"must be from 0 to {EPSILON_MAX}")
    k, diversity = _whole(given, "k", THRESHOLD, K_MAX), _whole(given, "l", 1, L_MAX)
    return Terms(methods, data_use, irb, labels, k, diversity, epsilon)


def _agreement(given: Given, name: str) -> Agreement | None:
    """An agreement that has not expired; None where none was given. Raises Refusal."""
    part = given.part(name)
    if part is None:
        return None
    reference, expires = part.needed_text("reference", NAME_MAX), part.date("expires")
    if expires is None or expires < _today():
        raise part.invalid("expires", "must not be past")
    kinds = list(dict.fromkeys(part.get("kinds") or ()))
    if not set(kinds) <= set(IRB_KINDS):
        raise part.invalid("kinds", f"must be of {', '.join(IRB_KINDS)}")
    return Agreement(reference, expires, kinds)


def _whole(given: Given, name: str, low: int, high: int) -> int:
    value = given.get(name)
    if not low <= value <= high:
        raise given.invalid(name, f"must be from {low} to {high}")
    return int(value)


def _today() -> date:
    return datetime.now(UTC).date()
