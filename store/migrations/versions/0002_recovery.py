"""recovery: standby addresses, orphans, savepoint policy, kept restore points, rollback, adoption"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("clusters", sa.Column("standby_urls", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("clusters", sa.Column("cannot_tell_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("jobs", sa.Column("savepoints", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("commands", sa.Column("rollback_within", sa.Float(), nullable=True))
    op.add_column("commands", sa.Column("flink_job_id", sa.String(length=80), nullable=True))
    op.add_column("restore_points", sa.Column("kept", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index("ix_attempts_handle", "attempts", ["handle"])
    op.create_table(
        "orphans",
        sa.Column("cluster", sa.String(length=80), nullable=False),
        sa.Column("flink_job_id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("job_id", sa.String(length=80), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column("asked", sa.String(length=80), nullable=True),
        sa.Column("trigger_id", sa.String(length=80), nullable=True),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("gone_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("cluster", "flink_job_id", name="pk_orphans"),
    )
