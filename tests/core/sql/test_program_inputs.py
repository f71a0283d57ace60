"""Where a program's spec may refer to a secret, and where a secret may not stand."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from core.errors import InvalidInput
from core.specs import JobSpec
from core.sql.program_inputs import check_references

SPEC: TypeAdapter = TypeAdapter(JobSpec)
GIT = {"url": "https://git.example.com/a/b.git"}
PYTHON = {"type": "pyflink", "git": GIT, "entry_file": "job.py"}
JAR = {"type": "jar", "git": GIT}
WORD = "${secret:word}"


@pytest.mark.parametrize(
    "spec",
    [
        {**PYTHON, "env": {"PASSWORD": WORD, "URL": "db://host"}, "files": {"a": f"x={WORD}"}},
        {**PYTHON, "java_properties": {"javax.net.ssl.trustStorePassword": WORD}, "args": ["--x"]},
        {**JAR, "args": ["--password", WORD]},
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
    ],
)
def test_they_do_not_stand_there(spec: dict, code: str):
    with pytest.raises(InvalidInput) as caught:
        check_references(SPEC.validate_python(spec))
    assert caught.value.code == code
