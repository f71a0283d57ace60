"""The world of the simulation, as people see it: over HTTP and by the command line.

Tests are plain functions: a request is made, and time goes on until it is answered; `wait` lets more of it pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import anyio.to_thread
import git
import httpx
import typer.main
from fastapi import FastAPI

from api.app import make_app
from cli import client
from cli.main import main
from services import Services
from tests.authorized import authorized
from tests.simulation.flink import Flink
from tests.simulation.network import Endpoint
from tests.simulation.world import World
from tests.whole import description
from tests.whole.gateway import QueryingGateway
from tests.whole.programs import POM, Programs

VERSION = "2.3.0"
STATE = "sim://state"
SQL = """CREATE TABLE src (id BIGINT, name STRING, amt DOUBLE) WITH ('connector' = 'datagen', 'rows-per-second' = '5');
CREATE TABLE {sink} (id BIGINT, name STRING, amt DOUBLE) WITH ('connector' = 'blackhole');
INSERT INTO {sink} SELECT {what} FROM src;"""
_SERVICES: list[Services] = []


def sql(sink: str = "snk", what: str = "COUNT(*)") -> dict[str, Any]:
    return {"type": "sql", "sql": SQL.format(sink=sink, what=what)}


@functools.cache
def the_app() -> FastAPI:
    """One for all worlds of this process: to make it takes longer than most tests."""

    async def services() -> Services:
        return _SERVICES[0]

    return make_app(services)


class WholeWorld(World):
    """Nothing is lost or slow by chance."""

    def __init__(self, home: Path, **more: Any):
        self.programs = Programs(self)
        super().__init__(f"whole {home.name}", calm=True, home=home, **more)

    gateways: dict[str, QueryingGateway]  # type: ignore[assignment]

    def add_flink(self, name: str, *, ha: bool = False) -> Flink:
        made = super().add_flink(name, ha=ha)
        gateway = self.gateways[name] = QueryingGateway(made)
        self.network.endpoints[f"http://{name.replace('flink', 'gateway')}:8083"] = Endpoint(gateway)
        return made

    def flink_at(self, url: str) -> Flink | None:
        found = self.network.endpoints.get(url)
        return found.server if found and found.mode == "ok" and isinstance(found.server, Flink) else None


@dataclass(frozen=True)
class Said:
    """What a command of the command line has printed, and its exit code."""

    code: int
    out: str
    err: str


class Bridge(httpx.BaseTransport):
    """Brings requests to the API of a world, and looks at the answers."""

    def __init__(self, penstock: Penstock):
        self._penstock = penstock

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        sent = httpx.Request(request.method, request.url, headers=request.headers, content=request.read())
        return self._penstock.play(self._penstock.world.ask(lambda _: self._ask(sent)))

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        app = the_app()
        route: list[str] = []

        async def noting(scope: Any, receive: Any, send: Any) -> None:
            await app(scope, receive, send)
            route.append(getattr(scope.get("route"), "path", ""))

        answer = await httpx.ASGITransport(noting, raise_app_exceptions=False).handle_async_request(request)
        content = await answer.aread()
        made = httpx.Response(answer.status_code, headers=answer.headers, content=content, request=request)
        self._penstock.answered(request.method, route[0] if route else "", made)
        return made


class Penstock:
    """`http` asks the API, `cli` runs a command; `world` is what is broken and looked into."""

    def __init__(self, world: WholeWorld, play: Callable[[Any], Any]):
        self.world, self.play = world, play
        self.home = world.settings.home
        self.http = httpx.Client(transport=Bridge(self), base_url="http://127.0.0.1:8000/api/v1", timeout=600)

    @property
    def token(self) -> str:
        return str(self.http.headers["Authorization"]).removeprefix("Bearer ")

    def answered(self, method: str, route: str, response: httpx.Response) -> None:
        """Every answer that a test is given has to be one that the API's description knows."""
        description.check(the_app(), method, route, response)

    # Time -----------------------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        self.play(_sleep(seconds))

    def until(self, condition: Callable[[], Any], most: float = 900.0) -> Any:
        """What `condition` gives, once that is true. Fails after `most` seconds of virtual time."""
        until, pause = self.world.loop.time() + most, 1.0
        while not (found := condition()):
            assert self.world.loop.time() < until, "it did not come to that"
            self.wait(pause)
            pause = min(pause * 1.1, 10.0)
        return found

    # Asking ---------------------------------------------------------------------------------

    def ok(self, method: str, path: str, **more: Any) -> Any:
        """The body of an answer that has to be good."""
        answer = self.http.request(method, path, **more)
        assert answer.is_success, (method, path, answer.status_code, answer.text)
        return answer.json() if answer.content and "json" in answer.headers["content-type"] else answer.text

    def no(self, method: str, path: str, status: int, code: str | None = None, **more: Any) -> Any:
        """The problem of an answer that has to be a refusal."""
        answer = self.http.request(method, path, **more)
        assert answer.status_code == status, (method, path, answer.status_code, answer.text)
        assert code is None or answer.json()["code"] == code, answer.text
        return answer.json()

    def job(self, name: str) -> Any:
        return self.ok("GET", f"/jobs/default:{name}")

    def state(self, name: str) -> str:
        return str(self.job(name)["state"])

    def create(self, name: str, spec: dict[str, Any] | None = None, **more: Any) -> Any:
        new = {"name": name, "spec": spec or sql(f"s_{name.replace('-', '_')}"), "cluster": "a", **more}
        new["config"] = {"execution.checkpointing.interval": "10 s", **more.get("config", {})}
        if new["spec"]["type"] == "session-cluster":
            del new["config"]
        made = self.ok("POST", "/jobs", json=new)
        self.world.names[made["id"]] = name
        return made

    def send(self, name: str, kind: str, **more: Any) -> Any:
        return self.ok("POST", f"/jobs/default:{name}/commands", json={"kind": kind, **more})

    def ended(self, name: str, number: int) -> Any:
        def look() -> Any:
            found = self.ok("GET", f"/jobs/default:{name}/commands/{number}")
            return found if found["state"] not in ("PENDING", "RUNNING") else None

        return self.until(look)

    def do(self, name: str, kind: str, **more: Any) -> Any:
        """Send a command, and give it as it is at its end."""
        return self.ended(name, self.send(name, kind, **more)["number"])

    def done(self, name: str, kind: str, **more: Any) -> Any:
        """The same; it has to succeed."""
        found = self.do(name, kind, **more)
        assert found["state"] == "SUCCEEDED", found
        return found

    def running(self, name: str, spec: dict[str, Any] | None = None, **more: Any) -> Any:
        self.create(name, spec, **more)
        self.done(name, "start")
        return self.job(name)

    def flink_job(self, name: str) -> Any:
        """The newest Flink job of a job, as the simulated Flinks have it."""
        found = self.job(name)["current_attempt"]["flink_job_id"]
        return next(flink.jobs[found] for flink in self.world.flinks if found in flink.jobs)

    # The command line -------------------------------------------------------------------------

    def cli(self, *arguments: str, away: bool = False, **how: Any) -> Said:
        """As `said`, with this API. With `away` nobody listens where it looks for that."""
        transport = httpx.MockTransport(_nobody) if away else Bridge(self)
        here, really = threading.current_thread(), time.sleep

        def sleep(seconds: float) -> None:
            # Threads that other tests have left, such as those of a server, have their own time, and not our loop.
            (self.wait if threading.current_thread() is here else really)(seconds)

        with (
            mock.patch.object(time, "sleep", sleep),
            mock.patch.dict("os.environ", {"PENSTOCK_URL": "http://127.0.0.1:8000", "PENSTOCK_TOKEN": self.token}),
        ):
            return said(*arguments, transport=transport, **how)


def _nobody(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("Connection refused", request=request)


_command = functools.cache(typer.main.get_command)
"""One for all calls: to make all commands takes longer than to run one."""


class Terminal(io.StringIO):
    """A file that says that somebody sits there."""

    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def _wide(columns: int) -> Iterator[None]:
    """Consoles know from when they were made how wide they are, and whether somebody looks."""
    consoles = (client.out, client.err)
    before = [(console.width, console.is_interactive) for console in consoles]
    for console in consoles:
        console.width, console.is_interactive = columns, True
    with mock.patch.dict("os.environ", {"TERM": "xterm"}):
        yield
    for console, (width, is_interactive) in zip(consoles, before, strict=True):
        console.width, console.is_interactive = width, is_interactive


def said(
    *arguments: str,
    text: str = "",
    columns: int | None = None,
    together: bool = False,
    transport: httpx.BaseTransport | None = None,
) -> Said:
    """`penstock ...` in this process; with `columns` on a terminal that is so wide, at which somebody types `text`; with
    `together` both streams go to the same place (`2>&1`), which is `out`; `transport` carries what it asks the API."""
    out, err = (Terminal(), Terminal()) if columns else (io.StringIO(), io.StringIO())
    streams = (out, out if together else err)
    with (
        _wide(columns) if columns else contextlib.nullcontext(),
        mock.patch.object(typer.main, "get_command", _command),
        mock.patch.object(sys, "argv", ["penstock", *arguments]),
        mock.patch.object(sys, "stdin", Terminal(text) if columns else io.StringIO(text)),
        contextlib.redirect_stdout(streams[0]),
        contextlib.redirect_stderr(streams[1]),
    ):
        try:
            main(transport)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Said(code, out.getvalue(), err.getvalue())


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def _inline(function: Callable[..., Any], *args: Any, **_: Any) -> Any:
    return function(*args)


@contextlib.contextmanager
def whole(home: Path, *, clusters: int = 1, ha: bool = False) -> Iterator[Penstock]:
    """A Penstock with the clusters `a`, `b`, ... and a worker, on which nothing runs yet. `home` is an empty folder."""
    world = WholeWorld(home, clusters=clusters, ha=ha)
    flink = home / "cache" / "flink" / VERSION
    site = flink / "lib" / "python3.11" / "site-packages" / "pyflink"
    (site / "opt").mkdir(parents=True)
    (site / "opt" / f"flink-python-{VERSION}.jar").touch()
    (flink / "bin").mkdir()
    (flink / "bin" / "python").touch()
    threads = mock.patch.object(anyio.to_thread, "run_sync", _inline)
    with threads, world.programs.installed(), world.opened() as play:
        _SERVICES[:] = [world.api.services]
        made = Penstock(world, play)
        app = the_app()
        lifespan = app.router.lifespan_context(app)
        with mock.patch.object(Services, "ready", _ready):
            play(lifespan.__aenter__())
        made.http.headers.update(authorized(home))
        made.wait(1.0)
        for name in "abcdef"[:clusters]:
            new = {
                "name": name,
                "jobmanager_url": f"http://flink-{name}:8081",
                "gateway_url": f"http://gateway-{name}:8083",
                "flink_version": VERSION,
                "state_dir": STATE,
            }
            made.ok("POST", "/clusters", json=new)
        yield made


async def _ready(services: Services) -> Services:
    """The database of the world has the newest schema already."""
    return services


def repository(folder: Path) -> Path:
    """A Git repository with a Maven project, a module that does not compile, and Python programs."""
    files = {
        "pom.xml": POM.format("program", "one"),
        "broken/pom.xml": POM.format("broken", "broken"),
        "two/pom.xml": POM.format("first", "") + POM.format("second", ""),
        "job.py": "print('a job')\n",
        "fails.py": "raise ValueError\n",
        "package/__init__.py": "",
        "requirements.txt": "something==1.0\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    repo = git.Repo.init(folder, initial_branch="main")
    repo.git.add("-A")
    commit(repo, "first")
    return folder


def commit(repo: git.Repo, message: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    repo.git.execute(["git", *who, "commit", "-q", "--allow-empty", "-m", message])
    return str(repo.head.commit.hexsha)
