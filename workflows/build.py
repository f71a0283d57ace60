"""One build of one commit: whoever wants it at the same time joins it by its id.

Who waits for it says so (`follow`, with the call that starts or joins it), and says when it does not wait any more
(`leave`). When the last one has left, the build is ended.
"""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities import contracts as c
    from core.jobs import messages
    from workflows import calls


@workflow.defn(name=messages.BUILD)
class BuildWorkflow:
    def __init__(self) -> None:
        self._followers: set[str] = set()
        self._left = False

    @workflow.run
    async def run(self, argument: c.RunBuild) -> c.Built:
        """The build's outcome: with `error` when it failed, with the code `BUILD_ABANDONED` when nobody waits any
        more."""
        while (built := await self._build(argument)) is None:
            if self._is_abandoned():
                return c.Built(error="Nobody waits for this build any more.", code=c.BUILD_ABANDONED)
            # Somebody has joined while it was being ended: for them it begins anew.
        return built

    async def _build(self, argument: c.RunBuild) -> c.Built | None:
        """None when it was ended because nobody waited for it."""
        build = asyncio.create_task(calls.heavy(c.RUN_BUILD, argument, c.Built, f"build {argument.commit[:12]}"))
        await workflow.wait_condition(lambda: build.done() or self._is_abandoned())
        if build.done():
            return await build
        build.cancel()
        try:
            return await build  # it was quicker
        except (ActivityError, asyncio.CancelledError):
            return None

    def _is_abandoned(self) -> bool:
        # Followers of a version that does not say so never leave either: with none known it goes on to its end.
        return self._left and not self._followers

    @workflow.signal(name=messages.FOLLOW.name)
    def follow(self, who: str = "") -> None:
        """Somebody waits for this build; `who` is any name that they leave by."""
        self._followers.add(who)

    @workflow.signal(name=messages.LEAVE.name)
    def leave(self, who: str = "") -> None:
        """They wait no more: the build ends when nobody else does. Of somebody who does not follow it changes
        nothing."""
        if who in self._followers:
            self._followers.discard(who)
            self._left = True
