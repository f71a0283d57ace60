"""Writing down what a workflow decided, where the database does not have its job."""

from __future__ import annotations

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import contracts as c
from activities.record import Recorder
from core.jobs.records import Record
from settings import waits
from store.database import Database
from tests.api.conftest import refused_client
from tests.recovery.conftest import services_of
from tests.rows import opening


@pytest.mark.parametrize("step", ["record", "open_attempt"])
async def test_it_is_tried_again_after_a_while_and_says_what_to_do(sqlite: Database, step: str):
    services = await services_of(await refused_client(), sqlite)
    wanted = Record(job_id="nobody") if step == "record" else opening(c.OpenAttempt, "nobody", "a" * 32)
    with pytest.raises(ApplicationError) as raised:
        await ActivityEnvironment().run(getattr(Recorder(services), step), wanted)
    error = raised.value
    assert (error.type, error.non_retryable, error.next_retry_delay) == (
        "unknown_job",
        False,
        waits.RECORD_UNKNOWN_RETRY,
    )
    assert f"of installation {services.installation.id} has no job nobody" in error.message
    assert "terminate this workflow and cancel what it runs" in error.message
