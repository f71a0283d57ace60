"""Queries and the columns that each of their results really comes from, written down by hand from the SQL.

`[]` is a constant, a count of rows, or a number that no column's value goes into.
"""

TABLES = [
    """CREATE TABLE orders (id BIGINT, user_id BIGINT, product STRING, price DECIMAL(10,2), qty INT, tags ARRAY<STRING>,
      addr ROW<city STRING, zip STRING>, attrs MAP<STRING,STRING>, ts TIMESTAMP(3), pt AS PROCTIME(),
      WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) WITH ('connector'='datagen')""",
    """CREATE TABLE users (id BIGINT, name STRING, city STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts,
      PRIMARY KEY(id) NOT ENFORCED) WITH ('connector'='datagen')""",
    """CREATE TABLE rates (cur STRING, rate DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts,
      PRIMARY KEY(cur) NOT ENFORCED) WITH ('connector'='datagen')""",
    """CREATE TABLE clicks (user_id BIGINT, url STRING, kind STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
      WITH ('connector'='datagen')""",
    "CREATE TABLE dim (id BIGINT, label STRING) WITH ('connector'='filesystem','path'='/tmp/none','format'='csv')",
    "CREATE VIEW big AS SELECT id, user_id, product AS what, price * qty AS total FROM orders WHERE qty > 10",
]

# The folder `logs` has a partition, `no_logs` has none.
PARTITIONED = [
    f"""CREATE TABLE {name} (id BIGINT, dt STRING) PARTITIONED BY (dt)
      WITH ('connector'='filesystem','path'='{{folder}}/{name}','format'='json')"""
    for name in ("logs", "no_logs")
]

_TUMBLE = "TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE))"

# name: (SELECT, {column: "table.column table.column"})
QUERIES: dict[str, tuple[str, dict[str, str]]] = {
    "plain": ("SELECT id, product FROM orders", {"id": "orders.id", "product": "orders.product"}),
    "expressions": (
        "SELECT id + user_id AS s, UPPER(product) AS p, 1 AS lit FROM orders WHERE qty > 3",
        {"s": "orders.id orders.user_id", "p": "orders.product", "lit": ""},
    ),
    "aggregate": (
        "SELECT user_id, SUM(price * qty) AS total, COUNT(*) AS n FROM orders GROUP BY user_id",
        {"user_id": "orders.user_id", "total": "orders.price orders.qty", "n": ""},
    ),
    "count with a filter": (
        "SELECT user_id, COUNT(*) FILTER (WHERE product = 'x') AS n FROM orders GROUP BY user_id",
        {"user_id": "orders.user_id", "n": "orders.product"},
    ),
    "distinct": ("SELECT DISTINCT product FROM orders", {"product": "orders.product"}),
    "count distinct": (
        "SELECT product, COUNT(DISTINCT user_id) AS u FROM orders GROUP BY product",
        {"product": "orders.product", "u": "orders.user_id"},
    ),
    "join": (
        "SELECT o.id, u.name FROM orders o JOIN users u ON o.user_id = u.id",
        {"id": "orders.id", "name": "users.name"},
    ),
    "left join": (
        "SELECT o.id, COALESCE(u.name, o.product) AS x FROM orders o LEFT JOIN users u ON o.user_id = u.id",
        {"id": "orders.id", "x": "users.name orders.product"},
    ),
    "full join": (
        "SELECT o.product, u.name FROM orders o FULL OUTER JOIN users u ON o.user_id = u.id",
        {"product": "orders.product", "name": "users.name"},
    ),
    "self join": (
        "SELECT a.id, b.product FROM orders a JOIN orders b ON a.id = b.user_id",
        {"id": "orders.id", "product": "orders.product"},
    ),
    "interval join": (
        "SELECT o.id, c.url FROM orders o, clicks c WHERE o.user_id = c.user_id "
        "AND o.ts BETWEEN c.ts - INTERVAL '1' MINUTE AND c.ts",
        {"id": "orders.id", "url": "clicks.url"},
    ),
    "temporal join": (
        "SELECT o.id, o.price * r.rate AS v FROM orders o "
        "LEFT JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON o.product = r.cur",
        {"id": "orders.id", "v": "orders.price rates.rate"},
    ),
    "join with a file": (
        "SELECT o.id, d.label FROM orders o JOIN dim d ON o.id = d.id",
        {"id": "orders.id", "label": "dim.label"},
    ),
    "tumble": (
        f"SELECT window_start, window_end, product, SUM(qty) AS q FROM {_TUMBLE} "
        "GROUP BY window_start, window_end, product",
        {"window_start": "orders.ts", "window_end": "orders.ts", "product": "orders.product", "q": "orders.qty"},
    ),
    "hop": (
        "SELECT window_start, user_id, AVG(price) AS p FROM TABLE(HOP(TABLE orders, DESCRIPTOR(ts), "
        "INTERVAL '1' MINUTE, INTERVAL '5' MINUTE)) GROUP BY window_start, window_end, user_id",
        {"window_start": "orders.ts", "user_id": "orders.user_id", "p": "orders.price"},
    ),
    "cumulate": (
        "SELECT window_end, MAX(price) AS p FROM TABLE(CUMULATE(TABLE orders, DESCRIPTOR(ts), "
        "INTERVAL '1' MINUTE, INTERVAL '1' HOUR)) GROUP BY window_start, window_end",
        {"window_end": "orders.ts", "p": "orders.price"},
    ),
    "session": (
        "SELECT user_id, window_start, COUNT(url) AS n FROM TABLE(SESSION(TABLE clicks PARTITION BY user_id, "
        "DESCRIPTOR(ts), INTERVAL '5' MINUTE)) GROUP BY user_id, window_start, window_end",
        {"user_id": "clicks.user_id", "window_start": "clicks.ts", "n": "clicks.url"},
    ),
    "group window": (
        "SELECT TUMBLE_START(ts, INTERVAL '1' HOUR) AS w, product, SUM(price) AS p FROM orders "
        "GROUP BY TUMBLE(ts, INTERVAL '1' HOUR), product",
        {"w": "orders.ts", "product": "orders.product", "p": "orders.price"},
    ),
    "window function": (
        f"SELECT id, window_start FROM {_TUMBLE}",
        {"id": "orders.id", "window_start": "orders.ts"},
    ),
    "window join": (
        f"SELECT L.id, R.url, L.window_end FROM (SELECT * FROM {_TUMBLE}) L JOIN (SELECT * FROM TABLE(TUMBLE("
        "TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) R ON L.user_id = R.user_id "
        "AND L.window_start = R.window_start AND L.window_end = R.window_end",
        {"id": "orders.id", "url": "clicks.url", "window_end": "orders.ts"},
    ),
    "window top n": (
        "SELECT product, total, window_end FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end "
        f"ORDER BY total DESC) AS rn FROM (SELECT window_start, window_end, product, SUM(price) AS total FROM {_TUMBLE}"
        " GROUP BY window_start, window_end, product)) WHERE rn <= 2",
        {"product": "orders.product", "total": "orders.price", "window_end": "orders.ts"},
    ),
    "over rows": (
        "SELECT id, SUM(price) OVER (PARTITION BY user_id ORDER BY ts ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) AS s "
        "FROM orders",
        {"id": "orders.id", "s": "orders.price"},
    ),
    "over range": (
        "SELECT id, COUNT(product) OVER w AS c, MAX(qty) OVER w AS m FROM orders WINDOW w AS (PARTITION BY product "
        "ORDER BY ts RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW)",
        {"id": "orders.id", "c": "orders.product", "m": "orders.qty"},
    ),
    "lag": (
        "SELECT id, LAG(price) OVER (PARTITION BY user_id ORDER BY ts) AS before_it FROM orders",
        {"id": "orders.id", "before_it": "orders.price"},
    ),
    "top n": (
        "SELECT product, price, rn FROM (SELECT product, price, ROW_NUMBER() OVER (PARTITION BY product ORDER BY price "
        "DESC) AS rn FROM orders) WHERE rn <= 3",
        {"product": "orders.product", "price": "orders.price", "rn": ""},
    ),
    "deduplicate": (
        "SELECT id, product FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY ts DESC) AS rn FROM orders) "
        "WHERE rn = 1",
        {"id": "orders.id", "product": "orders.product"},
    ),
    "between": (
        "SELECT id, qty BETWEEN 0 AND 100 AS b, 'x' AS lit FROM orders WHERE qty > 10 AND qty < 20",
        {"id": "orders.id", "b": "orders.qty", "lit": ""},
    ),
    "order and limit": (
        "SELECT id, price FROM orders ORDER BY price DESC LIMIT 5",
        {"id": "orders.id", "price": "orders.price"},
    ),
    "match recognize": (
        "SELECT T.user_id, T.first_url, T.last_url, T.n FROM clicks MATCH_RECOGNIZE (PARTITION BY user_id ORDER BY ts "
        "MEASURES FIRST(A.url) AS first_url, LAST(B.url) AS last_url, COUNT(A.kind) AS n ONE ROW PER MATCH "
        "AFTER MATCH SKIP PAST LAST ROW PATTERN (A+ B) DEFINE A AS A.kind = 'x', B AS B.kind = 'y') AS T",
        {"user_id": "clicks.user_id", "first_url": "clicks.url", "last_url": "clicks.url", "n": "clicks.kind"},
    ),
    "unnest an array": (
        "SELECT o.id, t.tag FROM orders o CROSS JOIN UNNEST(o.tags) AS t (tag)",
        {"id": "orders.id", "tag": "orders.tags"},
    ),
    "unnest a map": (
        "SELECT o.id, t.k, t.v FROM orders o CROSS JOIN UNNEST(o.attrs) AS t (k, v)",
        {"id": "orders.id", "k": "orders.attrs", "v": "orders.attrs"},
    ),
    "nested field": (
        "SELECT id, o.addr.city AS city, addr FROM orders o",
        {"id": "orders.id", "city": "orders.addr.city", "addr": "orders.addr"},
    ),
    "element": (
        "SELECT id, tags[1] AS t1, attrs['a'] AS a FROM orders",
        {"id": "orders.id", "t1": "orders.tags", "a": "orders.attrs"},
    ),
    "row constructor": (
        "SELECT id, ROW(product, price) AS r, JSON_VALUE(product, '$.a') AS j FROM orders",
        {"id": "orders.id", "r": "orders.product orders.price", "j": "orders.product"},
    ),
    "union all": (
        "SELECT id, product AS x FROM orders UNION ALL SELECT id, name FROM users",
        {"id": "orders.id users.id", "x": "orders.product users.name"},
    ),
    "union": (
        "SELECT product AS x FROM orders UNION SELECT name FROM users",
        {"x": "orders.product users.name"},
    ),
    "intersect": ("SELECT product AS x FROM orders INTERSECT SELECT name FROM users", {"x": "orders.product"}),
    "except": ("SELECT product AS x FROM orders EXCEPT SELECT name FROM users", {"x": "orders.product"}),
    "common table": (
        "WITH a AS (SELECT user_id, SUM(qty) AS q FROM orders GROUP BY user_id), b AS (SELECT id, name FROM users) "
        "SELECT b.name, a.q FROM a JOIN b ON a.user_id = b.id",
        {"name": "users.name", "q": "orders.qty"},
    ),
    "view": ("SELECT what, total FROM big", {"what": "orders.product", "total": "orders.price orders.qty"}),
    "in": (
        "SELECT id, product FROM orders WHERE user_id IN (SELECT id FROM users WHERE city = 'x')",
        {"id": "orders.id", "product": "orders.product"},
    ),
    "not exists": (
        "SELECT id FROM orders o WHERE NOT EXISTS (SELECT 1 FROM users u WHERE u.id = o.user_id)",
        {"id": "orders.id"},
    ),
    "scalar subquery": (
        "SELECT id, (SELECT MAX(ts) FROM users) AS m FROM orders",
        {"id": "orders.id", "m": "users.ts"},
    ),
    "case": (
        "SELECT id, CASE WHEN qty > 1 THEN product ELSE CAST(price AS STRING) END AS c FROM orders",
        {"id": "orders.id", "c": "orders.qty orders.product orders.price"},
    ),
    "grouping sets": (
        "SELECT user_id, product, SUM(qty) AS q FROM orders GROUP BY GROUPING SETS ((user_id), (product))",
        {"user_id": "orders.user_id", "product": "orders.product", "q": "orders.qty"},
    ),
    "having": (
        "SELECT product, COUNT(*) AS n FROM orders GROUP BY product HAVING SUM(qty) > 10",
        {"product": "orders.product", "n": ""},
    ),
    "filtered aggregate": (
        "SELECT product, SUM(qty) FILTER (WHERE user_id > 3) AS q FROM orders GROUP BY product",
        {"product": "orders.product", "q": "orders.qty orders.user_id"},
    ),
    # Of a table without that partition the plan reads nothing, and never will.
    "no partition": ("SELECT id, dt AS d FROM no_logs WHERE dt = '2026-01-01'", {"id": "", "d": ""}),
    "values": ("SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS t(a, b)", {"a": "", "b": ""}),
    "processing time": ("SELECT id, pt FROM orders", {"id": "orders.id", "pt": ""}),
}

# Columns that a filter holds to one value: Flink puts constants in their places. Or within bounds: TRUE and FALSE stand
# for comparisons of them. So at least these are told, and that it is not known exactly.
AT_LEAST: dict[str, tuple[str, dict[str, str]]] = {
    "held to a value": ("SELECT id, product AS p FROM orders WHERE product = 'x'", {"p": "orders.product"}),
    "computed from it": (
        "SELECT id, UPPER(product) AS p, CONCAT(CAST(id AS STRING), product) AS q FROM orders WHERE product = 'x'",
        {"p": "orders.product", "q": "orders.product orders.id"},
    ),
    "held to null": ("SELECT id, product AS p FROM orders WHERE product IS NULL", {"p": "orders.product"}),
    "a range of one": ("SELECT id, qty AS q FROM orders WHERE qty >= 5 AND qty <= 5", {"q": "orders.qty"}),
    "in front of a join": (
        "SELECT o.id, u.name AS n FROM orders o JOIN users u ON o.user_id = u.id WHERE u.name = 'a'",
        {"n": "users.name"},
    ),
    "by the join": (
        "SELECT o.user_id AS a, u.id AS b FROM orders o JOIN users u ON o.user_id = u.id WHERE u.id = 5",
        {"a": "orders.user_id", "b": "users.id"},
    ),
    "grouped by it": (
        "SELECT product AS p, COUNT(*) AS n FROM orders WHERE product = 'x' GROUP BY product",
        {"p": "orders.product"},
    ),
    "pushed into the source": ("SELECT label AS l FROM dim WHERE label = 'z'", {"l": "dim.label"}),
    "one partition": ("SELECT id, dt AS d FROM logs WHERE dt = '2026-01-01'", {"d": "logs.dt"}),
    "a comparison that always holds": (
        "SELECT o.id, u.id > 1 AS b FROM orders o JOIN users u ON o.user_id = u.id WHERE u.id > 5",
        {"b": "users.id"},
    ),
    "one that never holds": (
        "SELECT id, qty < 1 AS b, qty = 3 AS c FROM orders WHERE qty > 10",
        {"b": "orders.qty", "c": "orders.qty"},
    ),
    "but for one value": ("SELECT id, qty = 3 AS b FROM orders WHERE qty <> 3", {"b": "orders.qty"}),
    "not null": ("SELECT id, product IS NOT NULL AS b FROM orders WHERE product IS NOT NULL", {"b": "orders.product"}),
    "counted by it": (
        "SELECT name, COUNT(*) FILTER (WHERE id > 1) AS n FROM users WHERE id > 3 GROUP BY name",
        {"n": "users.id"},
    ),
    "one side of a union": (
        "SELECT product AS p FROM orders WHERE product = 'x' UNION ALL SELECT name FROM users",
        {"p": "orders.product users.name"},
    ),
}
