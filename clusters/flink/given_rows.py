"""The connector that answers lookups from given rows (`GivenRows.java`)."""

from __future__ import annotations

from pathlib import Path

from clusters.flink.jars import NotCompiled, compiled_for
from core.effects import Rejected

SOURCE = Path(__file__).with_name("GivenRows.java")
FACTORIES = {"org.apache.flink.table.factories.Factory": "dev.penstock.GivenRows"}


async def connector(home: Path | None, folder: Path) -> Path:
    """The jar with it, compiled once below `folder` for the Flink that is installed in `home`. Raises `Rejected`."""
    try:
        return await compiled_for(home, SOURCE, folder, services=FACTORIES)
    except NotCompiled as error:
        raise Rejected(error.message) from error
