"""Session clusters that a job of ours runs"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("clusters", sa.Column("managed_by", sa.String(length=80), nullable=True))


def downgrade() -> None:
    op.drop_column("clusters", "managed_by")
