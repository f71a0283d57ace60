"""Clients that wait for a program: each runs one, and none is left behind. Java is a script here."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clusters.flink import clients
from clusters.flink.clients import Client, Clients
from clusters.flink.jars import NotCompiled
from processes.child import ProcessFailed
from settings import waits

JAVA = f"""#!{sys.executable}
import base64, os, sys
line = sys.stdin.readline()
if not line:
    sys.exit(1)
for word in line.rstrip("\\n").split(" "):
    print("argument", repr(base64.b64decode(word).decode()))
print("config", open(os.environ["FLINK_CONF_DIR"] + "/config.yaml").read())
print("pid", os.getpid())
"""


@pytest.fixture
async def waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Clients]:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text(JAVA)
    java.chmod(0o755)
    monkeypatch.setenv("PATH", f"{java.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(waits, "CLIENT_AFTER_SECONDS", 0.0)

    async def compiled(source: Path, folder: Path) -> Path:
        return folder / source.name

    monkeypatch.setattr(clients, "compiled", compiled)
    made = Clients(tmp_path)
    yield made
    await made.close()


async def one(waiting: Clients, home: Path) -> Client:
    waiting.prepare(home)
    while (client := waiting.take(home)) is None:
        await asyncio.sleep(0.01)
    return client


async def ran(client: Client, *arguments: str, **config: str) -> list[str]:
    lines: list[str] = []
    await client.run(config, arguments, tell=lines.append, timeout=20, output_limit=10_000)
    return lines


def is_alive(client: Client) -> bool:
    return client.process.returncode is None and Path(f"/proc/{client.process.pid}").exists()


class TestClients:
    async def test_it_runs_what_it_is_told(self, waiting: Clients, tmp_path: Path):
        client = await one(waiting, tmp_path)
        lines = await ran(client, "run", "a b", "", "ä\nb", "", key="value")
        assert lines[:5] == [f"argument {a!r}" for a in ("run", "a b", "", "ä\nb", "")]
        assert 'config "key": "value"' in lines
        assert not client.conf.exists()

    async def test_none_waits_until_one_is_asked_for(self, waiting: Clients, tmp_path: Path):
        await asyncio.sleep(0.1)
        assert waiting.take(tmp_path) is None

    async def test_each_is_taken_once(self, waiting: Clients, tmp_path: Path):
        client = await one(waiting, tmp_path)
        waiting.prepare(tmp_path)
        waiting.prepare(tmp_path)
        another = await one(waiting, tmp_path)
        assert (another.process.pid, another.conf) != (client.process.pid, client.conf)
        assert waiting.take(tmp_path) is None
        pids = [lines[-1] for lines in await asyncio.gather(ran(client, "x"), ran(another, "y"))]
        assert pids == [f"pid {client.process.pid}", f"pid {another.process.pid}"]

    async def test_each_flink_has_its_own(self, waiting: Clients, tmp_path: Path):
        client = await one(waiting, tmp_path / "one")
        assert waiting.take(tmp_path / "two") is None
        await client.end()

    async def test_one_that_has_died_is_not_given(self, waiting: Clients, tmp_path: Path):
        client = await one(waiting, tmp_path)
        waiting._waiting[tmp_path] = client
        client.process.kill()
        await client.process.wait()
        assert waiting.take(tmp_path) is None
        assert not client.conf.exists()

    async def test_one_that_dies_as_it_is_told_has_failed(self, waiting: Clients, tmp_path: Path):
        client = await one(waiting, tmp_path)
        client.process.kill()
        with pytest.raises(ProcessFailed, match="java ended with status"):
            await ran(client, "x")

    async def test_it_does_not_wait_for_ever(self, waiting: Clients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(waits, "CLIENT_IDLE_SECONDS", 0.2)
        waiting.prepare(tmp_path)
        while not waiting._waiting:
            await asyncio.sleep(0.01)
        client = waiting._waiting[tmp_path]
        async with asyncio.timeout(20):
            while is_alive(client) or client.conf.exists():
                await asyncio.sleep(0.05)
        assert waiting.take(tmp_path) is None

    async def test_all_end_with_the_worker(self, waiting: Clients, tmp_path: Path):
        for name in ("one", "two"):
            waiting.prepare(tmp_path / name)
        while len(waiting._waiting) < 2:
            await asyncio.sleep(0.01)
        left = list(waiting._waiting.values())
        waiting.prepare(tmp_path / "three")  # one that is being made
        await waiting.close()
        assert not any(is_alive(client) or client.conf.exists() for client in left)
        await asyncio.sleep(0.1)
        assert not waiting._waiting

    async def test_without_a_compiler_none_waits(
        self, waiting: Clients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        async def compiled(source: Path, folder: Path) -> Path:
            raise NotCompiled("this worker has no Java compiler (javac)")

        monkeypatch.setattr(clients, "compiled", compiled)
        waiting.prepare(tmp_path)
        await asyncio.gather(*waiting._coming.values())
        assert waiting.take(tmp_path) is None
