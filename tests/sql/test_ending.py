"""How queries are cancelled before the gateway does it, which does not look whether Flink survives that."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from clusters.protocol import Ref, Unreachable
from core.effects import NotNow, Rejected
from settings import waits
from settings.polling import Pace
from sql import ending


def engine(*answers: Exception | None) -> Any:
    """A cluster that answers so, one after the other, when it is asked to cancel a query."""
    left = list(answers)

    async def cancel(_: Ref) -> None:
        if (answer := left.pop(0)) is not None:
            raise answer

    async def ref_of(flink_job_id: str) -> Ref:
        return Ref(flink_job_id, flink_job_id)

    return SimpleNamespace(cancel=cancel, ref_of=ref_of, left=left)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "PREVIEW_GONE_PACE", Pace(0.0))


@pytest.mark.parametrize("first", [NotNow("being set up"), Unreachable("it stands still")])
async def test_it_is_asked_again(first: Exception):
    """A JobManager that stands still sets the query up when it goes on, and what the gateway has sent comes then."""
    cluster = engine(first, first, None)
    await ending.cancelled(cluster, ["a"])
    assert cluster.left == []


@pytest.mark.parametrize("first", [Rejected("it is not known"), Unreachable("nobody listens", sent=False)])
async def test_there_is_nothing_to_wait_for(first: Exception):
    cluster = engine(first, None)
    await ending.cancelled(cluster, ["a"])
    assert cluster.left == [None]
