"""Queries of test sets and tests."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import NotFound
from store.tables import SqlTest, TestSet


async def get(session: AsyncSession, project: str, name: str) -> TestSet:
    found = None if "\x00" in project + name else await session.get(TestSet, (project, name))
    if found is None:
        raise NotFound(f"There is no test set {name[:80]} in the project {project[:80]}.", code="test_set_not_found")
    return found


async def all_(session: AsyncSession, project: str) -> Sequence[TestSet]:
    return (await session.scalars(select(TestSet).where(TestSet.project == project).order_by(TestSet.name))).all()


async def tests(session: AsyncSession, job_id: str, version: int) -> Sequence[SqlTest]:
    query = select(SqlTest).where(SqlTest.job_id == job_id, SqlTest.version == version).order_by(SqlTest.name)
    return (await session.scalars(query)).all()


async def tested_version(session: AsyncSession, job_id: str, version: int) -> int | None:
    """The newest version up to `version` that has tests."""
    query = select(SqlTest.version).where(SqlTest.job_id == job_id, SqlTest.version <= version)
    return (await session.scalars(query.order_by(SqlTest.version.desc()).limit(1))).first()
