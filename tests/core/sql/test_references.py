"""Names and secrets in a SQL text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.sql.references import (
    check_script,
    created,
    definition_overrides,
    in_clear,
    named,
    options_of_created,
    resolved_script,
    secrets_in,
    stays_in_session,
)
from core.sql.script import parse
from core.sql.tokens import quoted, quoted_name, tokens


class TestNames:
    def test_every_name_and_every_chain(self):
        found = named(parse("SELECT o.id FROM `team-a`.orders AS o -- not.this\n WHERE x = 'nor.this'"))
        assert {("o", "id"), ("team-a", "orders"), ("o",)} <= found
        assert not any("not" in c or "nor" in c for c in found)

    @pytest.mark.parametrize(
        ("text", "names"),
        [
            ("CREATE TABLE a (x INT) WITH ('connector'='x')", {("a",)}),
            ("CREATE TEMPORARY TABLE IF NOT EXISTS `a`.b (x INT)", {("a", "b")}),
            ("CREATE OR REPLACE TEMPORARY VIEW v AS SELECT 1", {("v",)}),
            ("CREATE CATALOG c WITH ('type'='x'); DROP TABLE z", set()),
        ],
    )
    def test_what_a_script_makes(self, text, names):
        assert created(parse(text)) == names

    @given(st.text(max_size=40))
    def test_quoting_keeps_everything_inside(self, text):
        (name,) = list(tokens(quoted_name(text)))
        assert name.kind == "name"
        (value,) = list(tokens(quoted(text)))
        assert value.kind == "string"


class TestSecrets:
    @pytest.mark.parametrize(
        "text",
        [
            "SELECT '${secret:a}'",
            "INSERT INTO t VALUES ('${secret:a}')",
            "CREATE VIEW v AS SELECT '${secret:a}'",
            "SELECT 1 FROM t WHERE 'a' = '${secret:a}'",
        ],
    )
    def test_where_it_would_be_seen_it_is_refused(self, text):
        with pytest.raises(InvalidInput):
            resolved_script(parse(text), {"a": "x"})

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("CREATE TABLE a (LIKE b)", [("LIKE", ("b",))]),
            ("CREATE TABLE a WITH ('x'='y') LIKE `p`.b (EXCLUDING OPTIONS)", [("LIKE", ("p", "b"))]),
            ("SELECT * FROM t WHERE a LIKE 'x'", []),
            ("ALTER TABLE IF EXISTS p.b SET ('x'='y')", [("ALTER TABLE", ("p", "b"))]),
            ("SELECT * FROM c.p.b /*+ OPTIONS('x'='y') */ AS z", [("an OPTIONS hint", ("c", "p", "b"))]),
            ("SELECT /*+ BROADCAST(b) */ * FROM b", []),
        ],
    )
    def test_definitions_that_are_taken_or_changed(self, text, found):
        assert [(how, chain) for how, chain, _ in definition_overrides(parse(text))] == found

    def test_references_are_replaced_in_options_only(self):
        text = "CREATE TABLE t (`${secret:a}` INT) WITH ('p' = '${secret:a}') -- ${secret:a}"
        assert resolved_script(parse(text), {"a": "it's"}).text == (
            "CREATE TABLE t (`${secret:a}` INT) WITH ('p' = 'it''s') -- ${secret:a}"
        )
        assert secrets_in(text) == {"a"}

    @given(st.text(min_size=1, max_size=40))
    def test_no_secret_breaks_out_of_its_string(self, secret):
        made = resolved_script(parse("SET 'k' = '${secret:a}'"), {"a": secret})
        shape = [t.kind for t in made.tokens]
        assert shape == ["word", "string", "other", "string"]

    def test_a_malformed_one_is_refused(self):
        with pytest.raises(InvalidInput):
            secrets_in("'${secret:Not A Name}'")

    @pytest.mark.parametrize(
        ("key", "value", "clear"),
        [
            ("password", "x", True),
            ("password", "${secret:x}", False),
            ("password", "", False),
            ("properties.ssl.keystore.password", "x", True),
            ("properties.ssl.keystore.location", "/x", False),
            ("secret-key", "x", True),
            ("aws.access-key-id", "AKIA", True),
            ("scan.token", "x", True),
            ("url", "jdbc:postgresql://h/d", False),
            ("url", "jdbc:postgresql://h/d?user=a&password=b", True),
            ("url", "https://a:b@h/", True),
            ("url", "https://a:${secret:x}@h/", False),
            ("properties.sasl.jaas.config", 'x required username="a" password="b";', True),
            ("properties.sasl.jaas.config", 'x required username="a" password="${secret:b}";', False),
            ("topic", "passwords", False),
        ],
    )
    def test_what_is_a_secret_in_clear(self, key, value, clear):
        assert in_clear(key, value) is clear

    @pytest.mark.parametrize(
        "text",
        [
            "CREATE TABLE t (x INT) WITH ('connector'='jdbc', 'password' = 'a')",
            "SET 'my.secret' = 'a'",
            "SELECT 1\nFROM t /*+ OPTIONS('password'='a') */",
            "CREATE TABLE t (x INT) WITH ('connector'='jdbc', 'password' = E'a')",
            "CREATE TABLE t (x INT) WITH ('connector'='jdbc', 'password' = U&'a')",
            "CREATE TABLE t (x INT) WITH ('connector'='jdbc', 'password' = N'a')",
            "CREATE TABLE t (x INT) WITH ('connector'='jdbc', 'url' = E'jdbc:mysql://u:p@h/d')",
        ],
    )
    def test_in_a_script_it_is_refused_with_its_place(self, text):
        with pytest.raises(InvalidInput) as error:
            check_script(parse(text))
        assert "Line " in error.value.message
        assert "penstock secrets set" in (error.value.remedy or "")

    @pytest.mark.parametrize("text", ["SELECT 1 WHERE 'password' = name", "SELECT 'password' = a || 'x' FROM t"])
    def test_a_comparison_is_no_option(self, text):
        check_script(parse(text))


class TestOptionsOfCreated:
    """What a session says of a table that was made in it, without being asked."""

    def options(self, text: str, *before: str) -> dict[str, dict[str, str]]:
        found = options_of_created(before, parse(text + ";\nINSERT INTO s SELECT 1"))
        return {str(table).removeprefix("default_catalog."): options for table, options in found.items()}

    def test_of_every_table_by_its_full_name(self):
        text = """CREATE TABLE a (id BIGINT) COMMENT 'x' WITH ('connector' = 'it''s', 'k' = 'v');
        CREATE TEMPORARY TABLE IF NOT EXISTS db.`b` (id INT) PARTITIONED BY (id) WITH ('connector'='b');
        CREATE TABLE other.db.c (id INT) WITH ('connector' = 'c')"""
        assert self.options(text, "CREATE TABLE `default_catalog`.`default_database`.`d` (x INT) WITH ('o' = 'd')") == {
            "default_database.a": {"connector": "it's", "k": "v"},
            "db.b": {"connector": "b"},
            "other.db.c": {"connector": "c"},
            "default_database.d": {"o": "d"},
        }

    @pytest.mark.parametrize("value", ["'or' 'ders'", "U&'\\0041'", "N'a'", "_UTF8'a'", "E'a'", "'a' || 'b'", "${x}"])
    def test_not_of_one_with_anything_but_plain_strings(self, value: str):
        text = f"CREATE TABLE a (id INT) WITH ('o' = 'a'); CREATE TABLE b (id INT) WITH ('o' = 'b', 'topic' = {value})"
        assert self.options(text) == {"default_database.a": {"o": "a"}}

    @pytest.mark.parametrize(
        "more",
        [
            "CREATE TABLE b (id INT) WITH ('connector' = 'c')",
            "CREATE TABLE default_database.b (id INT) WITH ('connector' = 'c')",
            "CREATE TEMPORARY VIEW b AS SELECT 1",
        ],
    )
    def test_not_of_one_that_is_made_twice(self, more: str):
        text = "CREATE TABLE a (id INT) WITH ('o' = 'a'); CREATE TABLE b (id INT) WITH ('o' = 'b')"
        assert self.options(f"{text}; {more}") == {"default_database.a": {"o": "a"}}
        assert self.options(text, more) == {"default_database.a": {"o": "a"}}

    @pytest.mark.parametrize(
        "one",
        [
            "CREATE TABLE b WITH ('o' = 'x') LIKE a",
            "CREATE TABLE b (id INT) WITH ('o' = 'x') LIKE a (EXCLUDING ALL)",
            "CREATE OR REPLACE TABLE b (id INT) WITH ('o' = 'x')",
            "CREATE TABLE b (id INT)",
            "CREATE TABLE b (id INT) WITH ('o' = E'\\x')",
            "CREATE VIEW b AS WITH x AS (SELECT 1) SELECT * FROM x",
        ],
    )
    def test_not_of_one_whose_text_does_not_tell(self, one: str):
        assert self.options(f"CREATE TABLE a (id INT) WITH ('o' = 'a'); {one}") == {"default_database.a": {"o": "a"}}

    @pytest.mark.parametrize(
        "one",
        [
            "USE db",
            "USE CATALOG c",
            "ALTER TABLE a SET ('o' = 'b')",
            "DROP TABLE a",
            "LOAD MODULE hive",
            "SET 'table.sql-dialect' = 'hive'",
        ],
    )
    def test_of_none_where_a_statement_may_change_what_others_say(self, one: str):
        assert self.options(f"CREATE TABLE a (id INT) WITH ('o' = 'a'); {one}") == {}
        assert self.options("CREATE TABLE a (id INT) WITH ('o' = 'a')", one) == {}


@pytest.mark.parametrize(
    ("statement", "stays"),
    [
        ("SET 'a' = 'b'", True),
        ("CREATE TABLE a (id INT) WITH ('o' = 'a')", True),
        ("CREATE TEMPORARY TABLE IF NOT EXISTS db.a (id INT)", True),
        ("CREATE TABLE `default_catalog`.`db`.`a` (id INT)", True),
        ("CREATE TABLE hive.db.a (id INT)", False),
        ("CREATE TABLE a LIKE hive.db.b", False),
        ("CREATE OR REPLACE TABLE a (id INT)", False),
        ("CREATE VIEW a AS SELECT * FROM hive.db.b", False),
        ("CREATE CATALOG hive WITH ('type' = 'hive')", False),
        ("CREATE DATABASE IF NOT EXISTS `default_catalog`.`db`", False),
        ("CREATE FUNCTION f AS 'x.Y'", False),
        ("ADD JAR '/x.jar'", False),
        ("USE CATALOG hive", False),
        ("DROP TABLE a", False),
    ],
)
def test_what_needs_nothing_but_the_memory_of_its_session(statement: str, stays: bool):
    assert stays_in_session(tokens(statement)) is stays
