"""SQL as a service: plans, resources, grants, secrets, libraries, sessions, previews, test sets, tests"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

Short = sa.String(length=80)


def _at(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _short(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, Short, nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(), nullable=False)


def _project(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["project"], ["projects.name"], name=f"fk_{table}_project")


def upgrade() -> None:
    op.add_column("clusters", sa.Column("gateway_urls", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("versions", _short("plan", nullable=True))
    op.add_column("versions", _text("plan_why", nullable=True))
    op.add_column("attempts", _short("plan", nullable=True))
    op.create_table(
        "plans",
        _short("digest"),
        _short("inputs"),
        _short("flink_version"),
        _json("body"),
        _json("lineage"),
        _at("created_at"),
        sa.PrimaryKeyConstraint("digest", name="pk_plans"),
    )
    op.create_table(
        "resources",
        _short("project"),
        _short("name"),
        _json("definition"),
        _text("description"),
        _text("owner"),
        sa.Column("revision", sa.Integer(), nullable=False),
        _at("created_at"),
        _at("updated_at"),
        _project("resources"),
        sa.PrimaryKeyConstraint("project", "name", name="pk_resources"),
    )
    op.create_table(
        "grants",
        _short("project"),
        _short("resource"),
        _short("grantee"),
        sa.Column("read", sa.Boolean(), nullable=False),
        sa.Column("write", sa.Boolean(), nullable=False),
        _at("created_at"),
        sa.ForeignKeyConstraint(["grantee"], ["projects.name"], name="fk_grants_grantee"),
        sa.PrimaryKeyConstraint("project", "resource", "grantee", name="pk_grants"),
    )
    op.create_index("ix_grants_grantee", "grants", ["grantee"])
    op.create_table(
        "secrets",
        _short("project"),
        _short("name"),
        _text("sealed"),
        _at("created_at"),
        _at("updated_at"),
        _project("secrets"),
        sa.PrimaryKeyConstraint("project", "name", name="pk_secrets"),
    )
    op.create_table(
        "libraries",
        _short("project"),
        _short("name"),
        _short("version"),
        _short("kind"),
        _json("source"),
        _json("files"),
        _short("state"),
        _text("why", nullable=True),
        _json("functions"),
        _text("description"),
        _at("created_at"),
        _project("libraries"),
        sa.PrimaryKeyConstraint("project", "name", "version", name="pk_libraries"),
    )
    op.create_table(
        "sql_sessions",
        _short("id"),
        _short("project"),
        _short("cluster"),
        _short("name"),
        _json("config"),
        _json("libraries"),
        _json("setup"),
        _json("settings"),
        _text("gateway_url", nullable=True),
        _short("handle", nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        _at("created_at"),
        _at("used_at"),
        _at("closed_at", nullable=True),
        _project("sql_sessions"),
        sa.ForeignKeyConstraint(["cluster"], ["clusters.name"], name="fk_sql_sessions_cluster"),
        sa.PrimaryKeyConstraint("id", name="pk_sql_sessions"),
    )
    op.create_index("ix_sql_sessions_project", "sql_sessions", ["project"])
    op.create_table(
        "previews",
        _short("id"),
        _short("project"),
        _short("cluster"),
        _text("stream"),
        _short("flink_job_id"),
        _short("run"),
        _json("request"),
        _short("state"),
        _text("why", nullable=True),
        sa.Column("rows", sa.Integer(), nullable=False),
        _at("lease_until"),
        _at("created_at"),
        _at("ended_at", nullable=True),
        _at("gone_at", nullable=True),
        _project("previews"),
        sa.ForeignKeyConstraint(["cluster"], ["clusters.name"], name="fk_previews_cluster"),
        sa.PrimaryKeyConstraint("id", name="pk_previews"),
        sa.UniqueConstraint("flink_job_id", name="uq_previews_flink_job_id"),
    )
    op.create_index("ix_previews_run", "previews", ["run"])
    op.create_index("ix_previews_cluster_gone_at", "previews", ["cluster", "gone_at"])
    op.create_table(
        "test_sets",
        _short("project"),
        _short("name"),
        _json("tables"),
        _text("description"),
        _at("created_at"),
        _at("updated_at"),
        _project("test_sets"),
        sa.PrimaryKeyConstraint("project", "name", name="pk_test_sets"),
    )
    op.create_table(
        "sql_tests",
        _short("job_id"),
        sa.Column("version", sa.Integer(), nullable=False),
        _short("name"),
        _json("inputs"),
        _json("expected"),
        _at("created_at"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_sql_tests_job_id"),
        sa.PrimaryKeyConstraint("job_id", "version", "name", name="pk_sql_tests"),
    )
