"""What SHOW CREATE TABLE of Flink 2.3 writes, taken apart."""

from __future__ import annotations

import pytest

from core.errors import InvalidInput
from core.sql.ddl import definition_of, table_of
from core.sql.script import parse

SHOWN = """CREATE TABLE `default_catalog`.`default_database`.`t` (
  `id` BIGINT NOT NULL COMMENT 'it''s, the key',
  `text` VARCHAR(2147483647),
  `raw` VARBINARY(2147483647),
  `code` VARCHAR(3),
  `a, b` ROW<`x` INT, `y` ARRAY<MAP<INT, VARCHAR(2147483647)>>>,
  `price` DECIMAL(10, 2),
  `at` TIMESTAMP(3),
  `key` VARCHAR(2147483647) METADATA,
  `stamp` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL COMMENT 'of the broker',
  `now` AS PROCTIME() COMMENT 'late',
  `twice` AS COALESCE(`price`, 0) * 2,
  WATERMARK FOR `at` AS `at` - INTERVAL '5' SECOND,
  CONSTRAINT `PK_id` PRIMARY KEY (`id`, `code`) NOT ENFORCED
)
COMMENT 'Clicks'
PARTITIONED BY (`code`)
WITH (
  'connector' = 'kafka',
  'it''s' = '${secret:x}'
)
"""


class TestDefinition:
    def test_everything_has_its_place(self):
        definition = definition_of(SHOWN)
        columns = {c.name: c for c in definition.columns}
        assert [(n, c.type) for n, c in columns.items() if c.type] == [
            ("id", "BIGINT NOT NULL"),
            ("text", "STRING"),
            ("raw", "BYTES"),
            ("code", "VARCHAR(3)"),
            ("a, b", "ROW<`x` INT, `y` ARRAY<MAP<INT, STRING>>>"),
            ("price", "DECIMAL(10, 2)"),
            ("at", "TIMESTAMP(3)"),
            ("key", "STRING"),
            ("stamp", "TIMESTAMP_LTZ(3)"),
        ]
        assert columns["id"].comment == "it's, the key"
        assert (columns["key"].metadata, columns["key"].virtual) == ("key", False)
        assert (columns["stamp"].metadata, columns["stamp"].virtual) == ("timestamp", True)
        assert (columns["now"].expression, columns["now"].comment) == ("PROCTIME()", "late")
        assert columns["twice"].expression == "COALESCE(`price`, 0) * 2"
        assert definition.watermark is not None
        assert (definition.watermark.column, definition.watermark.expression) == ("at", "`at` - INTERVAL '5' SECOND")
        assert definition.primary_key == ["id", "code"]
        assert definition.partitioned_by == ["code"]
        assert definition.comment == "Clicks"
        assert definition.options == {"connector": "kafka", "it's": "${secret:x}"}

    def test_its_own_ddl_is_taken_apart_to_the_same(self):
        definition = definition_of(SHOWN)
        assert definition_of(definition.ddl("t")) == definition

    def test_what_has_no_place_is_refused(self):
        with pytest.raises(InvalidInput, match="DISTRIBUTED BY of a table cannot be registered"):
            definition_of("CREATE TABLE t (a INT) DISTRIBUTED BY HASH(a) INTO 4 BUCKETS WITH ('connector' = 'x')")

    def test_a_table_without_connector_is_none_of_ours(self):
        with pytest.raises(InvalidInput, match="connector"):
            definition_of("CREATE TABLE t (a INT) WITH ('k' = 'v')")


class TestWhatIsImported:
    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("CREATE VIEW v AS SELECT 1", "only CREATE TABLE"),
            ("CREATE OR REPLACE TABLE t (a INT)", "only CREATE TABLE"),
            ("DROP TABLE t", "only CREATE TABLE"),
            ("CREATE TABLE t AS SELECT 1 AS a", "runs a job"),
            ("CREATE TABLE t WITH ('connector' = 'x') AS SELECT (1) AS a", "runs a job"),
            ("CREATE TABLE db.t (a INT)", "without catalog and database, not db.t"),
            ("CREATE TABLE `a b` (a INT)", "cannot be the name"),
        ],
    )
    def test_only_tables_under_plain_names(self, text: str, why: str):
        with pytest.raises(InvalidInput, match=why):
            table_of(parse(text).only_statement())

    @pytest.mark.parametrize(
        "text",
        [
            "CREATE TABLE t (a AS CAST(1 AS INT)) WITH ('connector' = 'x')",
            "CREATE TEMPORARY TABLE t (a INT)",
            "create table if not exists `t` like u",
        ],
    )
    def test_as_inside_of_brackets_is_a_column(self, text: str):
        assert table_of(parse(text).only_statement()) == "t"
