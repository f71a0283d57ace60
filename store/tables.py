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
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcDateTime(TypeDecorator[datetime]):
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
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        dict[str, str]: JSON,
        list[dict[str, Any]]: JSON,
        str: Text,
    }


Short = String(80)


class InstallationRow(Base):
    """One row: which Penstock this database belongs to. It stands in the names of its queues, schedules and watches,
    so that two installations in one Temporal namespace never take each other's work; empty in one that is older."""

    __tablename__ = "installation"
    id: Mapped[str] = mapped_column(Short, primary_key=True)
    created_at: Mapped[datetime]


class Project(Base):
    """`archived_at`: it takes no new jobs, and none of its jobs starts. One that is deleted stays for the record of its
    jobs, and its name is free."""

    __tablename__ = "projects"
    name: Mapped[str] = mapped_column(Short, primary_key=True)
    config: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    created_at: Mapped[datetime]
    archived_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]


class Account(Base):
    """Who may call: a person, or a service account (`project` is whose). `everywhere` is a role in all projects.
    `password` is a hash. One that is disabled stays for the record of what it did."""

    __tablename__ = "accounts"
    name: Mapped[str] = mapped_column(Short, primary_key=True)
    project: Mapped[str | None] = mapped_column(Short, ForeignKey("projects.name"), index=True)
    password: Mapped[str | None]
    is_administrator: Mapped[bool] = mapped_column(default=False)
    everywhere: Mapped[str | None] = mapped_column(Short)
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    disabled_at: Mapped[datetime | None]


class Member(Base):
    """The role of an account in a project."""

    __tablename__ = "members"
    project: Mapped[str] = mapped_column(Short, ForeignKey("projects.name"), primary_key=True)
    account: Mapped[str] = mapped_column(Short, ForeignKey("accounts.name"), primary_key=True, index=True)
    role: Mapped[str] = mapped_column(Short)
    created_at: Mapped[datetime]
    created_by: Mapped[str]


class Credential(Base):
    """What a caller shows. `digest` is the hash of it: the token itself is told once, and kept nowhere. `role` is the
    most that it gives; null: all that its account has. `kind` is a token for programs, or the session of a browser."""

    __tablename__ = "tokens"
    id: Mapped[str] = mapped_column(Short, primary_key=True)
    digest: Mapped[str] = mapped_column(Short, unique=True)
    account: Mapped[str] = mapped_column(Short, ForeignKey("accounts.name"), index=True)
    kind: Mapped[str] = mapped_column(Short)
    name: Mapped[str] = mapped_column(Short)
    role: Mapped[str | None] = mapped_column(Short)
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    expires_at: Mapped[datetime | None]
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Cluster(Base):
    """`address` is where it is, in the shape that its `kind` gives it; empty where the four fields of URLs are all of
    it (`clusters/registry.py` reads and writes them). `observed_at` is the last time it answered, `unreachable_since`
    the first time it did not since then, `cannot_tell_at` when its jobs were told about that. `managed_by` is the
    session-cluster job that runs it. `identity` tells the Flink that has answered at its address from any other one;
    null until it has answered."""

    __tablename__ = "clusters"
    name: Mapped[str] = mapped_column(Short, primary_key=True)
    kind: Mapped[str] = mapped_column(Short)
    address: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict, server_default="{}")
    jobmanager_url: Mapped[str]
    standby_urls: Mapped[list[str]] = mapped_column(JSON, default=list, server_default="[]")
    gateway_url: Mapped[str | None]
    gateway_urls: Mapped[list[str]] = mapped_column(JSON, default=list, server_default="[]")
    flink_version: Mapped[str] = mapped_column(Short)
    state_dir: Mapped[str]
    config: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    managed_by: Mapped[str | None] = mapped_column(Short)
    created_at: Mapped[datetime]
    observed_at: Mapped[datetime | None]
    unreachable_since: Mapped[datetime | None]
    unreachable_why: Mapped[str | None]
    cannot_tell_at: Mapped[datetime | None]
    health: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    identity: Mapped[str | None]
    deleted_at: Mapped[datetime | None]


class Job(Base):
    """`workflow_id` is that of its workflow. `deleting_at`: it is being deleted and takes no more commands. `warning`:
    what is wrong with it although it runs."""

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
    savepoints: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict, server_default="{}")
    config: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    snapshot: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    revision: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    workflow_id: Mapped[str | None] = mapped_column(String(255))
    deleting_at: Mapped[datetime | None]
    warning: Mapped[str | None]


class Version(Base):
    """`plan` is the digest of the compiled plan that it ran from last; `plan_why` says why there is none."""

    __tablename__ = "versions"
    job_id: Mapped[str] = mapped_column(Short, ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    note: Mapped[str] = mapped_column(Text, default="")
    plan: Mapped[str | None] = mapped_column(Short)
    plan_why: Mapped[str | None]
    created_at: Mapped[datetime]


class Command(Base):
    """What was asked is one model (`core.jobs.commands.AskedCommand`): its fields that have a column here are kept in
    it, all others in `options`, which is null in rows that are older than it. `store.commands` reads and makes both."""

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
    rollback_within: Mapped[float | None]
    flink_job_id: Mapped[str | None] = mapped_column(Short)
    options: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    error: Mapped[str | None]
    error_code: Mapped[str | None] = mapped_column(Short)
    attempt: Mapped[int | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Attempt(Base):
    """`sequence` orders what was seen of it (milliseconds since 1970); `seen` is the engine's own word; `plan`
    is the compiled plan that it runs from, null when it runs from its text or is no SQL."""

    __tablename__ = "attempts"
    __table_args__ = (Index("ix_attempts_cluster_ended_at", "cluster", "ended_at"),)
    job_id: Mapped[str] = mapped_column(Short, ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    flink_job_id: Mapped[str] = mapped_column(Short, unique=True)
    handle: Mapped[str] = mapped_column(Short, index=True)
    cluster: Mapped[str] = mapped_column(Short)
    version: Mapped[int]
    state: Mapped[str] = mapped_column(Short)
    restored_from: Mapped[str | None]
    restored_why: Mapped[str | None]
    cause: Mapped[str]
    why_ended: Mapped[str | None]
    config: Mapped[dict[str, Any]] = mapped_column(JSON)
    plan: Mapped[str | None] = mapped_column(Short)
    seen: Mapped[str | None] = mapped_column(Short)
    detail: Mapped[str | None]
    sequence: Mapped[int] = mapped_column(BigInteger, default=0)
    started_at: Mapped[datetime]
    running_since: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class RestorePointRow(Base):
    """`number` is Flink's, where it is known. `pinned`: the current attempt came from it and has none of its own yet.
    `kept`: a person wants it kept. `vanished`: its files have gone, and it was not us who deleted them."""

    __tablename__ = "restore_points"
    __table_args__ = (UniqueConstraint("job_id", "path"),)
    id: Mapped[str] = mapped_column(Short, primary_key=True)
    job_id: Mapped[str] = mapped_column(Short, ForeignKey("jobs.id"))
    attempt: Mapped[int]
    version: Mapped[int]
    kind: Mapped[str] = mapped_column(Short)
    path: Mapped[str]
    completed_at: Mapped[datetime]
    number: Mapped[int | None] = mapped_column(BigInteger)
    pinned: Mapped[bool] = mapped_column(default=False)
    kept: Mapped[bool] = mapped_column(default=False, server_default=false())
    gone_at: Mapped[datetime | None]
    vanished: Mapped[bool] = mapped_column(default=False, server_default=false())


class Orphan(Base):
    """A Flink job that is alive on a cluster and that no open attempt owns. `job_id` and `attempt` name the
    attempt that it was, when it was one; `asked` is what a person asked to be done with it."""

    __tablename__ = "orphans"
    cluster: Mapped[str] = mapped_column(Short, primary_key=True)
    flink_job_id: Mapped[str] = mapped_column(Short, primary_key=True)
    name: Mapped[str]
    detail: Mapped[str | None]
    job_id: Mapped[str | None] = mapped_column(Short)
    attempt: Mapped[int | None]
    asked: Mapped[str | None] = mapped_column(Short)
    trigger_id: Mapped[str | None] = mapped_column(Short)
    first_seen_at: Mapped[datetime]
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


class PlanRow(Base):
    """A compiled plan of a SQL job, by its digest. `inputs` is the hash of all that it was made from (text, tables,
    libraries, table options): the same inputs need no other plan. `lineage` is what it reads and writes."""

    __tablename__ = "plans"
    digest: Mapped[str] = mapped_column(Short, primary_key=True)
    inputs: Mapped[str] = mapped_column(Short)
    flink_version: Mapped[str] = mapped_column(Short)
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    lineage: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime]


class Resource(Base):
    """A registered table of a project. `definition` is a `core.sql.resources.TableDefinition`; secrets in it are
    references."""

    __tablename__ = "resources"
    project: Mapped[str] = mapped_column(Short, ForeignKey("projects.name"), primary_key=True)
    name: Mapped[str] = mapped_column(Short, primary_key=True)
    definition: Mapped[dict[str, Any]] = mapped_column(JSON)
    description: Mapped[str] = mapped_column(Text, default="")
    owner: Mapped[str] = mapped_column(Text, default="")
    revision: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Catalog(Base):
    """A registered catalog of a project: a `core.sql.catalogs.CatalogDefinition`; secrets in `options` are
    references."""

    __tablename__ = "catalogs"
    project: Mapped[str] = mapped_column(Short, ForeignKey("projects.name"), primary_key=True)
    name: Mapped[str] = mapped_column(Short, primary_key=True)
    options: Mapped[dict[str, str]] = mapped_column(JSON)
    libraries: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    description: Mapped[str] = mapped_column(Text, default="")
    revision: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Grant(Base):
    """`grantee` is another project; `access` is read, write, or both."""

    __tablename__ = "grants"
    project: Mapped[str] = mapped_column(Short, primary_key=True)
    resource: Mapped[str] = mapped_column(Short, primary_key=True)
    grantee: Mapped[str] = mapped_column(Short, ForeignKey("projects.name"), primary_key=True, index=True)
    read: Mapped[bool]
    write: Mapped[bool]
    created_at: Mapped[datetime]


class Secret(Base):
    """`sealed` is the encrypted value; nothing but a submission opens it."""

    __tablename__ = "secrets"
    project: Mapped[str] = mapped_column(Short, ForeignKey("projects.name"), primary_key=True)
    name: Mapped[str] = mapped_column(Short, primary_key=True)
    sealed: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Library(Base):
    """One version of a connector, of functions in a jar, or of Python functions; immutable once it is READY. `files`
    are `{"sha256", "size", "name"}` in the artifact store."""

    __tablename__ = "libraries"
    project: Mapped[str] = mapped_column(Short, ForeignKey("projects.name"), primary_key=True)
    name: Mapped[str] = mapped_column(Short, primary_key=True)
    version: Mapped[str] = mapped_column(Short, primary_key=True)
    kind: Mapped[str] = mapped_column(Short)
    source: Mapped[dict[str, Any]] = mapped_column(JSON)
    files: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(Short)
    why: Mapped[str | None]
    functions: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    description: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]


class SqlSession(Base):
    """An interactive session. `setup` are the statements that make it again on another gateway; `settings` are
    its SETs, which are lost then."""

    __tablename__ = "sql_sessions"
    id: Mapped[str] = mapped_column(Short, primary_key=True)
    project: Mapped[str] = mapped_column(Short, ForeignKey("projects.name"), index=True)
    cluster: Mapped[str] = mapped_column(Short, ForeignKey("clusters.name"))
    name: Mapped[str] = mapped_column(Short)
    config: Mapped[dict[str, str]] = mapped_column(JSON)
    libraries: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    setup: Mapped[list[str]] = mapped_column(JSON)
    settings: Mapped[dict[str, str]] = mapped_column(JSON)
    gateway_url: Mapped[str | None]
    handle: Mapped[str | None] = mapped_column(Short)
    generation: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    used_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    opened_by: Mapped[str | None] = mapped_column(Short)


class Preview(Base):
    """A query that somebody looks at. Its Flink job is cancelled by whoever sees that `lease_until` is over: the
    API that streams it renews the lease."""

    __tablename__ = "previews"
    __table_args__ = (Index("ix_previews_cluster_gone_at", "cluster", "gone_at"),)
    id: Mapped[str] = mapped_column(Short, primary_key=True)
    project: Mapped[str] = mapped_column(Short, ForeignKey("projects.name"))
    cluster: Mapped[str] = mapped_column(Short, ForeignKey("clusters.name"))
    stream: Mapped[str]
    flink_job_id: Mapped[str] = mapped_column(Short, unique=True)
    run: Mapped[str] = mapped_column(Short, index=True)
    request: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(Short)
    why: Mapped[str | None]
    rows: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[datetime]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    gone_at: Mapped[datetime | None]
    opened_by: Mapped[str | None] = mapped_column(Short)


class TestSet(Base):
    """Named rows for tables, to debug a script with."""

    __tablename__ = "test_sets"
    project: Mapped[str] = mapped_column(Short, ForeignKey("projects.name"), primary_key=True)
    name: Mapped[str] = mapped_column(Short, primary_key=True)
    tables: Mapped[dict[str, Any]] = mapped_column(JSON)
    description: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class SqlTest(Base):
    """What a version of a job has to write into its sinks, given rows for its sources."""

    __tablename__ = "sql_tests"
    job_id: Mapped[str] = mapped_column(Short, ForeignKey("jobs.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Short, primary_key=True)
    inputs: Mapped[dict[str, Any]] = mapped_column(JSON)
    expected: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime]
