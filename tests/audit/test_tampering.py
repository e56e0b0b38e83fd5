"""Who changes the audit with all rights and its triggers disabled is found out: the first broken link is named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from db import audit_chain
from db.audit import CHECKPOINT_EVENTS
from db.audit_chain import UNSIGNED_MAX, verify
from tests.audit.conftest import SECRET, Ledger, event
from workers import audit as worker
from workers.embedded.stores import DATABASES

EVENTS = 30

COPY = "INSERT INTO audit.event SELECT (jsonb_populate_record(e, '{}')).* FROM audit.event AS e WHERE seq = {}"
ENTRY = "INSERT INTO audit.event_patient SELECT facility_id, {}, seq FROM audit.event_patient WHERE seq = 12"
SET_BACK = "UPDATE audit.chain_head SET (seq, hash) = (SELECT seq, hash FROM audit.event WHERE seq = 20)"
SWAPPED = (
    "UPDATE audit.event SET seq = 1000 WHERE seq = 12; UPDATE audit.event SET seq = 12 WHERE seq = 13; "
    "UPDATE audit.event SET seq = 13 WHERE seq = 1000"
)
SHIFTED = (
    "UPDATE audit.event SET seq = seq + 1000 WHERE seq > 11; UPDATE audit.event SET seq = seq - 999 WHERE seq > 1000; "
)
TAMPERED = {
    "a changed event": ("UPDATE audit.event SET subject = 'nobody' WHERE seq = 12", 12, "HASH"),
    "a changed time": (
        "UPDATE audit.event SET occurred_at = occurred_at - interval '1 microsecond' WHERE seq = 12",
        12,
        "HASH",
    ),
    "patients taken out": ("UPDATE audit.event SET patients = '{}' WHERE seq = 12", 12, "HASH"),
    "a deleted event": ("DELETE FROM audit.event WHERE seq = 12", 12, "GAP"),
    "the first event deleted": ("DELETE FROM audit.event WHERE seq = 1", 1, "GAP"),
    "the last events deleted": ("DELETE FROM audit.event WHERE seq > 20", 21, "GAP"),
    "the last events deleted, and the head set back": (
        f"DELETE FROM audit.event WHERE seq > 20; {SET_BACK}",
        21,
        "GAP",
    ),
    "all events taken away": ("TRUNCATE audit.event", 1, "GAP"),
    "two events in each other's place": (SWAPPED, 12, "HASH"),
    "an event put between": (SHIFTED + COPY.format('{"seq": 12, "subject": "scapegoat"}', 11), 12, "HASH"),
    "an event put behind": (COPY.format('{"seq": 31}', 30), 31, "HASH"),
    "an access log without an entry": ("DELETE FROM audit.event_patient WHERE seq = 12", 12, "PATIENTS"),
    "an access log with an entry of no event": (ENTRY.format("gen_random_uuid(), occurred_at"), 12, "PATIENTS"),
    "an access log with an entry of another time": (
        ENTRY.format("patient_id, occurred_at + interval '1 second'"),
        30,
        "PATIENTS",
    ),
    "a checkpoint of one's own": ("UPDATE audit.checkpoint SET signature = sha256('mine')", 30, "SIGNATURE"),
}
"""What is done, the event that is named, and what is said of it."""

REWRITE = """
DO $$
DECLARE
    e audit.event;
    head bytea := decode(repeat('00', 32), 'hex');
BEGIN
    FOR e IN SELECT * FROM audit.event ORDER BY seq LOOP
        IF e.seq = 12 THEN
            e.subject := 'scapegoat';
        END IF;
        head := sha256(head || audit.canonical(e));
        UPDATE audit.event SET subject = e.subject, hash = head WHERE seq = e.seq;
    END LOOP;
    UPDATE audit.chain_head SET hash = head;
END $$"""


@pytest_asyncio.fixture
async def filled(ledger: Ledger) -> AsyncIterator[Ledger]:
    """A ledger of EVENTS events, whose last one is signed."""
    log = ledger.log()
    for number in range(EVENTS):
        await log.append(event(number))
    await log.checkpoint()
    await log.close()
    owner = await ledger.owner()
    await owner.execute("SET session_replication_role = replica; DELETE FROM audit.checkpoint WHERE seq < 30")
    await owner.close()
    yield ledger


async def tamper(ledger: Ledger, statements: str) -> None:
    """Statements of a superuser with all triggers disabled."""
    owner = await ledger.owner()
    await owner.execute("SET session_replication_role = replica")
    await owner.execute(statements)
    await owner.close()


@pytest.mark.parametrize("what", TAMPERED)
async def test_the_first_broken_link_is_named(filled: Ledger, what: str) -> None:
    assert (await verify(filled.url, SECRET)).broken is None
    statements, seq, said = TAMPERED[what]
    await tamper(filled, statements)
    broken = (await verify(filled.url, SECRET)).broken
    assert broken
    assert (broken.seq, broken.what) == (seq, said)


async def test_a_chain_that_is_rewritten_as_a_whole_is_not_the_one_that_was_signed(filled: Ledger) -> None:
    await tamper(filled, REWRITE)
    broken = (await verify(filled.url, SECRET)).broken
    assert broken
    assert (broken.seq, broken.what) == (EVENTS, "SIGNATURE")
    # Without the signature nothing would show it: the chain itself holds.
    await tamper(filled, "DELETE FROM audit.checkpoint")
    assert (await verify(filled.url, SECRET)).broken is None


async def test_a_long_stretch_without_checkpoints_is_told(filled: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    await tamper(filled, "DELETE FROM audit.checkpoint")
    monkeypatch.setattr(audit_chain, "UNSIGNED_MAX", EVENTS - 5)
    broken = (await verify(filled.url, SECRET)).broken
    assert broken
    assert broken.what == "UNSIGNED"
    assert UNSIGNED_MAX >= 10 * CHECKPOINT_EVENTS


async def test_the_writer_signs_as_it_goes(ledger: Ledger) -> None:
    log = ledger.log()
    for _ in range(3):
        await asyncio.gather(*(log.append(event(number)) for number in range(CHECKPOINT_EVENTS // 2 + 1)))
    await log.close()
    owner = await ledger.owner()
    signed: list[int] = [row["seq"] for row in await owner.fetch("SELECT seq FROM audit.checkpoint ORDER BY seq")]
    await owner.close()
    assert len(signed) == 2
    assert signed[1] - signed[0] >= CHECKPOINT_EVENTS
    assert (await verify(ledger.url, SECRET)).checkpoints == 2


async def test_another_secret_signed_nothing_of_this(filled: Ledger) -> None:
    broken = (await verify(filled.url, b"another secret, just as long as it")).broken
    assert broken
    assert broken.what == "SIGNATURE"


def test_the_worker_tells_where_the_chain_breaks(
    filled_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in DATABASES:
        monkeypatch.setenv(f"CAREGRAPH_{name.upper()}_URL", filled_url)
    for name, url in (
        ("NOTES", "mongodb://u:p@127.0.0.1/n"),
        ("ARCHIVE", "http://k:s@127.0.0.1/b"),
        ("WAREHOUSE", "snowflake://u:p@127.0.0.1/d/s"),
        ("SECRET", SECRET.decode()),
    ):
        monkeypatch.setenv(f"CAREGRAPH_{name}" + ("" if name == "SECRET" else "_URL"), url)
    assert worker.main(["verify"]) == 0
    assert "whole: 30 events" in capsys.readouterr().out
    assert worker.main(["checkpoint"]) == 0
    assert worker.main(["partitions"]) == 0
    asyncio.run(_delete(filled_url))
    assert worker.main(["verify"]) == 1
    assert "broken at event 7: GAP" in capsys.readouterr().out
    assert worker.main(["erase"]) == 2


async def _delete(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("SET session_replication_role = replica; DELETE FROM audit.event WHERE seq = 7")
    await connection.close()


@pytest.fixture
def filled_url(filled: Ledger) -> str:
    """URL of a filled ledger, for a test that runs a process's own event loop."""
    return filled.url
