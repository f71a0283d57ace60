"""What is handed out: a wheel that runs outside a checkout, and locks that name each file by its hash."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from settings.code import ROOT

PACKAGES = sorted({p.parent.name for p in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"})
LOCKS = sorted(ROOT.glob("requirements*.lock"))
NOT_OURS = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info", "build", "dist", ".*")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools takes along what an earlier build has left in a folder."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=NOT_OURS)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = f"import setuptools.build_meta as b; b.build_wheel({str(folder)!r})"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def run(installed: Path, cwd: Path, *arguments: str) -> str:
    """A Python that has the installed Penstock, and nothing of this checkout."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")}
    env |= {"PYTHONPATH": str(installed), "PENSTOCK_HOME": str(cwd / "home")}
    done = subprocess.run([sys.executable, "-P", *arguments], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestWheel:
    def test_it_has_all_files_of_all_packages(self, names):
        """Modules, and what they read: migrations, the source of the fence, the examples of the demo."""
        ours = {
            str(path.relative_to(ROOT))
            for package in PACKAGES
            for path in (ROOT / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert ours - names == set()

    def test_it_has_nothing_else(self, names):
        assert {name.partition("/")[0] for name in names} - set(PACKAGES) == {
            next(name for name in names if name.endswith("/METADATA")).partition("/")[0]
        }

    def test_every_package_is_typed(self, names):
        assert {f"{package}/py.typed" for package in PACKAGES} <= names

    def test_metadata(self, wheel, names):
        folder = next(name for name in names if name.endswith("/METADATA")).rpartition("/")[0]
        files = zipfile.ZipFile(wheel)
        metadata = files.read(f"{folder}/METADATA").decode()
        assert "\nName: penstock-flink\n" in metadata
        assert "\nLicense-Expression: Apache-2.0\n" in metadata
        assert "penstock = cli.main:main" in files.read(f"{folder}/entry_points.txt").decode()
        assert "Apache License" in files.read(f"{folder}/licenses/LICENSE").decode()


class TestInstalled:
    def test_a_folder_with_names_like_ours_does_not_hide_it(self, installed, tmp_path):
        (tmp_path / "api").mkdir()
        (tmp_path / "api" / "__init__.py").write_text("raise SystemExit('not ours')")
        (tmp_path / "cli.py").write_text("raise SystemExit('not ours')")
        assert run(installed, tmp_path, "-m", "cli", "--version").startswith("penstock ")
        told = "from settings import code; print(code.command('cli')[1:], code.environment(), code.COMMAND)"
        assert run(installed, tmp_path, "-c", told).strip() == "['-P', '-m', 'cli'] {} penstock"

    def test_it_brings_a_database_up_to_date(self, installed, tmp_path):
        run(installed, tmp_path, "-m", "cli", "migrate")
        assert (tmp_path / "home" / "penstock.db").stat().st_size > 0

    def test_it_has_what_the_demo_runs(self, installed, tmp_path):
        told = "from stack.local import EXAMPLES; print(EXAMPLES)"
        examples = Path(run(installed, tmp_path, "-c", told).strip())
        assert examples.is_relative_to(installed)
        assert (examples / "sql" / "orders.sql").exists()
        assert (examples / "repository" / "clicks" / "pom.xml").exists()

    def test_its_local_stack_knows_its_own_code(self, installed, tmp_path):
        """`up` starts API and worker anew after an upgrade, by this."""
        told = "import stack.local as s; print(s._source_hash())"
        before = run(installed, tmp_path, "-c", told)
        changed = tmp_path / "changed"
        shutil.copytree(installed, changed)
        with (changed / "workflows" / "job.py").open("a") as module:
            module.write("\n# changed\n")
        assert run(changed, tmp_path, "-c", told) != before == run(installed, tmp_path, "-c", told)


class TestLocks:
    @pytest.mark.parametrize("path", LOCKS, ids=lambda p: p.name)
    def test_each_version_has_hashes_and_no_place(self, path):
        text = path.read_text()
        assert "://" not in text
        assert not re.search(r"^\s*-", re.sub(r"^ +--hash=sha256:[0-9a-f]{64}( \\)?$", "", text, flags=re.M), re.M)
        pins = re.findall(r"^[a-z0-9-]+==\S+.*\n", text, re.M)
        assert pins
        assert len(pins) == len(re.findall(r"^[a-z0-9-]+==\S+.* \\\n    --hash=sha256:", text, re.M))

    def test_they_have_what_pyproject_names_and_agree(self):
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        locks = {p.name: dict(re.findall(r"^([a-z0-9-]+)==(\S+)", p.read_text(), re.M)) for p in LOCKS}
        run, test = locks["requirements.lock"], locks["requirements-test.lock"]

        def named(lines: list[str]) -> set[str]:
            return {re.split(r"[\[<>=!~; ]", line)[0].lower() for line in lines}

        assert named(project["project"]["dependencies"]) <= run.keys()
        assert named(project["project"]["optional-dependencies"]["test"]) <= test.keys()
        assert run.items() <= test.items()
        assert locks["requirements-build.lock"].items() <= test.items()
        assert project["dependency-groups"]["build"] == project["build-system"]["requires"]
