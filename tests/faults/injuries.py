"""The faults: what is done to the parts. Each kind does one fault, waits until it is over, and returns its words."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from tests.faults import clocks
from tests.faults.judge import Verdicts
from tests.faults.proxy import Mode
from tests.faults.sampler import Sampler
from tests.faults.world import MEMORY, World

KILLS = (
    "api",
    "worker-1",
    "worker-2",
    "worker-1",
    "worker-2",
    "temporal",
    "jobmanager",
    "taskmanager",
    "gateway",
    "database",
)
BROKEN = tuple(m for m in Mode if m not in (Mode.PASS, Mode.DELAY))
CUTS = [("jobmanager", m) for m in BROKEN] + [("gateway", m) for m in BROKEN]
CUTS += [(p, m) for p in ("temporal", "database", "api") for m in (Mode.REFUSE, Mode.HANG, Mode.DROP)]
WORKERS = ("worker-1", "worker-2")


class Injuries:
    def __init__(self, world: World, sampler: Sampler, verdicts: Verdicts, chance: random.Random):
        self._world, self._sampler, self._verdicts, self._random = world, sampler, verdicts, chance
        self.kinds: dict[str, Callable[[], str]] = {
            "kill": self.kill,
            "freeze": self.freeze,
            "cut": self.cut,
            "kill-jobmanager": lambda: self._kill("jobmanager"),
            "kill-taskmanager": lambda: self._kill("taskmanager"),
            "delay": self.delay,
            "workers-away": self.workers_away,
            "long-freeze": self.long_freeze,
            "temporal-wiped": self.temporal_wiped,
            "stranger": self.stranger,
        }
        if world.disks:
            self.kinds["disk-full"] = self.disk_full
        if world.stepping:
            self.kinds["clock-step"] = self.clock_step

    def kill(self) -> str:
        return self._kill(self._random.choice(KILLS))

    def _kill(self, part: str) -> str:
        self._world.kill(part, away=self._random.uniform(0, 3))
        return f"kill {part}"

    def freeze(self) -> str:
        part, seconds = self._random.choice(KILLS), self._random.choice([1, 3, 6, 16])
        self._world.freeze(part, seconds=seconds)
        return f"freeze {part}"

    def cut(self) -> str:
        part, mode = self._random.choice(CUTS)
        self._world.cut(part, mode, self._random.uniform(1, 6))
        return f"cut {part} {mode.value}"

    def delay(self) -> str:
        """Single answers come late: an older question is answered after a younger one."""
        parts = ["jobmanager", *self._random.sample(["gateway", "database", "api"], self._random.randint(0, 1))]
        for part in parts:
            self._world.proxies[part].set(Mode.DELAY)
        time.sleep(self._random.uniform(4, 10))
        for part in parts:
            self._world.proxies[part].set(Mode.PASS)
        return f"delay {' and '.join(parts)}"

    def workers_away(self) -> str:
        """No worker at all for a while; something else may die in the meantime."""
        other = self._random.choice([None, None, "jobmanager", "taskmanager", "api"])

        def meanwhile() -> None:
            time.sleep(self._random.uniform(0, 3))
            if other is not None:
                self._world.kill(other, away=self._random.uniform(0, 2))

        self._world.kill(*WORKERS, away=self._random.uniform(8, 25), during=meanwhile)
        return "workers-away" + (f", {other} killed" if other else "")

    def long_freeze(self) -> str:
        """Longer than this Flink remembers savepoint triggers, and jobs that have ended."""
        parts = self._random.choice([WORKERS, WORKERS, ("temporal",), ("worker-1", "worker-2", "api"), ("database",)])
        self._world.freeze(*parts, seconds=MEMORY + 5)
        return f"long-freeze {' and '.join(parts)}"

    def temporal_wiped(self) -> str:
        self._world.wipe_temporal()
        return "temporal-wiped"

    def disk_full(self) -> str:
        name = self._random.choice(sorted(self._world.disks))
        disk = self._world.disks[name]
        disk.fill()
        time.sleep(self._random.uniform(2, 8))
        disk.free()
        return f"disk-full {name}"

    def clock_step(self) -> str:
        """Forwards or back, and after some seconds to the right time again."""
        names = self._random.choice([("worker-1",), ("worker-2",), WORKERS, ("api",), ("api", *WORKERS)])
        seconds = self._random.choice([-600, -30, -3, 3, 30, 600])
        for moved in (seconds, 0):
            for name in names:
                clocks.step(self._world.clock_of(name), moved)
            time.sleep(self._random.uniform(3, 8))
        return f"clock-step {' and '.join(names)} {seconds:+} s"

    def stranger(self) -> str:
        """Another Flink answers at the address of ours; none of ours may be given to it."""
        self._world.start_second()
        self._sampler.add("second", self._world.second_url)
        proxy, port = self._world.proxies["jobmanager"], self._world.ports
        proxy.retarget(port["second-jobmanager"])
        time.sleep(self._random.uniform(3, 14))
        proxy.retarget(port["jobmanager"])
        time.sleep(1)
        self.nothing_on_second()
        return "stranger"

    def nothing_on_second(self) -> None:
        given = self._world.clear_second()
        self._verdicts.check("nothing runs on a stranger", not given, f"at {time.time():.1f}: {given}")
