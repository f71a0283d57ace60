"""The simulated Flink is held to what the real ones are held to: the same suite, in virtual time. Both ways to it are
tried: through httpx with another transport, and by the quicker client that stories are played with. So is the kind of
cluster whose handles are no Flink job ids."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from clusters.flink.session import FlinkSession
from tests.real import test_engine_contract as contract
from tests.simulation.applications import Applications, ResourceManager
from tests.simulation.network import Transport
from tests.simulation.world import World

SUITE = {
    name: test
    for name, test in vars(contract).items()
    if name.startswith("test_") and "subject" in inspect.signature(test).parameters
}


class Simulated(contract.Subject):
    def __init__(self, engine: Any):
        self.engine, self.state = engine, "sim://contract"


@pytest.mark.parametrize("by", ["transport", "client", "applications"])
@pytest.mark.parametrize("name", sorted(SUITE))
def test_the_simulated_flink_keeps_the_contract(name: str, by: str, tmp_path: Path):
    world = World(f"contract {name}", calm=True)
    world.flinks[0].heartbeat_timeout = 20.0
    test = SUITE[name]
    more = {"tmp_path": tmp_path} if "tmp_path" in inspect.signature(test).parameters else {}

    async def story(world: World) -> None:
        transport = Transport(world.network) if by == "transport" else None
        engine: Any = FlinkSession("http://flink-a:8081", ["http://gateway-a:8083"], transport=transport)
        if by == "applications":
            engine = Applications(engine, ResourceManager())
        await test(Simulated(engine), **more)

    world.run(story)
    assert not world.troubles
