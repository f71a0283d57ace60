"""JDBC drivers that Java's DriverManager has not heard of (`Drivers.java`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clusters.flink.jars import compiled_for
from core.sql.tokens import quoted

SOURCE = Path(__file__).with_name("Drivers.java")


async def loading(home: Path | None, folder: Path, jars: Sequence[str]) -> list[str]:
    """Statements for a session of its own that have the drivers in `jars` loaded. Raises `NotCompiled`."""
    jar = await compiled_for(home, SOURCE, folder)
    return [
        *(f"ADD JAR {quoted(path)}" for path in (*jars, str(jar))),
        "CREATE TEMPORARY SYSTEM FUNCTION penstock_drivers AS 'dev.penstock.Drivers'",
        "EXPLAIN SELECT penstock_drivers()",
    ]
