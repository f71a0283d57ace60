"""Commands and their logs, read."""

from __future__ import annotations

from collections.abc import AsyncIterator

from api.commands.schemas import CommandOut, LogLineOut
from api.commands.waiting import until_ended
from core.jobs.states import COMMAND_ENDED, CommandState
from services import Services
from settings import waits
from settings.polling import poll
from store import commands, jobs
from store.tables import Command


def command_out(command: Command) -> CommandOut:
    """A command as the API shows it."""
    return CommandOut(
        **commands.asked_of(command).model_dump(),
        id=command.id,
        number=command.number,
        state=CommandState(command.state),
        error=command.error,
        error_code=command.error_code,
        attempt=command.attempt,
        created_at=command.created_at,
        started_at=command.started_at,
        finished_at=command.finished_at,
    )


async def page(services: Services, ref: str, *, limit: int, cursor: str | None) -> tuple[list[CommandOut], str | None]:
    """Commands of a job, newest first, and the cursor of the next page. Raises `NotFound` for a job that is not there,
    as all of these do."""
    async with services.database.read() as session:
        job = await jobs.get(session, ref)
        rows, following = await commands.page(session, job.id, limit=limit, cursor=cursor)
        return [command_out(row) for row in rows], following


async def get(services: Services, ref: str, number: int, *, wait: float = 0) -> CommandOut:
    """One command of a job, as soon as it has ended, or as it is after `wait` seconds. Raises `NotFound`."""
    async with services.database.read() as session:
        command = await commands.get(session, await jobs.get(session, ref), number)
    if wait and CommandState(command.state) not in COMMAND_ENDED:
        await until_ended(services.database, command.id, wait)
        async with services.database.read() as session:
            command = await commands.by_id(session, command.id) or command
    return command_out(command)


async def lines(services: Services, ref: str, number: int) -> list[LogLineOut]:
    """The whole log of a command."""
    return [line async for line in follow(services, await command_id(services, ref, number), wait=False)]


async def command_id(services: Services, ref: str, number: int) -> str:
    """The id of a command, by its number within the job. Raises `NotFound`."""
    async with services.database.read() as session:
        command = await commands.get(session, await jobs.get(session, ref), number)
        return command.id


async def follow(services: Services, command_id: str, *, wait: bool, after: int = 0) -> AsyncIterator[LogLineOut]:
    """Log lines in order, from after the line with id `after`; with `wait` until the command has ended."""
    polling = poll(waits.FOLLOW_PACE)
    while True:
        async with services.database.read() as session:
            command = await commands.by_id(session, command_id)
            rows = await commands.lines(session, commands.scope(command_id), after=after)
        for row in rows:
            after = row.id
            yield LogLineOut(id=row.id, at=row.at, text=row.text)
        if rows:
            continue
        if not wait or command is None or CommandState(command.state) in COMMAND_ENDED:
            return
        await polling.again()


async def by_id(services: Services, command_id: str) -> CommandOut | None:
    """A command by its id; None when it has been deleted."""
    async with services.database.read() as session:
        command = await commands.by_id(session, command_id)
        return command_out(command) if command else None
