"""What jobs have printed, read from real task managers."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.real.conftest import GitRepository, Stack

PRINTS = """CREATE TABLE src (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '3', 'fields.id.kind' = 'sequence',
  'fields.id.start' = '1', 'fields.id.end' = '3');
CREATE TABLE sink (id BIGINT) WITH ('connector' = 'print'{});
INSERT INTO sink SELECT id * {} FROM src"""
PROGRAM = """
from pyflink.table import EnvironmentSettings, TableEnvironment
t = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
t.execute_sql("CREATE TABLE sink (id BIGINT) WITH ('connector' = 'print', 'print-identifier' = 'python')")
t.execute_sql("INSERT INTO sink VALUES (71)")
"""


def finished(stack: Stack, spec: str | dict[str, Any]) -> str:
    job = stack.create(spec)
    assert stack.send(job, "start").status_code == 202
    stack.state(job, "FINISHED")
    return job


def output(stack: Stack, job: str, **more: Any) -> dict[str, Any]:
    response = stack.http.get(f"/jobs/{job}/output", params=more)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def printed(stack: Stack, job: str, *last: str, **more: Any) -> dict[str, Any]:
    """What it has printed, once that ends with these lines: Flink gives a copy of it for some time."""

    def look() -> Any:
        answer = output(stack, job, **more)
        return answer if answer["items"] and answer["items"][0]["lines"][-len(last) :] == list(last) else None

    found: dict[str, Any] = stack.until(look, f"{last} printed by {job}; last: {output(stack, job, **more)}")
    return found


def test_rows_by_their_identifier_and_all_others(stack: Stack):
    """An identifier with all that would mean something in a regular expression, and a beginning of another one."""
    mine = finished(stack, PRINTS.format(", 'print-identifier' = 'a+(b'", 10))
    finished(stack, PRINTS.format(", 'print-identifier' = 'a+(b+'", 100))
    plain = finished(stack, PRINTS.format("", 1000))
    found = printed(stack, mine, *(f"a+(b> +I[{n}]" for n in (10, 20, 30)))
    assert len(found["items"]) == 1
    assert found["items"][0]["lines"] == ["a+(b> +I[10]", "a+(b> +I[20]", "a+(b> +I[30]"]
    assert found["identifiers"] == ["a+(b"]
    assert found["attempt"] == 1
    everything = printed(stack, plain, "+I[1000]", "+I[2000]", "+I[3000]")
    assert everything["identifiers"] == []
    assert "a+(b+> +I[300]" in everything["items"][0]["lines"]
    assert "All jobs on a task manager share its stdout" in everything["notes"][0]
    assert not [line for line in everything["items"][0]["lines"] if " INFO " in line]
    cut = output(stack, plain, lines=2)["items"][0]
    assert cut["lines"] == ["+I[2000]", "+I[3000]"]
    assert cut["left_out"] >= 7
    assert output(stack, mine, everything=True)["identifiers"] == []


def test_of_a_program(stack: Stack, repository: GitRepository):
    repository.write({"job.py": PROGRAM})
    git = {"url": str(repository.folder)}
    job = finished(stack, {"type": "pyflink", "git": git, "entry_file": "job.py"})
    printed(stack, job, "python> +I[71]", identifier="python")


def test_of_a_job_that_never_ran(stack: Stack):
    answer = output(stack, stack.create(PRINTS.format("", 1)))
    assert (answer["attempt"], answer["items"], answer["notes"]) == (None, [], ["The job has not run yet."])


def test_of_a_task_manager_that_has_gone(stack: Stack):
    """Its stdout goes with it; that is said."""
    job = finished(stack, PRINTS.format("", 7))
    stack.kill("taskmanager")
    stack.start("taskmanager")
    stack.until(
        lambda: "it has gone" in (output(stack, job)["items"][0]["why"] or ""), "it is told that it is gone", 120
    )


@pytest.mark.parametrize("view", [False, True])
def test_an_options_hint_counts_in_a_job(stack: Stack, view: bool):
    """A compiled plan has none: such a job runs from its text, and says so."""
    hinted = "src /*+ OPTIONS('fields.id.end' = '2', 'number-of-rows' = '2') */"
    name = uuid.uuid4().hex[:8]
    text = PRINTS.format(f", 'print-identifier' = '{name}'", 10)
    head, insert = text.split("INSERT")
    if view:
        head += f"CREATE VIEW v AS SELECT id FROM {hinted};\n"
    job = finished(stack, f"{head}INSERT{insert.replace('src', 'v' if view else hinted)}")
    found = printed(stack, job, f"{name}> +I[10]", f"{name}> +I[20]", identifier=name)
    assert len(found["items"][0]["lines"]) == 2
    plan = stack.http.get(f"/jobs/{job}/versions/1/plan").json()
    assert "OPTIONS hint" in plan["why"]
