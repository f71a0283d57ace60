"""Clusters of every kind are registered, and their configuration is changed, by the command line and over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cli.client import USAGE
from clusters.registry import KINDS
from tests.whole.penstock import STATE, VERSION, Penstock

FLINK = ["--flink-version", VERSION, "--state-dir", STATE]


def registered(penstock: Penstock, name: str, config: dict[str, str]) -> None:
    body = {"name": name, "jobmanager_url": "http://nowhere:1", "flink_version": VERSION, "state_dir": STATE}
    penstock.ok("POST", "/clusters", json={**body, "config": config})


def config(penstock: Penstock, name: str) -> Any:
    return penstock.ok("GET", f"/clusters/{name}")["config"]


class TestConfiguration:
    def test_it_is_replaced_or_merged(self, penstock: Penstock):
        registered(penstock, "merged", {"a.b": "1", "c.d": "2"})
        penstock.ok("PATCH", "/clusters/merged", json={"merge": True, "config": {"c.d": "3"}})
        assert config(penstock, "merged") == {"a.b": "1", "c.d": "3"}
        penstock.ok("PATCH", "/clusters/merged", json={"merge": True, "unset": ["a.b"]})
        assert config(penstock, "merged") == {"c.d": "3"}
        penstock.ok("PATCH", "/clusters/merged", json={"config": {"e.f": "4"}})
        assert config(penstock, "merged") == {"e.f": "4"}

    def test_what_is_refused_changes_nothing(self, penstock: Penstock):
        registered(penstock, "stays", {"a.b": "1"})
        penstock.no("PATCH", "/clusters/stays", 422, json={"unset": ["a.b"]})
        many = {f"k.{n}": "v" for n in range(200)}
        penstock.no("PATCH", "/clusters/stays", 422, "too_many", json={"merge": True, "config": many})
        assert config(penstock, "stays") == {"a.b": "1"}

    def test_a_change_is_told_on_the_timelines_of_its_jobs(self, penstock: Penstock):
        penstock.create("listens")
        penstock.ok("PATCH", "/clusters/a", json={"merge": True, "config": {"g.h": "5"}})
        events = penstock.ok("GET", "/jobs/default:listens/timeline")["items"]
        assert "cluster a: config g.h: none → 5, from the next attempt on" in events[0]["message"]
        penstock.ok("PATCH", "/clusters/a", json={"merge": True, "unset": ["g.h"]})

    @pytest.mark.parametrize(
        ("name", "arguments", "becomes"),
        [
            ("given", ["--config", "c.d=3", "--config", "e.f=x=y"], {"a.b": "1", "c.d": "3", "e.f": "x=y"}),
            ("unset", ["--unset", "a.b"], {"c.d": "2"}),
            ("both", ["--config", "e.f=4", "--unset", "a.b"], {"c.d": "2", "e.f": "4"}),
            ("field", ['{"config": {"e.f": "4"}}'], {"a.b": "1", "c.d": "2", "e.f": "4"}),
            ("replaced", ['{"config": {"e.f": "4"}, "merge": false}'], {"e.f": "4"}),
        ],
    )
    def test_by_the_command_line_it_is_merged(
        self, penstock: Penstock, name: str, arguments: list[str], becomes: dict[str, str]
    ):
        registered(penstock, name, {"a.b": "1", "c.d": "2"})
        done = penstock.cli("clusters", "set", name, *arguments)
        assert (done.code, json.loads(done.out)["config"]) == (0, becomes), done

    @pytest.mark.parametrize(
        ("arguments", "word"),
        [
            ([], "Nothing to change"),
            (["--unset", "x.y"], "a has no x.y in its configuration"),
            (["[1, 2]"], "fields and values"),
            (["flink_version: 2.3.0", "--config", "a.b"], "key=value"),
        ],
    )
    def test_by_the_command_line_nothing_is_changed(self, penstock: Penstock, arguments: list[str], word: str):
        done = penstock.cli("clusters", "set", "a", *arguments)
        assert (done.code, word in done.err) == (USAGE, True), done


class TestKinds:
    def test_they_are_told_with_the_shapes_of_their_addresses(self, penstock: Penstock):
        kinds = {kind["name"]: kind for kind in penstock.ok("GET", "/cluster-kinds")["items"]}
        assert kinds.keys() == KINDS.keys()
        flink, machine = kinds["flink-session"], kinds["processes"]
        assert (flink["is_default"], machine["is_default"]) == (True, False)
        assert flink["address"]["required"] == ["jobmanager_url"]
        assert machine["address"]["properties"].keys() == {"host"}
        assert (flink["has_default_address"], machine["has_default_address"]) == (False, True)
        assert {"Savepoints", "SqlWorkbench"} <= set(flink["capabilities"])
        assert machine["capabilities"] == ["Logs", "HostsClusters"]
        assert machine["job_types"] == ["session-cluster"]

    def test_the_command_line_lists_them(self, penstock: Penstock):
        done = penstock.cli("clusters", "kinds", columns=250)
        assert done.code == 0, done
        for word in ("flink-session", "jobmanager_url", "[standby_urls]", "processes", "host", "HostsClusters"):
            assert word in done.out, (word, done.out)
        assert (
            json.loads(penstock.cli("clusters", "kinds", "--json").out) == penstock.ok("GET", "/cluster-kinds")["items"]
        )
        assert penstock.cli("clusters", "kinds", "-o", "name").out.split() == list(KINDS)


class TestAdded:
    @pytest.mark.parametrize(
        ("name", "arguments", "kind", "address"),
        [
            ("by-default", ["--kind", "processes"], "processes", {"host": "simulated"}),
            ("by-address", ["--kind", "processes", "--address", "host=worker-1"], "processes", {"host": "worker-1"}),
            ("by-old-url", ["--kind", "processes", "--jobmanager-url", "host://w-2"], "processes", {"host": "w-2"}),
            (
                "flink-by-address",
                ["--address", "jobmanager_url=http://nowhere:2", "--address", 'standby_urls=["http://other:2"]'],
                "flink-session",
                {"jobmanager_url": "http://nowhere:2", "standby_urls": ["http://other:2"]},
            ),
            (
                "flink-by-options",
                ["--jobmanager-url", "http://nowhere:3", "--gateway-url", "http://nowhere:4"],
                "flink-session",
                {"jobmanager_url": "http://nowhere:3", "gateway_url": "http://nowhere:4"},
            ),
        ],
    )
    def test_of_each_kind(
        self, penstock: Penstock, name: str, arguments: list[str], kind: str, address: dict[str, Any]
    ):
        done = penstock.cli("clusters", "add", name, *arguments, *FLINK)
        assert done.code == 0, done
        shown = penstock.ok("GET", f"/clusters/{name}")
        assert shown["kind"] == kind
        assert {key: value for key, value in shown["address"].items() if value} == address

    @pytest.mark.parametrize(
        ("arguments", "word"),
        [
            ([], "jobmanager_url"),
            (["--kind", "spaceship"], "flink-session"),
            (["--kind", "processes", "--address", "port=1"], "address"),
            (["--address", "jobmanager_url"], "field=value"),
            (["--address", "jobmanager_url=http://a:1", "--jobmanager-url", "http://a:1"], "either"),
        ],
    )
    def test_not_without_an_address_of_its_kind(self, penstock: Penstock, arguments: list[str], word: str):
        done = penstock.cli("clusters", "add", "never", *arguments, *FLINK)
        assert (done.code != 0, word in done.err) == (True, True), done
        penstock.no("GET", "/clusters/never", 404)

    def test_the_list_tells_the_address_of_each_kind(self, penstock: Penstock):
        penstock.cli("clusters", "add", "listed", "--kind", "processes", "--address", "host=worker-9", *FLINK)
        assert "worker-9" in penstock.cli("clusters", "list", columns=250).out
