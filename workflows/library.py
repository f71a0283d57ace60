"""Fetching or building one version of a library."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities import contracts as c
    from core.jobs import messages
    from workflows import calls


@workflow.defn(name=messages.LIBRARY)
class LibraryWorkflow:
    @workflow.run
    async def run(self, argument: c.FetchLibrary) -> c.Outcome:
        """The outcome of the fetch or build; the version's row says the same."""
        return await calls.heavy(c.FETCH_LIBRARY, argument, c.Outcome, f"library {argument.name} {argument.version}")
