"""Whether an attempt that its cluster does not know goes on writing: then it is alive, wherever that is."""

from __future__ import annotations

import asyncio

from clusters import state_files
from clusters.protocol import AliveElsewhere, Unreachable
from settings import waits
from store import attempts
from store.tables import Attempt, Cluster


class Growth:
    """The folder of an attempt's checkpoints, looked at before and after the time in which it ought to fall silent.

    It tells of an attempt that no question reaches: on another Flink than the one that answers, or behind a JobManager
    that is cut off. Where the folder cannot be read it says nothing.
    """

    def __init__(self, folder: str):
        self.folder = folder
        self._before: dict[str, str] | None = None

    @staticmethod
    def of(attempt: Attempt, cluster: Cluster) -> Growth:
        """Of an attempt on its cluster."""
        return Growth(attempts.checkpoint_folder(attempt, cluster.state_dir))

    async def begin(self) -> None:
        """Look for the first time."""
        self._before = await self._files()

    async def check(self) -> None:
        """Raises `AliveElsewhere` when a checkpoint has completed since `begin`, or files go on being written.

        Only a JobManager completes a checkpoint. Other files may be the last ones of tasks that were ending: they
        count when there are new ones a moment later.
        """
        grown = await self._grown()
        if grown and not any(path.endswith("/_metadata") for path in grown):
            await self.begin()
            await asyncio.sleep(waits.GROWTH_SECONDS)
            grown = await self._grown()
        if grown:
            raise AliveElsewhere(
                f"The cluster does not know it, but its checkpoint folder {self.folder} still grows "
                f"({grown[0].rpartition(self.folder.rpartition('/')[2])[2].lstrip('/')}): it is alive on another Flink",
                sent=False,
            )

    async def _grown(self) -> list[str]:
        now = await self._files()
        if now is None or self._before is None:
            return []
        return sorted(path for path, word in now.items() if self._before.get(path) != word)

    async def _files(self) -> dict[str, str] | None:
        try:
            return await state_files.written(self.folder)
        except Unreachable:
            return None
