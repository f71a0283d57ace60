"""Flink's number of a restore point"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("restore_points", sa.Column("number", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("restore_points", "number")
