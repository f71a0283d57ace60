"""How a piece of a job's work ends, if not well."""

from __future__ import annotations


class Failed(Exception):
    """The command has failed. The job's state has been set already. `message` is for people, `code` for programs."""

    def __init__(self, message: str, code: str):
        super().__init__(message)
        self.message = message
        self.code = code


class Interrupted(Exception):
    """A kill has come in at a step that may be left."""


class NoAttempt(Exception):
    """A step that is about an attempt was taken by a job that has none: a defect of ours. The workflow's task fails,
    and is tried again after a mend."""
