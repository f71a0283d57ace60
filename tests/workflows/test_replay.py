"""Stored histories replayed: a change that would break workflows that run now fails here.

A change that is meant to break them needs `workflow.patched`. Histories are only ever added: what is below `histories`
in any commit since `FIRST` stays as it is. New ones are kept, in a folder of their own below it, with
`PENSTOCK_KEEP_HISTORIES=tests/workflows/histories/NEW python -m pytest tests/workflows/test_job.py`.
"""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from core.jobs.snapshot import GENERATION
from worker.main import WORKFLOWS, runner
from workflows.job import JobWorkflow

FIRST = "42b608a"
FOLDER = Path(__file__).with_name("histories")
HISTORIES = sorted(FOLDER.rglob("*.json"))


@pytest.mark.parametrize("path", HISTORIES, ids=lambda p: str(p.relative_to(FOLDER).with_suffix("")))
async def test_it_replays(path: Path):
    replayer = Replayer(workflows=WORKFLOWS, data_converter=pydantic_data_converter, workflow_runner=runner())
    await replayer.replay_workflow(WorkflowHistory.from_json(f"job-p:{path.stem}", path.read_text()))


async def test_a_run_of_a_later_generation_is_left_to_a_newer_worker():
    """Its task fails instead of going on as an older version does; Temporal gives it to another worker."""
    history = json.loads(HISTORIES[0].read_text())
    (payload,) = history["events"][0]["workflowExecutionStartedEventAttributes"]["input"]["payloads"]
    snapshot = json.loads(base64.b64decode(payload["data"])) | {"generation": GENERATION + 1}
    payload["data"] = base64.b64encode(json.dumps(snapshot).encode()).decode()
    replayer = Replayer(workflows=[JobWorkflow], data_converter=pydantic_data_converter, workflow_runner=runner())
    with pytest.raises(Exception, match=f"generation {GENERATION + 1}"):
        await replayer.replay_workflow(WorkflowHistory.from_json("job-p:j", json.dumps(history)))


def test_there_are_histories():
    assert len(HISTORIES) >= 8


class NoHistory(Exception):
    """Why it cannot be told here whether histories were only added."""


def git(folder: Path, *arguments: str, stdin: str = "") -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], input=stdin, capture_output=True, text=True, check=True
        )
    except FileNotFoundError as error:
        raise NoHistory("there is no git here") from error
    except subprocess.CalledProcessError as error:
        raise NoHistory(f"git {arguments[0]} failed: {error.stderr.strip()}") from error
    return done.stdout


def lost(folder: Path, first: str) -> list[str]:
    """Files that a commit from `first` to HEAD has below `folder`, and that are gone or changed in the working tree,
    with that commit. Raises `NoHistory` in a checkout that does not reach back to `first`."""
    git(folder, "merge-base", "--is-ancestor", first, "HEAD")
    root = Path(git(folder, "rev-parse", "--show-toplevel").strip())
    under = str(folder.resolve().relative_to(root.resolve()))
    present = sorted(p for p in folder.rglob("*") if p.is_file())
    hashes = git(root, "hash-object", "--stdin-paths", stdin="".join(f"{p.resolve()}\n" for p in present)).split()
    now = {str(p.resolve().relative_to(root.resolve())): blob for p, blob in zip(present, hashes, strict=True)}
    found: dict[str, str] = {}
    for commit in [first, *git(root, "rev-list", "--full-history", f"{first}..HEAD", "--", under).split()]:
        for line in git(root, "ls-tree", "-r", "-z", commit, "--", under).split("\0"):
            about, _, path = line.partition("\t")
            if path and now.get(path) != about.split()[2]:
                found.setdefault(path, commit[:12])
    return [f"{path}, which {commit} has, is {'changed' if path in now else 'gone'}" for path, commit in found.items()]


class TestAppendOnly:
    def test_no_history_that_was_ever_kept_is_gone_or_changed(self):
        try:
            broken = lost(FOLDER, FIRST)
        except NoHistory as error:
            pytest.skip(f"it needs a full clone, back to {FIRST} (git fetch --unshallow): {error}")
        assert not broken, "\n".join(["put these back; a change needs workflow.patched:", *broken])

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        made = tmp_path / "repository" / "histories"
        made.mkdir(parents=True)
        git(made.parent, "init", "-q", "-b", "main")
        (made / "a.json").write_text("1")
        self.commit(made)
        return made

    def commit(self, folder: Path) -> str:
        git(folder, "add", "-A")
        author = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
        git(folder, *author, "commit", "-q", "-m", "change")
        return git(folder, "rev-parse", "HEAD").strip()

    def test_one_may_be_added(self, folder: Path):
        first = git(folder, "rev-parse", "HEAD").strip()
        (folder / "new").mkdir()
        (folder / "new" / "b.json").write_text("2")
        assert lost(folder, first) == []
        self.commit(folder)
        assert lost(folder, first) == []

    @pytest.mark.parametrize("committed", [True, False])
    def test_one_that_is_deleted_or_changed_is_named(self, folder: Path, committed: bool):
        first = git(folder, "rev-parse", "HEAD").strip()
        (folder / "b.json").write_text("2")
        between = self.commit(folder)
        (folder / "a.json").write_text("other")
        (folder / "b.json").unlink()
        if committed:
            self.commit(folder)
        found = lost(folder, first)
        assert [line.rpartition("/")[2] for line in found] == [
            f"a.json, which {first[:12]} has, is changed",
            f"b.json, which {between[:12]} has, is gone",
        ]

    def test_a_checkout_without_history_says_so(self, folder: Path, tmp_path: Path):
        first = git(folder, "rev-parse", "HEAD").strip()
        (folder / "b.json").write_text("2")
        self.commit(folder)
        git(tmp_path, "clone", "-q", "--depth", "1", f"file://{folder.parent}", str(tmp_path / "shallow"))
        with pytest.raises(NoHistory):
            lost(tmp_path / "shallow" / "histories", first)
