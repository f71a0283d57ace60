"""Run by a Temporal Schedule: delivers and starts what was left undelivered and unstarted."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities import contracts as c
    from core import queues


@workflow.defn(name="RecoveryWorkflow")
class RecoveryWorkflow:
    @workflow.run
    async def run(self) -> dict[str, int]:
        found: dict[str, int] = await workflow.execute_activity(
            c.RECOVER,
            result_type=dict[str, int],
            task_queue=queues.MAIN,
            start_to_close_timeout=timedelta(minutes=10),
            heartbeat_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(maximum_attempts=3),
            summary="recover",
        )
        return found
