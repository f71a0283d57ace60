"""A jar is run where it was uploaded to, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clusters.flink.uploads import Uploads
from clusters.protocol import AnotherFlink
from core.effects import no_log


class Rest:
    """A JobManager, or what answers in its place; `asked` is what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def jars(self) -> dict[str, str]:
        return {}

    async def upload(self, path: Path, name: str) -> str:
        self.asked.append("upload")
        return f"id-{len(self.asked)}"

    async def run(self, jar_id: str, body: Any, *, timeout: float) -> str:
        self.asked.append(f"run {jar_id}")
        return "f" * 32


async def test_one_that_was_uploaded_to_another_flink_is_not_run_there(tmp_path: Path):
    """It had answered when who leads was asked, and answers again by now: between the two it was another one."""
    jar = tmp_path / "a.jar"
    jar.write_bytes(b"jar")
    rest, strange = Rest(), True

    async def check() -> None:
        if strange:
            raise AnotherFlink("another Flink", sent=False)

    uploads = Uploads(rest, check)  # type: ignore[arg-type]
    with pytest.raises(AnotherFlink):
        await uploads.run(jar, "a.jar", {}, no_log)
    assert rest.asked == ["upload"]
    strange = False
    await uploads.run(jar, "a.jar", {}, no_log)
    assert rest.asked == ["upload", "upload", "run id-2"], "what the other one has is not taken for uploaded"
