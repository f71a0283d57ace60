"""A Flink that any fast test can use: no JVM, no network, and no time passes."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator

import httpx
import pytest

from clusters.flink.session import FlinkSession
from tests.simulation.network import Transport
from tests.simulation.world import World, collect

Story = Callable[[FlinkSession], Awaitable[None]]


class SimulatedCluster:
    """The simulated Flink and its gateway, which are held to the contract suite (`tests/simulation/test_contract.py`).
    `world.flinks[0]` is the Flink, to be killed and looked into; `world.network` the way to it."""

    JOBMANAGER, GATEWAY = "http://flink-a:8081", "http://gateway-a:8083"

    def __init__(self) -> None:
        self.world = World("a fast test", calm=True)
        self.transport: httpx.AsyncBaseTransport = Transport(self.world.network)

    def play(self, story: Story) -> None:
        """Do `story` with an engine that speaks to it through `transport`, in virtual time."""

        async def played(_: World) -> None:
            engine = FlinkSession(self.JOBMANAGER, [self.GATEWAY], transport=self.transport)
            await story(engine)
            await engine.close()

        self.world.run(played)
        assert not self.world.troubles


@pytest.fixture(scope="module")
def _worlds() -> Iterator[None]:
    """What worlds have left is collected when all tests of a file are over: they turn the collector off."""
    yield
    collect()
    gc.unfreeze()
    gc.enable()


@pytest.fixture
def simulated(_worlds: None) -> SimulatedCluster:
    return SimulatedCluster()
