"""Programs of others that Penstock starts, doubled where a process would begin: Maven, pip, Flink's Python client and
the keeper of a session cluster. Git is the real one, on a repository in a temporary folder."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import zipfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from clusters.local.keeper import KEEPER, ClusterOrder, ClusterReport
from core.jobs.observations import EngineState
from processes.supervised import Processes
from tests.simulation.loop import NEUTRAL
from tests.simulation.network import Endpoint

if TYPE_CHECKING:
    from tests.whole.penstock import WholeWorld

NOBODY = 2**22 + 1
"""A process id that the kernel gives to nobody."""
POM = "<project><artifactId>{}</artifactId><!-- {} --></project>"


class Ended:
    """A process that has said `lines` and ended with `code`."""

    def __init__(self, lines: list[str], code: int = 0):
        self.pid, self.returncode = NOBODY, code
        self.stdout = self
        self._text = "".join(f"{line}\n" for line in lines).encode()

    async def read(self, size: int) -> bytes:
        text, self._text = self._text[:size], self._text[size:]
        return text

    async def wait(self) -> int:
        return self.returncode


class Programs:
    """`slow` are further seconds that a Maven build takes."""

    def __init__(self, world: WholeWorld):
        self.world = world
        self.slow = 0.0
        self.keepers: dict[Path, Keeper] = {}

    @contextmanager
    def installed(self) -> Iterator[None]:
        kept, popen = asyncio.create_subprocess_exec, subprocess.Popen
        asyncio.create_subprocess_exec = self.start  # type: ignore[assignment]

        def opened(command: Any, *args: Any, **more: Any) -> Any:
            if isinstance(command, list) and "clusters.local.keeper" in command:
                return self.keep(Path(command[-1]))
            return popen(command, *args, **more)

        subprocess.Popen = opened  # type: ignore[assignment,misc]
        try:
            yield
        finally:
            asyncio.create_subprocess_exec, subprocess.Popen = kept, popen  # type: ignore[misc]

    async def start(self, *command: str, cwd: Path, env: dict[str, str], **_: Any) -> Ended:
        await asyncio.sleep(1.0)
        doubles: dict[str, Callable[[list[str], Path, dict[str, str]], Awaitable[Ended]]] = {
            "mvn": self._maven,
            "java": self._client,
            "python": self._python,
        }
        return await doubles[Path(command[0]).name](list(command), Path(cwd), env)

    async def _maven(self, command: list[str], cwd: Path, _: dict[str, str]) -> Ended:
        await asyncio.sleep(self.slow)
        options = dict(part[2:].split("=", 1) for part in command if part.startswith("-D") and "=" in part)
        if wanted := options.get("artifact"):
            if "missing" in wanted:
                return Ended(["[ERROR] Could not find artifact " + wanted], 1)
            made = Path(options["outputDirectory"]) / f"{wanted.split(':')[1]}.jar"
            _jar(made, wanted)
            return Ended(["[INFO] copied"])
        folder = cwd / command[command.index("-pl") + 1] if "-pl" in command else cwd
        pom = (folder / "pom.xml").read_text()
        if "broken" in pom:
            return Ended(["[INFO] compiling", "[ERROR] Main.java:[3,1] cannot find symbol"], 1)
        (folder / "target").mkdir(exist_ok=True)
        for name in re.findall(r"<artifactId>([^<]+)<", pom):
            _jar(folder / "target" / f"{name}.jar", pom)
        return Ended(["[INFO] BUILD SUCCESS"])

    async def _python(self, command: list[str], cwd: Path, _: dict[str, str]) -> Ended:
        if "venv" in command:
            site = Path(command[-1]) / "lib" / "python3.11" / "site-packages"
            site.mkdir(parents=True)
            return Ended([])
        wanted = Path(command[-1]).read_text()
        return Ended([f"ERROR: no {wanted}"], 1) if "missing" in wanted else Ended(["Successfully installed"])

    async def _client(self, command: list[str], _: Path, env: dict[str, str]) -> Ended:
        """Flink's client: it runs the program, whose job it brings to the JobManager."""
        text = (Path(env["FLINK_CONF_DIR"]) / "config.yaml").read_text()
        config = {k: json.loads(v) for k, v in (line.split(": ", 1) for line in text.splitlines())}
        config = {json.loads(k): v for k, v in config.items()}
        at = command.index("-py") if "-py" in command else command.index("-pym")
        program, args = command[at + 1], command[at + 2 :]
        if at and program.endswith(".py") and "raise" in Path(program).read_text():
            return Ended(["Traceback (most recent call last):", '  File "x.py"', "ValueError: it does not work"], 1)
        flink = self.world.flink_at(f"http://{config['rest.address']}:{config['rest.port']}")
        if flink is None:
            return Ended(["java.net.ConnectException: Connection refused"], 1)
        restore = command[command.index("-s") + 1] if "-s" in command else None
        job_id = config["$internal.pipeline.job-id"]
        made = self.world.program("", {"programArgsList": args})
        refused = flink.accept(job_id, config["pipeline.name"], made, config, restore, "-n" in command)
        if refused is not None:
            return Ended(["The program finished with the following exception:", refused[1]["errors"][0]], 1)
        return Ended([f"Job has been submitted with JobID {job_id}"])

    def keep(self, folder: Path) -> Keeper:
        self.keepers[folder] = Keeper(self.world, folder)
        return self.keepers[folder]


CLASSES = ("dev/example/Program", "dev/penstock/examples/Clicks")


def _jar(path: Path, words: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("META-INF/MANIFEST.MF"), "Main-Class: dev.example.Program\n")
        archive.writestr(zipfile.ZipInfo("words"), words)
        for name in CLASSES:
            archive.writestr(zipfile.ZipInfo(f"{name}.class"), b"")


class Keeper:
    """Of one session cluster: a simulated Flink at the ports that are wanted."""

    def __init__(self, world: WholeWorld, folder: Path):
        self.world, self.folder = world, folder
        Processes(folder).write_down(KEEPER, os.getpid())
        self._say(EngineState.STARTING, "its JobManager is starting", 0)
        world.loop.call_later(3.0, self._begin, context=NEUTRAL)

    def poll(self) -> int | None:
        return None

    def _say(self, state: EngineState, detail: str, of: int) -> None:
        self.seen = ClusterReport(state=state, detail=detail, of=of)
        self.seen.write(self.folder / "seen.json")

    @property
    def wanted(self) -> ClusterOrder:
        found = ClusterOrder.read(self.folder / "wanted.json")
        assert found is not None
        return found

    def _begin(self) -> None:
        program = self.wanted.program
        self.urls = [f"http://127.0.0.1:{program.rest_port}", f"http://127.0.0.1:{program.gateway_port}"]
        self.flink = self.world.add_flink(f"hosted-{self.folder.name[:6]}")
        self.flink.slots = program.taskmanagers * program.slots
        for url, server in zip(self.urls, (self.flink, self.world.gateways[self.flink.name]), strict=True):
            self.world.network.endpoints[url] = Endpoint(server)
        self._look()

    def _look(self) -> None:
        if self.wanted.stop:
            self.end(EngineState.CANCELED, "stopped")
            return
        count = self.wanted.program.taskmanagers
        self.flink.slots = count * self.wanted.program.slots
        if (self.seen.state, self.seen.of) != (EngineState.RUNNING, count):
            self._say(EngineState.RUNNING, f"{count} task managers", count)
        self.world.loop.call_later(0.5, self._look_unless_ended, context=NEUTRAL)

    def _look_unless_ended(self) -> None:
        if not self.seen.ended:
            self._look()

    def end(self, state: EngineState, why: str) -> None:
        """Its JobManager died, or it was told to stop."""
        for url in self.urls:
            self.world.network.endpoints[url].mode = "refuse"
        self.flink.kill()
        self.flink.kill_task_managers()  # its processes are bound to the keeper
        self._say(state, why, 0)
        (self.folder / "run" / f"{KEEPER}.json").unlink()


def host_and_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80
