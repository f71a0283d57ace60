"""What an activity was told of, and this worker or its database does not have: no further try finds it."""

from __future__ import annotations

from typing import Never, TypeVar

from temporalio.exceptions import ApplicationError

from activities.contracts import ROW_MISSING

T = TypeVar("T")


def present(row: T | None, what: str) -> T:
    """The row, which `what` names for people. Raises an error that is not tried again when there is none: the step of
    the workflow fails with it, where a defect of ours would be tried for ever."""
    if row is None:
        raise ApplicationError(
            f"The database has no {what}. It was perhaps restored from a backup, or this worker has another one than "
            f"the workflow.",
            type=ROW_MISSING,
            non_retryable=True,
        )
    return row


def unknown_type(type_: Never) -> ApplicationError:
    """The error, which is not tried again, of a job whose type a later version has made. That no type of today comes
    here is what the argument says to the type checker."""
    return ApplicationError(f"This worker knows no jobs of type {type_}.", type="unknown_job_type", non_retryable=True)
