"""Asking Temporal in the middle of a request: what is written down by then, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from temporalio.client import RPCTimeoutOrCancelledError

from core.errors import Unavailable
from temporal.delivery import NO_ANSWER

log = structlog.get_logger()


@contextmanager
def asking(written: str, *, remedy: str) -> Iterator[None]:
    """Around calls of Temporal, and of nothing else. `written` says what is written down already and stays, `remedy`
    what becomes of it, or what to do. Raises `Unavailable` with both when there is no answer."""
    try:
        yield
    except (RPCTimeoutOrCancelledError, TimeoutError) as error:
        log.warning("a workflow does not answer", why=type(error).__name__)
        what, code = "A workflow did not answer in time.", "workflow_unanswered"
        raise Unavailable(f"{what} {written}", code=code, remedy=remedy) from error
    except NO_ANSWER as error:
        log.warning("temporal does not answer", why=str(error))
        what, code = "Temporal does not answer.", "temporal_unavailable"
        raise Unavailable(f"{what} {written}", code=code, remedy=remedy) from error
