"""One spelling for the paths of restore points"""

import hashlib

import sqlalchemy as sa
from alembic import op

from core.paths import of_point

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    points = sa.table("restore_points", *(sa.column(c) for c in ("id", "job_id", "path", "pinned", "kept", "gone_at")))
    rows = connection.execute(sa.select(points)).all()
    known = {(row.job_id, row.path): dict(row._mapping) for row in rows}
    for row in rows:
        one = of_point(row.path)
        if one == row.path:
            continue
        of_row = sa.update(points).where(points.c.id == row.id)
        other = known.get((row.job_id, one))
        if other is None:
            # Its id is made of its path, and is what people name it by.
            new_id = "rp-" + hashlib.sha256(f"{row.job_id}\n{one}".encode()).hexdigest()[:16]
            connection.execute(of_row.values(path=one, id=new_id))
            known[row.job_id, one] = {**row._mapping, "path": one}
            continue
        there = None in (other["gone_at"], row.gone_at)
        other |= {
            "pinned": other["pinned"] or row.pinned,
            "kept": other["kept"] or row.kept,
            "gone_at": None if there else other["gone_at"],
        }
        kept = sa.update(points).where(points.c.job_id == row.job_id, points.c.path == one)
        connection.execute(kept.values({name: other[name] for name in ("pinned", "kept", "gone_at")}))
        connection.execute(sa.delete(points).where(points.c.id == row.id))
    attempts = sa.table("attempts", *(sa.column(c) for c in ("job_id", "number", "restored_from")))
    restored = sa.select(attempts).where(attempts.c.restored_from.is_not(None))
    for row in connection.execute(restored).all():
        if (one := of_point(row.restored_from)) != row.restored_from:
            of_row = (attempts.c.job_id == row.job_id) & (attempts.c.number == row.number)
            connection.execute(sa.update(attempts).where(of_row).values(restored_from=one))


def downgrade() -> None:
    """Every spelling was read before, too."""
