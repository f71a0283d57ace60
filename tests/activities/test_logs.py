"""Log lines of a command: all of them, in order, whenever the work ends."""

from __future__ import annotations

import asyncio

import pytest

from activities.logs import Repeats, command_log
from settings import clock
from settings.waits import FLUSH_SECONDS, REPEATED_SECONDS
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


def test_what_is_waited_for_again_and_again_is_told_once_a_minute(monkeypatch: pytest.MonkeyPatch):
    now, written = 0.0, list[str]()
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    repeats = Repeats(written.append)
    for _ in range(301):  # every two seconds, for ten minutes
        repeats.tell("no answer; asking again")
        now += 2.0
    repeats.tell("it answers")
    repeats.end()
    assert written[:4] == ["no answer; asking again"] * 3 + [f"(the same {int(REPEATED_SECONDS / 2)} more times)"]
    assert written[-1] == "it answers"
    assert len(written) < 20
    counted = [int(line.split()[2]) for line in written if line.startswith("(the same")]
    assert sum(counted) + 3 == 301


def test_few_equal_lines_stay_as_they_are():
    written = list[str]()
    repeats = Repeats(written.append)
    for line in "aabbbca":
        repeats.tell(line)
    repeats.end()
    assert written == list("aabbbca")
