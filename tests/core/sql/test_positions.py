"""Where a table may stand. What Flink takes there and we do not see is not made for the script; what we see there and
is none costs a view that nobody wanted."""

from __future__ import annotations

import pytest

from core.sql.positions import table_names
from core.sql.script import parse


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        ("SELECT total FROM mine", {"mine"}),
        ("SELECT SUM(x) AS total, t.total FROM mine AS t", {"mine"}),
        ("SELECT a FROM x, y AS b, z WHERE a IN (c, d)", {"x", "y", "z"}),
        ("SELECT a FROM x JOIN y ON x.a = y.a LEFT JOIN c.d.z USING (a), w", {"x", "y", "c.d.z", "w"}),
        ("SELECT * FROM (SELECT a, b FROM inner_) AS i, other", {"inner_", "other"}),
        ("SELECT * FROM (a JOIN b ON TRUE)", {"a", "b"}),
        ("INSERT INTO sink (a, b) SELECT a, b FROM src", {"sink", "src"}),
        ("INSERT OVERWRITE sink PARTITION (p = 1) SELECT a FROM src", {"sink", "src"}),
        ("TABLE src", {"src"}),
        ("SELECT * FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(at), INTERVAL '1' MINUTE))", {"src"}),
        ("SELECT * FROM src, LATERAL TABLE(f(a, b)) AS t(x, y), UNNEST(c) AS u(z)", {"src"}),
        ("SELECT o.r FROM orders AS o JOIN rates FOR SYSTEM_TIME AS OF o.at AS r ON o.c = r.c", {"orders", "rates"}),
        ("SELECT EXTRACT(DAY FROM at), TRIM(BOTH ' ' FROM name), SUBSTRING(name FROM 2) FROM src", {"src"}),
        ("SELECT o.address.city FROM orders AS o", {"orders"}),
        ("WITH v AS (SELECT * FROM v), w (a) AS (SELECT a FROM v) SELECT * FROM w JOIN x ON TRUE", {"v", "x"}),
        ("WITH v AS (SELECT 1 AS a) SELECT a FROM v", set()),
        ("SELECT a FROM x UNION ALL SELECT b, c FROM y ORDER BY b, c", {"x", "y"}),
        ("SELECT a FROM x GROUP BY a, b HAVING COUNT(*) > (SELECT n FROM limits)", {"x", "limits"}),
        ("DESCRIBE src", {"src"}),
        ("DROP VIEW IF EXISTS v", {"v"}),
        ("CREATE TABLE t (a INT, total INT) WITH ('connector' = 'datagen')", {"t"}),
        ("CREATE TABLE t LIKE src", {"t", "src"}),
        ("CREATE VIEW v AS SELECT total FROM src", {"v", "src"}),
        (
            "SELECT * FROM src MATCH_RECOGNIZE (PARTITION BY u, w ORDER BY at DEFINE a AS a.x > 1) AS m, other",
            {"src", "other"},
        ),
    ],
)
def test_tables(text: str, tables: set[str]):
    assert {".".join(chain) for chain in table_names(parse(text))} == tables
