"""The SQL of Flink's own tests of its planner, read out of their jar when a test asks for it: plans that are expected
(XML), and strings of compiled tests. Nothing of it is kept here."""

from __future__ import annotations

import fcntl
import re
import struct
import subprocess
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path

from stack.parts import DEPENDENCY_PLUGIN, StackParts

VERSION = "2.3.0"
_EXPECTED = re.compile(r'<Resource name="sql">\s*<!\[CDATA\[(.*?)\]\]>', re.DOTALL)
_BEGINS = re.compile(
    r"\s*(?:--[^\n]*\n\s*)*(SELECT|WITH|VALUES|INSERT|EXECUTE|CREATE|ALTER|DROP|USE|SET|RESET|LOAD|UNLOAD)\s",
    re.IGNORECASE,
)
"""Statements that a script of a job can have, and queries. The same words begin a message now and then: it is a text, too."""
_UTF8, _STRING, _WIDE = 1, 8, (5, 6)
_SIZES = {3: 5, 4: 5, 5: 9, 6: 9, 7: 3, 8: 3, 15: 4, 16: 3, 19: 3, 20: 3}

_COLUMNS = """a INT, b BIGINT, c STRING, d INT, e BIGINT, f STRING, g STRING, h BIGINT, id BIGINT, name STRING,
  ts TIMESTAMP(3), `int` INT, `long` BIGINT, amount INT, cnt BIGINT, num INT, f0 INT, f1 BIGINT, f2 STRING,
  proctime AS PROCTIME(), rowtime TIMESTAMP(3), WATERMARK FOR rowtime AS rowtime - INTERVAL '1' SECOND"""
_TABLES = {
    _COLUMNS: (
        *("MyTable", "MyTable1", "MyTable2", "MyTable3", "T", "t", "t1", "x", "Table1", "Table3", "SmallTable3", "src"),
        *("src1", "source_t", "emp", "Users", "TableName", "NullTable3", "append_src1", "SourceTable", "LookupTable"),
    ),
    "a1 INT, b1 BIGINT, c1 STRING, d1 INT, a INT, b BIGINT, c STRING, rowtime TIMESTAMP(3), proctime AS PROCTIME()": (
        *("T1", "A"),
    ),
    "a2 INT, b2 BIGINT, c2 STRING, d2 INT, b1 INT, b3 INT, b4 INT, rowtime TIMESTAMP(3), proctime AS PROCTIME()": (
        *("T2", "t2", "B", "src2"),
    ),
    "a3 INT, b3 BIGINT, c3 STRING, d3 INT, a INT, b BIGINT": ("T3", "y", "z"),
    "a INT, b BIGINT, c STRING": ("l", "leftT"),
    "d INT, e BIGINT, f STRING": ("r", "rightT"),
    "d INT, e BIGINT, f INT, g STRING, h BIGINT": ("Table5", "SmallTable5", "NullTable5"),
    "o_rowtime TIMESTAMP(3), o_amount INT, o_currency STRING, currency STRING, amount INT, rowtime TIMESTAMP(3)": (
        *("Orders", "orders"),
    ),
    "a INT, b BIGINT, c STRING, d INT, e BIGINT": ("MySink", "sink", "appendSink", "my_sink", "sink_t"),
}
TABLES = ";\n".join(
    f"CREATE TABLE {name} ({columns}) WITH ('connector' = '{'blackhole' if 'ink' in name else 'datagen'}')"
    for columns, names in _TABLES.items()
    for name in names
)
"""Tables of ours for the names that those texts use most, so that many of them can be planned."""


def texts(parts: StackParts) -> list[str]:
    """All of them, in a fixed order, each once."""
    found: set[str] = set()
    with zipfile.ZipFile(_jar(parts)) as jar:
        for name in jar.namelist():
            if name.endswith(".xml"):
                found.update(_EXPECTED.findall(jar.read(name).decode()))
            elif name.endswith(".class"):
                found.update(t for t in strings(jar.read(name)) if _BEGINS.match(t) and " " in t.strip())
    return sorted({_without_margin(text).strip() for text in found})


def strings(compiled: bytes) -> Iterator[str]:
    """The string constants of a class file (Java Virtual Machine Specification, 4.4)."""
    (count,) = struct.unpack_from(">H", compiled, 8)
    at, number = 10, 1
    written: dict[int, bytes] = {}
    used = []
    while number < count:
        tag = compiled[at]
        if tag == _UTF8:
            (length,) = struct.unpack_from(">H", compiled, at + 1)
            written[number] = compiled[at + 3 : at + 3 + length]
            at += 3 + length
        else:
            if tag == _STRING:
                used.append(struct.unpack_from(">H", compiled, at + 1)[0])
            at += _SIZES.get(tag, 5)
        number += 2 if tag in _WIDE else 1
    # "Modified" UTF-8: what is not UTF-8 of these is no SQL that anybody would send.
    return (text for n in used if "\x01" not in (text := written[n].decode("utf-8", "replace")))


def _without_margin(text: str) -> str:
    """As Scala's `stripMargin` gives it."""
    lines = text.split("\n")
    if len(lines) > 1 and all(re.match(r"\s*\|", line) for line in lines[1:] if line.strip()):
        return "\n".join(re.sub(r"^\s*\|", "", line) for line in lines)
    return textwrap.dedent(text)


def _jar(parts: StackParts) -> Path:
    folder = parts.cache / "planner-tests" / VERSION
    folder.mkdir(parents=True, exist_ok=True)
    jar = folder / f"flink-table-planner_2.12-{VERSION}-tests.jar"
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jar.exists():
            artifact = f"org.apache.flink:flink-table-planner_2.12:{VERSION}:jar:tests"
            command = ["mvn", "-B", "-ntp", "-q", f"{DEPENDENCY_PLUGIN}:copy", f"-Dartifact={artifact}"]
            subprocess.run([*command, f"-DoutputDirectory={folder}"], check=True, cwd=folder)
    return jar
