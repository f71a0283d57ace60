"""When a job may be cancelled: not while a task that collects rows is being set up. On a real Flink that lasts for half
a second, and cancelling then ends the task manager (`tests/real/test_previews.py`); the rest of the rule is held here,
by the answers that Flink 2.3.0 gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from clusters.flink.session import FlinkSession
from clusters.protocol import Ref
from core.effects import NotNow

JOB = "a" * 32
COLLECTING = ["Source: src[1] -> Calc[2]", "GroupAggregate[4] -> Sink: Collect table sink"]


class Flink(httpx.AsyncBaseTransport):
    """One job, whose tasks last changed `age` ms ago; `tasks` are their numbers by state."""

    def __init__(self, state: str, tasks: dict[str, int], age: int, names: list[str]):
        self.job = {
            "jid": JOB,
            "name": "a",
            "state": state,
            "start-time": 1_000_000,
            "duration": 50_000,
            "last-modification": 1_050_000 - age,
            "tasks": {"total": sum(tasks.values()), **tasks},
        }
        self.names, self.cancelled = names, False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body: dict[str, Any] = {}
        if request.method == "PATCH":
            self.cancelled = True
        elif request.url.path == "/jobs/overview":
            body = {"jobs": [self.job]}
        else:
            body = {"vertices": [{"name": n, "status": "?", "parallelism": 1, "metrics": {}} for n in self.names]}
        return httpx.Response(202 if request.method == "PATCH" else 200, json=body)


async def cancelled(tmp_path: Path, flink: Flink) -> bool:
    engine = FlinkSession("http://jm:8081", [], transport=flink, built=tmp_path)
    try:
        await engine.cancel(Ref(JOB, JOB))
    except NotNow:
        assert not flink.cancelled
    finally:
        await engine.close()
    return flink.cancelled


@pytest.mark.parametrize(
    ("state", "tasks", "age", "expected"),
    [
        ("RUNNING", {"running": 2}, 0, True),
        ("RUNNING", {"running": 1, "finished": 1}, 0, True),
        ("RUNNING", {"running": 1, "initializing": 1}, 500, False),
        ("RUNNING", {"deploying": 2}, 100, False),
        ("RUNNING", {"created": 2}, 100, False),  # an instant before it is deployed
        ("CREATED", {"scheduled": 2}, 2_000, False),
        ("RUNNING", {"scheduled": 2}, 4_000, True),  # it waits for slots
        ("RUNNING", {"initializing": 2}, 29_000, False),
        ("RUNNING", {"initializing": 2}, 31_000, True),  # it hangs in what it opens
        ("FAILED", {"canceled": 1, "initializing": 1}, 0, True),
        ("CANCELLING", {"canceling": 2}, 0, True),
    ],
)
async def test_one_that_collects_rows(state: str, tasks: dict[str, int], age: int, expected: bool, tmp_path: Path):
    assert await cancelled(tmp_path, Flink(state, tasks, age, COLLECTING)) is expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["Source: a", "Sink: b"], True), (["a -> Sink: Data stream collect sink"], False)],
)
async def test_it_is_known_by_its_sink(names: list[str], expected: bool, tmp_path: Path):
    assert await cancelled(tmp_path, Flink("RUNNING", {"initializing": 2}, 100, names)) is expected
