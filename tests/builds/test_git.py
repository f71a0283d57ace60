"""What is said of a repository that has not what was asked for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import git as gitpython
import pytest

from builds import git
from core.specs import GitSource


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    for name in ("jobs/word-count/pom.xml", "jobs/clicks/main.py", "docs/index.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    author = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "x"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


async def test_a_folder_that_is_not_there(repository: Path, tmp_path: Path):
    source = GitSource(url=str(repository), subdirectory="job/wordcount")
    with pytest.raises(git.GitFailed) as raised:
        await git.checkout(source, await git.resolve(source), tmp_path / "target", lambda _: None)
    assert raised.value.message == (
        "job/wordcount is not in the repository. Set git.subdirectory to one of: jobs/word-count, jobs/clicks."
    )


async def test_a_commit_that_is_not_there(repository: Path, tmp_path: Path):
    source = GitSource(url=str(repository))
    head = await git.resolve(source)
    with pytest.raises(git.GitFailed) as raised:
        await git.checkout(source, "a" * 40, tmp_path / "target", lambda _: None)
    said = f"has no commit {'a' * 40} on any of its branches. Branches there, newest first: "
    assert said in raised.value.message
    assert raised.value.message.endswith(f" ({head}).")


async def test_a_commit_that_is_cut_short(repository: Path):
    head = await git.resolve(GitSource(url=str(repository)))
    with pytest.raises(git.GitFailed, match=rf"all its 40 digits: {head} \(HEAD\), {head} \(\w+\)\.$"):
        await git.resolve(GitSource(url=str(repository), ref=head[:8]))
    other = "0" * 8 if head[0] != "0" else "1" * 8
    with pytest.raises(git.GitFailed, match=r"all its 40 digits\.$"):
        await git.resolve(GitSource(url=str(repository), ref=other))


@pytest.mark.parametrize(
    "why",
    [
        "git@example.com: Permission denied (publickey).",
        "ssh: connect to host example.com port 22: Connection refused",
        "Host key verification failed.",
    ],
)
def test_what_ssh_said(why: str):
    stderr = (
        f"{why}\nfatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights"
    )
    said = git._failed(gitpython.GitCommandError(["git"], 128, stderr.encode())).message
    assert said == f"Git: {why} fatal: Could not read from remote repository."
