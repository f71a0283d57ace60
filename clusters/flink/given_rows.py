"""The connector that answers lookups from given rows (`GivenRows.java`)."""

from __future__ import annotations

from pathlib import Path

from clusters.flink.jars import NotCompiled, compiled
from core.effects import Rejected

SOURCE = Path(__file__).with_name("GivenRows.java")
FACTORIES = {"org.apache.flink.table.factories.Factory": "dev.penstock.GivenRows"}


async def connector(home: Path | None, folder: Path) -> Path:
    """The jar with it, compiled once below `folder` for the Flink that is installed in `home`. Raises `Rejected`."""
    if home is None:
        raise Rejected("this machine has no Flink of the cluster's version; `penstock flink install` brings it")
    dist = next((home / "lib").glob("flink-dist-*.jar"), None)
    if dist is None:
        raise Rejected(f"{home / 'lib'} has no flink-dist jar")
    version = dist.stem.removeprefix("flink-dist-")
    try:
        return await compiled(
            SOURCE, folder / version, against=sorted((home / "lib").glob("*.jar")), services=FACTORIES
        )
    except NotCompiled as error:
        raise Rejected(error.message) from error
