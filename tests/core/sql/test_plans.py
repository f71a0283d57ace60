"""Columns and verdicts from plans that a real Flink compiled (tests/core/sql/plans; 2.3.0 where no other is named). What a restore really does
with each class of verdict is in tests/real/test_verdict.py."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.jobs.restore import Accepted
from core.sql.lineage import JobLineage, Lineage, TableUse, around, graph, of
from core.sql.operators import TableName, fields_of
from core.sql.places import place_of_options
from core.sql.plan import NotAPlan, Plan, read, renumbered
from core.sql.verdict import Change, OperatorChange, StateVerdict, Verdict, compare, from_one, objection

FOLDER = Path(__file__).parent / "plans"


def plan(name: str) -> Plan:
    return from_one(read(json.loads((FOLDER / f"{name}.json").read_text())))


class TestReading:
    def test_tables_and_columns(self):
        found = plan("count-sum")
        assert [t.name for t in found.reads] == ["src"]
        assert [t.name for t in found.writes] == ["snk"]
        (sink,) = found.sinks
        assert {c.name: {o.column for o in c.origins} for c in found.written(sink)} == {"name": {"name"}, "c": {"amt"}}

    def test_ids_count_from_one(self):
        assert sorted(plan("count").nodes) == list(range(1, len(plan("count").nodes) + 1))

    def test_an_operator_that_is_not_known_makes_its_columns_inexact(self):
        body = json.loads((FOLDER / "count.json").read_text())
        for node in body["nodes"]:
            node["type"] = node["type"].replace("group-aggregate", "dream-aggregate")
        found = read(body)
        columns = found.written(found.sinks[0])
        assert not any(c.exact for c in columns)
        assert {o.column for c in columns for o in c.origins} == {"name"}

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"nodes": []},
            {"nodes": [{"id": 1}], "edges": []},
            {
                "flinkVersion": "2",
                "nodes": [{"id": 1, "type": "stream-exec-calc_1"}],
                "edges": [{"source": 1, "target": 1}],
            },
            {"flinkVersion": "2", "nodes": [{"id": 1, "type": "odd"}], "edges": []},
        ],
    )
    def test_what_is_no_plan(self, body):
        with pytest.raises(NotAPlan):
            read(body)

    def test_a_table_that_is_looked_up(self):
        """From JDBC, which takes filter and projection into itself (compiled with flink-connector-jdbc 4.0.0-2.0)."""
        found = plan("lookup")
        assert [t.name for t in found.reads] == ["dim", "o"]
        columns = found.written(found.sinks[0])
        assert {c.name: {f"{o.table.name}.{o.column}" for o in c.origins} for c in columns} == {
            "id": {"o.id"},
            "a": {"dim.name"},
            "b": {"dim.city"},
        }
        assert all(c.exact for c in columns)

    def test_row_types_in_both_writings(self):
        assert fields_of("ROW<`a` INT, `b``c` ROW<`x` DECIMAL(10, 2), `y` MAP<STRING, INT>> NOT NULL>") == [
            ("a", "INT"),
            ("b`c", "ROW<`x` DECIMAL(10, 2), `y` MAP<STRING, INT>> NOT NULL"),
        ]
        assert fields_of({"type": "ROW", "fields": [{"name": "a", "fieldType": "INT"}]}) == [("a", "INT")]

    def test_names_with_backticks(self):
        assert TableName.parse("`c`.`d`.`odd``name`") == TableName("c", "d", "odd`name")


class TestVerdict:
    @pytest.mark.parametrize(
        ("old", "new", "verdict", "words"),
        [
            ("count", "count", Verdict.COMPATIBLE, "All state goes on"),
            ("count", "count-filtered", Verdict.COMPATIBLE, "All state goes on"),
            ("count", "count-two", Verdict.COMPATIBLE, "begins empty"),
            ("count-two", "count", Verdict.WITH_LOSS, "ids"),
            ("count", "ids", Verdict.WITH_LOSS, "GroupAggregate"),
            ("count", "count-sum", Verdict.INCOMPATIBLE, "SUM"),
            ("count", "count-upper", Verdict.INCOMPATIBLE, "UPPER"),
            # The same types in the same places, and yet another sum: mixing the two would be silently wrong.
            ("sum", "sum-other", Verdict.INCOMPATIBLE, "aggregates"),
            ("join", "join-more", Verdict.INCOMPATIBLE, "rows of input 1"),
            ("top", "top5", Verdict.INCOMPATIBLE, "rankRange"),
            ("count", "count-ttl", Verdict.UNKNOWN, "time to live"),
            # A source of a join gets a primary key: rows are kept by it, and no longer with how often they came.
            ("join-unkeyed", "join-keyed", Verdict.INCOMPATIBLE, "what tells apart the rows of input 1"),
            # The count has the same type, and the set of what was counted has not.
            ("distinct-bigint", "distinct-string", Verdict.INCOMPATIBLE, "VARCHAR"),
            # Windows are kept by their ends in local time: a sum would go on in a window of another day.
            ("days-utc", "days-shanghai", Verdict.INCOMPATIBLE, "time zone"),
            ("group-window-utc", "group-window-kolkata", Verdict.INCOMPATIBLE, "time zone"),
            # A sink that puts late changes into order keeps whole rows by its primary key.
            ("upserts-x", "upserts-y", Verdict.INCOMPATIBLE, "key"),
            ("upserts-v", "upserts-w", Verdict.INCOMPATIBLE, "rows"),
            # The column has its name and its type, and is read from elsewhere.
            ("metadata-path", "metadata-name", Verdict.INCOMPATIBLE, "METADATA file.name"),
            ("array", "array-ignore-nulls", Verdict.INCOMPATIBLE, "IGNORE NULLS"),
        ],
    )
    def test_the_class(self, old: str, new: str, verdict: Verdict, words: str):
        found = compare(plan(old), plan(new)).verdict
        assert found.verdict is verdict, found
        assert words in found.summary

    def test_what_keeps_its_state_keeps_its_id(self):
        old, new = plan("count"), renumbered(plan("count-filtered"), {n: n + 500 for n in plan("count-filtered").nodes})
        aligned = compare(old, new).aligned

        def ids(of_plan: Plan) -> dict[str, int]:
            return {n.kind: n.id for n in of_plan.nodes.values() if n.kind != "calc"}

        for kind in ("table-source-scan", "group-aggregate", "sink"):
            assert ids(aligned)[kind] == ids(old)[kind]
        assert len(set(aligned.nodes)) == len(new.nodes)

    def test_what_cannot_go_on_gets_an_id_of_its_own(self):
        old = plan("count")
        aligned = compare(old, plan("count-sum")).aligned
        (changed,) = [n.id for n in aligned.nodes.values() if n.kind == "group-aggregate"]
        assert changed not in old.nodes

    @pytest.mark.parametrize(("old", "new"), [("reports-1", "reports-2"), ("reports-3-5", "reports-5-3")])
    def test_the_state_of_an_insert_stays_with_it(self, old: str, new: str):
        """SUMs of the 3 and of the 5 greatest values, each into a table of its own: with the same words, they differ in
        what comes into them only. A third INSERT in front, or another order, gives none of them the sum of another."""

        def sums(found: Plan) -> dict[str, int]:
            after = {i: n.id for n in found.nodes.values() for i in n.inputs}
            table = {s.id: s.table.name for s in found.sinks if s.table}
            return {table[after[n.id]]: n.id for n in found.nodes.values() if n.kind == "group-aggregate"}

        before, found = plan(old), compare(plan(old), plan(new))
        assert found.verdict.verdict is Verdict.COMPATIBLE, found.verdict
        assert sums(before).items() <= sums(found.aligned).items()
        assert found.verdict.notes == []

    def test_what_may_be_the_state_of_another_is_not_known(self):
        """Both filters are others, and so are both tables: nothing says which aggregate goes on where."""
        text = json.dumps(plan("reports-x-y").body).replace("`o", "`other")
        found = compare(plan("reports-x-y"), read(json.loads(text.replace('"x"', '"a"').replace('"y"', '"b"')))).verdict
        unsure = [c for c in found.operators if c.change is Change.UNSURE]
        assert [c.kind for c in unsure] == ["group-aggregate"] * 4, found
        assert "cannot be told" in unsure[0].why
        assert objection(found, Accepted(loss=True)) is not None

    def test_where_its_rows_end_tells_which_it_is(self):
        """One filter is another, and the rest is as it was: its aggregates go on, with a note on each."""
        new = read(json.loads(json.dumps(plan("reports-x-y").body).replace('"y"', '"b"')))
        found = compare(plan("reports-x-y"), new)
        assert found.verdict.verdict is Verdict.COMPATIBLE, found
        sums = [[n.id for n in p.nodes.values() if n.kind == "group-aggregate"] for p in (new, found.aligned)]
        assert sums[0] == sums[1]
        assert len(found.verdict.notes) == 2
        assert "a filter in front of it changed" in found.verdict.notes[0]
        assert "made in another way" in found.verdict.notes[1]

    def test_what_was_given_by_an_operator_that_begins_empty_is_not_kept(self):
        """A rank that is changed begins empty, and gives all its rows anew: a sum that went on would count them twice."""
        body = json.loads(json.dumps(plan("reports-1").body))
        next(n for n in body["nodes"] if "rank" in n["type"])["rankRange"]["end"] = 3
        found = compare(plan("reports-1"), read(body))
        (total,) = [c for c in found.verdict.operators if c.kind == "group-aggregate"]
        assert (total.change, "counted again" in total.why) == (Change.CHANGED, True)
        (node,) = [n for n in found.aligned.nodes.values() if n.kind == "group-aggregate"]
        assert node.id not in plan("reports-1").nodes

    def test_aligned_twice_is_the_same_plan(self):
        old, new = plan("count"), plan("count-filtered")
        once = compare(old, new).aligned
        assert compare(old, renumbered(new, {n: n + 90 for n in new.nodes})).aligned.digest() == once.digest()
        assert compare(once, new).aligned.digest() != ""
        assert compare(once, new).verdict.verdict is Verdict.COMPATIBLE

    def test_a_source_that_reads_from_elsewhere_is_not_known(self):
        body = json.loads((FOLDER / "count.json").read_text())
        for node in body["nodes"]:
            if "scanTableSource" in node:
                node["scanTableSource"]["table"]["resolvedTable"]["options"]["topic"] = "other"
        found = compare(plan("count"), read(body)).verdict
        assert found.verdict is Verdict.UNKNOWN
        assert "topic" in found.summary

    @pytest.mark.parametrize(
        ("old", "new", "differs"),
        [
            ({"topic": "a; b"}, {"topic": "b;a"}, False),
            ({"topic": "a"}, {"topic": "A"}, True),
            ({"topic-pattern": "a"}, {"topic-pattern": "a/"}, True),
            ({"path": "/in"}, {"path": "file:///in/"}, False),
            ({"path": "/in"}, {"path": "/IN"}, True),
            ({"hostname": "DB"}, {"hostname": "db"}, False),
            ({"url": "http://h/"}, {"url": "http://h"}, False),
            ({"table-name": "t"}, {"table-name": "t/"}, True),
            ({"collection": "c", "database": "a"}, {"collection": "c", "database": "b"}, True),
            ({"index": "i", "hosts": "http://b:9200;http://a:9200"}, {"index": "i", "hosts": "http://c:9200"}, True),
            ({"stream": "s", "aws.region": "eu-west-1"}, {"stream": "s", "aws.region": "us-east-1"}, True),
            ({"properties.bootstrap.servers": "a:9092,b:9092"}, {"properties.bootstrap.servers": "B, c"}, False),
            ({"properties.bootstrap.servers": "a:9092"}, {"properties.bootstrap.servers": "a:9093"}, True),
        ],
    )
    def test_a_place_that_is_written_in_another_way(self, old: dict[str, str], new: dict[str, str], differs: bool):
        """What has been kept of the rows of one place is that of the same place, however it is written."""
        found = compare(self.reading("count", old), self.reading("count", new)).verdict
        assert (found.verdict is Verdict.UNKNOWN, bool(found.notes)) == (differs, differs), found

    @pytest.mark.parametrize(
        ("old", "new", "differs"),
        [
            ({"source.monitor-interval": "5 min"}, {"source.monitor-interval": " 300s"}, False),
            ({"source.monitor-interval": "5 min"}, {"source.monitor-interval": "5 s"}, True),
            ({"sink.rolling-policy.file-size": "1 gb"}, {"sink.rolling-policy.file-size": "1024MB"}, False),
            ({"json.ignore-parse-errors": "TRUE"}, {"json.ignore-parse-errors": "true"}, False),
            ({"json.ignore-parse-errors": "true"}, {"json.ignore-parse-errors": "false"}, True),
            ({"scan.startup.mode": "Latest-Offset"}, {"scan.startup.mode": "latest-offset"}, False),
            # A text is what it is, and names of options have a case.
            ({"csv.null-literal": "TRUE"}, {"csv.null-literal": "true"}, True),
            ({"csv.null-literal": "5 min"}, {"csv.null-literal": "300 s"}, True),
            ({"csv.field-delimiter": " "}, {"csv.field-delimiter": ""}, True),
            ({"properties.Group.Id": "g"}, {"properties.group.id": "g"}, True),
            ({"properties.x.timeout": "5 min"}, {"properties.x.timeout": "300 s"}, True),
            ({"source.monitor-interval": "soon"}, {"source.monitor-interval": "SOON"}, True),
            ({}, {"json.ignore-parse-errors": "true"}, True),
        ],
    )
    def test_an_option_that_is_written_in_another_way(self, old: dict[str, str], new: dict[str, str], differs: bool):
        found = compare(self.reading("count", old), self.reading("count", new)).verdict
        assert (found.verdict, bool(found.notes)) == (Verdict.COMPATIBLE, differs), found
        if differs:
            (note,) = found.notes
            assert all(key in note for key in {*old, *new})

    @staticmethod
    def reading(name: str, options: dict[str, str]) -> Plan:
        """The plan, with these options of its source."""
        body = json.loads((FOLDER / f"{name}.json").read_text())
        for node in body["nodes"]:
            if "scanTableSource" in node:
                node["scanTableSource"]["table"]["resolvedTable"]["options"] = {"connector": "any", **options}
        return read(body)

    @pytest.mark.parametrize(
        ("connector", "verdict"),
        [("filesystem", Verdict.INCOMPATIBLE), ("iceberg", Verdict.UNKNOWN), ("kafka", Verdict.COMPATIBLE)],
    )
    def test_a_sink_that_writes_elsewhere(self, connector: str, verdict: Verdict):
        """A filesystem sink goes on writing into the folder of its state (tests/real/test_verdict.py)."""

        def at(place: str) -> Plan:
            body = json.loads((FOLDER / "count.json").read_text())
            for node in body["nodes"]:
                if "dynamicTableSink" in node:
                    options = {"connector": connector, "path": place, "topic": place.strip("/")}
                    node["dynamicTableSink"]["table"]["resolvedTable"]["options"] = options
            return read(body)

        found = compare(at("/one"), at("/two")).verdict
        assert found.verdict is verdict, found
        assert "path, topic" in " ".join([found.summary, *found.notes])
        assert compare(at("/one"), at("/one/")).verdict.verdict is Verdict.COMPATIBLE

    def test_batch_mode_goes_on_from_nothing(self):
        """Flink gives a batch job no state, and says nothing of it (tests/real/test_verdict.py)."""
        body = json.loads((FOLDER / "count.json").read_text().replace('"stream-exec-', '"batch-exec-'))
        found = compare(plan("count"), read(body)).verdict
        assert found.verdict is Verdict.INCOMPATIBLE, found
        assert {c.change for c in found.operators} == {Change.CHANGED}
        assert "mode" in found.summary

    def test_another_connector_cannot_take_its_positions(self):
        body = json.loads((FOLDER / "count.json").read_text())
        for node in body["nodes"]:
            if "scanTableSource" in node:
                node["scanTableSource"]["table"]["resolvedTable"]["options"]["connector"] = "kafka"
        assert compare(plan("count"), read(body)).verdict.verdict is Verdict.INCOMPATIBLE

    def test_what_an_older_flink_left_unsaid_is_no_change(self):
        """Plans of 1.20.5 do not have `outputInsertOnly`; 2.3.0 says it of every deduplication."""
        found = compare(plan("deduplicate-1.20"), plan("deduplicate-2.3")).verdict
        assert found.verdict is Verdict.COMPATIBLE, found

    def test_state_goes_on_in_the_implementation_that_made_it(self):
        """2.3.0 has a second one of unbounded OVERs, and would take it for state of 1.20.5, too."""
        old, new = plan("over-unbounded-1.20"), plan("over-unbounded-2.3")

        def manner(found: Plan) -> list[object]:
            return [n.body.get("unboundedOverVersion") for n in found.nodes.values() if n.kind == "over-aggregate"]

        assert (manner(old), manner(new)) == ([None], [2])
        found = compare(old, new)
        assert found.verdict.verdict is Verdict.COMPATIBLE
        assert manner(found.aligned) == [None]
        assert manner(compare(new, new).aligned) == [2]
        # What begins empty begins in the new one.
        assert manner(compare(plan("count"), new).aligned) == [2]


KEPT, CHANGED, DROPPED, UNSURE = Change.KEPT, Change.CHANGED, Change.DROPPED, Change.UNSURE


class TestObjection:
    """What has to be accepted before a state is given to a version, each for itself."""

    @pytest.mark.parametrize(
        ("verdict", "changes", "asks"),
        [
            (Verdict.COMPATIBLE, [KEPT], []),
            (Verdict.WITH_LOSS, [KEPT, DROPPED], ["loss"]),
            (Verdict.INCOMPATIBLE, [CHANGED], ["change"]),
            (Verdict.INCOMPATIBLE, [CHANGED, DROPPED], ["change", "loss"]),
            (Verdict.INCOMPATIBLE, [CHANGED, UNSURE], ["change", "unknown"]),
            (Verdict.UNKNOWN, [UNSURE], ["unknown"]),
            (Verdict.UNKNOWN, [UNSURE, DROPPED], ["unknown", "loss"]),
            (Verdict.UNKNOWN, [], ["unknown"]),
        ],
    )
    @given(loss=st.booleans(), change=st.booleans(), unknown=st.booleans())
    def test_table(self, verdict, changes, asks, loss, change, unknown):
        operators = [OperatorChange(change=c, kind="k", old="o", new="n") for c in changes]
        found = StateVerdict(verdict=verdict, summary="s", operators=operators)
        accepted = Accepted(loss=loss, change=change, unknown=unknown)
        missing = [word for word in asks if not getattr(accepted, word)]
        codes = {"loss": "state_loss", "change": "state_incompatible", "unknown": "state_unknown"}
        said = objection(found, accepted)
        assert (said[0] if said else None) in ([codes[word] for word in missing] or [None])


class TestGraph:
    def test_places_are_the_same_whatever_the_table_is_called(self):
        one = place_of_options({"connector": "kafka", "topic": "orders", "properties.bootstrap.servers": "b:9092"})
        other = place_of_options(
            {"connector": "upsert-kafka", "topic": "orders", "properties.bootstrap.servers": "b:9092", "format": "json"}
        )
        assert one == other == "kafka:properties.bootstrap.servers=b:9092;topic=orders"
        assert place_of_options({"connector": "datagen"}) is None

    def test_up_and_down(self):
        def job(name: str, reads: str, writes: str) -> JobLineage:
            def use(place: str) -> TableUse:
                return TableUse(table="t", place=place, connector="kafka")

            return JobLineage(name, Lineage(reads=[use(reads)], writes=[use(writes)]))

        view = graph([job("p:a", "k:1", "k:2"), job("p:b", "k:2", "k:3"), job("p:c", "k:9", "k:8")])
        assert around(view, "p:a", up=False).jobs == ["p:a", "p:b"]
        assert around(view, "p:b", up=True).places == ["k:1", "k:2"]

    def test_a_table_without_a_place_is_its_jobs_own(self):
        found = of(plan("count"))
        assert found.reads[0].place is None
        view = graph([JobLineage("p:a", found), JobLineage("p:b", found)])
        assert around(view, "p:a", up=False).jobs == ["p:a"]


class TestRenames:
    @staticmethod
    def called(name: str, was: str, now: str) -> Plan:
        return from_one(read(json.loads((FOLDER / f"{name}.json").read_text().replace(f"`{was}`", f"`{now}`"))))

    def test_a_table_of_another_name_is_the_same(self):
        for was in ("src", "snk"):
            found = compare(plan("count-sum"), self.called("count-sum", was, "other"))
            assert found.verdict.verdict is Verdict.COMPATIBLE, found.verdict
            assert {c.change for c in found.verdict.operators} == {Change.KEPT}
            assert f"other: it was called default_catalog.default_database.{was}" in found.verdict.notes[0]
            assert found.aligned.body["nodes"][0]["id"] == plan("count-sum").body["nodes"][0]["id"]

    def test_one_that_could_be_several_is_not(self):
        """A join of a table with itself under two names: which of them is the renamed one cannot be told."""
        body = json.loads((FOLDER / "count.json").read_text())
        second = json.loads(json.dumps(body).replace("`src`", "`twin`"))
        shift = 100
        for node in second["nodes"]:
            node["id"] += shift
        for edge in second["edges"]:
            edge["source"] += shift
            edge["target"] += shift
        both = {**body, "nodes": [*body["nodes"], *second["nodes"]], "edges": [*body["edges"], *second["edges"]]}
        changed = json.loads(json.dumps(both).replace("`src`", "`other`"))
        assert compare(read(both), read(changed)).verdict.verdict is not Verdict.COMPATIBLE

    def test_another_place_is_another_table(self):
        text = (FOLDER / "count.json").read_text()
        options = json.loads(text)["nodes"][0]["scanTableSource"]["table"]["resolvedTable"].get("options", {})
        other = json.loads(text.replace("`src`", "`other`"))
        other["nodes"][0]["scanTableSource"]["table"]["resolvedTable"]["options"] = {**options, "fields.id.start": "7"}
        assert compare(plan("count"), from_one(read(other))).verdict.verdict is not Verdict.COMPATIBLE

    def test_no_text_has_a_hole_where_there_is_nothing(self):
        hole = re.compile(r"(with|without|:) ?(,|;|\.|$)|^ |  |\bNone\b|, ,|^\.|\.\.", re.MULTILINE)
        for a in ("count", "join", "join-keyed", "join-unkeyed", "top", "sum", "deduplicate-2.3"):
            for b in ("count", "join", "join-keyed", "join-unkeyed", "top", "sum", "deduplicate-2.3"):
                found = compare(plan(a), plan(b)).verdict
                for text in (found.summary, *found.notes, *(operator.why for operator in found.operators)):
                    assert not hole.search(text), text

    @pytest.mark.parametrize(
        ("identifier", "called"),
        [("*anonymous_datagen$1*", "*anonymous_datagen$1*: changed"), (None, "TableSourceScan(table=")],
    )
    def test_a_table_without_a_name_in_full_is_told_by_what_it_has(self, identifier: str | None, called: str):
        """Of the Table API a plan has tables that are inline, and in no catalog."""

        def with_rows(rows: str) -> Plan:
            body = json.loads((FOLDER / "count.json").read_text())
            table = body["nodes"][0]["scanTableSource"]["table"]
            table["resolvedTable"]["options"] = {"connector": "datagen", "number-of-rows": rows}
            table.pop("identifier")
            table |= {"identifier": identifier} if identifier else {}
            return read(body)

        (note,) = compare(with_rows("1"), with_rows("2")).verdict.notes
        assert note.startswith(called)
        assert "changed options number-of-rows" in note
