"""Mutations of what projects ask for: datasets, versions, an end to an extraction, whom a research id stands for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from db.disclosure import THRESHOLD
from db.errors import Forbidden, InvalidArgument
from db.research_method import Method
from loaders.element import fhir_name
from loaders.research_definition import CODED, Cohort, Definition
from loaders.research_project import ExtractionRow, extraction_by_id, reidentification_by_id, request_by_id
from loaders.write import Code, Refusal, Written
from loaders.writes.research_request import (
    PATIENTS,
    ROUNDED,
    NewDataset,
    cancel_extraction,
    decide_reidentification,
    refresh_dataset,
    request_dataset,
    request_reidentification,
)
from resolvers.connection import link
from resolvers.context import Context
from resolvers.encounter import CLASSES
from resolvers.research_project import is_officer, may_research
from resolvers.write import Given, Input, Prepared, write
from resolvers.writes.patient import GENDERS
from resolvers.writes.research import FACILITIES_MAX, NAME_MAX, TEXT_MAX

REASON_MIN = 10
"""Characters of a reason at least."""
RESEARCH_ID_MAX = 2**63 - 1
_RESEARCH_ID = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
OF_THE_DATASET = ("tables", "shiftDates", "ageBandYears")
"""Parts of a definition that are not of its cohort, in the client's names."""

written = link(request_by_id, "id")
written_extraction = link(extraction_by_id, "id")
written_reidentification = link(reidentification_by_id, "id")


async def versions(context: Context, parents: Sequence[Written]) -> Sequence[ExtractionRow | None]:
    """Extractions that requests came to, which are found by them."""
    wanted = [parent.found[0] if parent.found else None for parent in parents]
    return await context.reader.load_many(extraction_by_id, wanted)


def patients(written: Written) -> int | None:
    """About how many patients a cohort has; None where it has too few."""
    return written.counts.get(PATIENTS)


def patients_in_words(written: Written) -> str | None:
    """The same in words; None where nothing was counted."""
    if any(error.code is Code.TOO_FEW for error in written.errors):
        return f"<{THRESHOLD}"
    about = patients(written)
    if about is None:
        return None
    return f"{THRESHOLD} to {ROUNDED * 3 // 2 - 1}" if about == THRESHOLD else f"about {about}"


async def ask(context: Context, input: Input) -> Written:
    """Asks for a dataset."""

    def prepare(given: Given) -> Prepared:
        project_id = given.needed_id("project_id", "ResearchProject")
        new = NewDataset(project_id, given.needed_text("name", NAME_MAX), _definition(given))
        return lambda writing: request_dataset(writing, context.reader, new)

    return await _as_member(context, "requestDataset", input, "research_dataset", prepare)


async def refresh(context: Context, input: Input) -> Written:
    """Asks for the next version of a dataset."""

    def prepare(given: Given) -> Prepared:
        id = given.needed_id("dataset_id", "ResearchDatasetRequest")
        return lambda writing: refresh_dataset(writing, context.reader, id)

    return await _as_member(context, "refreshDataset", input, "research_dataset", prepare)


async def cancel(context: Context, input: Input) -> Written:
    """Cancels an extraction: a member's of the project, or its privacy officer's to do."""

    def prepare(given: Given) -> Prepared:
        id = given.needed_id("id", "ResearchExtraction")
        return lambda writing: cancel_extraction(writing, id)

    if not may_research(context) and not is_officer(context):
        raise Forbidden
    return await write(context, "cancelExtraction", input, ["research_extraction"], prepare)


async def ask_who(context: Context, input: Input) -> Written:
    """Asks whom a research id stands for."""

    def prepare(given: Given) -> Prepared:
        extraction_id = given.needed_id("extraction_id", "ResearchExtraction")
        research_id, reason = _research_id(given), given.needed_text("reason", TEXT_MAX, REASON_MIN)
        return lambda writing: request_reidentification(writing, extraction_id, research_id, reason)

    return await _as_member(context, "requestReidentification", input, "research_reidentification", prepare)


async def decide(context: Context, input: Input) -> Written:
    """Grants or refuses to say whom a research id stands for."""
    if not is_officer(context):
        raise Forbidden

    def prepare(given: Given) -> Prepared:
        id, granted = given.needed_id("id", "ResearchReidentification"), bool(given.get("granted"))
        return lambda writing: decide_reidentification(writing, id, given.version, granted)

    return await write(context, "decideReidentification", input, ["research_reidentification"], prepare)


async def _as_member(
    context: Context, operation: str, input: Input, table: str, prepare: Callable[[Given], Prepared]
) -> Written:
    """What a researcher's mutation came to. Raises Forbidden for another profile or purpose."""
    if not may_research(context):
        raise Forbidden
    return await write(context, operation, input, [table], prepare)


def _definition(given: Given) -> Definition:
    cohort = given.part("cohort")
    definition = Definition(
        cohort=Cohort() if cohort is None else _cohort(cohort),
        tables=tuple(dict.fromkeys(given.get("tables"))),
        method=Method(given.get("method")),
        shift_dates=given.get("shift_dates"),
        strict=given.get("strict"),
        age_band_years=given.get("age_band_years"),
    )
    try:
        definition.validate()
    except InvalidArgument as error:
        name = fhir_name(error.argument)
        place = (name,) if name in OF_THE_DATASET else ("cohort", name)
        why = error.message.removeprefix(f"Argument '{error.argument}' ")
        raise Refusal(Code.INVALID, place, f"This {why}") from None
    return definition


def _cohort(given: Given) -> Cohort:
    codes = {name: tuple(given.get(name) or ()) for name in (*CODED, "without_condition")}
    return Cohort(
        sex=_some_of(given, "sex", GENDERS),
        age_from=given.get("age_from"),
        age_to=given.get("age_to"),
        facility_ids=tuple(given.ids("facility_ids", "Facility", FACILITIES_MAX)),
        start=given.date("from_"),
        end=given.date("to"),
        encounter_class=_some_of(given, "encounter_class", CLASSES),
        **codes,
        below=given.get("below"),
    )


def _some_of(given: Given, name: str, allowed: Sequence[str]) -> tuple[str, ...]:
    values = tuple(dict.fromkeys(given.get(name) or ()))
    if not set(values) <= set(allowed):
        raise given.invalid(name, f"must be of {', '.join(allowed)}")
    return values


def _research_id(given: Given) -> int:
    text = given.get("research_id")
    if not _RESEARCH_ID.fullmatch(text) or int(text) > RESEARCH_ID_MAX:
        raise given.invalid("research_id", "must be a research id as the dataset has it, a whole number")
    return int(text)
