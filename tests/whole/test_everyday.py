"""What a person looks for on an ordinary day: why a job failed, what was changed, where its cluster is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from api.words import PATTERNS
from cli.client import Api
from cli.output import as_yaml
from processes.kept import Due, PartDied, StackReport
from settings import clock
from tests.simulation.world import leave
from tests.whole.penstock import STATE, VERSION, Penstock, sql, the_app, whole


@pytest.fixture
def penstock(tmp_path: Path) -> Iterator[Penstock]:
    """A fresh one for each test."""
    with whole(tmp_path) as made:
        yield made
    leave()


def messages(penstock: Penstock, name: str, kind: str = "change") -> list[str]:
    events = penstock.ok("GET", f"/jobs/default:{name}/timeline", params={"limit": 200})["items"]
    return [event["message"] for event in events if event["kind"] == kind]


def studio(penstock: Penstock) -> None:
    machine = {"name": "machine", "kind": "processes", "flink_version": VERSION, "state_dir": STATE}
    penstock.ok("POST", "/clusters", json=machine)
    penstock.running("studio", {"type": "session-cluster"}, cluster="machine")


class TestWhatFailed:
    def test_exceptions_are_told_by_flink_and_then_by_what_was_seen(self, penstock: Penstock):
        penstock.running("clicks")
        job = penstock.flink_job("clicks")
        job.failure, job.failed_at = "java.lang.IllegalStateException: ill", [penstock.world.flinks[0].now_ms()]
        told = penstock.ok("GET", "/jobs/default:clicks/exceptions")
        assert (told["attempt"], told["note"]) == (1, None)
        assert [item["message"] for item in told["items"]] == ["IllegalStateException: ill"]
        said = penstock.cli("jobs", "exceptions", "clicks")
        assert "IllegalStateException: ill" in said.out
        assert penstock.cli("jobs", "exceptions", "clicks", "--stack").out.count("java.lang.IllegalState") == 1

    def test_a_cluster_that_is_away_is_said(self, penstock: Penstock):
        penstock.running("clicks")
        penstock.world.network.endpoints["http://flink-a:8081"].mode = "refuse"
        assert "could not be asked" in penstock.ok("GET", "/jobs/default:clicks/exceptions")["note"]
        logs = penstock.ok("GET", "/jobs/default:clicks/logs")
        assert ([item["part"] for item in logs["items"]], "could not be asked" in logs["note"]) == (["command-1"], True)

    def test_logs_of_commands_and_of_the_cluster(self, penstock: Penstock):
        penstock.running("clicks")
        parts = [item["part"] for item in penstock.ok("GET", "/jobs/default:clicks/logs")["items"]]
        assert parts == ["command-1", "jobmanager", "tm-flink-a"]
        assert penstock.cli("jobs", "logs", "clicks", "jobmanager", "-n", "1").out == "and has a job\n"
        assert "2 of 2 tasks running" in penstock.cli("jobs", "logs", "clicks", "command-1").out
        penstock.no("GET", "/jobs/default:clicks/logs/jobmanager/other.log", 404, "log_not_found")
        penstock.no("GET", "/jobs/default:clicks/logs/..%2F..%2Fetc/passwd", 404)


class TestWhatWasChanged:
    def test_each_change_is_a_line_of_the_timeline(self, penstock: Penstock):
        penstock.create("clicks", config={"a.password": "one"})
        changes = ["--label", "team=web", "--config", "a.password=two", "--restart-policy", "max_restarts=3"]
        said = penstock.cli("jobs", "set", "clicks", *changes, "--reason", "asked for by web")
        assert said.code == 0, said
        (line,) = messages(penstock, "clicks")
        assert line == (
            "label team: none → web; config a.password: ****** → ******; restart_policy max_restarts: none → 3, "
            "changed by local: asked for by web"
        )
        assert penstock.cli("jobs", "set", "clicks", "--label", "team=web").code == 0
        assert len(messages(penstock, "clicks")) == 1, "nothing was changed"

    def test_so_are_changes_of_what_stands_above_the_job(self, penstock: Penstock):
        penstock.create("clicks")
        penstock.ok("PATCH", "/projects/default", json={"config": {"x.y": "1"}})
        penstock.ok("PATCH", "/clusters/a", json={"config": {"x.z": "2"}})
        assert messages(penstock, "clicks") == [
            "cluster a: config x.z: none → 2, from the next attempt on, changed by local",
            "project default: config x.y: none → 1, from the next attempt on, changed by local",
        ]


class TestSetAtTheSameTime:
    @staticmethod
    def before_the_patch(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
        """Somebody else does this after the command line has looked, and before it changes anything."""
        really = Api.call

        def call(api: Api, method: str, path: str, **more: Any) -> Any:
            if method == "PATCH":
                act()
            return really(api, method, path, **more)

        monkeypatch.setattr(Api, "call", call)

    def test_what_is_not_named_stays(self, penstock: Penstock, monkeypatch: pytest.MonkeyPatch):
        path = "/jobs/default:clicks"
        penstock.create("clicks", labels={"a": "1", "old": "x"}, config={"b.c": "1", "my.password": "secret"})
        penstock.ok("PATCH", path, json={"restart_policy": {"max_restarts": 7, "window": 60}})
        theirs = {"labels": {"team": "shop"}, "config": {"d.e": "2"}, "restart_policy": {"jitter": 0.5}}
        self.before_the_patch(monkeypatch, lambda: penstock.ok("PATCH", path, json={"merge": True, **theirs}))
        said = penstock.cli(
            *("jobs", "set", "clicks", "--label", "tier=1", "--unset", "label.old", "--config", "b.c=3"),
            *("--restart-policy", "max_restarts=3", "--unset", "restart-policy.window"),
        )
        assert said.code == 0, said
        job = penstock.job("clicks")
        assert job["labels"] == {"a": "1", "team": "shop", "tier": "1"}
        assert job["config"] == {
            "execution.checkpointing.interval": "10 s",
            "b.c": "3",
            "my.password": "******",
            "d.e": "2",
        }
        policy = penstock.ok("GET", path)["restart_policy"]
        assert (policy["max_restarts"], policy["window"], policy["jitter"]) == (3, 3600, 0.5)

    def test_nor_of_a_project(self, penstock: Penstock, monkeypatch: pytest.MonkeyPatch):
        path = "/projects/default"
        penstock.ok("PATCH", path, json={"config": {"a.b": "1", "c.d": "1"}})
        theirs = {"merge": True, "config": {"e.f": "2"}}
        self.before_the_patch(monkeypatch, lambda: penstock.ok("PATCH", path, json=theirs))
        assert penstock.cli("projects", "set", "default", "--config", "a.b=2", "--unset", "c.d").code == 0
        (project,) = penstock.ok("GET", "/projects")["items"]
        assert project["config"] == {"a.b": "2", "e.f": "2"}

    def test_without_merge_all_is_replaced(self, penstock: Penstock):
        penstock.create("clicks", labels={"a": "1"})
        penstock.ok("PATCH", "/jobs/default:clicks", json={"labels": {"b": "2"}})
        assert penstock.job("clicks")["labels"] == {"b": "2"}
        unset = {"unset": {"labels": ["b"]}}
        assert "goes with `merge`" in penstock.no("PATCH", "/jobs/default:clicks", 422, json=unset)["detail"]
        many = {"merge": True, "labels": {f"l{n}": "" for n in range(50)}}
        penstock.no("PATCH", "/jobs/default:clicks", 422, "too_many", json=many)
        penstock.no("PATCH", "/projects/default", 422, json={"unset": ["a"]})
        many = {"merge": True, "config": {f"l.{n}": "" for n in range(200)}}
        penstock.ok("PATCH", "/projects/default", json=many)
        penstock.no("PATCH", "/projects/default", 422, "too_many", json={"merge": True, "config": {"a.b": "c"}})

    def test_a_policy_that_is_only_unset_is_told_to_its_workflow(self, penstock: Penstock):
        penstock.running("clicks")
        path = "/jobs/default:clicks"
        penstock.ok("PATCH", path, json={"restart_policy": {"enabled": False}})
        assert penstock.cli("jobs", "set", "clicks", "--unset", "restart-policy.enabled").code == 0
        penstock.world.flinks[0].fail(penstock.flink_job("clicks"), "it is ill", restarts=False)
        penstock.until(lambda: penstock.job("clicks")["current_attempt"]["number"] == 2)


class TestProjects:
    def test_an_archived_one_starts_nothing(self, penstock: Penstock):
        penstock.ok("POST", "/projects", json={"name": "shop"})
        new: dict[str, Any] = {"project": "shop", "name": "clicks", "cluster": "a"}
        new["spec"] = sql("in_shop")
        penstock.ok("POST", "/jobs", json=new)
        penstock.ok("POST", "/jobs/shop:clicks/commands", json={"kind": "start"})
        assert (
            "clicks" in penstock.no("PATCH", "/projects/shop", 409, "project_in_use", json={"archived": True})["detail"]
        )
        penstock.until(lambda: penstock.ok("GET", "/jobs/shop:clicks")["state"] == "RUNNING")
        penstock.ok("POST", "/jobs/shop:clicks/commands", json={"kind": "pause"})
        penstock.until(lambda: penstock.ok("GET", "/jobs/shop:clicks")["state"] == "PAUSED")
        assert penstock.ok("PATCH", "/projects/shop", json={"archived": True})["archived_at"]
        penstock.no("POST", "/jobs/shop:clicks/commands", 409, "project_archived", json={"kind": "start"})
        penstock.no("POST", "/jobs", 409, "project_archived", json={**new, "name": "other"})
        said = penstock.cli("jobs", "start", "shop:clicks")
        assert (said.code, "penstock projects unarchive shop" in said.err) == (5, True), said
        penstock.ok("PATCH", "/projects/shop", json={"archived": False})
        penstock.ok("POST", "/jobs/shop:clicks/commands", json={"kind": "start"})

    def test_only_an_empty_one_is_deleted_and_its_name_is_free(self, penstock: Penstock):
        penstock.ok("POST", "/projects", json={"name": "shop", "config": {"a.b": "c"}})
        new = {"project": "shop", "name": "clicks", "cluster": "a", "spec": sql("in_shop")}
        penstock.ok("POST", "/jobs", json=new)
        assert "1 jobs" in penstock.no("DELETE", "/projects/shop", 409, "project_in_use")["detail"]
        penstock.ok("DELETE", "/jobs/shop:clicks")
        penstock.ok("DELETE", "/projects/shop")
        assert "shop" not in [p["name"] for p in penstock.ok("GET", "/projects")["items"]]
        penstock.no("POST", "/jobs", 404, "project_not_found", json=new)
        assert penstock.ok("POST", "/projects", json={"name": "shop"})["config"] == {}


class TestAStoppedCluster:
    def test_a_start_says_so_at_once_and_how_to_go_on(self, penstock: Penstock):
        studio(penstock)
        penstock.create("clicks", cluster="studio")
        penstock.done("studio", "kill")
        refused = penstock.no("POST", "/jobs/default:clicks/commands", 409, "cluster_stopped", json={"kind": "start"})
        assert refused["detail"] == (
            "default:clicks runs on the cluster studio, which is not up: default:studio is KILLED."
        )
        said = penstock.cli("jobs", "start", "clicks")
        assert (said.code, "penstock jobs start default:studio" in said.err) == (5, True), said
        said = penstock.cli("jobs", "start", "clicks", "--with-cluster", "--wait")
        assert said.code == 0, said
        assert penstock.state("studio") == "RUNNING"

    def test_one_that_is_being_started_is_waited_for(self, penstock: Penstock):
        studio(penstock)
        penstock.create("clicks", cluster="studio")
        penstock.done("studio", "kill")
        penstock.send("studio", "start")
        penstock.done("clicks", "start")


class TestTaskManagersThatDied:
    def test_each_is_on_the_timelines_once(self, penstock: Penstock):
        studio(penstock)
        penstock.running("clicks", cluster="studio")
        (keeper,) = penstock.world.programs.keepers.values()
        died = [PartDied(part="taskmanager-2", at=datetime.now(UTC), why="OutOfMemoryError: Metaspace")]
        keeper.seen.model_copy(update={"died": died}).write(keeper.folder / "seen.json")
        penstock.until(lambda: messages(penstock, "studio", "cluster"))
        penstock.running("later", cluster="studio")
        penstock.wait(60)
        words = "taskmanager-2 of default:studio died, and is started again: OutOfMemoryError: Metaspace"
        assert messages(penstock, "studio", "cluster") == messages(penstock, "clicks", "cluster") == [words]
        assert messages(penstock, "later", "cluster") == []

    def test_of_a_cluster_of_others_there_are_fewer(self, penstock: Penstock):
        penstock.running("clicks")
        penstock.wait(60)
        penstock.world.flinks[0].task_managers_known = False
        penstock.until(lambda: messages(penstock, "clicks", "cluster"))
        assert messages(penstock, "clicks", "cluster") == ["a has 0 of the 1 task managers that it had"]

    def test_of_the_local_stack_its_keeper_says_why_there_is_none(self, penstock: Penstock):
        url = penstock.ok("GET", "/clusters/a")["jobmanager_url"]
        due = Due(at=clock.now(), deaths=5, why="taskmanager died: password hush is wrong")
        path = StackReport.path(penstock.home)
        StackReport(jobmanager_url=url, due={"taskmanager": due}).write(path)
        penstock.world.flinks[0].task_managers_known = False
        why = penstock.until(lambda: penstock.ok("GET", "/clusters/a")["health"]["why"])
        assert "no task manager has registered; taskmanager died (5 times in a row), and is started again" in why
        assert "penstock status" in why
        assert "hush" not in why, "what it said last may be a secret of any job"
        StackReport(jobmanager_url="http://elsewhere:8081", due={"taskmanager": due}).write(path)
        assert "died" not in penstock.ok("GET", "/clusters/a")["health"]["why"]


class TestAMistypedKey:
    TYPED = "exection.checkpointing.intervall"

    def test_it_is_set_and_said(self, penstock: Penstock, tmp_path: Path):
        file = tmp_path / "clicks.sql"
        file.write_text(sql("clicks")["sql"])
        words = "is execution.checkpointing.interval meant?"
        given = ["--config", f"{self.TYPED}=10 s"]
        spec = as_yaml({**sql("clicks"), "config": {self.TYPED: "9 s"}})
        for command, text in (
            (["jobs", "create", "clicks", "-f", str(file), "--cluster", "a", *given], ""),
            (["jobs", "set", "clicks", *given], ""),
            (["jobs", "config", "clicks"], ""),
            (["jobs", "copy", "clicks", "hits", *given, "--json"], ""),
            (["jobs", "add-version", "clicks", "-f", "-"], spec),
            (["projects", "create", "shop", *given], ""),
            (["projects", "set", "shop", *given], ""),
        ):
            said = penstock.cli(*command, text=text)
            assert (said.code, said.err.count(words)) == (0, 1), (command, said)
        config = {item["key"]: item["value"] for item in penstock.ok("GET", "/jobs/default:hits/config")["items"]}
        assert config[self.TYPED] == "10 s"
        assert penstock.job("clicks")["notes"] == []

    def test_others_are_not(self, penstock: Penstock):
        config = {"my.own.key": "1", "state.backend.rocksdb.memory.managed": "true", "execution.buffer-timeout": "1 s"}
        new = {"name": "clicks", "cluster": "a", "spec": sql("clicks"), "config": config}
        assert penstock.ok("POST", "/jobs", json=new)["notes"] == []


class TestACopy:
    def test_secrets_are_asked_for_and_taken_wherever_they_stand(self, penstock: Penstock):
        """One in the spec was asked for, and then refused, whatever was given."""
        spec = {**sql("clicks"), "config": {"my.password": "one", "my.size": "1"}}
        penstock.create("clicks", spec, config={"my.password": "two", "my.token": "three"})
        said = penstock.cli("jobs", "copy", "clicks", "hits")
        assert said.code == 2, said
        options = said.err.partition("give it with ")[2].strip().removesuffix(".").replace("=...", "=new").split()
        assert options == ["--config", "my.password=new", "--config", "my.token=new"]
        said = penstock.cli("jobs", "copy", "clicks", "hits", *options, "--config", "my.size=2")
        assert said.code == 0, said
        effective = {i["key"]: i for i in penstock.ok("GET", "/jobs/default:hits/config")["items"]}
        assert [effective[key]["layer"] for key in ("my.password", "my.token", "my.size")] == [
            "version",
            "job",
            "version",
        ]
        assert effective["my.size"]["value"] == "2"
        penstock.done("hits", "start")
        (job,) = penstock.world.flinks[0].jobs.values()
        assert {k: v for k, v in job.config.items() if k.startswith("my.")} == {
            "my.password": "new",
            "my.token": "new",
            "my.size": "2",
        }


class TestANameIsForGood:
    def test_the_way_that_is_told_works(self, penstock: Penstock):
        penstock.running("clicks")
        said = penstock.cli("jobs", "rename", "clicks", "hits")
        lines = [line.strip().partition("#")[0].split() for line in said.out.splitlines() if "penstock" in line]
        assert [line[2] for line in lines] == ["pause", "copy", "restore-points", "start", "delete"]
        for line in lines:
            if line[2] == "start":
                points = penstock.ok("GET", "/jobs/default:clicks/restore-points")["items"]
                line[line.index("PATH")] = points[0]["path"]
            done = penstock.cli(*line[1:])
            assert done.code == 0, (line, done)
        assert penstock.state("hits") == "RUNNING"
        assert penstock.job("hits")["current_attempt"]["restored_from"]


class TestTheCommandLineInATest:
    def test_threads_that_others_have_left_sleep_by_their_own_clock(self, penstock: Penstock):
        done, troubles, naps = threading.Event(), list[Exception](), list[int]()

        def nap() -> None:
            while not done.is_set():
                try:
                    time.sleep(0.001)
                    naps.append(1)
                except Exception as error:
                    troubles.append(error)

        thread = threading.Thread(target=nap)
        thread.start()
        assert penstock.cli("jobs", "list").code == 0
        done.set()
        thread.join()
        assert (troubles, bool(naps)) == ([], True)


class TestPages:
    def test_docs_needs_no_other_host(self, penstock: Penstock):
        root = "http://127.0.0.1:8000"
        began = penstock.http.get(f"{root}/")
        assert (began.status_code, began.headers["location"]) == (307, "docs")
        page = penstock.http.get(f"{root}/docs").text
        assert "https://" not in page
        for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"):
            assert f"docs/assets/{name}" in page
            assert penstock.http.get(f"{root}/docs/assets/{name}").status_code == 200


class TestWords:
    def test_every_pattern_of_the_description_has_words(self):
        patterns = set()

        def walk(node: Any) -> None:
            if isinstance(node, dict):
                if isinstance(node.get("pattern"), str):
                    patterns.add(node["pattern"])
                patterns.update(node.get("patternProperties", {}))
                for inner in node.values():
                    walk(inner)
            elif isinstance(node, list):
                for inner in node:
                    walk(inner)

        walk(the_app().openapi())
        assert len(patterns) > 10
        assert patterns <= PATTERNS.keys()

    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            (
                ["projects", "create", "UP"],
                "name: has to be lower case letters, digits, `-`, `_` and `.`, at most 63, first and last a letter or digit",
            ),
            (
                ["jobs", "list", "--sort", "size"],
                "sort: has to be one of name, -name, state, -state, created_at, -created_at, updated_at, -updated_at",
            ),
            (
                ["jobs", "set", "clicks", "--restart-policy", "max_restarts=-4"],
                "restart_policy.max_restarts: has to be 0 or more",
            ),
            (
                ["jobs", "set", "clicks", "--savepoint-policy", "interval=soon"],
                "savepoint_policy.interval: has to be a number",
            ),
            (
                ["clusters", "set", "a", "jobmanager_url: ftp://x"],
                "jobmanager_url: has to be an address such as http://127.0.0.1:8081",
            ),
            (
                ["jobs", "create", "x", "-f", "-"],
                "spec: there is no type nothing; one of sql, jar, pyflink, session-cluster",
            ),
        ],
    )
    def test_the_command_line_says_what_is_wrong_once(self, penstock: Penstock, arguments: list[str], line: str):
        penstock.create("clicks")
        said = penstock.cli(*arguments, text="type: nothing\n")
        assert said.code == 2, said
        assert said.err.splitlines()[0] == line
        assert len(set(said.err.splitlines())) == len(said.err.splitlines())


def test_a_name_that_would_be_taken_for_an_id_is_refused(penstock: Penstock):
    new = {"name": "0123abcd-0123-0123-0123-0123456789ab", "cluster": "a", "spec": sql()}
    assert "form of a job's id" in penstock.no("POST", "/jobs", 422, "name_like_an_id", json=new)["detail"]


class TestWhatAProgramIsGiven:
    """By options of `penstock jobs create`."""

    def test_a_python_program(self, penstock: Penstock, tmp_path: Path):
        (tmp_path / "local.properties").write_text("topic=orders\n")
        given = ["--env", "BROKER=b:9092", "--add-file", f"conf/app.properties={tmp_path / 'local.properties'}"]
        given += ["--git", "https://git.example/r.git", "--entry-file", "a.py", "--cluster", "a"]
        said = penstock.cli("jobs", "create", "given", *given, "--java-property", "user.timezone=UTC")
        assert said.code == 0, said
        spec = penstock.ok("GET", "/jobs/default:given/versions/1")["spec"]
        assert spec["env"] == {"BROKER": "b:9092"}
        assert spec["files"] == {"conf/app.properties": "topic=orders\n"}
        assert spec["java_properties"] == {"user.timezone": "UTC"}

    def test_a_jar_is_refused_them_with_what_to_do(self, penstock: Penstock):
        given = ["--git", "https://git.example/r.git", "--cluster", "a", "--env", "BROKER=b:9092"]
        said = penstock.cli("jobs", "create", "refused", *given)
        assert said.code == 2, said
        assert "`env` cannot be given to a jar" in said.err
        assert "Give it as `args`" in said.err

    def test_how_a_jar_is_built(self, penstock: Penstock):
        given = ["--git", "https://git.example/r.git", "--cluster", "a", "--profile", "prod", "--jar", "app-*.jar"]
        said = penstock.cli("jobs", "create", "built", *given, "--build-property", "revision=1.0")
        assert said.code == 0, said
        build = penstock.ok("GET", "/jobs/default:built/versions/1")["spec"]["build"]
        assert build == {
            "tool": "maven",
            "profiles": ["prod"],
            "artifact": "app-*.jar",
            "properties": {"revision": "1.0"},
        }
