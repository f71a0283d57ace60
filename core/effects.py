"""What everything that acts outside of Penstock has in common: where its words go, and how it fails."""

from __future__ import annotations

from collections.abc import Callable

LogSink = Callable[[str], None]
"""Takes one line for the log of the command."""


def no_log(_: str) -> None:
    """The log sink where nobody reads along."""


class EngineError(Exception):
    """Base of what an engine raises, or a program that is run for one. The message is one that a person can read."""

    def __init__(self, message: str, *, stack: str | None = None):
        super().__init__(message)
        self.message = message
        self.stack = stack

    @property
    def sentence(self) -> str:
        """The message with a full stop: some are sentences, some parts of one."""
        return self.message if self.message.endswith((".", "!", "?")) else f"{self.message}."


class ProgramTrouble(EngineError):
    """No word of an engine: a program that this machine was to run for it is not there, or failed."""


class NotNow(EngineError):
    """Not at this moment, and nothing was done: ask again soon."""


class Rejected(EngineError):
    """A no: sending the same again gives the same answer. `sent` tells whether a job may have been on its way to the
    JobManager when it failed; without it nothing runs under this id."""

    def __init__(self, message: str, *, stack: str | None = None, sent: bool = False):
        super().__init__(message, stack=stack)
        self.sent = sent
