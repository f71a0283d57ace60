"""A file or a module of a Python program that is not there is answered with those that are."""

from __future__ import annotations

from pathlib import Path

import pytest

from builds.git import GitFailed
from builds.python_files import check_entry_file, check_module, check_requirements
from core.effects import Rejected


@pytest.fixture
def source(tmp_path: Path) -> Path:
    names = ["orders.py", "jobs/__init__.py", "jobs/daily.py", "jobs/my-script.py", ".git/hook.py", "deps/reqs.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_what_is_there(source: Path):
    for name in ("orders.py", "jobs/daily.py"):
        check_entry_file(source, name)
    for name in ("orders", "jobs", "jobs.daily"):
        check_module(source, name)
    check_requirements(source, "deps/reqs.txt")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            "order.py",
            "order.py is not a file in the repository. Set entry_file to one of: orders.py, jobs/__init__.py, "
            "jobs/daily.py, jobs/my-script.py; or git.subdirectory to another folder.",
        ),
        ("daily.py", "Set entry_file to one of: jobs/daily.py, "),
        ("jobs", "jobs is not a file in the repository. Set entry_file to one of: "),
    ],
)
def test_an_entry_file(source: Path, given: str, said: str):
    with pytest.raises(Rejected) as refused:
        check_entry_file(source, given)
    assert said in refused.value.message


def test_a_module(source: Path):
    with pytest.raises(Rejected) as refused:
        check_module(source, "job.dayly")
    assert refused.value.message == (
        "The module job.dayly is not in the repository. Set module to one of: jobs.daily, jobs, orders; or "
        "git.subdirectory to another folder."
    )


def test_requirements(source: Path):
    with pytest.raises(Rejected, match=r"Set requirements to one of: deps/reqs\.txt;"):
        check_requirements(source, "requirements.txt")


def test_a_folder_without_any(tmp_path: Path):
    with pytest.raises(Rejected, match=r"There is none to choose of: set git\.subdirectory"):
        check_entry_file(tmp_path, "orders.py")


def test_a_link_that_leads_out(source: Path, tmp_path_factory: pytest.TempPathFactory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "x.py"
    elsewhere.touch()
    (source / "x.py").symlink_to(elsewhere)
    with pytest.raises(GitFailed, match="leads out"):
        check_entry_file(source, "x.py")
    with pytest.raises(Exception, match=r"\.\."):
        check_entry_file(source, "../elsewhere0/x.py")
