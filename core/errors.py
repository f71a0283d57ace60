"""Errors that a person can act on: what happened, to which job, what to do."""

from __future__ import annotations


class PenstockError(Exception):
    """Base of every error that is told to a user.

    `code` is a stable word for programs, `message` a sentence for people, `field` the part of the
    input at fault (a dotted path) and `remedy` the next thing to do.
    """

    status = 500

    def __init__(self, message: str, *, code: str, field: str | None = None, remedy: str | None = None):
        super().__init__(message)
        self.message = message
        self.code = code
        self.field = field
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}" if self.remedy else self.message


class InvalidInput(PenstockError):
    """The request is wrong in itself; sending it again changes nothing."""

    status = 422


class NotFound(PenstockError):
    """No such thing, or not for this caller."""

    status = 404


class Unavailable(PenstockError):
    """A part that this needs does not answer now. What has been done by then is in the message."""

    status = 503


class TooSlow(Unavailable):
    """Something was waited for as long as it may take. The message says what."""


class Conflict(PenstockError):
    """The thing is not in a state that allows this. `allowed` lists what is."""

    status = 409

    def __init__(
        self,
        message: str,
        *,
        code: str = "conflict",
        allowed: list[str] | None = None,
        remedy: str | None = None,
    ):
        super().__init__(message, code=code, remedy=remedy)
        self.allowed = allowed
