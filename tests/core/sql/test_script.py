import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.sql.script import STATEMENT_SET_HEAD, StatementKind, as_one_job, parse, parse_script, placed


def texts(sql: str) -> list[str]:
    script = parse_script(sql)
    return [s.text for s in (*script.setup, *script.inserts)]


class TestSplitting:
    @pytest.mark.parametrize(
        "hidden",
        [
            "'a;b'",
            "'it''s; fine'",
            "`odd;name`",
            "1 -- a comment; with more\n",
            "1 // a comment; with more\n",
            "1 /* a; \n b; */",
            "'-- no comment;'",
            "'/* no comment;'",
            "`a``;b`",
        ],
    )
    def test_a_semicolon_that_is_hidden_splits_nothing(self, hidden):
        assert len(texts(f"INSERT INTO t SELECT {hidden} FROM s; INSERT INTO u SELECT 1")) == 2

    @given(st.lists(st.sampled_from(["'a;b'", "/* ; */", "-- ;\n", "`;`", "x", " ", "\n", "1"]), max_size=30))
    def test_no_mixture_of_them_splits(self, parts):
        assert len(parse("INSERT INTO t SELECT " + " ".join(parts)).statements()) == 1

    @given(st.text(max_size=200))
    def test_any_text_ends_in_statements_or_in_an_error_of_ours(self, text):
        try:
            script = parse_script(text)
        except InvalidInput as error:
            assert error.field == "spec.sql"
        else:
            assert script.inserts

    def test_empty_statements_are_nothing(self):
        assert texts(";;\n ; INSERT INTO a SELECT 1;; ;") == ["INSERT INTO a SELECT 1"]

    def test_hints_stay(self):
        assert "/*+ OPTIONS('a'='b') */" in texts("INSERT INTO a SELECT * FROM t /*+ OPTIONS('a'='b') */ WHERE 1=1")[0]


class TestPlaces:
    SQL = "-- head\nSET 'a.b' = 'c';\nCREATE TABLE t (x INT) WITH ('connector'='datagen');  INSERT INTO s\n  SELECT x FROM t;\n"

    def test_line_and_column_count_from_one(self):
        script = parse_script(self.SQL)
        assert [(s.number, s.line, s.column) for s in script.setup] == [(1, 2, 1), (2, 3, 1)]
        insert = script.inserts[0]
        assert (insert.number, insert.line) == (3, 3)
        assert self.SQL.splitlines()[2][insert.column - 1 :].startswith("INSERT")

    @given(st.lists(st.sampled_from(["INSERT INTO a SELECT 1", "INSERT INTO b\n  SELECT\n2", "\n", "  ", "-- c\n"])))
    def test_a_placed_statement_stands_where_it_stood(self, parts):
        sql = "INSERT INTO z SELECT 0;" + "".join(p + ";" if p.startswith("INSERT") else p for p in parts)
        script = parse_script(sql)
        for statement in script.inserts:
            rows = placed(statement).split("\n")
            assert rows[statement.line - 1][statement.column - 1 :].startswith("INSERT")
        whole = as_one_job(script.inserts)
        if len(script.inserts) > 1:
            assert whole.startswith(STATEMENT_SET_HEAD)
            rows = whole.split("\n")
            for statement in script.inserts:
                assert rows[statement.line][statement.column - 1 :].startswith("INSERT")


class TestStatementSets:
    @pytest.mark.parametrize(
        "sql",
        [
            "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; INSERT INTO b SELECT 2; END;",
            "BEGIN STATEMENT SET; INSERT INTO a SELECT 1; INSERT INTO b SELECT 2; END;",
            "INSERT INTO a SELECT 1; INSERT INTO b SELECT 2",
            "execute statement set\nbegin insert into a select 1; insert into b select 2; end",
        ],
    )
    def test_all_forms_are_one_job_of_two_inserts(self, sql):
        assert len(parse_script(sql).inserts) == 2

    @pytest.mark.parametrize(
        ("sql", "says"),
        [
            ("EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1;", "no END"),
            ("INSERT INTO a SELECT 1; END;", "END without"),
            ("EXECUTE STATEMENT SET BEGIN CREATE TABLE x (a INT); END;", "only INSERTs"),
            ("BEGIN STATEMENT SET; BEGIN STATEMENT SET; INSERT INTO a SELECT 1; END;", "inside a STATEMENT SET"),
        ],
    )
    def test_a_broken_one_says_where(self, sql, says):
        with pytest.raises(InvalidInput, match=says):
            parse_script(sql)


class TestQueries:
    """What Flink's parser takes for a query: tests/real/test_sessions.py asks it."""

    QUERIES = (
        "SELECT 1",
        "with a AS (SELECT 1) SELECT * FROM a",
        "VALUES (1), (2)",
        "VALUE (1)",
        "TABLE s",
        "(TABLE s)",
        "( /* one */ (SELECT 1)) UNION ALL (VALUES (2))",
        "EXECUTE SELECT 1",
        "EXECUTE (TABLE s)",
    )

    @pytest.mark.parametrize("query", QUERIES)
    def test_each_is_one_and_nothing_that_a_job_may_have(self, query):
        script = parse(f"CREATE VIEW v AS {query}; {query}")
        assert [s.kind for s in script.setup] == [StatementKind.SETUP]
        assert [(s.number, s.kind) for s in script.queries] == [(2, StatementKind.QUERY)]
        with pytest.raises(InvalidInput, match=r"Statement 2 .* query cannot be part of a job"):
            parse_script(f"SET 'a' = 'b'; {query}; INSERT INTO a SELECT 1")

    @pytest.mark.parametrize(
        "other", ["SHOW TABLES", "DESCRIBE t", "(1)", "()", "`select`", "EXECUTE INSERT INTO a SELECT 1"]
    )
    def test_nothing_else_is(self, other):
        assert parse(other).queries == []


class TestRefused:
    @pytest.mark.parametrize(
        ("sql", "says"),
        [
            ("SELECT 1; INSERT INTO a SELECT 1", "INSERT INTO <table> SELECT"),
            ("CREATE TABLE a (x INT)", "no INSERT"),
            ("", "no INSERT"),
            ("-- nothing", "no INSERT"),
            ("INSERT INTO a SELECT 1; DROP TABLE a", "after an INSERT"),
            ("INSERT INTO a SELECT 1; SET 'x' = 'y'", "after an INSERT"),
            ("CREATE TABLE a WITH ('connector'='x') AS SELECT 1; INSERT INTO a SELECT 1", "CREATE TABLE AS"),
            ("SET x = y; INSERT INTO a SELECT 1", "SET 'key' = 'value'"),
            ("SET 'pipeline.name' = 'y'; INSERT INTO a SELECT 1", "pipeline.name"),
            ("SET '$internal.pipeline.job-id' = 'y'; INSERT INTO a SELECT 1", "Flink job id"),
            ("SET 'execution.state-recovery.path' = '/x'; INSERT INTO a SELECT 1", "restore"),
            ("INSERT INTO a SELECT 'x", "string .* line 1, column 22"),
            ("INSERT INTO a SELECT `x", "quoted name"),
            ("INSERT INTO a /* SELECT 1", "comment"),
            ("DELETE FROM a; INSERT INTO a SELECT 1", "DELETE"),
        ],
    )
    def test_with_the_reason(self, sql, says):
        with pytest.raises(InvalidInput, match=says):
            parse_script(sql)

    @pytest.mark.parametrize("query", ["TABLE s", "(SELECT 1)", "VALUE (1)", "((TABLE s)) UNION ALL (SELECT 1)"])
    def test_a_table_made_of_any_query_runs_a_job(self, query):
        for head in ("CREATE TABLE a", "CREATE OR REPLACE TABLE a", "CREATE TABLE a (x)"):
            with pytest.raises(InvalidInput, match="CREATE TABLE AS"):
                parse_script(f"{head} WITH ('connector'='x') AS {query}; INSERT INTO a SELECT 1")

    def test_computed_columns_are_no_ctas(self):
        sql = "CREATE TABLE a (x INT, y AS x + 1) WITH ('connector'='x'); INSERT INTO b SELECT y FROM a"
        assert len(parse_script(sql).setup) == 1


def test_settings_are_collected():
    script = parse_script("SET 'a.b' = 'it''s'; SET 'c' = 'd'; INSERT INTO a SELECT 1")
    assert script.settings == {"a.b": "it's", "c": "d"}


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("INSERT INTO t SELECT 1", 1, 1),
        ("  EXECUTE INSERT INTO t SELECT 1", 1, 11),
        ("SET 'a' = 'b';\n EXECUTE\r\n  /* c */ INSERT INTO t SELECT 1", 3, 11),
    ],
)
def test_without_execute_a_statement_is_where_its_insert_is(text: str, line: int, column: int):
    statement = parse_script(text).inserts[0].without_execute()
    assert (statement.line, statement.column, statement.first) == (line, column, "INSERT")
