"""How a worker that runs for ever is ended."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any


async def until_signal(work: Coroutine[Any, Any, None]) -> None:
    """Does some work until it is done, or until SIGINT or SIGTERM cancels it, which is no error."""
    working = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, working.cancel)
    with suppress(asyncio.CancelledError):
        await working
