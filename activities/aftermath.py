"""What a program says and does once its job runs, when the activity that has sent it is over."""

from __future__ import annotations

import uuid

from activities.logs import log_of
from clusters.protocol import Aftermath
from services import Services
from settings import clock
from store import attempts
from store.tables import Attempt


def aftermath_of(services: Services, attempt: Attempt, command_id: str | None) -> Aftermath:
    """Of an attempt that a command has started, or nobody's."""
    job_id, number = attempt.job_id, attempt.number

    async def alert(words: str) -> None:
        async with services.database.write() as session:
            attempts.add_event(
                session,
                f"{job_id}/program/{uuid.uuid4().hex}",
                job_id,
                kind="alert",
                message=f"attempt {number}: {words}",
                attempt=number,
                at=clock.now(),
            )

    async def trouble(words: str) -> None:
        async with services.database.write() as session:
            await attempts.set_program_trouble(session, job_id, number, words)

    return Aftermath(lambda: log_of(services.database, command_id), alert, trouble)
