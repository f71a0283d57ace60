"""One spelling for each path, whoever writes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.paths import as_in, is_path, local, normal, of_point

names = st.text(
    st.characters(codec="utf-8", exclude_characters="/\x00", exclude_categories=["Zs", "Zl", "Zp", "Cc"]), min_size=1
)
names = names.filter(lambda n: n not in (".", "..", "_metadata") and n.strip() == n)


@pytest.mark.parametrize(
    ("written", "one"),
    [
        ("/p", "file:///p"),
        ("file:/p", "file:///p"),
        ("file:///p", "file:///p"),
        ("file:////p", "file:///p"),
        ("FILE:///p", "file:///p"),
        ("file://localhost/p", "file:///p"),
        ("file://LocalHost//p/", "file:///p"),
        ("//p", "file:///p"),
        (" /p ", "file:///p"),
        ("/a//b///c/", "file:///a/b/c"),
        ("/a/./b/../c", "file:///a/c"),
        ("/../a", "file:///a"),
        ("/", "file:///"),
        ("file:///", "file:///"),
        ("file://other/p", "file://other/p"),
        ("s3://bucket/a//b/", "s3://bucket/a/b"),
        ("S3://Bucket/a", "s3://Bucket/a"),
        ("s3://bucket", "s3://bucket"),
        ("hdfs:///a/./b", "hdfs:///a/b"),
        ("hdfs:/a/b", "hdfs:///a/b"),
        ("hdfs://nn:8020/a/../b", "hdfs://nn:8020/b"),
        ("abfss://box@account.dfs.core.windows.net/a/", "abfss://box@account.dfs.core.windows.net/a"),
        ("rp-0123456789abcdef", "rp-0123456789abcdef"),
        ("a/b", "a/b"),
        ("", ""),
    ],
)
def test_spellings(written, one):
    assert normal(written) == one
    assert of_point(written) == one


@pytest.mark.parametrize(
    ("written", "one"),
    [
        ("/p/_metadata", "file:///p"),
        ("file:/p/_metadata/", "file:///p"),
        ("s3://b/chk-1/_metadata", "s3://b/chk-1"),
        ("/_metadata", "file:///"),
        ("/p_metadata", "file:///p_metadata"),
        ("_metadata", "_metadata"),
    ],
)
def test_the_metadata_file_names_its_folder(written, one):
    assert of_point(written) == one


@given(st.text(max_size=60), st.sampled_from(["", "/", "file:", "file://", "file://localhost", "s3://b/", "hdfs:///"]))
def test_once_is_enough(text, before):
    for rule in (normal, of_point):
        assert rule(rule(before + text)) == rule(before + text)


@given(st.lists(names, min_size=1, max_size=6), st.data())
def test_every_spelling_of_a_path_is_the_same_one(parts, data):
    one = "file:///" + "/".join(parts)
    slash = st.sampled_from(["/", "//", "/./", "///", "/x/../"])
    written = data.draw(st.sampled_from(["", "file:", "file://", "file://localhost", "FILE:"]))
    for number, part in enumerate(parts):
        # `file://x` would be another machine
        written += ("/" if number == 0 else data.draw(slash)) + part
    written += data.draw(st.sampled_from(["", "/", "//", "/_metadata", "/_metadata/", "/."]))
    assert of_point(written) == one


@given(st.lists(names, min_size=1, max_size=4), st.lists(names, min_size=1, max_size=4))
def test_other_places_stay_others(a, b):
    assert (normal("/" + "/".join(a)) == normal("/" + "/".join(b))) == (a == b)


@pytest.mark.parametrize(
    ("text", "yes"), [("/p", True), ("file:/p", True), ("s3://b/p", True), ("rp-1", False), ("p/q", False), ("", False)]
)
def test_what_is_a_path(text, yes):
    assert is_path(text) is yes


@pytest.mark.parametrize(
    ("path", "here"), [("file:/a/b/", "/a/b"), ("/a", "/a"), ("s3://b/a", None), ("file://other/a", None)]
)
def test_what_lies_on_this_machine(path, here):
    assert local(path) == here


@pytest.mark.parametrize(
    ("folder", "told", "one"),
    [
        ("hdfs:///s", "hdfs://nn:8020/s/j/savepoint-1", "hdfs:///s/j/savepoint-1"),
        ("hdfs:/s/", "hdfs://nn:8020/s//j/", "hdfs:///s/j"),
        ("viewfs:///s", "viewfs://home/s/j", "viewfs:///s/j"),
        ("hdfs:///", "hdfs://nn/j", "hdfs:///j"),
        ("hdfs:///s", "hdfs:///s/j", "hdfs:///s/j"),
        ("hdfs:///s", "hdfs://nn/other/j", "hdfs://nn/other/j"),
        ("hdfs:///s", "hdfs://nn/s2/j", "hdfs://nn/s2/j"),
        ("hdfs:///s", "hdfs://nn", "hdfs://nn"),
        ("hdfs://nn/s", "hdfs://other/s/j", "hdfs://other/s/j"),
        ("file:///s", "file://other/s/j", "file://other/s/j"),  # another machine
        ("hdfs:///s", "s3://bucket/s/j", "s3://bucket/s/j"),
    ],
)
def test_what_flink_tells_is_spelled_as_its_state_dir(folder, told, one):
    assert as_in(folder, told) == one
