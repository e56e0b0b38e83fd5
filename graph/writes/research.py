"""Mutations of research projects: who may find out what, of whose records, and by which method."""

from __future__ import annotations

from decimal import Decimal

import strawberry

import resolvers.writes.research
from db.policy import Phi
from db.research_method import Method
from graph.datatype import FhirDate
from graph.field import field, given
from graph.research_project import ResearchProject
from graph.write import Payload, UpdateInput, WriteInput, mutation, write_input

UNSET = strawberry.UNSET


@write_input("A project of research; its proposer is its first member")
class ProposeResearchProjectInput(WriteInput):
    """A new project."""

    name: str = given("Name of the project, up to 200 characters", phi=None)
    aim: str = given("What it wants to find out, up to 2000 characters; for privacy officers", phi=None)
    facility_ids: list[strawberry.ID] = given(
        "Global ids of the facilities whose records it asks for; each decides for itself", phi=None
    )


@write_input("A data use agreement (45 CFR 164.514(e)(4))")
class DataUseAgreementInput:
    """A paper on file."""

    reference: str = given("Number or place of the agreement on file", phi=None)
    expires: FhirDate = given("Last day on which it holds, YYYY-MM-DD", phi=None)


@write_input("An approval of an institutional review board")
class IrbApprovalInput:
    """A paper on file, and what it lets a dataset keep."""

    reference: str = given("Number or place of the approval on file", phi=None)
    expires: FhirDate = given("Last day on which it holds, YYYY-MM-DD", phi=None)
    kinds: list[Phi] = given(
        "Kinds of identifiers that trusted data sets may keep: DATE, GEOGRAPHY, MEDICAL_RECORD_NUMBER", phi=None
    )


@write_input("What a project is approved for; it replaces what it was approved for before")
class ApproveResearchProjectInput(UpdateInput):
    """Terms of a project."""

    methods: list[Method] = given("Methods of de-identification, at least one", phi=None)
    data_use_agreement: DataUseAgreementInput | None = given(
        "Agreement on file, without which there is no LIMITED dataset", phi=None, default=UNSET
    )
    irb_approval: IrbApprovalInput | None = given(
        "Approval on file, without which there is no TRUSTED dataset", phi=None, default=UNSET
    )
    labels: list[str] | None = given(
        "Sensitivity labels (HL7 v3-ActCode) of records that the project may get beside those without",
        phi=None,
        default=UNSET,
    )
    k: int = given("Fewest patients who are alike in what tells people apart, from 11", phi=None, default=11)
    l: int = given("Fewest diagnoses among such patients, from 1", phi=None, default=2)  # noqa: E741 - its name
    epsilon: Decimal | None = given(
        "Privacy budget of noisy counts over the life of the project, from 0 to 20; 0 by default",
        phi=None,
        default=UNSET,
    )


@write_input("Which project is ended")
class RevokeResearchProjectInput(UpdateInput):
    """A project that is revoked, for good."""


@write_input("Which project may read the records of the caller's facility")
class ApproveResearchFacilityInput(WriteInput):
    """A facility's approval."""

    project_id: strawberry.ID = given("Global id of the project", phi=None)


@write_input("Which project may read the records of the caller's facility no longer")
class RevokeResearchFacilityInput(WriteInput):
    """A facility's approval, taken back."""

    project_id: strawberry.ID = given("Global id of the project", phi=None)


@write_input("Who may act for a project")
class AddResearchMemberInput(WriteInput):
    """A new member."""

    project_id: strawberry.ID = given("Global id of the project", phi=None)
    subject: str = given("Subject of the member's tokens, up to 200 characters", phi=None)


@write_input("Who may act for a project no longer")
class RemoveResearchMemberInput(WriteInput):
    """A member who leaves."""

    project_id: strawberry.ID = given("Global id of the project", phi=None)
    subject: str = given("Subject of the member's tokens", phi=None)


@strawberry.type(description="What a write of a research project came to")
class ResearchProjectPayload(Payload):
    """Served from Written."""

    project: ResearchProject | None = field("Project as it is now", phi=None, batch=resolvers.writes.research.written)


@strawberry.type
class ResearchMutations:
    """Roots of mutations of research projects."""

    propose_research_project: ResearchProjectPayload | None = mutation(
        "Proposes a project: for analysts who ask for research",
        ProposeResearchProjectInput,
        resolvers.writes.research.propose,
    )
    approve_research_project: ResearchProjectPayload | None = mutation(
        "Approves a project, of its home facility and with that facility's records: for its privacy officer, who must "
        "not have proposed it",
        ApproveResearchProjectInput,
        resolvers.writes.research.approve,
    )
    revoke_research_project: ResearchProjectPayload | None = mutation(
        "Ends a project for good; access to what it has closes at once: for the privacy officer of its home facility",
        RevokeResearchProjectInput,
        resolvers.writes.research.revoke,
    )
    approve_research_facility: ResearchProjectPayload | None = mutation(
        "Lets a project read the records of the caller's facility: for its privacy officer, who must not have "
        "proposed it",
        ApproveResearchFacilityInput,
        resolvers.writes.research.approve_at,
    )
    revoke_research_facility: ResearchProjectPayload | None = mutation(
        "Lets a project read the records of the caller's facility no longer; versions that were published stay: for "
        "its privacy officer",
        RevokeResearchFacilityInput,
        resolvers.writes.research.revoke_at,
    )
    add_research_member: ResearchProjectPayload | None = mutation(
        "Adds a member to a project: for the privacy officer of its home facility",
        AddResearchMemberInput,
        resolvers.writes.research.add,
    )
    remove_research_member: ResearchProjectPayload | None = mutation(
        "Takes a member out of a project, who from now on sees nothing of it: for the privacy officer of its home "
        "facility",
        RemoveResearchMemberInput,
        resolvers.writes.research.remove,
    )
