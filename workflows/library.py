"""Fetching or building one version of a library."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities import contracts as c
    from core import queues


@workflow.defn(name="LibraryWorkflow")
class LibraryWorkflow:
    @workflow.run
    async def run(self, wanted: c.FetchLibrary) -> c.Outcome:
        made: c.Outcome = await workflow.execute_activity(
            c.FETCH_LIBRARY,
            wanted,
            result_type=c.Outcome,
            task_queue=queues.BUILD,
            start_to_close_timeout=timedelta(hours=3),
            heartbeat_timeout=timedelta(seconds=12),
            retry_policy=RetryPolicy(maximum_attempts=5),
            summary=f"library {wanted.name} {wanted.version}",
        )
        return made
