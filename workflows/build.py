"""One build of one commit: whoever wants it at the same time joins it by its id."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities import contracts as c
    from workflows import calls


@workflow.defn(name="BuildWorkflow")
class BuildWorkflow:
    @workflow.run
    async def run(self, wanted: c.RunBuild) -> c.Built:
        return await calls.heavy(c.RUN_BUILD, wanted, c.Built, f"build {wanted.commit[:12]}")
