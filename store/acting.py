"""Who asks for what is done in this moment: kept with rows that belong to a person, and what they may be told of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from core.access import Principal

_acting: ContextVar[Principal | None] = ContextVar("acting", default=None)


@contextmanager
def acting_as(principal: Principal) -> Iterator[None]:
    """What the code inside does is done for this caller."""
    token = _acting.set(principal)
    try:
        yield
    finally:
        _acting.reset(token)


def acting() -> str | None:
    """The account for which something is written; None where nobody asked, as in a worker."""
    principal = _acting.get()
    return principal.name if principal is not None else None


def visible_projects() -> frozenset[str] | None:
    """The projects that whoever asks may see; None: all."""
    principal = _acting.get()
    return principal.projects() if principal is not None else None
