"""Where a program's spec may refer to a secret, and where a secret may not stand."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from core.config import check_config, check_new_config
from core.errors import InvalidInput
from core.specs import JobSpec
from core.sql.program_inputs import check_references, check_unopened

SPEC: TypeAdapter = TypeAdapter(JobSpec)
GIT = {"url": "https://git.example.com/a/b.git"}
PYTHON = {"type": "pyflink", "git": GIT, "entry_file": "job.py"}
JAR = {"type": "jar", "git": GIT}
SQL = {"type": "sql", "sql": "INSERT INTO t SELECT 1"}
WORD = "${secret:word}"


@pytest.mark.parametrize(
    "spec",
    [
        {**PYTHON, "env": {"PASSWORD": WORD, "URL": "db://host"}, "files": {"a": f"x={WORD}"}},
        {**PYTHON, "java_properties": {"javax.net.ssl.trustStorePassword": WORD}, "args": ["--x"]},
        {**JAR, "args": ["--password", WORD]},
        {**SQL, "sql": f"SET 'a' = '{WORD}'", "variables": {"A": WORD}},
        {"type": "session-cluster"},
    ],
)
def test_they_stand_there(spec: dict):
    check_references(SPEC.validate_python(spec))


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({**PYTHON, "args": [WORD]}, "secret_misplaced"),
        ({**PYTHON, "env": {"DB_PASSWORD": "hunter2"}}, "secret_in_clear"),
        ({**PYTHON, "java_properties": {"db.password": "hunter2"}}, "secret_in_clear"),
        ({**PYTHON, "env": {"A": "${secret:No}"}}, "bad_secret_reference"),
        ({**PYTHON, "files": {"a": "${secret:No}"}}, "bad_secret_reference"),
        ({**JAR, "args": ["${secret:No}"]}, "bad_secret_reference"),
        # Where nobody opens one: it went to Flink, Maven, pip or Git as it is written.
        ({**SQL, "config": {"s3.secret-key": WORD}}, "secret_misplaced"),
        ({**PYTHON, "config": {"a.b": f"x{WORD}"}}, "secret_misplaced"),
        ({**PYTHON, "requirements": [f"x @ https://u:{WORD}@host/x.whl"]}, "secret_misplaced"),
        ({**PYTHON, "files": {f"a/{WORD}": "x"}}, "secret_misplaced"),
        ({**PYTHON, "entry_file": f"{WORD}.py"}, "secret_misplaced"),
        ({**JAR, "build": {"tool": "maven", "properties": {"token": WORD}}}, "secret_misplaced"),
        ({**JAR, "build": {"tool": "gradle", "properties": {"token": WORD}}}, "secret_misplaced"),
        ({**JAR, "lineage": {"reads": [WORD]}}, "secret_misplaced"),
        ({"type": "session-cluster", "config": {"s3.secret-key": WORD}}, "secret_misplaced"),
    ],
)
def test_they_do_not_stand_there(spec: dict, code: str):
    with pytest.raises(InvalidInput) as caught:
        check_references(SPEC.validate_python(spec))
    assert caught.value.code == code
    assert caught.value.remedy or code != "secret_misplaced"


def test_a_configuration_that_is_given_refers_to_none_and_a_stored_one_may():
    """What was taken before there was the rule goes on, as it is written."""
    check_config({"a.b": WORD}, "config")
    with pytest.raises(InvalidInput, match=r"config: a\.b refers to a secret") as caught:
        check_new_config({"a.b": WORD}, "config")
    assert "SET 'key' = '${secret:name}'" in str(caught.value.remedy)


def test_a_library_that_is_built_refers_to_none():
    with pytest.raises(InvalidInput, match=r"source\.build refers to a secret"):
        check_unopened({"git": GIT, "build": {"properties": {"t": WORD}}}, "source")
