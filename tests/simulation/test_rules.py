"""The tests of job workflows that `tests/workflows` runs on a real Temporal, here on the simulated one: the same tests
hold both, so that it does not drift from the real one, and in virtual time they take a tenth of what they take there."""

from __future__ import annotations

import asyncio
import functools
import inspect
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from types import ModuleType
from typing import Any

import pytest

from core.queues import Queues
from tests.simulation.chance import Chance
from tests.simulation.loop import Process, SimLoop
from tests.simulation.temporal import SimClient, Temporal, Worker
from tests.workflows import test_job, test_missing_rows, test_recovery_rules, test_requested_by
from tests.workflows.conftest import Cluster, Life, begun
from workflows.job import JobWorkflow

READS_HISTORY = ("test_one_that_runs_soon_is_one_step_and_one_record",)
"""The simulated Temporal keeps none."""
MODULES = (test_job, test_missing_rows, test_recovery_rules, test_requested_by)


class Environment:
    """What Temporal's own test environment is to these tests."""

    supports_time_skipping = True

    def __init__(self) -> None:
        self.loop = SimLoop(lambda: 0.001)
        chance = Chance("rules", calm=True)
        chance.history_limit = lambda: 200  # type: ignore[method-assign]
        self.server = Temporal(self.loop, chance, [JobWorkflow])
        self.client = SimClient(self.server)
        self.loop.on_turn = self.server.moved

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def get_current_time(self) -> datetime:
        return self.server.now()

    def serve(self, queue: str, activities: list[Callable[..., Any]]) -> None:
        named = {getattr(a, "__temporal_activity_definition").name: a for a in activities}
        queues = dict.fromkeys((queue, Queues(queue).build), named)
        self.server.add_worker(Worker(Process(f"worker of {queue}"), queues))


@pytest.fixture
def environment() -> Iterator[Environment]:
    made = Environment()
    yield made
    made.loop.leave()
    assert not made.server.troubles


@pytest.fixture
def start(environment: Environment) -> Callable[..., Any]:
    async def begin(cluster: Cluster, **more: Any) -> Life:
        queue = f"q-{uuid.uuid4().hex}"
        environment.serve(queue, cluster.activities())
        return await begun(environment, cluster, queue, **more)

    return begin


def simulated(test: Callable[..., Any]) -> Callable[..., None]:
    """The same test as a plain function, which is awaited on the loop of the fixture `environment`."""
    signature = inspect.signature(test)

    @functools.wraps(test)
    def run(*args: Any, environment: Environment, **fixtures: Any) -> None:
        given = {"environment": environment} if "environment" in signature.parameters else {}
        environment.loop.run_until_complete(test(*args, **fixtures, **given))

    named = [p for p in signature.parameters.values() if p.name != "environment"]
    added = inspect.Parameter("environment", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = signature.replace(parameters=[*named, added])
    return run


def all_of(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name, what in vars(module).items():
        if name.startswith("test_") and inspect.iscoroutinefunction(what):
            yield name, simulated(what)
        elif name.startswith("Test"):
            tests = {k: simulated(f) for k, f in vars(what).items() if k.startswith("test_")}
            tests.update(dict.fromkeys(READS_HISTORY))
            yield name, type(name, (what,), tests)


for _module in MODULES:
    for _name, _test in all_of(_module):
        assert _name not in globals(), f"{_name} is in two modules"
        globals()[_name] = _test
