"""One workflow per cluster keeps its watch alive."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities import contracts as c
    from core.jobs import messages
    from core.queues import Queues


@workflow.defn(name=messages.CLUSTER)
class ClusterWorkflow:
    """The watch is one activity that runs for as long as its worker lives. When the worker dies, the
    heartbeats stop and another worker goes on with it."""

    @workflow.run
    async def run(self, cluster: str) -> None:
        """`cluster` is its name. Ends when the cluster's row is gone; the activity is begun anew each day, by its
        time-out."""
        workflow.set_current_details(f"Watches the cluster **{cluster}**: one question for all its jobs.")
        await workflow.execute_activity(
            c.WATCH,
            cluster,
            task_queue=Queues(workflow.info().task_queue).watch,
            start_to_close_timeout=timedelta(days=1),
            heartbeat_timeout=timedelta(seconds=20),
            retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10)),
            summary=f"watch {cluster}",
        )
