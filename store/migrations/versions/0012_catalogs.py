"""Catalogs that are registered in a project"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

Short = sa.String(length=80)


def upgrade() -> None:
    op.create_table(
        "catalogs",
        sa.Column("project", Short, nullable=False),
        sa.Column("name", Short, nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("libraries", sa.JSON(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project"], ["projects.name"], name="fk_catalogs_project"),
        sa.PrimaryKeyConstraint("project", "name", name="pk_catalogs"),
    )


def downgrade() -> None:
    op.drop_table("catalogs")
