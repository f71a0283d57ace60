"""Policies of jobs without the defaults that were copied into them"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# As they were when they were copied. Who has chosen one of these cannot be told from who has chosen nothing.
POLICY: dict[str, Any] = {
    "enabled": True,
    "max_restarts": 10,
    "window": 3600,
    "initial_backoff": 10,
    "multiplier": 2,
    "max_backoff": 300,
    "jitter": 0.1,
    "reset_after": 600,
    "restore_tries": 2,
    "max_engine_restarts": 10,
    "fall_back": False,
}
SAVEPOINTS: dict[str, Any] = {"interval": None, "keep_last": None, "keep_for": 604_800, "keep_attempts": 5}


def upgrade() -> None:
    connection = op.get_bind()
    jobs = sa.table("jobs", sa.column("id"), sa.column("policy", sa.JSON), sa.column("savepoints", sa.JSON))
    for id_, policy, savepoints in connection.execute(sa.select(jobs.c.id, jobs.c.policy, jobs.c.savepoints)).all():
        chosen = {"policy": _chosen(policy, POLICY), "savepoints": _chosen(savepoints, SAVEPOINTS)}
        if chosen != {"policy": policy, "savepoints": savepoints}:
            connection.execute(sa.update(jobs).where(jobs.c.id == id_).values(chosen))


def _chosen(given: dict[str, Any] | None, defaults: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in (given or {}).items() if k not in defaults or v != defaults[k]}


def downgrade() -> None:
    """What is missing was read as its default before, too."""
