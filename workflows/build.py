"""One build of one commit: whoever wants it at the same time joins it by its id."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities import contracts as c
    from core import queues


@workflow.defn(name="BuildWorkflow")
class BuildWorkflow:
    @workflow.run
    async def run(self, wanted: c.RunBuild) -> c.Built:
        built: c.Built = await workflow.execute_activity(
            c.RUN_BUILD,
            wanted,
            result_type=c.Built,
            task_queue=queues.BUILD,
            start_to_close_timeout=timedelta(hours=3),
            heartbeat_timeout=timedelta(seconds=12),
            retry_policy=RetryPolicy(maximum_attempts=5),
            summary=f"build {wanted.commit[:12]}",
        )
        return built
