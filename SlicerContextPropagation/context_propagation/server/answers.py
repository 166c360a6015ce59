"""An answer that takes long: a line of JSON for how far it is, again and again, and a last one for what came out."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from context_propagation.core.errors import Cancelled, NotEnoughMemory, UserInputError
from context_propagation.core.wire.addresses import BEAT_S
from context_propagation.core.wire.records import UnknownRecords
from context_propagation.server.worker import Job, Worker

logger = logging.getLogger(__name__)


FAILED = "The server failed at this, and nothing was changed; its log says where. Try again, or tell who runs it"


async def lines(worker: Worker, job: Job, jobs: list[Job], others: Callable[[], int]) -> AsyncIterator[bytes]:
    """Begin a job and tell of it; where nobody listens any more, it is cancelled.

    Args:
        worker: Does it.
        job: What is done.
        jobs: Of its session; it is among them as long as it is not done.
        others: How many other sessions are open.
    """
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    job.changed = lambda: _tell(loop, changed)
    jobs.append(job)
    try:
        worker.begin(job)
        while not job.done:
            changed.clear()
            yield _line({"progress": [job.stage, job.fraction]})
            if not job.done:
                await _wait(changed)
        yield _line(_outcome(job, others()))
    finally:
        job.cancel()
        jobs.remove(job)


def _tell(loop: asyncio.AbstractEventLoop, changed: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the server has ended
        loop.call_soon_threadsafe(changed.set)


async def _wait(changed: asyncio.Event) -> None:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(changed.wait(), BEAT_S)


def _outcome(job: Job, others: int) -> dict[str, Any]:
    error = job.error
    if error is None:
        return {"result": job.result}
    if isinstance(error, Cancelled):
        return {"error": {"kind": "cancelled", "message": "Cancelled; nothing was changed"}}
    if isinstance(error, UnknownRecords):
        return {"error": {"kind": "records", "message": "Computed edits are missing; send them again"}}
    if isinstance(error, NotEnoughMemory) and others:
        beside = f"The server's memory is taken by {others} other session(s), which stay as they are"
        return {"error": {"kind": "input", "message": f"{beside}; try again when somebody is done ({error})"}}
    if isinstance(error, UserInputError):
        return {"error": {"kind": "input", "message": str(error)}}
    where = "".join(traceback.format_tb(error.__traceback__)[-3:])  # its message might hold what is the patient's
    logger.error("%s while computing:\n%s", type(error).__name__, where)
    return {"error": {"kind": "failed", "message": FAILED}}


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, allow_nan=False).encode() + b"\n"
