"""`penstock libraries add`: how it is built goes along."""

from __future__ import annotations

from tests.whole.penstock import Penstock, repository


def test_a_build_gets_its_properties_and_profiles(penstock: Penstock):
    repo = repository(penstock.home / "repo")
    penstock.cli(
        *("libraries", "add", "built", "1", "--git", str(repo)),
        *("--property", "flink.version=2.3.0", "--property", "skipITs=", "--profile", "release"),
    )
    source = penstock.ok("GET", "/projects/default/libraries/built/1")["source"]
    assert source["build"]["properties"] == {"flink.version": "2.3.0", "skipITs": ""}
    assert source["build"]["profiles"] == ["release"]


def test_what_is_not_built_has_none(penstock: Penstock):
    said = penstock.cli("libraries", "add", "kafka", "1", "--maven", "a:b:1", "--profile", "release")
    assert (said.code, "go with --git" in said.err) == (2, True)
