"""Run by a Temporal Schedule, and by hand: finds what is not as it ought to be, and mends what is safe to mend."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities import contracts as c
    from core.jobs import messages


@workflow.defn(name=messages.RECOVERY)
class RecoveryWorkflow:
    @workflow.run
    async def run(self, argument: c.RecoverIn | None = None) -> c.Recovered:
        """What was found and mended. Without an argument, as from the schedule, everything that is safe is mended."""
        recovered: c.Recovered = await workflow.execute_activity(
            c.RECOVER,
            argument or c.RecoverIn(),
            result_type=c.Recovered,
            start_to_close_timeout=timedelta(minutes=10),
            heartbeat_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(maximum_attempts=3),
            summary="recover",
        )
        return recovered
