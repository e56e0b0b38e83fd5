"""The privacy budget of a project: charged before an answer is made, and the answer that a charge has paid for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from db.errors import BudgetExhausted, Forbidden
from db.transaction import Transaction

# Who counts waits for who counts for the same project, so that two never spend the same rest.
LOCK_BUDGET = """/* lock_research_budget */
SELECT epsilon FROM research_project
WHERE id = $1::uuid AND status = 'APPROVED' AND id IN (SELECT access.research_open())
FOR NO KEY UPDATE"""

# A charge without an answer is of a count that failed or is under way: who paid may have its answer, and nobody else.
CHARGE_BUDGET = """/* charge_research_budget */
WITH caller AS (SELECT facility_id, subject FROM access.context()),
known AS (
    SELECT c.id, c.answer FROM research_charge AS c CROSS JOIN caller
    WHERE c.project_id = $1::uuid AND c.question = $2::bytea AND (c.answer IS NOT NULL OR c.subject = caller.subject)
    ORDER BY c.answer IS NULL, c.charged_at
    LIMIT 1
), made AS (
    INSERT INTO research_charge (id, facility_id, project_id, subject, epsilon, question)
    SELECT gen_random_uuid(), facility_id, $1::uuid, subject, $3::numeric, $2::bytea FROM caller
    WHERE NOT EXISTS (SELECT FROM known)
        AND $3::numeric <= $4::numeric - (
            SELECT coalesce(sum(epsilon), 0) FROM research_charge WHERE project_id = $1::uuid)
    RETURNING id, answer
)
SELECT id, answer FROM known UNION ALL SELECT id, answer FROM made"""

# Of several that count for one charge the first has the answer: a charge pays for one draw of noise.
KEEP_ANSWER = """/* keep_research_answer */
UPDATE research_charge SET answer = coalesce(answer, $2::jsonb) WHERE id = $1::uuid RETURNING answer"""

Cells = Sequence[int | None]
"""Counts as they are shown, in the order of the question's cells; None where one is withheld."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What was paid for a question, and its answer where that has been made."""

    id: UUID
    answer: Cells | None


async def charge(writing: Transaction, project_id: UUID, question: bytes, epsilon: Decimal) -> Charge:
    """Charges a project for a question, unless its answer was paid for already.

    Charges add up, over all members and the life of the project, and are never given back: not where the count then
    fails either. `question` is an HMAC of 32 bytes. Raises BudgetExhausted where less than ε is left, Forbidden for
    who may not count for the project (any more).
    """
    locked = await writing.fetch(LOCK_BUDGET, project_id)
    if not locked:
        raise Forbidden
    charged = await writing.fetch(CHARGE_BUDGET, project_id, question, epsilon, locked[0]["epsilon"])
    if not charged:
        raise BudgetExhausted
    return Charge(*charged[0])


async def keep_answer(writing: Transaction, charge_id: UUID, cells: Cells) -> Cells:
    """The one answer of a charge: this, or that which came before it. Raises Forbidden where the project was closed."""
    kept = await writing.fetch(KEEP_ANSWER, charge_id, list(cells))
    if not kept:
        raise Forbidden
    return kept[0]["answer"]
