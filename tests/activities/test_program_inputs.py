"""What a program is given: its libraries and its secrets, those of its project and those that are there."""

from __future__ import annotations

import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from activities.program_inputs import inputs_of, with_libraries
from builds.artifacts import Artifacts
from core.effects import Rejected
from store.database import Database
from store.tables import Library, Secret
from store.vault import Vault
from tests.store.test_store import T0, add_job


@pytest.fixture
async def services(database: Database, tmp_path: Path) -> Any:
    artifacts = Artifacts(tmp_path / "artifacts")
    with zipfile.ZipFile(tmp_path / "a.jar", "w") as archive:
        archive.writestr("A", "x")
    (tmp_path / "words.py").write_text("WORD = 1\n")
    jar, size = artifacts.put_jar(tmp_path / "a.jar")
    module, _ = artifacts.put_python(tmp_path / "words.py", "words.py")
    await add_job(database, project="mine")
    async with database.write() as session:
        session.add(Secret(project="mine", name="word", sealed="hunter2", created_at=T0, updated_at=T0))
        for name, kind, files in (
            ("kafka", "jar", [{"sha256": jar, "size": size, "name": "a.jar"}]),
            ("words", "python", [{"sha256": module, "size": 9, "name": "words.py"}]),
            ("gone", "jar", [{"sha256": "f" * 64, "size": 1, "name": "gone.jar"}]),
            ("late", "jar", []),
        ):
            state = "FETCHING" if name == "late" else "READY"
            made = Library(project="mine", name=name, version="1", kind=kind, source={}, state=state, created_at=T0)
            made.files, made.functions = files, []
            session.add(made)
    return SimpleNamespace(
        database=database, vault=SimpleNamespace(open=lambda sealed: f"opened-{sealed}"), artifacts=artifacts
    )


def uses(*names: str) -> list[dict[str, str]]:
    return [{"name": name, "version": "1"} for name in names]


async def test_secrets_are_opened_where_they_are_hidden(services: Any):
    reference = "${secret:word}"
    spec = {"env": {"A": reference}, "files": {"f": f"x={reference}"}, "args": ["--x"]}
    python = await inputs_of(services, "mine", spec, in_jar=False)
    assert (python.env, python.files) == ({"A": "opened-hunter2"}, {"f": "x=opened-hunter2"})
    assert (python.args, python.secrets) == (["--x"], ["opened-hunter2"])
    jar = await inputs_of(services, "mine", {"args": ["--x", reference]}, in_jar=True)
    assert (jar.args, jar.secrets) == (["--x", "opened-hunter2"], ["opened-hunter2"])


async def test_a_python_program_is_not_given_a_reference_as_it_is_written(services: Any):
    """A version that is older than the rule had its program run with the words `${secret:word}`."""
    with pytest.raises(Rejected, match=r"cannot be an argument of a Python program.* Give it under `env` or `files`"):
        await inputs_of(services, "mine", {"args": ["--x=${secret:word}"]}, in_jar=False)


async def test_libraries_are_files(services: Any):
    inputs = await inputs_of(services, "mine", {"libraries": uses("kafka", "words")}, in_jar=False)
    assert [path.name for path in inputs.modules] == ["words.py"]
    one, key = await with_libraries(services, None, "", inputs.jars)
    again, same = await with_libraries(services, None, "", inputs.jars)
    assert (one, key) == (again, same)
    other, _ = await with_libraries(services, inputs.jars[0][1], "a" * 64, inputs.jars)
    assert other != one
    with zipfile.ZipFile(other) as archive:
        assert archive.read("A") == b"x"
        assert [name for name in archive.namelist() if name.startswith("lib/")] == [f"lib/{inputs.jars[0][0]}"]


@pytest.mark.parametrize(
    ("project", "spec", "says"),
    [
        ("mine", {"args": ["${secret:none}"]}, "no secret none"),
        ("other", {"args": ["${secret:word}"]}, "no secret word in the project other"),
        ("mine", {"args": ["${secret:W}"]}, "is not a reference"),
        ("mine", {"libraries": uses("none")}, "no library none"),
        ("other", {"libraries": uses("kafka")}, "no library kafka"),
        ("mine", {"libraries": uses("late")}, "late 1 is FETCHING"),
        ("mine", {"libraries": uses("gone")}, "not in the artifact store any more"),
        ("mine", {"libraries": uses("words")}, "a jar runs none"),
    ],
)
async def test_what_is_not_there(services: Any, project: str, spec: dict, says: str):
    with pytest.raises(Rejected, match=says):
        await inputs_of(services, project, spec, in_jar=True)


async def test_a_secret_that_this_worker_cannot_open_is_a_no(services: Any, tmp_path: Path):
    """It was an error like any other, and tried again for ever."""
    services.vault = Vault("", tmp_path / "another.key")
    with pytest.raises(Rejected, match="sealed with another key"):
        await inputs_of(services, "mine", {"env": {"A": "${secret:word}"}}, in_jar=False)
