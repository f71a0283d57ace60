"""Queries of interactive SQL sessions."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update

from core.errors import NotFound
from core.specs import Use
from store.acting import acting
from store.database import Session
from store.tables import SqlSession


async def get(session: Session, id_: str) -> SqlSession:
    """An open session. Raises `NotFound`."""
    row = None if "\x00" in id_ else await session.get(SqlSession, id_)
    if row is None or row.closed_at is not None:
        raise not_found(id_)
    return row


def not_found(id_: str) -> NotFound:
    """The error of a session that is not there, or not for who asks."""
    return NotFound(f"There is no open session {id_[:80]}.", code="session_not_found")


async def all_(session: Session, project: str) -> Sequence[SqlSession]:
    """The open sessions of a project, the oldest first."""
    query = select(SqlSession).where(SqlSession.project == project, SqlSession.closed_at.is_(None))
    return (await session.scalars(query.order_by(SqlSession.created_at))).all()


def add(
    session: Session,
    project: str,
    cluster: str,
    name: str,
    config: dict[str, str],
    libraries: Sequence[Use],
    now: datetime,
) -> SqlSession:
    """Write a new session down, which is on no gateway yet."""
    row = SqlSession(
        id=str(uuid.uuid4()),
        project=project,
        cluster=cluster,
        name=name,
        config=config,
        libraries=[use.model_dump() for use in libraries],
        setup=[],
        settings={},
        gateway_url=None,
        handle=None,
        generation=0,
        created_at=now,
        used_at=now,
        opened_by=acting(),
    )
    session.add(row)
    return row


def used(row: SqlSession, setup: list[str], settings: dict[str, str], now: datetime) -> None:
    """A statement was carried out in a session: what makes it again is this by now."""
    row.setup, row.settings, row.used_at = setup, settings, now


def refresh(row: SqlSession, current: SqlSession) -> None:
    """What a session's row says now, for one who has read it before."""
    row.gateway_url, row.handle, row.generation = current.gateway_url, current.handle, current.generation
    row.setup, row.settings = current.setup, current.settings


async def close(session: Session, id_: str, now: datetime) -> SqlSession:
    """Close a session. Raises `NotFound` when it is not open."""
    row = await get(session, id_)
    row.closed_at = now
    return row


async def rebuilt(session: Session, row: SqlSession, gateway_url: str, handle: str) -> bool:
    """Write down where a session was made again, without its settings; False when another process was faster since
    `row` was read."""
    changed = await session.execute(
        update(SqlSession)
        .where(SqlSession.id == row.id, SqlSession.generation == row.generation)
        .values(gateway_url=gateway_url, handle=handle, generation=row.generation + 1, settings={})
        .returning(SqlSession.id)
    )
    return changed.scalar_one_or_none() is not None
