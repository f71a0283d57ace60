"""What a program submits is seen whole: one Flink job is what runs, more than one is refused, and a program that does
not end well has not started. On real Flinks of two versions, judged by id and by all that is alive there."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import subprocess
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from builds.bundles import bundle
from clusters.flink.clients import Clients
from clusters.flink.programs import KEY
from clusters.flink.session import FlinkSession
from clusters.protocol import Aftermath, JarProgram, Program, ProgramFailed, PythonProgram, Ref, Submission
from core.effects import LogSink, Rejected
from core.jobs.observations import ENDED, EngineState
from processes.flink import Flink
from processes.supervised import Processes, free_port
from settings import waits
from stack.parts import StackParts
from tests.real.conftest import SQL, GitRepository, Stack
from tests.real.test_builds import clicks, jar

pytestmark = pytest.mark.real

TABLES = """
import sys
from pyflink.table import EnvironmentSettings, TableEnvironment
t = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
rows = {rows}
bound = f", 'number-of-rows' = '{{rows}}'" if rows else ""
t.execute_sql(f"CREATE TABLE src (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '20'{{bound}})")
t.execute_sql("CREATE TABLE sink1 (id BIGINT) WITH ('connector' = 'blackhole')")
t.execute_sql("CREATE TABLE sink2 (id BIGINT) WITH ('connector' = 'blackhole')")
"""
ONE = 't.execute_sql("INSERT INTO sink1 SELECT id FROM src")\n'
TWO = ONE + 't.execute_sql("INSERT INTO sink2 SELECT id FROM src")\n'
SET = """
s = t.create_statement_set()
s.add_insert_sql("INSERT INTO sink1 SELECT id FROM src")
s.add_insert_sql("INSERT INTO sink2 SELECT id FROM src")
s.execute()
"""
JAVA = """
import java.util.Map;
import org.apache.flink.api.common.ExecutionConfig.GlobalJobParameters;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
public class Program {
  static StreamExecutionEnvironment env() {
    StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
    slow(env).print();
    return env;
  }
  static DataStream<Long> slow(StreamExecutionEnvironment env) {
    return env.fromSequence(0, 1_000_000_000_000L).filter(v -> { Thread.sleep(50); return true; });
  }
  @SuppressWarnings("unchecked")
  static void library(StreamExecutionEnvironment env) throws Exception {
    ClassLoader loader = Thread.currentThread().getContextClassLoader();
    Object made = loader.loadClass("given.Twice").getDeclaredConstructor().newInstance();
    slow(env)
       .map((org.apache.flink.api.common.functions.MapFunction<Long, Long>) made).print();
  }
  public static void main(String[] args) throws Exception {
    StreamExecutionEnvironment env = env();
    if (args[0].contains("library")) library(env);
    if (args[0].contains("parameters"))
      env.getConfig().setGlobalJobParameters(new GlobalJobParameters() {
        public Map<String, String> toMap() { return Map.of("its", "own"); }
      });
    env.execute("a name of its own");
    if (args[0].contains("again")) {
      slow(env).print();
      env.execute("again");
    }
    if (args[0].contains("another")) env().execute("another");
    if (args[0].contains("throws")) throw new IllegalStateException("half-way");
  }
}
"""

LIBRARY = """
package given;
public class Twice extends org.apache.flink.table.functions.ScalarFunction
    implements org.apache.flink.api.common.functions.MapFunction<Long, Long> {
  public Long eval(Long value) { return 2 * value; }
  public Long map(Long value) { return eval(value); }
}
"""
GIVEN = """
import os
from pathlib import Path
from pyflink.java_gateway import get_gateway
import further
print("given", os.environ["GREETING"], Path("conf/app.txt").read_text(), Path(__file__).with_name("beside.txt").read_text())
print("property", get_gateway().jvm.System.getProperty("my.property"), further.WORD)
t.execute_sql("CREATE TEMPORARY SYSTEM FUNCTION twice AS 'given.Twice'")
t.execute_sql("INSERT INTO sink1 SELECT twice(id) FROM src")
"""


def program(text: str, rows: int | None = None) -> str:
    return TABLES.format(rows=rows) + text


class Subject:
    """A Flink under test."""

    def __init__(self, engine: FlinkSession, home: Path, version: str, folder: Path, clients: Clients):
        self.engine, self.version, self.folder, self.clients = engine, version, folder, clients
        self._home = home
        self._python = next(p for p in home.parents if (p / "bin" / "python").exists()) / "bin" / "python"
        self.lines: list[str] = []
        self.alerts: list[str] = []
        self.troubles: list[str] = []
        self._jar: Path | None = None

    @property
    def aftermath(self) -> Aftermath:
        @contextlib.asynccontextmanager
        async def log() -> AsyncIterator[LogSink]:
            yield self.lines.append

        async def alert(words: str) -> None:
            self.alerts.append(words)

        async def trouble(words: str) -> None:
            self.troubles.append(words)

        return Aftermath(log, alert, trouble)

    def python(self, text: str) -> PythonProgram:
        root = self.folder / uuid.uuid4().hex
        root.mkdir()
        (root / "job.py").write_text(text)
        return PythonProgram(root=root, entry_file="job.py", module=None, args=[], python=self._python)

    def _compiled(self, name: str, text: str) -> Path:
        source, classes = self.folder / f"{name}.java", self.folder / f"classes-{name}"
        source.write_text(text)
        subprocess.run(["javac", "-cp", f"{self._home}/lib/*", "-d", classes, source], check=True)
        jar = self.folder / f"{name}.jar"
        subprocess.run(["jar", "cfe", jar, name, "-C", classes, "."], check=True)
        return jar

    def java(self, mode: str) -> JarProgram:
        self._jar = self._jar or self._compiled("Program", JAVA)
        return JarProgram(self._jar, hashlib.sha256(self._jar.read_bytes()).hexdigest(), None, [mode])

    def with_library(self, jar: Path | None) -> Path:
        library = self._compiled("Twice", LIBRARY)
        path = self.folder / f"{uuid.uuid4().hex}.jar"
        bundle(path, jar, [("twice.jar", library)])
        return path

    async def submit(self, what: Program, ref: Ref | None = None, **more: object) -> Ref:
        flink_job_id = uuid.uuid4().hex
        ref = ref or Ref(flink_job_id, flink_job_id)
        submission = Submission(
            ref=ref,
            name="default:program",
            program=what,
            config={},
            parallelism=None,
            restore_path=None,
            allow_non_restored_state=False,
            aftermath=self.aftermath,
        )
        await self.engine.submit(replace(submission, **more), self.lines.append)
        return ref

    async def alive(self) -> set[str]:
        return {job for job, seen in (await self.engine.overview()).jobs.items() if seen.state not in ENDED}

    async def tidy(self) -> None:
        while left := await self.alive():
            for job in left:
                await self.engine.cancel(Ref(job, job))
            await asyncio.sleep(0.2)


VERSIONS = ("2.3.0", "1.20.5")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "flink" in metafunc.fixturenames:
        one = metafunc.definition.get_closest_marker("any_version") is not None
        metafunc.parametrize("flink", VERSIONS[:1] if one else VERSIONS, indirect=True, scope="module")


@pytest.fixture(scope="module")
async def flink(request: pytest.FixtureRequest, parts: StackParts, tmp_path_factory) -> AsyncIterator[Subject]:
    """The stack's own, or one of another version."""
    folder, home = tmp_path_factory.mktemp("programs"), parts.flink(request.param)
    clients = Clients(folder)
    if request.param == VERSIONS[0]:
        stack: Stack = request.getfixturevalue("stack")
        engine = FlinkSession(stack.flink_url, [], flink_home=home, clients=clients)
        yield Subject(engine, home, request.param, folder, clients)
        await clients.close()
        await engine.close()
        return
    flink = Flink(
        home=home,
        folder=folder / "flink",
        rest_port=free_port(),
        rpc_port=free_port(),
        gateway_port=free_port(),
        slots=8,
        jobmanager_memory="1g",
        taskmanager_memory="1500m",
    )
    processes = Processes(folder)
    specs = [flink.jobmanager(), flink.taskmanager()]
    try:
        for spec in specs:
            processes.start(spec, timeout=240)
        engine = FlinkSession(flink.url, [], flink_home=home, clients=clients)
        yield Subject(engine, home, request.param, folder, clients)
        await clients.close()
        await engine.close()
    finally:
        for spec in specs:
            processes.stop(spec.name)


@pytest.fixture
async def subject(flink: Subject) -> AsyncIterator[Subject]:
    flink.lines.clear()
    flink.alerts.clear()
    yield flink
    await flink.tidy()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is: a program counts as one that waits for its job after a minute only."""
    monkeypatch.setattr(waits, "PROGRAM_GOES_ON_SECONDS", 60.0)
    monkeypatch.setattr(waits, "PROGRAM_TALKS_SECONDS", 60.0)


class TestPython:
    @pytest.mark.usefixtures("patient")
    async def test_two_inserts_are_two_jobs(self, subject: Subject):
        with pytest.raises(ProgramFailed, match="put its INSERTs into one StatementSet") as caught:
            await subject.submit(subject.python(program(TWO)))
        assert caught.value.code == "several_jobs"
        assert {ref.handle for ref in caught.value.jobs} == await subject.alive()
        assert len(caught.value.jobs) == (2 if subject.version == "2.3.0" else 1)

    async def test_a_statement_set_is_one(self, subject: Subject):
        ref = await subject.submit(subject.python(program(SET)))
        assert await subject.alive() == {ref.handle}
        assert await subject.engine.started_by([ref.handle]) == {ref.handle: ref.flink_job_id}

    @pytest.mark.usefixtures("patient")
    async def test_it_dies_after_its_job_was_submitted(self, subject: Subject):
        with pytest.raises(ProgramFailed, match="ValueError: half-way") as caught:
            await subject.submit(subject.python(program(ONE + 'raise ValueError("half-way")\n')))
        assert caught.value.code == "program_failed"
        assert {ref.handle for ref in caught.value.jobs} == await subject.alive()

    @pytest.mark.any_version
    async def test_what_it_has_started_ends_with_its_job(self, subject: Subject):
        """Also what has left its session, and keeps its output open: found by an attack."""
        seconds = f"71{uuid.uuid4().int % 10**6}"
        left = f'subprocess.Popen(["sleep", "{seconds}"], start_new_session=True)'
        await subject.submit(subject.python(program(f"import subprocess\n{left}\n{ONE}")))
        await subject.tidy()
        async with asyncio.timeout(120):
            while [p for p in psutil.process_iter(["cmdline"]) if seconds in (p.info["cmdline"] or [])]:
                await asyncio.sleep(0.2)

    @pytest.mark.any_version
    @pytest.mark.usefixtures("patient")
    async def test_an_exit_code_without_a_word(self, subject: Subject):
        with pytest.raises(ProgramFailed, match="exit code 3"):
            await subject.submit(subject.python(program(ONE + "sys.exit(3)\n")))

    @pytest.mark.any_version
    async def test_it_dies_before_it_has_a_job(self, subject: Subject):
        with pytest.raises(Rejected, match="exit code 3"):
            await subject.submit(subject.python(program("sys.exit(3)\n")))

    @pytest.mark.any_version
    async def test_it_starts_nothing(self, subject: Subject):
        with pytest.raises(Rejected, match="has not started a Flink job"):
            await subject.submit(subject.python(program("")))

    async def test_it_names_its_job(self, subject: Subject):
        named = 't.get_config().set("pipeline.name", "a name of its own")\n'
        ref = await subject.submit(subject.python(program(named + ONE)), config={KEY: "its:own"})
        seen = await subject.engine.look(ref)
        assert (seen.name, seen.ref.handle) == ("a name of its own", ref.flink_job_id)

    async def test_one_that_waits_goes_on_beside_its_job(self, subject: Subject):
        told = subject.folder / uuid.uuid4().hex
        text = f"import os\nopen({str(told)!r}, 'w').write(str(os.getpid()))\n"
        text += 't.execute_sql("SELECT id FROM src").print()\n'
        ref = await subject.submit(subject.python(program(text)))
        assert await subject.alive() == {ref.handle}
        python = psutil.Process(int(told.read_text()))
        client = next(p for p in python.parents() if p.name() == "java")
        async with asyncio.timeout(60):
            while not any(line.startswith("| +I |") for line in subject.lines):
                await asyncio.sleep(0.2)
        assert "stands still" in subject.alerts[0]
        client.kill()  # as when its worker is killed: nothing of it is left, and the job is left alone
        _, left = await asyncio.to_thread(psutil.wait_procs, [python], timeout=5)
        assert left == []
        async with asyncio.timeout(60):
            while len(subject.alerts) < 2:
                await asyncio.sleep(0.2)
        assert "goes on, but nobody takes its rows" in subject.alerts[1]
        assert await subject.alive() == {ref.handle}

    @pytest.mark.any_version
    async def test_one_that_waits_ends_with_its_job(self, subject: Subject):
        ref = await subject.submit(subject.python(program(ONE.strip() + ".wait()\n")))
        await subject.engine.cancel(ref)
        async with asyncio.timeout(90):
            while subject.clients.attended._tasks:
                await asyncio.sleep(0.2)
        assert await subject.alive() == set()
        assert subject.alerts == []

    @pytest.mark.any_version
    async def test_what_it_is_given(self, subject: Subject):
        further = subject.folder / "further.py"
        further.write_text("WORD = 'further'\n")
        given = replace(
            subject.python(program(GIVEN)),
            env={"GREETING": "hello hunter2"},
            files={"conf/app.txt": "a=1", "beside.txt": "b=2"},
            java_properties={"my.property": 'c "d"'},
            jar=subject.with_library(None),
            modules=[further],
            secrets=["hunter2"],
        )
        ref = await subject.submit(given)
        assert "given hello ****** a=1 b=2" in subject.lines
        assert 'property c "d" further' in subject.lines
        async with asyncio.timeout(60):
            while (await subject.engine.look(ref)).state is not EngineState.RUNNING:
                await asyncio.sleep(0.2)

    @pytest.mark.any_version
    async def test_who_stops_a_submission_stops_its_client(self, subject: Subject):
        told = subject.folder / uuid.uuid4().hex
        text = f"import os, time\nopen({str(told)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n"
        task = asyncio.create_task(subject.submit(subject.python(text)))
        while not told.exists() or not told.read_text():
            assert not task.done()
            await asyncio.sleep(0.1)
        python = psutil.Process(int(told.read_text()))
        family = [python, *python.parents()]
        client = next(p for p in family if p.name() == "java")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        _, left = psutil.wait_procs([python, client], timeout=5)
        assert left == []
        assert await subject.alive() == set()


class TestWaitingClient:
    """A program that is run by a client that was started before: as one that starts its own, and alone in it."""

    async def wait(self, subject: Subject) -> int:
        """Until a client waits; its pid."""
        subject.clients.prepare(subject._home)
        while (client := subject.clients._waiting.get(subject._home)) is None:
            await asyncio.sleep(0.1)
        return client.process.pid

    async def test_two_at_once_share_nothing(self, subject: Subject):
        pid = await self.wait(subject)
        text = program(ONE + "import os\nprint('python', os.getpid(), 'of', os.getppid())\n")
        refs = await asyncio.gather(*(subject.submit(subject.python(text)) for _ in range(2)))
        assert {ref.handle for ref in refs} == await subject.alive()
        handles = [ref.handle for ref in refs]
        assert await subject.engine.started_by(handles) == {handle: handle for handle in handles}  # its own mark each
        said = [line.split() for line in subject.lines if line.startswith("python ")]
        assert len({words[1] for words in said}) == 2
        parents = {int(words[3]) for words in said}
        assert len(parents) == 2
        assert pid in parents
        await self.wait(subject)
        assert subject.clients._waiting[subject._home].process.pid != pid

    @pytest.mark.any_version
    async def test_it_tells_why_a_program_failed(self, subject: Subject):
        pid = await self.wait(subject)
        with pytest.raises(ProgramFailed, match="ValueError: half-way") as caught:
            await subject.submit(subject.python(program(ONE + 'raise ValueError("half-way")\n')))
        assert {ref.handle for ref in caught.value.jobs} == await subject.alive()
        assert not psutil.pid_exists(pid)


class TestJava:
    async def test_a_library(self, subject: Subject):
        with pytest.raises(Rejected, match=r"given\.Twice"):
            await subject.submit(subject.java("library"))
        both = subject.with_library(subject.java("library").path)
        sha256 = hashlib.sha256(both.read_bytes()).hexdigest()
        ref = await subject.submit(JarProgram(both, sha256, None, ["library"]))
        async with asyncio.timeout(60):
            while (await subject.engine.look(ref)).state is not EngineState.RUNNING:
                await asyncio.sleep(0.2)

    async def test_one_that_names_its_job_is_ours_by_id(self, subject: Subject):
        ref = await subject.submit(subject.java("one"))
        assert await subject.alive() == {ref.handle}
        assert (await subject.engine.look(ref)).name == "a name of its own"
        await subject.submit(subject.java("one"), ref, maybe_sent=True)  # sent again: the same job
        assert await subject.alive() == {ref.handle}

    @pytest.mark.parametrize("mode", ["again", "again parameters"])
    async def test_it_executes_twice(self, subject: Subject, mode: str):
        with pytest.raises(ProgramFailed, match="call execute\\(\\) once") as caught:
            await subject.submit(subject.java(mode))
        assert {ref.handle for ref in caught.value.jobs} == await subject.alive()

    @pytest.mark.parametrize("mode", ["another", "another parameters"])
    async def test_it_executes_in_another_environment(self, subject: Subject, mode: str):
        if subject.version == "1.20.5":
            pytest.skip("1.20 answers the second environment with the first job, and nothing tells")
        with pytest.raises(ProgramFailed, match="call execute\\(\\) once") as caught:
            await subject.submit(subject.java(mode))
        assert {ref.handle for ref in caught.value.jobs} == await subject.alive()

    @pytest.mark.parametrize("mode", ["throws", "throws parameters"])
    async def test_it_fails_after_its_job_was_submitted(self, subject: Subject, mode: str):
        with pytest.raises(ProgramFailed, match="IllegalStateException: half-way") as caught:
            await subject.submit(subject.java(mode))
        assert {ref.handle for ref in caught.value.jobs} == await subject.alive()

    async def test_a_failure_of_a_second_send_says_nothing_of_the_first(self, subject: Subject):
        ref = await subject.submit(subject.java("one"))
        await subject.submit(subject.java("throws"), ref, maybe_sent=True)
        assert (await subject.engine.look(ref)).state not in ENDED


class TestJob:
    """The same through the API, a worker and the stack's Flink."""

    def start(self, stack: Stack, repository: GitRepository, text: str, says: str) -> str:
        repository.write({"job.py": text})
        spec = {"type": "pyflink", "git": {"url": str(repository.folder)}, "entry_file": "job.py"}
        job = stack.create(spec)
        before = self.alive(stack)
        command = stack.do(job, "start", "FAILED")
        assert says in command["error"]
        assert stack.job(job)["state"] == "DEPLOY_FAILED"
        assert self.alive(stack) == before
        return job

    def alive(self, stack: Stack) -> set[str]:
        jobs = stack.flink.get("/jobs/overview").json()["jobs"]
        return {job["jid"] for job in jobs if job["state"] not in ("FINISHED", "CANCELED", "FAILED")}

    def test_two_inserts_are_refused_and_nothing_is_left(self, stack: Stack, repository: GitRepository):
        job = self.start(stack, repository, program(TWO), "put its INSERTs into one StatementSet")
        assert "was cancelled" in stack.http.get(f"/jobs/{job}/commands/1/log").text
        repository.write({"job.py": program(SET)})
        stack.do(job, "resubmit", restore={"mode": "none"})
        assert self.alive(stack) == {stack.job(job)["current_attempt"]["flink_job_id"]}
        stack.do(job, "pause")
        assert self.alive(stack) == set()

    def test_one_that_prints_runs_and_is_heard(self, stack: Stack, repository: GitRepository):
        assert stack.http.put("/projects/default/secrets/word", json={"value": "hunter2"}).status_code in (200, 201)
        text = 'import os\nprint("given", os.environ["WORD"], open("conf/app.txt").read())\n'
        repository.write({"job.py": program(text + 't.execute_sql("SELECT id FROM src").print()\n')})
        spec = {"type": "pyflink", "git": {"url": str(repository.folder)}, "entry_file": "job.py"}
        secret = "${secret:word}"
        job = stack.create({**spec, "env": {"WORD": secret}, "files": {"conf/app.txt": f"it is {secret}"}})
        stack.do(job, "start")
        assert stack.job(job)["state"] == "RUNNING"

        def log() -> str:
            return stack.http.get(f"/jobs/{job}/commands/1/log").text

        stack.until(lambda: "| +I |" in log(), "its rows come into the log after the command has ended")
        assert "given ****** it is ******" in log()
        assert "hunter2" not in log()
        assert any("stands still" in event["message"] for event in stack.items(job, "timeline"))
        stack.do(job, "kill")
        ends = ("its job had ended", "the program was ended", "the program has ended")
        stack.until(lambda: any(words in log() for words in ends), "its end is told")

    def test_a_program_that_dies_half_way(self, stack: Stack, repository: GitRepository):
        self.start(stack, repository, program(ONE + 'raise ValueError("half-way")\n'), "ValueError: half-way")

    def test_its_job_was_quicker(self, stack: Stack, repository: GitRepository):
        text = program(ONE + "import time\ntime.sleep(15)\nsys.exit(1)\n", rows=5)
        self.start(stack, repository, text, "had finished by itself")

    def test_a_jar_that_executes_twice(self, stack: Stack, repository: GitRepository):
        files = clicks("app")
        source = next(name for name in files if name.endswith(".java"))
        line = 'env.execute("clicks");'
        again = "env.fromSequence(0, 1_000_000_000_000L).print(); env.execute();"
        assert line in files[source]
        files[source] = files[source].replace(line, line + again)
        repository.write(files)
        job = stack.create(jar(repository, "app"))
        assert "call execute() once" in stack.do(job, "start", "FAILED")["error"]
        assert self.alive(stack) == set()

    def test_a_jar_with_an_id_of_its_own(self, stack: Stack, repository: GitRepository):
        """Found by an attack: it ran unowned, while its job was said to have ended."""
        files = clicks("app")
        source = next(name for name in files if name.endswith("Clicks.java"))
        own = """org.apache.flink.configuration.Configuration c = new org.apache.flink.configuration.Configuration();
            c.setString("$internal.pipeline.job-id", java.util.UUID.randomUUID().toString().replace("-", ""));
            c.setString("pipeline.global-job-parameters", "its:own");
            StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment(c);"""
        usual = "StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();"
        assert usual in files[source]
        repository.write({**files, source: files[source].replace(usual, own)})
        before = self.alive(stack)
        job = stack.create(jar(repository, "app"))
        command = stack.do(job, "start", "FAILED")
        assert "an id of its own" in command["error"]
        assert self.alive(stack) == before

    def test_a_second_job_later_is_an_orphan_that_tells_its_program(self, stack: Stack):
        job = stack.create()
        stack.do(job, "start")
        attempt = stack.job(job)["current_attempt"]
        late = asyncio.run(self._late(stack, attempt["flink_job_id"]))

        def orphan() -> dict[str, object] | None:
            found = stack.http.get("/orphans").json()["items"]
            return next((item for item in found if item["flink_job_id"] == late), None)

        shown = stack.until(orphan, "the second job is an orphan")
        assert (shown["job"], shown["attempt"]) == (job, 1)
        assert f"started by the program of {job}, attempt 1" in shown["detail"]
        alert = next(e for e in stack.items(job, "timeline") if e["kind"] == "alert")
        assert alert["data"]["actions"] == [{"stop": f"/clusters/local/orphans/{late}/stop"}]
        assert stack.http.post(f"/clusters/local/orphans/{late}/stop", json={"mode": "cancel"}).status_code == 202
        stack.until(lambda: orphan() is None, "it has gone")

    async def _late(self, stack: Stack, attempt: str) -> str:
        """A job with the mark of an attempt, as a program's client submits it that goes on after its first one."""
        engine = FlinkSession(stack.flink_url, [stack.gateway_url])
        before = set((await engine.overview()).jobs)
        gateway, session = await engine.open_session({KEY: f"penstock.attempt:{attempt},penstock.send:1"})
        for statement in SQL.split(";\n"):
            await gateway.execute(session, statement.rstrip(";"))
        while not (new := set((await engine.overview()).jobs) - before):
            await asyncio.sleep(0.1)
        await gateway.close(session)
        await engine.close()
        return new.pop()
