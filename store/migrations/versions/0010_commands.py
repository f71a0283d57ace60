"""What was asked of a command, beside its columns"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nullable: rows of before have none, nor have those that an API of before writes while it is being exchanged."""
    op.add_column("commands", sa.Column("options", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("commands", "options")
