"""Which Penstock a database belongs to."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.names import Installation
from store.tables import InstallationRow


async def identity(session: AsyncSession) -> Installation:
    """Raises when there is not exactly one: nobody knows then whose queues are to be served."""
    rows = (await session.scalars(select(InstallationRow.id))).all()
    if len(rows) != 1:
        raise RuntimeError(
            f"The table `installation` has {len(rows)} rows; it has one, whose id stands in the names of this "
            f"installation's queues. Restore it from a backup."
        )
    return Installation(rows[0])
