"""Restore points whose files have gone without us"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """With a default: an API of before writes rows without it while it is being exchanged."""
    op.add_column("restore_points", sa.Column("vanished", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("restore_points", "vanished")
