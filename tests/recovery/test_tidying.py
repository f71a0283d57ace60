"""What a worker tidies up beside its work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.service import RPCError, RPCStatusCode

from worker.tending import forget_recoveries


class _Client:
    """Lists three runs, of which it deletes those that answer nothing else."""

    namespace = "default"

    def __init__(self, answers: dict[str, RPCStatusCode]) -> None:
        self.answers, self.deleted = answers, list[str]()
        self.workflow_service = self

    async def list_workflows(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        for name in "abc":
            yield SimpleNamespace(id="recovery", run_id=name)

    async def delete_workflow_execution(self, request: Any, **_: Any) -> None:
        name = request.workflow_execution.run_id
        if name in self.answers:
            raise RPCError("no", self.answers[name], b"")
        self.deleted.append(name)


async def test_a_run_that_another_worker_has_deleted_does_not_keep_the_others():
    client = _Client({"a": RPCStatusCode.NOT_FOUND})
    services: Any = SimpleNamespace(
        client=client, installation=SimpleNamespace(queues=SimpleNamespace(main="penstock"))
    )
    await forget_recoveries(services)
    assert client.deleted == ["b", "c"]
    client.answers["b"] = RPCStatusCode.UNAVAILABLE
    with pytest.raises(RPCError):
        await forget_recoveries(services)
