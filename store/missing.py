"""What there is in the place of something by whose name there is nothing."""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from core.near import offered

MOST = 1000
"""Of so many names the likest are looked for: those that begin alike come first."""


def without_nul(text: str) -> str:
    """A text that PostgreSQL takes as a value: NUL is no part of a name."""
    return text.replace("\x00", "\ufffd")


async def others(
    session: AsyncSession,
    name: str,
    column: InstrumentedAttribute[str],
    *which: ColumnElement[bool],
    what: str,
    prefix: str = "",
) -> str:
    """The names in a column of the rows `which`, in words, for the remedy of a `NotFound`; `what` they are, and the
    `prefix` with which they are told."""
    alike = func.substr(column, 1, 1) != without_nul(name)[:1]
    found = await session.scalars(select(column).where(*which).order_by(alike, column).limit(MOST))
    return offered(prefix + name, [prefix + one for one in found], what)
