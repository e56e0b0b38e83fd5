"""`cohort`: who may count, what it costs, what is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from db.caller import Caller, Profile, PurposeOfUse
from db.errors import Forbidden
from db.settings import Settings
from db.stores import FacilityName, Stores
from loaders.reader import Reader
from loaders.research_counts import CohortDimension, Question, answered, cells_of, histogram
from loaders.research_definition import Cohort
from loaders.research_noise import margin, noisy
from loaders.writes.research_charge import Charge, charge, keep_answer
from tests.asking import Answer, Graph
from tests.callers import caller_of
from tests.research.attack import told_apart

SNOMED = "http://snomed.info/sct"
RARE = "402415"
"""Code of a condition that one patient has, the one who is registered at both facilities."""
DAY = date(2026, 3, 1)
SURE = 4
"""At ε = 10 noise is beyond this with a probability of e^-50."""

FACILITY = "INSERT INTO clinical.facility (id, code, name) VALUES ($1, $2, 'Counted Hospital')"
# 60 women of 31 and 40 men of 71 at the first facility, of whom one woman is at the second one too; 30 men of 31 there.
PATIENTS = """
WITH made AS (
    INSERT INTO clinical.patient (id, gender, birth_date, race, ethnicity)
    SELECT gen_random_uuid(), CASE WHEN n <= 60 THEN 'female' ELSE 'male' END,
        CASE WHEN n <= 60 OR n > 100 THEN '1995-01-15' ELSE '1955-01-15' END,
        CASE WHEN n <= 68 THEN 'White' WHEN n <= 95 THEN 'Asian' WHEN n <= 100 THEN 'Betelgeusean' END,
        'Not Hispanic or Latino'
    FROM generate_series(1, 130) AS n
    RETURNING id, gender, birth_date
), numbered AS (SELECT id, row_number() OVER (ORDER BY gender, birth_date) AS n FROM made)
INSERT INTO clinical.registration (facility_id, patient_id, mrn)
SELECT CASE WHEN n <= 100 THEN $1::uuid ELSE $2::uuid END, id, 'C-' || id FROM numbered
UNION ALL SELECT $2::uuid, id, 'C-' || id FROM numbered WHERE n = 1
RETURNING patient_id"""
CONDITION = f"""
INSERT INTO clinical.condition (id, facility_id, patient_id, code_system, code, sort_time, label)
SELECT gen_random_uuid(), facility_id, patient_id, '{SNOMED}', '{RARE}', now(), '{{}}'
FROM clinical.registration AS r
WHERE facility_id = $1 AND EXISTS (
    SELECT FROM clinical.registration AS o WHERE o.patient_id = r.patient_id AND o.facility_id = $2)"""
PROJECT = """
INSERT INTO clinical.research_project
    (id, facility_id, name, aim, status, epsilon, proposed_by, approved_by, approved_at)
VALUES ($1, $2, 'Counts', 'To count', 'APPROVED', $3, 'ada', 'officer', now())"""
APPROVAL = """
INSERT INTO clinical.research_facility (project_id, facility_id, approved_by, approved_at)
SELECT $1, facility_id, 'officer', now() FROM unnest($2::uuid[]) AS f (facility_id)"""
MEMBER = """
INSERT INTO clinical.research_member (project_id, facility_id, subject, added_by)
SELECT $1, $2, subject, 'ada' FROM unnest('{ada, bob}'::text[]) AS s (subject)"""
REVOKE = """
UPDATE clinical.research_project SET status = 'REVOKED', revoked_by = 'officer', revoked_at = now() WHERE id = $1"""
CHARGES = "SELECT subject, epsilon, answer FROM clinical.research_charge WHERE project_id = $1 ORDER BY charged_at"

COUNT = "query ($p: ID!, $e: Float!, $age: Int) { cohort(project: $p, epsilon: $e, ageFrom: $age) { count } }"
BUDGET = "query ($p: ID!) { cohort(project: $p, epsilon: 1) { budget { total spent left } } }"


@dataclass(frozen=True, slots=True)
class Counted:
    """Two facilities with patients, in the stores that all tests share."""

    graph: Graph
    here: UUID
    there: UUID

    async def write(self, sql: Any, *values: object) -> Any:
        """Writes as the workers do."""
        return await self.graph.stores.clinical.worker_fetch(sql, *values)

    async def project(self, epsilon: float, *facilities: UUID) -> str:
        """Global id of an approved project whose members are ada and bob; it reads both facilities by default."""
        key = uuid4()
        await self.write(PROJECT, key, self.here, Decimal(str(epsilon)))
        await self.write(APPROVAL, key, list(facilities or (self.here, self.there)))
        await self.write(MEMBER, key, self.here)
        return f"ResearchProject/{key}"

    async def ask(self, project: str, query: str, subject: str = "ada", **variables: Any) -> Answer:
        """A member's question, for which there must be a place as for any request."""
        caller = self.analyst(subject)
        async with self.graph.stores.place(caller):
            return await self.graph.ask_as(caller, query, p=project, **variables)

    def analyst(self, subject: str = "ada") -> Caller:
        """An analyst of the first facility, for research."""
        return replace(caller_of(Profile.ANALYST, self.here, subject), purpose=PurposeOfUse.HRESCH)

    async def charges(self, project: str) -> list[tuple[str, Decimal, Any]]:
        """Subject, ε and answer of every charge, in their order."""
        return [tuple(row) for row in await self.write(CHARGES, key_of(project))]

    @asynccontextmanager
    async def reading(self, caller: Caller) -> AsyncGenerator[Reader]:
        """The stores as a caller sees them."""
        reader = Reader(self.graph.stores, caller)
        try:
            yield reader
        finally:
            await reader.close()


def key_of(project: str) -> UUID:
    """Key of a global id."""
    return UUID(project.partition("/")[2])


@pytest_asyncio.fixture(scope="module")
async def counted(configured: Settings) -> AsyncIterator[Counted]:
    """The facilities and their patients."""
    stores = Stores(configured)
    here, there = sorted((uuid4(), uuid4()))
    made = Counted(Graph(configured, stores, [FacilityName(here, "C", "Counted")]), here, there)
    for key in (here, there):
        await made.write(FACILITY, key, f"C-{key.hex[:8].upper()}")
    await made.write(PATIENTS, here, there)
    await made.write(CONDITION, here, there)
    yield made
    await stores.close()


async def test_a_count_is_close_to_the_truth_and_paid_for(counted: Counted) -> None:
    project = await counted.project(20)
    query = """query ($p: ID!) {
        cohort(project: $p, epsilon: 10) { budget { total spent left } count margin epsilon } }"""
    answer = await counted.ask(project, query)
    assert answer.errors == []
    told = answer.data["cohort"]
    assert abs(told["count"] - 130) <= SURE, "everybody once, wherever registered"
    assert (told["margin"], told["epsilon"]) == (margin(10), 10)
    assert told["budget"] == {"total": 20, "spent": 10, "left": 10}, "after the answer, in whatever order"
    assert await counted.charges(project) == [("ada", Decimal(10), [told["count"]])]
    one = await counted.project(20, counted.there)
    there = (await counted.ask(one, query)).data["cohort"]["count"]
    assert abs(there - 31) <= SURE, "of approved facilities alone"


async def test_a_breakdown_has_every_cell_and_leaves_small_ones_out(counted: Counted) -> None:
    project = await counted.project(20)
    query = """query ($p: ID!, $by: [CohortDimension!]!) { cohort(project: $p, epsilon: 10) {
        by(dimension: $by) { strata { dimension value } count suppressed } budget { spent } } }"""
    told = (await counted.ask(project, query, by=["RACE", "SEX"])).data["cohort"]
    cells = {tuple(one["value"] for one in cell["strata"]): cell["count"] for cell in told["by"]}
    assert list(cells) == cells_of([CohortDimension.SEX, CohortDimension.RACE])
    assert {one["dimension"] for one in told["by"][0]["strata"]} == {"sex", "race"}
    assert abs(cells["male", "unknown"] - 30) <= SURE
    assert cells["male", "other"] is None, "five patients"
    assert cells["male", "Asian"] is None, "27, of whom others would follow"
    assert cells["male", "White"] is None, "eight"
    assert cells["female", "White"] is None, "60, who with all 68 would tell of the eight"
    assert all(cell["suppressed"] == (cell["count"] is None) for cell in told["by"])
    assert told["budget"] == {"spent": 10}, "one answer, however many cells"
    same = (await counted.ask(project, query, by=["SEX", "RACE"])).data["cohort"]
    assert same == told, "the order of dimensions is no other question"
    bands = (await counted.ask(project, query, by=["AGE_BAND"])).data["cohort"]["by"]
    shown = {cell["strata"][0]["value"]: cell["count"] for cell in bands if cell["count"]}
    assert shown.keys() == {"30-39", "70-79"}
    assert abs(shown["30-39"] - 90) <= SURE


async def test_few_patients_are_not_shown(counted: Counted) -> None:
    project = await counted.project(20)
    query = """query ($p: ID!, $code: [String!]) {
        cohort(project: $p, epsilon: 20, condition: $code) { count } }"""
    answer = await counted.ask(project, query, code=[f"{SNOMED}|{RARE}"])
    assert answer.data == {"cohort": {"count": None}}
    assert answer.errors == []


async def test_the_same_question_has_the_same_answer_and_costs_once(counted: Counted) -> None:
    project = await counted.project(1)
    first = await counted.ask(project, COUNT, e=0.1)
    assert first.statements["research", "research_histogram"] == 1
    for subject in ("ada", "bob"):
        again = await counted.ask(project, COUNT, subject, e=0.1)
        assert again.data == first.data
        assert again.statements["research", "research_histogram"] == 0
    assert len(await counted.charges(project)) == 1
    await counted.ask(project, COUNT, "bob", e=0.2)
    await counted.ask(project, COUNT, e=0.1, age=40)
    budget = (await counted.ask(project, BUDGET)).data["cohort"]["budget"]
    assert budget == {"total": 1, "spent": Decimal("0.4"), "left": Decimal("0.6")}


async def test_asked_at_once_a_question_has_one_answer(counted: Counted) -> None:
    project = await counted.project(5)
    answers = await asyncio.gather(*(counted.ask(project, COUNT, e=0.05) for _ in range(6)))
    assert len({answer.data["cohort"]["count"] for answer in answers}) == 1
    assert len(await counted.charges(project)) == 1


async def test_a_charge_has_one_answer_of_several_that_are_made_for_it(counted: Counted) -> None:
    project = key_of(await counted.project(1))
    async with counted.reading(counted.analyst()) as first, counted.reading(counted.analyst()) as second:
        charges: list[Charge] = []
        for reader in (first, second):
            async with reader.transaction() as writing:
                charges.append(await charge(writing, project, b"q" * 32, Decimal("0.5")))
        assert charges == [charges[0]] * 2, "paid once, and not answered yet"
        for reader, cells in ((first, [40, None]), (second, [50, None])):
            async with reader.transaction() as writing:
                assert await keep_answer(writing, charges[0].id, cells) == [40, None]


async def test_a_spent_budget_refuses_before_anything_is_counted(counted: Counted) -> None:
    project = await counted.project(1)
    await counted.ask(project, COUNT, e=0.7)
    query = """query ($p: ID!) {
        cohort(project: $p, epsilon: 0.4) { count margin by(dimension: [SEX]) { count } budget { left } } }"""
    refused = await counted.ask(project, query)
    assert refused.codes == ["BUDGET_EXHAUSTED"] * 2
    told = refused.data["cohort"]
    assert told == {"count": None, "margin": margin(0.4), "by": None, "budget": {"left": Decimal("0.3")}}
    assert [name for store, name in refused.statements if store == "research"] == []
    assert len(await counted.charges(project)) == 1
    exact = await counted.ask(project, COUNT, e=0.3)
    assert exact.errors == [], "all of it may be spent"
    assert (await counted.ask(project, COUNT, e=0.01)).codes == ["BUDGET_EXHAUSTED"]
    assert (await counted.ask(project, COUNT, e=0.3)).data == exact.data, "what is paid is told again"


async def test_many_at_once_never_spend_more_than_there_is(counted: Counted) -> None:
    project = await counted.project(2)
    asked = [counted.ask(project, COUNT, ("ada", "bob")[age % 2], e=0.4, age=age) for age in range(20)]
    answers = await asyncio.gather(*asked)
    codes = [code for answer in answers for code in answer.codes]
    assert codes == ["BUDGET_EXHAUSTED"] * 15
    assert sum(epsilon for _, epsilon, _ in await counted.charges(project)) == 2


async def test_a_count_that_fails_is_paid_and_may_be_asked_again(counted: Counted) -> None:
    project = await counted.project(1)
    dead = replace(counted.graph.settings, research_url="postgresql://nobody:x@127.0.0.1:1/nothing")
    stores = Stores(dead)
    failed = await Graph(dead, stores, []).ask_as(counted.analyst(), COUNT, p=project, e=1)
    await stores.close()
    assert failed.codes == ["STORE_UNAVAILABLE"]
    assert failed.data == {"cohort": {"count": None}}
    assert await counted.charges(project) == [("ada", Decimal(1), None)]
    assert (await counted.ask(project, COUNT, "bob", e=1)).codes == ["BUDGET_EXHAUSTED"], "who paid may have it"
    again = await counted.ask(project, COUNT, e=1)
    assert again.errors == []
    assert await counted.charges(project) == [("ada", Decimal(1), [again.data["cohort"]["count"]])]


async def test_who_may_not_count_learns_nothing_of_the_project(counted: Counted) -> None:
    project, revoked = await counted.project(1), await counted.project(1)
    await counted.write(REVOKE, key_of(revoked))
    ada = counted.analyst()
    strangers = {
        "no member": replace(ada, subject="eve"),
        "another purpose": replace(ada, purpose=PurposeOfUse.HOPERAT),
        "another facility": replace(ada, facility_id=counted.there),
        "through an app": replace(ada, types=frozenset({"ResearchStudy"})),
        "privacy officer": caller_of(Profile.PRIVACY_OFFICER, counted.here, "ada"),
        "clinician": caller_of(Profile.CLINICIAN, counted.here, "ada"),
    }
    asked = [(caller, project) for caller in strangers.values()]
    for caller, of in [*asked, (ada, revoked), (ada, f"ResearchProject/{uuid4()}")]:
        answer = await counted.graph.ask_as(caller, COUNT, p=of, e=0.5)
        assert (answer.data, answer.errors) == ({"cohort": None}, [])
        assert {store for store, _ in answer.statements} <= {"clinical"}
        assert {name for _, name in answer.statements} <= {"research_budgets"}
    assert await counted.charges(project) == await counted.charges(revoked) == []
    assert (await counted.ask(project, COUNT, e=0.5)).data["cohort"], "a member may"


async def test_the_charge_itself_asks_who_may(counted: Counted) -> None:
    """Where a project is closed between the first look and the charge, or whatever a resolver forgets."""
    project = await counted.project(1)
    question = Question(key_of(project), Cohort(), (), Decimal("0.1"), DAY, b"q" * 32)
    await counted.write(REVOKE, key_of(project))
    for caller in (counted.analyst(), counted.analyst("eve"), caller_of(Profile.CLINICIAN, counted.here, "ada")):
        async with counted.reading(caller) as reader:
            assert isinstance((await answered(reader, [question]))[question], Forbidden)
            assert [name for store, name in reader.statements if store == "research"] == []
    assert await counted.charges(project) == []


async def test_two_cohorts_that_differ_in_one_patient_are_not_told_apart(counted: Counted) -> None:
    """The differencing attack: everybody, less everybody without a rare condition, would be who has it."""
    project = key_of(await counted.project(1))
    everybody, others = Cohort(), Cohort(without_condition=(f"{SNOMED}|{RARE}",))
    true: list[list[int]] = []
    async with counted.reading(counted.analyst()) as reader, reader.research(project) as reading:
        for dimensions in ((), (CohortDimension.SEX, CohortDimension.AGE_BAND, CohortDimension.RACE)):
            pair = [list(await histogram(reading, cohort, dimensions, DAY)) for cohort in (everybody, others)]
            assert sum(abs(one - other) for one, other in zip(*pair, strict=True)) == 1, "a patient is in one cell"
            true += pair
    (all_,), (less,), *_ = true
    draws = 20_000
    assert told_apart([all_] * draws, [less] * draws, 0.5), "without noise the attack succeeds"
    assert not told_apart(noisy([all_] * draws, 0.5), noisy([less] * draws, 0.5), 0.5)


@pytest.mark.parametrize(
    ("arguments", "code", "argument"),
    [
        ('epsilon: 0.001, project: "{p}"', "INVALID_ARGUMENT", "epsilon"),
        ('epsilon: -1, project: "{p}"', "INVALID_ARGUMENT", "epsilon"),
        ('epsilon: 21, project: "{p}"', "INVALID_ARGUMENT", "epsilon"),
        ('epsilon: 1, project: "Patient/{u}"', "INVALID_ID", "project"),
        ('epsilon: 1, project: "{p}", ageFrom: 91', "INVALID_ARGUMENT", "ageFrom"),
        ('epsilon: 1, project: "{p}", sex: ["bogus"]', "INVALID_ARGUMENT", "sex"),
        ('epsilon: 1, project: "{p}", from: "2020-02", to: "2019"', "INVALID_ARGUMENT", "to"),
        ('epsilon: 1, project: "{p}", facility: ["x"]', "INVALID_ID", "facility"),
        ('epsilon: 1, project: "{p}", condition: ["44054006"]', "INVALID_ARGUMENT", "condition"),
    ],
)
async def test_bad_arguments_are_refused_by_name(counted: Counted, arguments: str, code: str, argument: str) -> None:
    given = arguments.format(p=f"ResearchProject/{counted.here}", u=counted.here)
    answer = await counted.graph.ask_as(counted.analyst(), f"{{ cohort({given}) {{ count }} }}")
    assert answer.codes == [code]
    assert answer.errors[0]["extensions"]["argument"] == argument


async def test_a_breakdown_has_from_one_to_three_dimensions(counted: Counted) -> None:
    project = await counted.project(1)
    for given in ("[]", "[SEX, RACE, AGE_BAND, ETHNICITY]"):
        query = f"query ($p: ID!) {{ cohort(project: $p, epsilon: 1) {{ by(dimension: {given}) {{ count }} }} }}"
        answer = await counted.ask(project, query)
        assert answer.errors[0]["extensions"]["argument"] == "dimension"
    assert await counted.charges(project) == []
