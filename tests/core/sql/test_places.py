"""Places, however they are written, and jobs that meet in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.sql.lineage import ColumnUse, JobLineage, Lineage, TableUse, around, found_in, graph, impact
from core.sql.places import Known, one_spelling, place_of_options, places_in

BROKERS = "properties.bootstrap.servers"


def kafka(**options: str) -> str:
    brokers = options.pop("brokers", "a:9092")
    made = place_of_options(
        {"connector": "kafka", BROKERS: brokers, **{k.replace("_", "-"): v for k, v in options.items()}}
    )
    assert made is not None
    return made


def job(name: str, reads: str | None, writes: str | None, *, knows: bool = True) -> JobLineage:
    use = [
        TableUse(table=name + access, place=place, connector=None) if place else None
        for access, place in (("r", reads), ("w", writes))
    ]
    columns = (
        [ColumnUse(table=f"{name}w", column="c", sources=[(f"{name}r", "c")], exact=True)] if writes and knows else []
    )
    return JobLineage(name, Lineage(reads=[u for u in use[:1] if u], writes=[u for u in use[1:] if u], columns=columns))


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"connector": "filesystem", "path": "/tmp/x"}, "filesystem:path=file:///tmp/x"),
        ({"connector": "filesystem", "path": "file:/tmp//x/"}, "filesystem:path=file:///tmp/x"),
        ({"connector": "filesystem", "path": "file:///tmp/x"}, "filesystem:path=file:///tmp/x"),
        ({"connector": "filesystem", "path": "s3://b/x/"}, "filesystem:path=s3://b/x"),
        ({"connector": "filesystem", "path": "here/"}, "filesystem:path=here"),
        (
            {"connector": "kafka", "topic": "b; a;a", BROKERS: "B:9092 ,a:9092"},
            f"kafka:{BROKERS}=a:9092,b:9092;topic=a;b",
        ),
        # Without a port it is Kafka's own; a protocol in front of it, or an address of IPv6, is an address as well.
        ({"connector": "kafka", "topic": "a", BROKERS: "b,SSL://a:9093"}, f"kafka:{BROKERS}=a:9093,b:9092;topic=a"),
        ({"connector": "kafka", "topic": "a", BROKERS: "[::1],[::2]:1"}, f"kafka:{BROKERS}=[::1]:9092,[::2]:1;topic=a"),
        ({"connector": "kafka", "topic-pattern": "a;b/"}, "kafka:topic-pattern=a;b/"),
        ({"type": "paimon", "path": "/w/"}, "catalog:path=file:///w"),
        ({"connector": "datagen"}, None),
        ({"connector": "odd"}, None),
    ],
)
def test_one_spelling(options: dict[str, str], place: str | None):
    made = place_of_options(options)
    assert made == place
    assert place is None or one_spelling(place) == place


@pytest.mark.parametrize("words", ["p:job/c.d.t", "catalog:p/c.d.t", "kafka", "", "kafka:nothing=x", "a:b=c;topic=d"])
def test_what_is_in_other_words_stays(words: str):
    assert one_spelling(words) == words
    assert places_in(words) == [words]


@given(
    st.dictionaries(
        st.sampled_from(["topic", "topics", "topic-pattern", "path", "url", "table-name", BROKERS]),
        st.text(st.sampled_from("ab:/;,=. .*([topicurl-")),
        min_size=1,
    )
)
def test_what_is_spelled_stays_as_it_is(options: dict[str, str]):
    place = place_of_options({"connector": "kafka", **options})
    assert place is not None
    once = one_spelling(place)
    assert one_spelling(once) == once
    for part in places_in(once):
        assert Known([part]).meant_by(part) == [part]


class TestTopics:
    def test_a_table_of_several_lies_in_each(self):
        assert places_in(kafka(topic="b;a")) == [kafka(topic="a"), kafka(topic="b")]
        view = graph([job("one", None, kafka(topic="a")), job("two", kafka(topic="b;a"), None)])
        assert around(view, "one", up=False).jobs == ["one", "two"]
        assert view.places == [kafka(topic="a"), kafka(topic="b")]

    @pytest.mark.parametrize(
        ("pattern", "topic", "meets"),
        [
            ("a-.*", "a-1", True),
            ("a-.*", "b-1", False),
            ("a", "ab", False),
            ("(a|b)-[0-9]+", "b-12", True),
            ("(a|b)-[0-9]+", "c-12", False),
            # What is not tried might be any.
            ("(a+)+$", "b", True),
            (".*.*.*.*x", "b", True),
            (r"\Qa\E", "b", True),
            ("(", "b", True),
            ("[a-c&&b]", "b", True),
        ],
    )
    def test_a_pattern_meets_its_topics(self, pattern: str, topic: str, meets: bool):
        written, read = kafka(topic=topic), kafka(topic_pattern=pattern)
        view = graph([job("one", None, written), job("two", read, None)])
        assert ("two" in around(view, "one", up=False).jobs) is meets
        assert ("one" in around(view, "two", up=True).jobs) is meets
        assert found_in([read], written) == ([read] if meets else [])

    def test_not_those_of_other_brokers(self):
        view = graph(
            [job("one", None, kafka(topic="a")), job("two", kafka(topic_pattern=".*", brokers="b:9092"), None)]
        )
        assert around(view, "one", up=False).jobs == ["one"]


class TestBrokers:
    """Each address is one of one Kafka: who names some of them means the same one as who names others beside one of
    these."""

    def test_some_of_them_are_the_same_kafka(self):
        jobs = [
            job("one", None, kafka(topic="a", brokers="a:9092,b:9092")),
            job("two", kafka(topic="a", brokers="b"), kafka(topic="z", brokers="c,b")),
            job("three", kafka(topic="z", brokers="a"), None),
            job("other", kafka(topic="a", brokers="b:9093"), None),
        ]
        view = graph(jobs)
        together = "a:9092,b:9092,c:9092"
        assert view.places == [
            kafka(topic="a", brokers=together),
            kafka(topic="z", brokers=together),
            kafka(topic="a", brokers="b:9093"),
        ]
        assert around(view, "one", up=False).jobs == ["one", "three", "two"]
        assert around(view, "three", up=True).jobs == ["one", "three", "two"]
        assert [(r.job, r.place) for r in impact(jobs, kafka(topic="a", brokers="a"), "c")] == [
            ("two", kafka(topic="z", brokers=together))
        ]

    def test_a_pattern_of_some_of_them(self):
        known = kafka(topic="a-1", brokers="a,b")
        view = graph([job("one", None, known), job("two", kafka(topic_pattern="a-.*", brokers="b,c"), None)])
        assert around(view, "one", up=False).jobs == ["one", "two"]

    @pytest.mark.parametrize(
        ("words", "meant"),
        [
            ("b", ["a:9092,b:9092"]),
            ("b,x", ["a:9092,b:9092"]),  # one that nobody else names
            ("x", []),
            ("a,c", ["a:9092,b:9092", "c:9092"]),  # each of them is one that is known
        ],
    )
    def test_those_that_somebody_asks_for(self, words: str, meant: list[str]):
        places = [kafka(topic="t", brokers=brokers) for brokers in ("a,b", "c")]
        assert found_in(places, kafka(topic="t", brokers=words)) == [kafka(topic="t", brokers=m) for m in meant]


class TestImpact:
    def test_it_goes_through_every_spelling(self):
        jobs = [
            job("one", "filesystem:path=/tmp/x", kafka(topic="a", brokers="b:1,a:1")),
            job("two", kafka(topic="a;z", brokers="a:1,b:1"), kafka(topic="out-1")),
            job("three", kafka(topic_pattern="out-.*"), "filesystem:path=/tmp/y", knows=False),
            job("four", "filesystem:path=file:/tmp/y", "filesystem:path=file:///tmp/z"),
        ]
        found = impact(jobs, "filesystem:path=file:/tmp/x/", "c")
        assert [(r.job, r.distance, r.exact) for r in found] == [
            ("one", 0, True),
            ("two", 1, True),
            ("three", 2, False),
            ("four", 3, False),
        ]
        assert [r.place for r in found][1:] == [
            kafka(topic="out-1"),
            "filesystem:path=file:///tmp/y",
            "filesystem:path=file:///tmp/z",
        ]

    def test_a_topic_that_only_a_pattern_has(self):
        found = impact([job("one", kafka(topic_pattern="a-.*"), "filesystem:path=/x")], kafka(topic="a-7"), "c")
        assert [r.job for r in found] == ["one"]

    def test_what_was_kept_in_another_spelling_is_read_in_the_one(self):
        kept = Lineage.model_validate({"reads": [{"table": "t", "place": "filesystem:path=/tmp/x", "connector": None}]})
        assert kept.reads[0].place == "filesystem:path=file:///tmp/x"
