"""Flink's client, started before it is known what for.

A start of its JVM, with all that a program needs of Flink, takes three of the four seconds of a submission. So once a
worker has submitted a Python program, one client per Flink version waits for the next: it has loaded and planned as
much as every program needs. It runs one program and ends, as a client that is started for it does: two programs never
share one, and what comes while none waits gets a client of its own. The Python process is always a new one.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from clusters.flink.attended import Attended
from clusters.flink.jars import compiled
from core.effects import EngineError, LogSink
from processes.child import follow, marked, scrubbed, start
from processes.flink import java_options
from processes.java import command as java_command
from processes.scratch import temporary
from settings import waits

SOURCE = Path(__file__).with_name("Client.java")
MAIN = "dev.penstock.Client"
log = structlog.get_logger()


def environment(home: Path, conf: Path) -> dict[str, str]:
    """Of a client of the Flink at `home` that reads its configuration from the folder `conf`."""
    return scrubbed(
        [],
        {
            "FLINK_CONF_DIR": str(conf),
            "FLINK_HOME": str(home),
            "FLINK_LIB_DIR": f"{home}/lib",
            "FLINK_OPT_DIR": f"{home}/opt",
            "FLINK_PLUGINS_DIR": f"{home}/plugins",
            "FLINK_BIN_DIR": f"{home}/bin",
            "PYTHONUNBUFFERED": "1",
        },
    )


def configure(conf: Path, config: Mapping[str, str]) -> None:
    """A file, not -D options: the values may hold secrets, and other users can see a process's options."""
    path = conf / "config.yaml"
    path.touch(mode=0o600)
    path.write_text("".join(f"{json.dumps(key)}: {json.dumps(value)}\n" for key, value in config.items()))


def java(home: Path, main: str, *classpath: Path) -> list[str]:
    """The command of a JVM that lives for seconds: a compiler and a collector of less effort take half of its time."""
    path = ":".join([f"{home}/lib/*", *map(str, classpath)])
    return [
        java_command(),
        *java_options(home),
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-Xmx512m",
        "-cp",
        path,
        main,
    ]


@dataclass
class Client:
    """One that waits, and runs one program. `conf` is where it looks for its configuration when it is told what to
    run; `mark` is in the environment of all that its program starts, and that is ended with it."""

    process: asyncio.subprocess.Process
    conf: Path
    rest: contextlib.ExitStack
    mark: str
    expiry: asyncio.TimerHandle | None = field(default=None)

    async def run(
        self,
        config: Mapping[str, str],
        arguments: Sequence[str],
        *,
        tell: LogSink,
        timeout: float | None,
        output_limit: int | None,
    ) -> None:
        """As `processes.child.run`, with this configuration and these arguments for Flink's command line."""
        process = self.process
        assert process.stdin is not None
        with self.rest:
            with contextlib.suppress(OSError):  # it has just died, or its folder is gone: it ends with a status
                configure(self.conf, config)
                process.stdin.write(b" ".join(base64.b64encode(a.encode()) for a in arguments) + b"\n")
            process.stdin.close()
            await follow(process, "java", tell=tell, timeout=timeout, output_limit=output_limit, mark=self.mark)

    async def end(self) -> None:
        """Nothing is to be run by it any more."""
        with self.rest:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()


class Clients:
    """Those that wait for a program, one at most per installation of Flink, and those whose program goes on beside its
    job. `built` is a folder for compiled jars."""

    def __init__(self, built: Path):
        self.built = built
        self.attended = Attended()
        self._waiting: dict[Path, Client] = {}
        self._coming: dict[Path, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def take(self, home: Path) -> Client | None:
        """The client that waits, if one does: it is the caller's from now on."""
        client = self._waiting.pop(home, None)
        if client is None:
            return None
        if client.expiry is not None:
            client.expiry.cancel()
        if client.process.returncode is not None:
            client.rest.close()
            return None
        return client

    def prepare(self, home: Path) -> None:
        """See that one waits for the next program, soon. Where none can be made the next one starts its own."""
        if home in self._waiting or home in self._coming:
            return
        self._coming[home] = task = asyncio.create_task(self._prepare(home))
        task.add_done_callback(lambda _: self._coming.pop(home, None))

    async def _prepare(self, home: Path) -> None:
        await asyncio.sleep(waits.CLIENT_AFTER_SECONDS)
        with contextlib.ExitStack() as stack:
            try:
                jar = await compiled(SOURCE, self.built)
                conf = stack.enter_context(temporary())
                command, (env, mark) = java(home, MAIN, jar), marked(environment(home, conf))
                process = await start(command, cwd=conf, env=env, stdin=asyncio.subprocess.PIPE)
            except (EngineError, OSError) as error:
                log.info("no client of Flink waits for the next program", home=str(home), why=str(error))
                return
            client = Client(process, conf, stack.pop_all(), mark)
        client.expiry = asyncio.get_running_loop().call_later(waits.CLIENT_IDLE_SECONDS, self._expire, home, client)
        self._waiting[home] = client

    def _expire(self, home: Path, client: Client) -> None:
        if self._waiting.get(home) is client:
            del self._waiting[home]
            task = asyncio.create_task(client.end())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """End all of them."""
        await self.attended.close()
        coming = list(self._coming.values())
        for task in coming:
            task.cancel()
        await asyncio.gather(*coming, return_exceptions=True)
        waiting, self._waiting = list(self._waiting.values()), {}
        for client in waiting:
            if client.expiry is not None:
                client.expiry.cancel()
            await client.end()
