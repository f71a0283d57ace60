"""Tables. The workflow is the truth about a job's lifecycle; these rows are what lists and pages read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Moment(TypeDecorator[datetime]):
    """A moment in UTC, always with its time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        datetime: Moment,
        dict[str, Any]: JSON,
        dict[str, str]: JSON,
        list[dict[str, Any]]: JSON,
        str: Text,
    }


Short = String(80)


class Project(Base):
    __tablename__ = "projects"
    name: Mapped[str] = mapped_column(Short, primary_key=True)
    config: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    created_at: Mapped[datetime]


class Cluster(Base):
    """`observed_at` is the last time it answered, `unreachable_since` the first time it did not since then."""

    __tablename__ = "clusters"
    name: Mapped[str] = mapped_column(Short, primary_key=True)
    kind: Mapped[str] = mapped_column(Short)
    jobmanager_url: Mapped[str]
    gateway_url: Mapped[str | None]
    flink_version: Mapped[str] = mapped_column(Short)
    state_dir: Mapped[str]
    config: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    created_at: Mapped[datetime]
    observed_at: Mapped[datetime | None]
    unreachable_since: Mapped[datetime | None]
    unreachable_why: Mapped[str | None]
    health: Mapped[dict[str, Any] | None] = mapped_column(JSON)


class Job(Base):
    __tablename__ = "jobs"
    __table_args__ = (
        Index(
            "uq_jobs_live_name",
            "project",
            "name",
            unique=True,
            sqlite_where=text("deleted_at IS NULL"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )
    id: Mapped[str] = mapped_column(Short, primary_key=True)
    project: Mapped[str] = mapped_column(Short, ForeignKey("projects.name"))
    name: Mapped[str] = mapped_column(Short)
    type: Mapped[str] = mapped_column(Short)
    cluster: Mapped[str] = mapped_column(Short, ForeignKey("clusters.name"), index=True)
    state: Mapped[str] = mapped_column(Short, index=True)
    reason: Mapped[str] = mapped_column(Text, default="")
    busy: Mapped[str | None] = mapped_column(Short)
    actions: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    version: Mapped[int]
    current_attempt: Mapped[int | None]
    restart_at: Mapped[datetime | None]
    labels: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    policy: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    config: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    snapshot: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    revision: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class Version(Base):
    __tablename__ = "versions"
    job_id: Mapped[str] = mapped_column(Short, ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    note: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]


class Command(Base):
    __tablename__ = "commands"
    __table_args__ = (UniqueConstraint("job_id", "number"), UniqueConstraint("job_id", "idempotency_key"))
    id: Mapped[str] = mapped_column(Short, primary_key=True)
    job_id: Mapped[str] = mapped_column(Short, ForeignKey("jobs.id"))
    number: Mapped[int]
    kind: Mapped[str] = mapped_column(Short)
    state: Mapped[str] = mapped_column(Short, index=True)
    restore: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    version: Mapped[int | None]
    reason: Mapped[str | None]
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    error: Mapped[str | None]
    error_code: Mapped[str | None] = mapped_column(Short)
    attempt: Mapped[int | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Attempt(Base):
    """`sequence` orders what was seen of it (milliseconds since 1970); `seen` is the engine's own word."""

    __tablename__ = "attempts"
    __table_args__ = (Index("ix_attempts_cluster_ended_at", "cluster", "ended_at"),)
    job_id: Mapped[str] = mapped_column(Short, ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    flink_job_id: Mapped[str] = mapped_column(Short, unique=True)
    handle: Mapped[str] = mapped_column(Short)
    cluster: Mapped[str] = mapped_column(Short)
    version: Mapped[int]
    state: Mapped[str] = mapped_column(Short)
    restored_from: Mapped[str | None]
    restored_why: Mapped[str | None]
    cause: Mapped[str]
    why_ended: Mapped[str | None]
    config: Mapped[dict[str, Any]] = mapped_column(JSON)
    seen: Mapped[str | None] = mapped_column(Short)
    detail: Mapped[str | None]
    sequence: Mapped[int] = mapped_column(BigInteger, default=0)
    started_at: Mapped[datetime]
    running_since: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class RestorePointRow(Base):
    __tablename__ = "restore_points"
    __table_args__ = (UniqueConstraint("job_id", "path"),)
    id: Mapped[str] = mapped_column(Short, primary_key=True)
    job_id: Mapped[str] = mapped_column(Short, ForeignKey("jobs.id"))
    attempt: Mapped[int]
    version: Mapped[int]
    kind: Mapped[str] = mapped_column(Short)
    path: Mapped[str]
    completed_at: Mapped[datetime]
    pinned: Mapped[bool] = mapped_column(default=False)
    gone_at: Mapped[datetime | None]


class Build(Base):
    """A finished build, by build key."""

    __tablename__ = "builds"
    key: Mapped[str] = mapped_column(Short, primary_key=True)
    commit: Mapped[str] = mapped_column(Short)
    type: Mapped[str] = mapped_column(Short)
    sha256: Mapped[str | None] = mapped_column(Short)
    size: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime]


class LogLine(Base):
    """`scope` is `command:<id>` or `build:<key>`."""

    __tablename__ = "log_lines"
    __table_args__ = (Index("ix_log_lines_scope_id", "scope", "id"),)
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    scope: Mapped[str] = mapped_column(String(120))
    at: Mapped[datetime]
    text: Mapped[str]


class Event(Base):
    __tablename__ = "events"
    __table_args__ = (Index("ix_events_job_id_id", "job_id", "id"),)
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), unique=True)
    job_id: Mapped[str] = mapped_column(Short, ForeignKey("jobs.id"))
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(Short)
    message: Mapped[str]
    attempt: Mapped[int | None]
    command: Mapped[int | None]
    data: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
