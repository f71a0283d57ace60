"""The address of a cluster in the shape that its kind gives it"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_SCHEME = "host://"


def upgrade() -> None:
    op.add_column("clusters", sa.Column("address", sa.JSON(), nullable=False, server_default="{}"))
    # Where a machine is was written into `jobmanager_url`, which stays for processes of the version before.
    connection = op.get_bind()
    clusters = _clusters()
    query = sa.select(clusters.c.name, clusters.c.jobmanager_url).where(clusters.c.kind == "processes")
    for name, url in connection.execute(query).all():
        address = {"host": url.removeprefix(_SCHEME)}
        connection.execute(sa.update(clusters).where(clusters.c.name == name).values(address=address))


def downgrade() -> None:
    op.drop_column("clusters", "address")


def _clusters() -> Any:
    columns = [sa.column("name"), sa.column("kind"), sa.column("jobmanager_url"), sa.column("address", sa.JSON)]
    return sa.table("clusters", *columns)
