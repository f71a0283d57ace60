"""SQL texts from Flink's grammar, and such as somebody has mistyped: the same for the same seed.

The tables are bounded, so that a query comes to an end and its rows can be compared. A text has no semicolon outside of
strings, names and comments: it is one statement.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

TABLES = """\
CREATE TABLE orders (id BIGINT, item STRING, price DECIMAL(10, 2), qty INT, `at` TIMESTAMP(3), ok BOOLEAN,
  tags ARRAY<STRING>, place ROW<city STRING, zip INT>, notes MAP<STRING, INT>, `a b` DOUBLE, pt AS PROCTIME(),
  WATERMARK FOR `at` AS `at` - INTERVAL '5' SECOND)
  WITH ('connector' = 'datagen', 'number-of-rows' = '3', 'fields.id.kind' = 'sequence', 'fields.id.start' = '1',
  'fields.id.end' = '3');
CREATE TABLE items (name STRING, kind STRING, weight FLOAT, made DATE, PRIMARY KEY (name) NOT ENFORCED)
  WITH ('connector' = 'datagen', 'number-of-rows' = '3');
CREATE TABLE sink (id BIGINT, item STRING) WITH ('connector' = 'blackhole');
CREATE VIEW some_rows AS SELECT * FROM (VALUES (1, 'a', 1.50), (2, 'b', CAST(NULL AS DECIMAL(3, 2))), (3, 'a', 2.25))
  AS t (n, w, d)"""

COLUMNS = {
    "orders": ("id", "item", "price", "qty", "`at`", "ok", "tags", "place", "notes", "`a b`"),
    "items": ("name", "kind", "weight", "made"),
    "some_rows": ("n", "w", "d"),
}
NUMBERS = {"orders": ("id", "price", "qty", "`a b`"), "items": ("weight",), "some_rows": ("n", "d")}
TEXTS = {"orders": ("item",), "items": ("name", "kind"), "some_rows": ("w",)}


class Maker:
    """Makes texts."""

    def __init__(self, seed: int | str):
        self.random = Random(seed)

    def one(self, *choices: str) -> str:
        return self.random.choice(choices)

    def text(self) -> str:
        """A statement: a query, or an INSERT; now and then one with a mistake in it."""
        made = self.insert() if self.random.random() < 0.15 else self.query()
        if self.random.random() < 0.3:
            made = self.spoilt(made)
        return self.spaced(made)

    # Literals -------------------------------------------------------------------------------

    def literal(self) -> str:
        makers: list[Callable[[], str]] = [
            lambda: str(self.random.randint(-3, 99)),
            lambda: self.one("1.50", "0.1", ".5", "1e3", "1.5E-2", "9223372036854775807", "12345678901234567890.12"),
            self.string,
            lambda: self.one("TRUE", "FALSE", "NULL", "UNKNOWN"),
            lambda: self.one("DATE '2026-02-28'", "TIME '23:59:59'", "TIMESTAMP '2026-01-01 00:00:00.123456789'"),
            lambda: self.one("INTERVAL '5' SECOND", "INTERVAL '1-2' YEAR TO MONTH", "INTERVAL '1 02:03' DAY TO MINUTE"),
            lambda: self.one("X'0aFF'", "x'00'", "U&'\\00e9'", "_UTF16'caf\u00e9'", "E'it\\'s\\n'", "e'tab\\t'"),
            lambda: self.one("ARRAY[1, 2]", "MAP['k', 1]", "ROW(1, 'x')", "CAST(NULL AS INT)"),
        ]
        return self.random.choice(makers)()

    def string(self) -> str:
        return self.one(
            "'a'",
            "''",
            "'it''s'",
            "'--no comment'",
            "'/* nor this */'",
            "'a;b'",
            "'\u00fc\u4e16'",
            "'a\nb'",
            "'\\'",
            "'\"'",
            "'`'",
            "'/*+ x */'",
        )

    # Expressions ----------------------------------------------------------------------------

    def column(self, table: str) -> str:
        return self.random.choice(COLUMNS[table])

    def number(self, table: str, depth: int = 2) -> str:
        if depth == 0 or self.random.random() < 0.4:
            return self.random.choice([*NUMBERS[table], str(self.random.randint(0, 9)), "1.5"])
        inner = lambda: self.number(table, depth - 1)  # noqa: E731
        makers: list[Callable[[], str]] = [
            lambda: f"{inner()} {self.one('+', '-', '*', '/', '%')} {inner()}",
            lambda: f"({inner()})",
            lambda: f"-{inner()}" if self.random.random() < 0.5 else f"+ {inner()}",
            lambda: f"{self.one('ABS', 'FLOOR', 'CEIL', 'SIGN')}({inner()})",
            lambda: f"CASE WHEN {self.condition(table, 0)} THEN {inner()} ELSE {inner()} END",
            lambda: f"COALESCE({inner()}, {inner()})",
            lambda: f"CAST({inner()} AS {self.one('INT', 'BIGINT', 'DECIMAL(20, 4)', 'DOUBLE', 'SMALLINT')})",
            lambda: f"TRY_CAST({self.string()} AS INT)",
            lambda: f"CHAR_LENGTH({self.words(table)})",
            lambda: f"IF({self.condition(table, 0)}, {inner()}, {inner()})",
        ]
        return self.random.choice(makers)()

    def words(self, table: str) -> str:
        column = self.random.choice(TEXTS[table])
        return self.one(
            column,
            self.string(),
            f"UPPER({column})",
            f"{column} || {self.string()}",
            f"SUBSTRING({column} FROM 1 FOR 2)",
            f"TRIM(BOTH ' ' FROM {column})",
            f"REPLACE({column}, {self.string()}, 'x')",
            f"CAST({column} AS VARCHAR(3))",
            "JSON_VALUE('{\"a\": 1}', '$.a')",
        )

    def condition(self, table: str, depth: int = 1) -> str:
        plain = self.one(
            f"{self.number(table, 0)} {self.one('=', '<>', '<', '>=', '!=')} {self.number(table, 0)}",
            f"{self.random.choice(TEXTS[table])} LIKE '%a_'",
            f"{self.random.choice(TEXTS[table])} NOT LIKE 'x!%' ESCAPE '!'",
            f"{self.number(table, 0)} BETWEEN 1 AND {self.number(table, 0)}",
            f"{self.random.choice(TEXTS[table])} IN ('a', 'b')",
            f"{self.column(table)} IS {self.one('', 'NOT ')}NULL",
            f"{self.random.choice(TEXTS[table])} SIMILAR TO 'a|b'",
            f"{self.number(table, 0)} IS DISTINCT FROM 1",
        )
        if depth == 0:
            return plain
        return self.one(
            plain,
            f"{plain} {self.one('AND', 'OR')} {self.condition(table, depth - 1)}",
            f"NOT ({plain})",
            f"EXISTS (SELECT 1 FROM items WHERE kind = {self.random.choice(TEXTS[table])})",
        )

    def value(self, table: str) -> str:
        return self.one(
            self.column(table),
            self.number(table),
            self.words(table),
            self.literal(),
            f"({self.condition(table)})",
            *(
                ("tags[1]", "place.city", "notes['k']", "CARDINALITY(tags)", "orders.place.zip")
                if table == "orders"
                else ()
            ),
        )

    # Queries --------------------------------------------------------------------------------

    def query(self, depth: int = 2) -> str:
        makers: list[Callable[[], str]] = [self.select] * 5
        if depth:
            makers += [
                lambda: f"{self.simple()} {self.one('UNION', 'UNION ALL', 'INTERSECT', 'EXCEPT')} {self.simple()}",
                lambda: f"({self.query(depth - 1)})",
                lambda: f"WITH c AS ({self.simple()}) SELECT * FROM c",
                lambda: f"WITH c (x) AS ({self.simple()}), d AS (SELECT x FROM c) SELECT COUNT(*) FROM d",
                lambda: f"SELECT * FROM ({self.query(depth - 1)}) AS sub",
                lambda: f"VALUES ({self.literal()}, 1), ({self.literal()}, 2)",
                lambda: f"VALUES {self.literal()}",
                lambda: f"TABLE {self.one(*COLUMNS)}",
                self.window,
                self.join,
                self.ranked,
                self.pattern,
            ]
        return self.random.choice(makers)()

    def simple(self) -> str:
        """Of one column of a type that meets others."""
        table = self.one(*COLUMNS)
        return f"SELECT {self.number(table, 1)} AS x FROM {table}"

    def hint(self) -> str:
        return self.one(
            "", "", "", " /*+ OPTIONS('rows-per-second' = '100') */", " /*+ NOTHING */", " /*+ OPTIONS() */"
        )

    def select(self) -> str:
        table = self.one(*COLUMNS)
        if self.random.random() < 0.25:
            return self.grouped(table)
        items = [self.value(table) + self.one("", "", f" AS {self.name()}") for _ in range(self.random.randint(1, 3))]
        what = self.one("*", f"{table}.*", ", ".join(items), "DISTINCT " + items[0])
        text = f"SELECT{self.one('', '', ' ALL') if what[:8] != 'DISTINCT' else ''} {what} FROM {table}{self.hint()}"
        text += self.one("", "", f" AS {self.name()}")
        text += f" WHERE {self.condition(table)}" if self.random.random() < 0.4 else ""
        return text + self.one(
            "", "", "", " LIMIT 2", f" ORDER BY {self.column(table)} LIMIT 1", " FETCH FIRST 2 ROWS ONLY"
        )

    def name(self) -> str:
        return self.one(
            "x", "`x y`", "`sel``ect`", "value_1", "`value`", "\u00fcber", "x$1", "type", "data", "key", '"x"', "order"
        )

    def grouped(self, table: str) -> str:
        by = self.random.choice(TEXTS[table])
        call = self.one(
            "COUNT(*)",
            f"SUM({self.number(table, 1)})",
            f"MIN({self.column(table)})",
            f"COUNT(DISTINCT {by})",
            f"AVG({self.number(table, 0)}) FILTER (WHERE {self.condition(table, 0)})",
            f"LISTAGG({by}, '-')",
            f"FIRST_VALUE({self.column(table)})",
            f"COLLECT({by})",
        )
        having = f" HAVING {call} IS NOT NULL" if self.random.random() < 0.3 else ""
        how = self.one(by, by, f"ROLLUP ({by})", f"GROUPING SETS (({by}), ())", "()", "1")
        return f"SELECT {self.one(by + ', ', '')}{call} AS c FROM {table} GROUP BY {how}{having}"

    def window(self) -> str:
        kind = self.one(
            "TUMBLE(TABLE orders, DESCRIPTOR(`at`), INTERVAL '1' MINUTE)",
            "HOP(TABLE orders, DESCRIPTOR(`at`), INTERVAL '1' MINUTE, INTERVAL '5' MINUTES)",
            "CUMULATE(DATA => TABLE orders, TIMECOL => DESCRIPTOR(`at`), STEP => INTERVAL '1' HOUR, SIZE => INTERVAL '1' DAY)",
            "SESSION(TABLE orders PARTITION BY item, DESCRIPTOR(`at`), INTERVAL '5' MINUTES)",
        )
        return f"SELECT window_start, window_end, SUM(qty) FROM TABLE({kind}) GROUP BY window_start, window_end"

    def join(self) -> str:
        kind = self.one("JOIN", "LEFT JOIN", "FULL OUTER JOIN", "INNER JOIN", "CROSS JOIN", "NATURAL JOIN")
        on = {"CROSS JOIN": "", "NATURAL JOIN": ""}.get(
            kind, self.one(" ON o.item = i.name", " ON o.item = i.name AND o.qty > 1", "")
        )
        return self.one(
            f"SELECT o.id, i.* FROM orders AS o {kind} items AS i{on}",
            "SELECT o.id, t.tag FROM orders AS o CROSS JOIN UNNEST(o.tags) AS t (tag)",
            "SELECT id, k, v FROM orders, UNNEST(notes) AS n (k, v)",
            "SELECT o.id FROM orders o WHERE o.qty IN (SELECT n FROM some_rows)",
            "SELECT o.id, (SELECT MAX(n) FROM some_rows) AS m FROM orders AS o",
            "SELECT o.id FROM orders AS o JOIN items FOR SYSTEM_TIME AS OF o.pt AS i ON o.item = i.name",
            "SELECT a.n, b.n FROM some_rows a, some_rows b WHERE a.w = b.w AND a.n < b.n",
        )

    def ranked(self) -> str:
        frame = self.one(
            "",
            " ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
            " RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW",
        )
        return self.one(
            "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY item ORDER BY price DESC) AS r FROM orders) WHERE r <= 2",
            f"SELECT id, SUM(qty) OVER (PARTITION BY item ORDER BY `at`{frame}) FROM orders",
            f"SELECT id, COUNT(*) OVER w FROM orders WINDOW w AS (ORDER BY `at`{frame})",
            "SELECT LAG(price, 1) OVER (ORDER BY pt) FROM orders",
        )

    def pattern(self) -> str:
        return (
            "SELECT * FROM orders MATCH_RECOGNIZE (PARTITION BY item ORDER BY `at` MEASURES A.id AS first_id, LAST(B.id) AS "
            f"last_id {self.one('ONE ROW PER MATCH ', '')}AFTER MATCH SKIP {self.one('PAST LAST ROW', 'TO NEXT ROW')} "
            f"PATTERN (A {self.one('B+?', 'B{2}', 'B* C', 'B+')}) DEFINE B AS B.qty > A.qty) AS m"
        )

    def insert(self) -> str:
        return self.one(
            "INSERT INTO sink SELECT id, item FROM orders",
            "INSERT INTO sink (item, id) SELECT item, id FROM orders",
            f"INSERT INTO sink SELECT {self.number('orders')}, {self.words('orders')} FROM orders",
            "INSERT INTO `default_catalog`.`default_database`.`sink` VALUES (1, 'a'), (2, 'it''s')",
            "INSERT OVERWRITE sink SELECT id, item FROM orders",
            f"INSERT INTO sink /*+ OPTIONS('sink.parallelism' = '1') */ {self.query()}",
            "EXECUTE INSERT INTO sink SELECT id, item FROM orders",
            "INSERT INTO sink (id) SELECT id FROM orders",
        )

    # Around it ------------------------------------------------------------------------------

    def spaced(self, text: str) -> str:
        """With comments and line ends of all kinds between its words; what is in quotes stays as it is."""
        pieces, quote = [], ""
        for i, char in enumerate(text):
            if not quote and char == " " and self.random.random() < 0.08 and text[i - 1 : i + 2].count("/") == 0:
                char = self.one("\n", "\r\n", "\r", "\t", " /* c */ ", " -- c\n", " // c ' ` \n", " /**/ ", "\f", "  ")
            elif char in "'`\"":
                quote = "" if quote == char else quote or char
            pieces.append(char)
        return "".join(pieces)

    def spoilt(self, text: str) -> str:
        """With a mistake: a word that is left out, doubled, exchanged or strange."""
        words = text.split(" ")
        at = self.random.randrange(len(words))
        match self.random.randrange(6):
            case 0:
                del words[at]
            case 1:
                words.insert(at, words[at])
            case 2:
                words[at] = self.one(
                    "SELECT", "FROM", "WHER", "nothing", "(", ")", ",", "AS", "NULL", "1.2.3", "@", "?", "=>"
                )
            case 3:
                other = self.random.randrange(len(words))
                words[at], words[other] = words[other], words[at]
            case 4:
                words = words[: at + 1]
            case _:
                words[at] = words[at][:-1] or "x"
        return " ".join(words) or "SELECT"
