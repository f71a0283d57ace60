"""Bounded queries whose rows are the same each time, and how the rows of two answers are held against each other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.real.same.texts import Maker

_ORDERS = [
    {
        "id": 1,
        "item": "a",
        "price": "1.50",
        "qty": 3,
        "at": "2026-01-01T00:00:00.5",
        "ok": True,
        "tags": ["x", None],
        "place": {"city": "Köln", "zip": 50667},
        "notes": {"k": 1, "l": None},
        "a b": 0.1,
    },
    {
        "id": 2,
        "item": "it's",
        "price": "-99999999.99",
        "qty": -3,
        "at": "2026-01-01T00:00:58",
        "ok": False,
        "tags": [],
        "place": {"city": None, "zip": 1},
        "notes": {},
        "a b": 1.0e300,
    },
    {"id": 3, "item": None, "price": None, "qty": None, "at": "2026-01-01T01:02:03.004"},
    {
        "id": 4,
        "item": "a",
        "price": "0.00",
        "qty": 2147483647,
        "at": "2026-01-01T02:00:00",
        "ok": None,
        "tags": ["x", "y"],
        "place": {"city": "x,y", "zip": None},
        "notes": {"k": -5},
        "a b": -4.9e-324,
    },
    {
        "id": 9007199254740993,
        "item": "b\n;",
        "price": "12.30",
        "qty": 4,
        "at": "2026-01-02T00:00:00",
        "ok": True,
        "tags": ["x"],
        "place": None,
        "notes": None,
        "a b": None,
    },
]
_ITEMS = [
    {"name": "a", "kind": "a", "weight": 1.1, "made": "2026-02-28"},
    {"name": "b\n;", "kind": None, "weight": None, "made": None},
    {"name": "", "kind": "ü世", "weight": 3.0e10, "made": "0001-01-01"},
]
_OTHER = [{"id": 77, "item": "other", "price": "7.70", "qty": 7, "at": "2026-01-01T00:00:00", "ok": True}]


def tables(folder: Path) -> str:
    """The tables of `texts.TABLES`, with the same rows each time; their files are written into `folder`."""
    for name, rows in (("orders", _ORDERS), ("items", _ITEMS), ("other", _OTHER)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "rows.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = "'connector' = 'filesystem', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601', 'path' = "
    return f"""\
CREATE TABLE orders (id BIGINT, item STRING, price DECIMAL(10, 2), qty INT, `at` TIMESTAMP(3), ok BOOLEAN,
  tags ARRAY<STRING>, place ROW<city STRING, zip INT>, notes MAP<STRING, INT>, `a b` DOUBLE,
  WATERMARK FOR `at` AS `at` - INTERVAL '5' SECOND) WITH ({files}'{(folder / "orders").as_uri()}');
CREATE TABLE items (name STRING, kind STRING, weight FLOAT, made DATE) WITH ({files}'{(folder / "items").as_uri()}');
CREATE TABLE counted (n INT, w STRING) WITH ('connector' = 'datagen', 'number-of-rows' = '4', 'fields.n.kind' =
  'sequence', 'fields.n.start' = '1', 'fields.n.end' = '4', 'fields.w.kind' = 'sequence', 'fields.w.start' = '7',
  'fields.w.end' = '10');
CREATE VIEW some_rows AS SELECT * FROM (VALUES (1, 'a', 1.50), (2, 'b', CAST(NULL AS DECIMAL(3, 2))), (3, 'a', 2.25))
  AS t (n, w, d)"""


_TYPES = (
    "TINYINT",
    "SMALLINT",
    "INT",
    "BIGINT",
    "FLOAT",
    "DOUBLE",
    "DECIMAL(38, 18)",
    "DECIMAL(5, 1)",
    "DECIMAL(10, 0)",
    "STRING",
    "CHAR(5)",
    "VARCHAR(2)",
    "BOOLEAN",
    "BYTES",
    "BINARY(3)",
    "VARBINARY(2)",
    "DATE",
    "TIME",
    "TIME(0)",
    "TIMESTAMP",
    "TIMESTAMP(0)",
    "TIMESTAMP(3)",
    "TIMESTAMP(9)",
    "TIMESTAMP_LTZ(3)",
    "ARRAY<INT>",
    "ROW<a INT, b STRING>",
    "MAP<STRING, INT>",
)
_VALUES = (
    "1.0E10",
    "0.1E0",
    "CAST(1.1 AS FLOAT)",
    "CAST('NaN' AS DOUBLE)",
    "CAST('Infinity' AS FLOAT)",
    "1E-7",
    "-0E0",
    "CAST('-0.0' AS DOUBLE)",
    "CAST('123456789012345678901234567890.12345678' AS DECIMAL(38, 8))",
    "100.00",
    "1.10",
    "CAST(9007199254740993 AS DOUBLE)",
    "9223372036854775807",
    "-9223372036854775808",
    "CAST(0.3 AS DECIMAL(38, 38))",
    "DATE '9999-12-31'",
    "TIME '00:00:00'",
    "CAST('12:34:56.789' AS TIME(3))",
    "TIMESTAMP '0001-01-01 00:00:00'",
    "TIMESTAMP '2026-12-31 23:59:59.999999999'",
    "TO_TIMESTAMP_LTZ(1, 3)",
    "TO_TIMESTAMP_LTZ(-62135596800, 0)",
    "INTERVAL '10 00:00:00.004' DAY TO SECOND(3)",
    "INTERVAL '-5' MONTH",
    "INTERVAL '99' HOUR",
    "X'00ff10'",
    "x''",
    "CAST('ü' AS BYTES)",
    "ARRAY[ARRAY[1], ARRAY[2, NULL]]",
    "ARRAY[1.50, 2.5]",
    "MAP['a', 1.10, 'b', NULL]",
    "MAP[1, 'x', 2, NULL]",
    "MAP[DATE '2026-01-01', ARRAY[1.0]]",
    "ROW(1.50, ROW('x', NULL))",
    "ROW(NULL)",
    "ROW(1, 1)",
    "CAST(ROW(1, 2.50) AS ROW<a INT, b DECIMAL(5, 3)>)",
    "CAST(ROW(1, 'x') AS ROW<`a b` INT, `select` STRING>)",
    "ARRAY[ROW(1, 'x')]",
    "MAP['k', MAP['l', 1]]",
    "U&'\\263A'",
    "'\U0001f600'",
    "'\t'",
    "'\u2028'",
    "'a\r\nb'",
    "'\\n'",
)
_CALLS = (
    "CONCAT({t}, 'x', {t})",
    "CONCAT_WS('-', {t}, NULL, 'z')",
    "LPAD({t}, 5, '*')",
    "RPAD('a', 3, '?')",
    "INITCAP({t})",
    "REGEXP_REPLACE({t}, '[a-b]', '<$0>')",
    "REGEXP_EXTRACT('foothebar', 'foo(.*?)(bar)', 2)",
    "SPLIT_INDEX({t}, 't', 0)",
    "POSITION('a' IN {t})",
    "OVERLAY('abcdef' PLACING 'xy' FROM 2 FOR 1)",
    "ASCII({t})",
    "CHR(252)",
    "REVERSE({t})",
    "LOCATE('a', {t})",
    "LEFT({t}, 1)",
    "REPEAT({t}, 2)",
    "TO_BASE64({t})",
    "FROM_BASE64('w7w=')",
    "MD5({t})",
    "SHA256({t})",
    "ENCODE({t}, 'UTF-16BE')",
    "DECODE(X'c3bc', 'UTF-8')",
    "HEX({t})",
    "BIN(10)",
    "POWER({n}, 2)",
    "SQRT(ABS({n}))",
    "LN(10)",
    "LOG10(1000)",
    "EXP(1)",
    "ROUND({n}, 1)",
    "TRUNCATE(-1.567, 2)",
    "MOD(7, 3)",
    "PI()",
    "E()",
    "GREATEST(1, {n})",
    "LEAST(1, {n})",
    "TO_DATE('2026-02-28')",
    "TO_TIMESTAMP('2026-02-28 10:11:12')",
    "DATE_FORMAT(TIMESTAMP '2026-02-28 10:11:12', 'yy-MM HH')",
    "EXTRACT(DOW FROM DATE '2026-02-28')",
    "YEAR(DATE '2026-02-28')",
    "TIMESTAMPADD(MONTH, 1, DATE '2026-01-31')",
    "TIMESTAMPDIFF(DAY, TIMESTAMP '2026-01-01 00:00:00', TIMESTAMP '2026-03-01 00:00:00')",
    "CEIL(TIMESTAMP '2026-02-28 10:11:12' TO HOUR)",
    "FLOOR(DATE '2026-02-28' TO MONTH)",
    "FROM_UNIXTIME(0)",
    "UNIX_TIMESTAMP('1970-01-02 00:00:00')",
    "CONVERT_TZ('1970-01-01 00:00:00', 'UTC', 'Asia/Tokyo')",
    "JSON_OBJECT('k' VALUE {n}, 'l' VALUE {t} NULL ON NULL)",
    "JSON_ARRAY({n}, {t}, TRUE)",
    "JSON_QUERY('{{\"a\": [1, 2.50]}}', '$.a')",
    "JSON_EXISTS('{{}}', '$.a')",
    "JSON_STRING(ROW(1.50, {t}))",
    "IS_JSON({t})",
    "NULLIF({n}, 1)",
    "IFNULL({t}, 'none')",
    "CARDINALITY(ARRAY[1, {n}])",
    "ARRAY_CONTAINS(ARRAY['a'], {t})",
    "ARRAY_DISTINCT(ARRAY[1, 1])",
    "ARRAY_POSITION(ARRAY['a'], {t})",
    "ARRAY_REVERSE(ARRAY[{n}])",
    "ARRAY_UNION(ARRAY[1], ARRAY[2])",
    "ARRAY_MAX(ARRAY[1, {n}])",
    "ARRAY_JOIN(ARRAY['a', {t}], ',')",
    "MAP_KEYS(MAP['a', {n}])",
    "MAP_VALUES(MAP['a', {n}])",
    "MAP_ENTRIES(MAP['a', {n}])",
    "MAP_FROM_ARRAYS(ARRAY['k'], ARRAY[{n}])",
    "ELEMENT(ARRAY[{n}])",
    "STR_TO_MAP('a=1,b=2')",
    "TYPEOF({n})",
    "TYPEOF({t})",
    "PARSE_URL('http://h/p?q=1', 'QUERY', 'q')",
    "URL_ENCODE({t})",
    "CASE {t} WHEN 'a' THEN 1 ELSE 2 END",
    "{t} || {t}",
    "CAST({n} AS STRING)",
    "SUBSTR({t}, -1)",
    "BTRIM({t})",
    "PRINTF('%s', {t})",
)
_WHOLE = (
    'SELECT 1 AS `a;b`, 2 AS "c"',
    "SELECT COLLECT(w) FROM some_rows",
    "SELECT COUNT(*), SUM(d), AVG(d) FROM some_rows",
    "SELECT * FROM (VALUES (1, 2.50), (3, 4)) AS t (a, b) ORDER BY a DESC",
    "VALUES (1, 'a'), (2, NULL)",
    "VALUES ROW(1, 2.0), ROW(2, 3.55)",
    "SELECT n FROM counted ORDER BY n DESC LIMIT 2",
    "TABLE counted",
    "(TABLE some_rows)",
    "SELECT * FROM counted /*+ OPTIONS('number-of-rows' = '2') */",
    "SELECT n, n FROM counted",
    "TABLE items LIMIT 1",
    "SELECT w, COUNT(*) FROM some_rows GROUP BY w ORDER BY w",
    "SELECT DISTINCT w FROM some_rows",
    "SELECT n FROM counted OFFSET 1 ROW",
    "SELECT n FROM counted UNION SELECT qty FROM orders",
    "SELECT 'x' EXCEPT SELECT w FROM some_rows",
    "(SELECT n FROM counted) INTERSECT ALL (VALUES (1), (2))",
    "SELECT c.n, s.w FROM counted AS c LEFT JOIN some_rows AS s ON c.n = s.n",
    "WITH a AS (SELECT 1 AS x), b AS (TABLE a) TABLE b",
    "SELECT * FROM (SELECT n, ROW_NUMBER() OVER (ORDER BY n DESC) AS r FROM counted) WHERE r = 1",
    "SELECT item, place.*  FROM orders",
    "SELECT o.id, t.v FROM orders AS o, UNNEST(o.tags) WITH ORDINALITY AS t (v, i)",
    "SELECT COUNT(DISTINCT w) FROM some_rows HAVING COUNT(*) > 9",
    "SELECT id FROM orders -- last",
    "SELECT id /* c */ FROM orders /* d */",
    "select ID from orders where 1 = 2",
    "SELECT `orders`.`at`, price FROM orders",
)


VALUES_OF = "orders"


class RowMaker(Maker):
    """Makes queries alone, of values of all types."""

    def __init__(self, seed: int | str, other: str):
        super().__init__(seed)
        self._other = other

    def text(self) -> str:
        """A whole query."""
        return self.spaced(self.one(*_WHOLE) if self.random.random() < 0.5 else self.query())

    def of_values(self, values: Sequence[str]) -> str:
        """One query of many values of `VALUES_OF`."""
        return self.spaced(f"SELECT {', '.join(values)} FROM {VALUES_OF}{self.hint()}")

    def hint(self) -> str:
        """One that is left out shows: it reads other rows."""
        other = f" /*+ OPTIONS('path' = '{self._other}') */"
        return self.one("", "", "", other if self._table == "orders" else "", " /*+ OPTIONS() */")

    def column(self, table: str) -> str:
        self._table = table
        return super().column(table)

    _table = ""

    def value(self, table: str) -> str:
        self._table = table
        if self.random.random() < 0.3:
            return super().value(table)
        return self.one(self.one(*_VALUES), self.call(table), self.cast(table))

    def call(self, table: str) -> str:
        return self.one(*_CALLS).format(t=self.words(table), n=self.number(table, 0))

    def cast(self, table: str) -> str:
        """What cannot be cast would end a query of many values."""
        value = self.one(self.one(*_VALUES), self.literal(), self.column(table), self.number(table, 1))
        return f"TRY_CAST({value} AS {self.one(*_TYPES)})"

    def number(self, table: str, depth: int = 2) -> str:
        """So would a division by zero."""
        return super().number(table, depth).replace(" / ", " - ").replace(" % ", " + ")


# Rows ---------------------------------------------------------------------------------------------


def shown(value: Any, kind: dict[str, Any]) -> Any:
    """What `docs/sql.md` says is shown of a value of the bare gateway: a DECIMAL as text with the digits of its scale,
    all else as the gateway has it. `kind` is its `logicalType`."""
    name = kind.get("type")
    if value is None:
        return None
    if name == "DECIMAL":
        return f"{Decimal(value):.{kind['scale']}f}"
    if name == "ROW":
        types = {field["name"]: field["fieldType"] for field in kind["fields"]}
        return {key: shown(item, types[key]) for key, item in value.items()}
    if name == "ARRAY":
        return [shown(item, kind["elementType"]) for item in value]
    if name == "MAP":
        return {key: shown(item, kind["valueType"]) for key, item in value.items()}
    return float(value) if isinstance(value, Decimal) else value


Change = tuple[str, str]
"""Its kind (`+I`, `-U`, `+U`, `-D`) and its row as JSON."""


def change(kind: str, fields: Any) -> Change:
    return kind, json.dumps(fields, sort_keys=True, ensure_ascii=False)


def table(changes: Iterable[Change]) -> Counter[str]:
    """What changes come to."""
    rows: Counter[str] = Counter()
    for kind, fields in changes:
        rows[fields] += 1 if kind in ("+I", "+U") else -1
    return +rows
