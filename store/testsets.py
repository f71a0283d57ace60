"""Queries of test sets and tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import NotFound
from store.missing import others, without_nul
from store.tables import SqlTest, TestSet


async def get(session: AsyncSession, project: str, name: str) -> TestSet:
    """A test set of a project. Raises `NotFound`."""
    row = None if "\x00" in project + name else await session.get(TestSet, (project, name))
    if row is None:
        of_it = TestSet.project == without_nul(project)
        raise NotFound(
            f"There is no test set {name[:80]} in the project {project[:80]}.",
            code="test_set_not_found",
            remedy=await others(session, name, TestSet.name, of_it, what=f"test sets in the project {project[:80]}"),
        )
    return row


async def put(
    session: AsyncSession, project: str, name: str, tables: dict[str, Any], description: str, now: datetime
) -> tuple[TestSet, bool]:
    """Keep rows under a name, in place of what was kept under it; and whether it is new."""
    row = await session.get(TestSet, (project, name))
    is_new = row is None
    if row is None:
        row = TestSet(project=project, name=name, created_at=now)
    row.tables, row.description, row.updated_at = tables, description, now
    session.add(row)
    await session.flush()
    return row, is_new


async def remove(session: AsyncSession, row: TestSet | SqlTest) -> None:
    """Forget a test set or a test."""
    await session.delete(row)


async def all_(session: AsyncSession, project: str) -> Sequence[TestSet]:
    """Test sets of a project, by name."""
    return (await session.scalars(select(TestSet).where(TestSet.project == project).order_by(TestSet.name))).all()


async def tests(session: AsyncSession, job_id: str, version: int) -> Sequence[SqlTest]:
    """Tests of a version, its own only, by name."""
    query = select(SqlTest).where(SqlTest.job_id == job_id, SqlTest.version == version).order_by(SqlTest.name)
    return (await session.scalars(query)).all()


async def test(session: AsyncSession, job_id: str, version: int, name: str) -> SqlTest:
    """One test of a version, its own. Raises `NotFound`."""
    row = await session.get(SqlTest, (job_id, version, name))
    if row is None:
        raise NotFound(f"Version {version} has no test {name}.", code="test_not_found")
    return row


async def put_test(
    session: AsyncSession,
    job_id: str,
    version: int,
    name: str,
    inputs: dict[str, Any],
    expected: dict[str, Any],
    now: datetime,
) -> tuple[SqlTest, bool]:
    """Keep a test with a version, in place of the one by that name; and whether it is new."""
    row = await session.get(SqlTest, (job_id, version, name))
    is_new = row is None
    if row is None:
        row = SqlTest(job_id=job_id, version=version, name=name, created_at=now)
    row.inputs, row.expected = inputs, expected
    session.add(row)
    await session.flush()
    return row, is_new


async def tested_version(session: AsyncSession, job_id: str, version: int) -> int | None:
    """The newest version up to `version` that has tests."""
    query = select(SqlTest.version).where(SqlTest.job_id == job_id, SqlTest.version <= version)
    return (await session.scalars(query.order_by(SqlTest.version.desc()).limit(1))).first()
