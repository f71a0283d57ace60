"""Jars built by a real Maven, Python programs with requirements, from real Git repositories."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psutil
import pytest

from settings.code import ROOT
from tests.real.conftest import GitRepository, Stack

pytestmark = pytest.mark.real

CLICKS = ROOT / "examples" / "repository" / "clicks"
MAIN = "dev.penstock.examples.Clicks"


def clicks(folder: str) -> dict[str, str]:
    """The example project below `folder`."""
    return {
        f"{folder}/{path.relative_to(CLICKS)}": path.read_text()
        for path in CLICKS.rglob("*")
        if path.is_file() and "target" not in path.parts
    }


def jar(repository: GitRepository, folder: str | None = None, **more: object) -> dict[str, object]:
    git = {"url": str(repository.folder), "ref": "main", **({"subdirectory": folder} if folder else {})}
    return {"type": "jar", "git": git, "entry_class": MAIN, **more}


class TestJar:
    def test_a_module_of_many_built_and_run(self, stack: Stack, repository: GitRepository):
        parent = (
            "<project><modelVersion>4.0.0</modelVersion><groupId>g</groupId><artifactId>parent</artifactId>"
            "<version>1</version><packaging>pom</packaging><modules><module>jobs/clicks</module></modules></project>"
        )
        commit = repository.write({"pom.xml": parent, **clicks("jobs/clicks")})
        job = stack.create(jar(repository, "jobs/clicks"))
        stack.do(job, "start")
        attempt = stack.items(job, "attempts")[0]
        assert attempt["commit"] == commit
        log = stack.http.get(f"/jobs/{job}/commands/1/log").text
        assert "BUILD SUCCESS" in log
        # The branch goes on: a restart stays with the commit, a resubmit looks again.
        later = repository.write({"README.md": "more"})
        stack.do(job, "restart")
        assert stack.items(job, "attempts")[0]["commit"] == commit
        assert stack.items(job, "attempts")[0]["restored_from"]
        stack.do(job, "resubmit", restore={"mode": "newest"})
        assert stack.items(job, "attempts")[0]["commit"] == later

    def test_two_that_want_the_same_build_once(self, stack: Stack, repository: GitRepository):
        repository.write(clicks("app"))
        jobs = [stack.create(jar(repository, "app")) for _ in range(2)]
        threads = [threading.Thread(target=stack.send, args=(job, "start")) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        logs = []
        for job in jobs:
            assert stack.ended(job, 1)["state"] == "SUCCEEDED"
            logs.append(stack.http.get(f"/jobs/{job}/commands/1/log").text)
        compiled = [line for line in "".join(logs).splitlines() if "Total time" in line]
        assert len({line.partition(" ")[2] for line in compiled}) == 1

    def test_a_failing_build_says_why(self, stack: Stack, repository: GitRepository):
        files = clicks("app")
        source = next(name for name in files if name.endswith(".java"))
        files[source] = files[source].replace("env.execute", "env.exekute")
        repository.write(files)
        job = stack.create(jar(repository, "app"))
        command = stack.do(job, "start", "FAILED")
        assert "Clicks.java" in command["error"]
        assert "exekute" in command["error"]
        assert stack.job(job)["state"] == "DEPLOY_FAILED"
        assert stack.job(job)["current_attempt"] is None

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"git": {"ref": "nope"}}, "no branch, tag or commit nope"),
            ({"git": {"subdirectory": "nowhere"}}, "nowhere is not in the repository"),
            ({"git": {"subdirectory": None}}, "git.subdirectory to one of: app"),
            ({"build": {"artifact": "no-*.jar"}}, "Candidates: target/clicks-1.0.jar"),
        ],
    )
    def test_what_cannot_be_built_says_what_to_do(self, stack: Stack, repository: GitRepository, change, says):
        repository.write(clicks("app"))
        spec = jar(repository, "app")
        spec["git"] = {k: v for k, v in {**spec["git"], **change.pop("git", {})}.items() if v}
        job = stack.create({**spec, **change})
        assert says in stack.do(job, "start", "FAILED")["error"]

    def test_a_build_that_fails_stops_nothing(self, stack: Stack, repository: GitRepository):
        repository.write(clicks("app"))
        job = stack.create(jar(repository, "app"))
        stack.do(job, "start")
        broken = jar(repository, "app", build={"tool": "maven", "artifact": "none.jar"})
        assert stack.http.post(f"/jobs/{job}/versions", json={"spec": broken}).status_code == 201
        stack.do(job, "resubmit", "FAILED", restore={"mode": "newest"})
        shown = stack.job(job)
        assert (shown["state"], shown["version"]) == ("RUNNING", 1)

    def test_a_link_that_leads_out_of_the_repository(self, stack: Stack, repository: GitRepository, tmp_path: Path):
        (repository.folder / "app").symlink_to("/etc")
        repository.write({"README.md": "x"})
        job = stack.create(jar(repository, "app"))
        assert "leads out of the repository" in stack.do(job, "start", "FAILED")["error"]


class TestKilledBuild:
    """A build goes on as long as a command waits for it, and no longer."""

    def test_its_maven_ends_with_the_last_who_waits(self, stack: Stack, repository: GitRepository):
        repository.write(sleeping(clicks("app"), 300))
        jobs = [stack.create(jar(repository, "app")) for _ in range(2)]
        for job in jobs:
            assert stack.send(job, "start").status_code == 202
        stack.until(lambda: mavens(stack), "Maven runs")
        for job in jobs:  # both follow it
            stack.until(lambda job=job: "mvn " in log(stack, job), "the log of the build is followed")
        stack.do(jobs[0], "kill")
        assert stack.ended(jobs[0], 1)["state"] == "CANCELLED"
        time.sleep(8)
        assert len(mavens(stack)) == 1
        stack.do(jobs[1], "kill")
        stack.until(lambda: not mavens(stack), "no Maven is left", 12)

    def test_who_waits_with_one_that_is_killed_gets_it(self, stack: Stack, repository: GitRepository):
        repository.write(sleeping(clicks("app"), 20))
        jobs = [stack.create(jar(repository, "app")) for _ in range(2)]
        for job in jobs:
            assert stack.send(job, "start").status_code == 202
        for job in jobs:
            stack.until(lambda job=job: "mvn " in log(stack, job), "the log of the build is followed")
        stack.do(jobs[0], "kill")
        command = stack.ended(jobs[1], 1)
        assert command["state"] == "SUCCEEDED", command
        assert log(stack, jobs[1]).count("BUILD SUCCESS") == 1
        stack.do(jobs[1], "kill")


def log(stack: Stack, job: str) -> str:
    return stack.http.get(f"/jobs/{job}/commands/1/log").text


def mavens(stack: Stack) -> list[int]:
    """Maven's processes below the stack's own folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(word.startswith(f"-Dmaven.multiModuleProjectDirectory={stack.home}") for word in words):
            found.append(process.pid)
    return found


def sleeping(files: dict[str, str], seconds: int) -> dict[str, str]:
    """The project with a build that takes so much longer."""
    pom = next(name for name in files if name.endswith("pom.xml"))
    plugin = f"""<plugin><artifactId>maven-antrun-plugin</artifactId><version>3.1.0</version><executions><execution>
      <phase>validate</phase><goals><goal>run</goal></goals>
      <configuration><target><sleep seconds="{seconds}"/></target></configuration></execution></executions></plugin>"""
    build = f"<build><plugins>{plugin}</plugins></build>"
    return {**files, pom: files[pom].replace("</project>", f"{build}</project>")}


PROGRAM = """
import sys
from pyflink.common import Types
from pyflink.datastream import StreamExecutionEnvironment
import {package}

print("version", {package}.__version__, sys.argv)
env = StreamExecutionEnvironment.get_execution_environment()
env.set_parallelism(1)

def tag(value):
    import time
    import {package}
    time.sleep(0.05)
    if {package}.__version__ != sys_version:
        raise RuntimeError("mixed: " + {package}.__version__)
    return value

sys_version = "{version}"
assert {package}.__version__ == sys_version, {package}.__version__
env.from_collection(list(range(100000)), type_info=Types.LONG()).map(tag, Types.LONG()).print()
env.execute()
"""


class TestPyFlink:
    def test_two_jobs_with_different_dependencies_do_not_mix(self, stack: Stack, repository: GitRepository):
        repository.write(
            {
                "a/job.py": PROGRAM.format(package="toolz", version="1.0.0"),
                "a/requirements.txt": "toolz==1.0.0\n",
                "b/inner/run.py": PROGRAM.format(package="toolz", version="0.12.1"),
            }
        )
        git = {"url": str(repository.folder), "ref": "main"}
        first = {
            "type": "pyflink",
            "git": {**git, "subdirectory": "a"},
            "entry_file": "job.py",
            "requirements": "requirements.txt",
            "args": ["--x", "a b"],
        }
        second = {
            "type": "pyflink",
            "git": {**git, "subdirectory": "b/inner"},
            "module": "run",
            "requirements": ["toolz==0.12.1"],
        }
        jobs = [stack.create(first), stack.create(second)]
        numbers = [stack.send(job, "start").json()["number"] for job in jobs]
        for job, number in zip(jobs, numbers, strict=True):
            command = stack.ended(job, number)
            assert command["state"] == "SUCCEEDED", command["error"]
        for job in jobs:
            shown = stack.job(job)
            assert shown["state"] == "RUNNING"
            assert stack.alive(job) == [shown["current_attempt"]["flink_job_id"]]
            stack.do(job, "kill")

    def test_requirements_that_cannot_be_had(self, stack: Stack, repository: GitRepository):
        repository.write({"job.py": "print(1)"})
        spec = {
            "type": "pyflink",
            "git": {"url": str(repository.folder)},
            "entry_file": "job.py",
            "requirements": ["penstock-there-is-no-such-package==1"],
        }
        job = stack.create(spec)
        error = stack.do(job, "start", "FAILED")["error"]
        assert "penstock-there-is-no-such-package" in error

    def test_an_entry_that_is_not_there(self, stack: Stack, repository: GitRepository):
        repository.write({"job.py": "print(1)"})
        git = {"url": str(repository.folder)}
        for entry, says in (
            ({"entry_file": "other.py"}, "other.py is not a file in the repository. Set entry_file to one of: job.py"),
            ({"module": "x.y"}, "The module x.y is not in the repository."),
        ):
            job = stack.create({"type": "pyflink", "git": git, **entry})
            assert says in stack.do(job, "start", "FAILED")["error"]
