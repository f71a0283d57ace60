"""Logs of a real Flink: read through its REST API, and rolled at the size that is set for it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from clusters.flink.session import FlinkSession
from clusters.protocol import Ref
from processes import logs
from processes.flink import Flink
from processes.supervised import Processes, free_port
from stack.parts import StackParts

pytestmark = pytest.mark.real
NOBODY = Ref("1" * 32, "1" * 32)
SMALL = "2KB"


async def test_they_are_listed_read_and_bounded(parts: StackParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logs, "FLINK_BOUND", SMALL)
    flink = Flink(
        home=parts.flink("2.3.0"),
        folder=tmp_path / "flink",
        rest_port=free_port(),
        rpc_port=free_port(),
        gateway_port=free_port(),
        slots=1,
    )
    processes = Processes(tmp_path)
    engine = FlinkSession(flink.url, [])
    try:
        processes.start(flink.jobmanager(), timeout=300)
        processes.start(flink.taskmanager(1, "-D", "taskmanager.resource-id=tm-1"), timeout=300)
        until = time.monotonic() + 240
        while (await engine.health()).taskmanagers != 1 and time.monotonic() < until:
            time.sleep(0.5)
        found = await engine.logs(NOBODY)
        assert {log.part for log in found} == {"jobmanager", "tm-1"}
        assert all(log.size is not None and log.changed_at is not None and not log.of_attempt for log in found)
        log = next(log for log in found if log.part == "tm-1" and log.file.endswith(".log"))
        body = await engine.log(NOBODY, log.part, log.file, last=200)
        assert body is not None
        assert 0 < len(body) <= 200
        assert await engine.log(NOBODY, "jobmanager", "other.log", last=200) is None
        assert await engine.log(NOBODY, "nobody", log.file, last=200) is None
        assert await engine.failures(NOBODY) is None
        written = list((tmp_path / "flink" / "log").iterdir())
        rolled = [path for path in written if path.name.rpartition(".")[2].isdigit()]
        assert rolled, "it was rolled"
        assert {path.name.rpartition(".")[2] for path in rolled} <= {"1", "2", logs.FLINK_KEPT}
    finally:
        await engine.close()
        processes.stop("taskmanager", "jobmanager", grace=10)
