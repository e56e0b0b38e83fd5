"""`python -m workers audit verify|checkpoint|partitions`: the chain of audit events is checked, signed, given room.

verify: walks over all events and names the first broken link; exit status 1 where there is one. checkpoint: signs the
head of the chain, for a process that writes seldom. partitions: makes the months ahead, in every database; run it
monthly (a month that is missing is made by its first write).
"""

from __future__ import annotations

import asyncio
import sys

from db.audit import AuditLog, ensure_months
from db.audit_chain import verify
from db.settings import Settings, load

MONTHS_AHEAD = 3
"""Partitions that are made beside this month's."""

USAGE = "usage: python -m workers audit {verify|checkpoint|partitions}"


async def check(configured: Settings) -> int:
    """Exit status of the walk over the chain: 1 where a link is broken."""
    verdict = await verify(configured.clinical_url, configured.secret)
    if verdict.broken:
        broken = verdict.broken
        print(f"broken at event {broken.seq}: {broken.what}: {broken.why}", flush=True)
        return 1
    print(f"whole: {verdict.events} events, {verdict.checkpoints} checkpoints", flush=True)
    return 0


async def sign(configured: Settings) -> int:
    """Signs the head of the chain. Raises AuditUnavailable."""
    log = AuditLog(configured.clinical_url, configured.secret, configured.store_timeout_s)
    try:
        await log.checkpoint()
    finally:
        await log.close()
    return 0


async def prepare(configured: Settings) -> int:
    """Makes the partitions of the months ahead."""
    for url in (configured.clinical_url, configured.imaging_url, configured.vitals_url):
        await ensure_months(url, MONTHS_AHEAD)
    return 0


def main(argv: list[str]) -> int:
    """Entry point; the exit status of one of the commands."""
    commands = {"verify": check, "checkpoint": sign, "partitions": prepare}
    if len(argv) != 1 or argv[0] not in commands:
        print(USAGE, file=sys.stderr)
        return 2
    return asyncio.run(commands[argv[0]](load()))
