"""Who is who: the installation, the workflow of a job, the Flink behind a cluster's address"""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "installation",
        sa.Column("id", sa.String(length=80), primary_key=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    # What was there before has workflows and queues without the installation in their names, and keeps those.
    used = (
        op.get_bind().execute(sa.text("SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM clusters)")).scalar()
    )
    op.execute(
        sa.text("INSERT INTO installation (id, created_at) VALUES (:id, CURRENT_TIMESTAMP)").bindparams(
            id="" if used else uuid.uuid4().hex[:12]
        )
    )
    op.add_column("jobs", sa.Column("workflow_id", sa.String(length=255), nullable=True))
    op.execute(sa.text("UPDATE jobs SET workflow_id = 'job-' || project || ':' || name"))
    op.add_column("jobs", sa.Column("deleting_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("jobs", sa.Column("warning", sa.Text(), nullable=True))
    op.add_column("clusters", sa.Column("identity", sa.Text(), nullable=True))
    op.add_column("clusters", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("clusters", "deleted_at")
    op.drop_column("clusters", "identity")
    op.drop_column("jobs", "warning")
    op.drop_column("jobs", "deleting_at")
    op.drop_column("jobs", "workflow_id")
    op.drop_table("installation")
