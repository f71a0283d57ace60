"""What an activity looks at before it does its work. Where it may not or cannot, no further try can."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Never, TypeVar

from temporalio.exceptions import ApplicationError

from activities.contracts import ROW_MISSING, SET_BACK, AttemptIn
from core.errors import NotFound
from services import Services
from store import jobs

T = TypeVar("T")


def present(row: T | None, what: str) -> T:
    """The row, which `what` names for people. Raises an error that is not tried again when there is none: the step of
    the workflow fails with it, where a defect of ours would be tried for ever."""
    if row is None:
        raise _missing(f"The database has no {what}.")
    return row


@contextmanager
def all_present() -> Iterator[None]:
    """The same of rows that are looked for by what is called inside: it says `NotFound`."""
    try:
        yield
    except NotFound as error:
        raise _missing(error.message) from error


def _missing(what: str) -> ApplicationError:
    return ApplicationError(
        f"{what} The database was perhaps restored from a backup, or this worker has another one than the workflow.",
        type=ROW_MISSING,
        non_retryable=True,
    )


async def check_current(services: Services, request: AttemptIn) -> None:
    """Before anything is changed for a workflow: raise an error that is not tried again where its job has gone on since
    it asked for this. It was set back, and is doing again what was done; or it has left this step, and this is a late
    try of it."""
    if request.revision is None:  # asked for by a workflow of the version before
        return
    async with services.database.read() as session:
        job = present(await jobs.by_id(session, request.job_id), f"job {request.job_id}")
    if job.revision > request.revision or job.deleted_at is not None:
        raise ApplicationError(
            "The job has gone on since this was asked for: its workflow was set back (reset, or Temporal was restored "
            "from a backup), or has left this step. Nothing was done.",
            type=SET_BACK,
            non_retryable=True,
        )


def unknown_type(type_: Never) -> ApplicationError:
    """The error, which is not tried again, of a job whose type a later version has made. That no type of today comes
    here is what the argument says to the type checker."""
    return ApplicationError(f"This worker knows no jobs of type {type_}.", type="unknown_job_type", non_retryable=True)
