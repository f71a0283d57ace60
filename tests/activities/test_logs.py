"""Log lines of a command: all of them, in order, whenever the work ends."""

from __future__ import annotations

import asyncio

import pytest

from activities.logs import command_log
from settings.waits import FLUSH_SECONDS
from store import commands
from store.database import Database


@pytest.mark.parametrize("wait", [0, FLUSH_SECONDS - 0.002, FLUSH_SECONDS, FLUSH_SECONDS + 0.002])
async def test_no_line_is_lost_when_the_work_ends_while_lines_are_written(database: Database, wait: float):
    for turn in range(5):
        scope = f"command:{turn}"
        async with command_log(database, scope) as tell:
            for n in range(50):
                tell(f"line {n}")
            await asyncio.sleep(wait)
            tell("last")
        async with database.read() as session:
            found = [line.text for line in await commands.lines(session, scope)]
        assert found == [*(f"line {n}" for n in range(50)), "last"]
