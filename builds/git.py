"""Source from Git: a ref resolved to a commit, and a shallow checkout of exactly that commit."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import git

from core.effects import LogSink, ProgramTrouble, Rejected
from core.near import nearest
from core.specs import GitSource, check_git_ref, check_git_url, check_inner_path, local_git_path
from processes.child import clean_line
from processes.missing import not_found
from settings import waits

_SHA = re.compile(r"^[0-9a-f]{40}$")
PROGRAMS = ("pom.xml", "*.py", "build.gradle", "build.gradle.kts", "build.sbt")

# Git is told never to run anything that a URL, a repository or a user's configuration may name.
_ENV = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
    "GIT_ALLOW_PROTOCOL": "https:ssh:file",
    "GIT_CONFIG_COUNT": "5",
    "GIT_CONFIG_KEY_0": "protocol.ext.allow",
    "GIT_CONFIG_VALUE_0": "never",
    "GIT_CONFIG_KEY_1": "core.hooksPath",
    "GIT_CONFIG_VALUE_1": os.devnull,
    "GIT_CONFIG_KEY_2": "core.fsmonitor",
    "GIT_CONFIG_VALUE_2": "false",
    "GIT_CONFIG_KEY_3": "core.symlinks",
    "GIT_CONFIG_VALUE_3": "true",
    "GIT_CONFIG_KEY_4": "safe.directory",
    "GIT_CONFIG_VALUE_4": "*",
}

_SSH_SAYS = (
    "Permission denied",
    "Host key verification failed",
    "REMOTE HOST IDENTIFICATION HAS CHANGED",
    "Connection closed",
    "Connection reset",
    "Connection timed out",
    "Too many authentication failures",
    "no mutual signature algorithm",
)


class GitFailed(ProgramTrouble):
    """Git said no; the message has its own words."""


def check_local(source: GitSource, roots: list[Path]) -> None:
    """Raise `Rejected` for a local repository outside the allowed roots."""
    path = local_git_path(source.url)
    if path is None:
        return
    resolved = Path(path).resolve()
    if not any(resolved.is_relative_to(root.resolve()) for root in roots):
        raise Rejected(
            f"The local repository {path} lies outside the folders that may be built from. "
            "Add its folder to PENSTOCK_GIT_LOCAL_ROOTS of the API and the workers, or use an https or ssh URL."
        )


async def resolve(source: GitSource, seconds: float = waits.GIT_SECONDS) -> str:
    """The commit that `source.ref` names now: 40 hex digits. Raises `GitFailed`, also when Git takes longer, and
    `ProgramMissing`."""
    check_git_url(source.url)
    ref = check_git_ref(source.ref)
    if _SHA.match(ref):
        return ref
    output = await asyncio.to_thread(_git, "ls-remote", "--", source.url, seconds=seconds)
    refs = {name: commit for commit, _, name in (line.partition("\t") for line in output.splitlines())}
    for name in (ref, f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}", f"refs/heads/{ref}"):
        if name in refs:
            return refs[name]
    if re.fullmatch(r"[0-9a-f]{7,39}", ref):
        close = sorted({f"{commit} ({_short(name)})" for name, commit in refs.items() if commit.startswith(ref)})[:10]
        raise GitFailed(
            f"{source.url} has no branch or tag {ref}; give a commit with all its 40 digits"
            + (f": {', '.join(close)}." if close else ".")
        )
    known = sorted(n.rpartition("/")[2] for n in refs if n.startswith("refs/heads/"))[:10]
    raise GitFailed(
        f"{source.url} has no branch, tag or commit {ref}."
        + (f" Branches there: {', '.join(known)}." if known else " The repository is empty.")
    )


def _short(ref: str) -> str:
    return ref.removeprefix("refs/heads/").removeprefix("refs/tags/").removesuffix("^{}")


async def checkout(source: GitSource, commit: str, target: Path, tell: LogSink) -> Path:
    """Fetch one commit into `target`, without history; returns the folder of the source (the subdirectory).

    Raises `GitFailed`; also when the subdirectory is not there or leads out of the repository.
    """
    check_git_url(source.url)
    if not _SHA.match(commit):
        raise GitFailed(f"{commit[:60]!r} is not a commit")
    tell(f"fetching {commit[:12]} of {source.url}")
    await asyncio.to_thread(_fetch, source.url, commit, target)
    if source.subdirectory is None:
        return target
    if not (target / source.subdirectory).exists():
        raise GitFailed(await asyncio.to_thread(_no_folder, target, source.subdirectory))
    return inside(target, source.subdirectory)


def _no_folder(root: Path, subdirectory: str) -> str:
    """What to say of a subdirectory that is not there: with the folders that could be meant, those that something can
    be built or run from."""
    of_programs = {p.parent for pattern in PROGRAMS for p in root.rglob(pattern) if ".git" not in p.parts}
    shown = nearest(subdirectory, (str(p.relative_to(root)) for p in of_programs if p != root))
    said = f"{subdirectory} is not in the repository."
    return f"{said} Set git.subdirectory to one of: {', '.join(shown)}." if shown else said


def inside(root: Path, relative: str) -> Path:
    """`root`/`relative`, when it exists and no symbolic link leads out of `root`; else `GitFailed`."""
    check_inner_path(relative)
    path = (root / relative).resolve()
    if not path.is_relative_to(root.resolve()):
        raise GitFailed(f"{relative} leads out of the repository")
    if not path.exists():
        raise GitFailed(f"{relative} is not in the repository")
    return path


def _fetch(url: str, commit: str, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    try:
        repository = git.Repo.init(target)
    except git.GitCommandNotFound as error:
        raise not_found("git") from error
    with repository as repo:
        repo.git.update_environment(**_ENV)
        try:
            repo.git.fetch(
                "--depth=1",
                "--no-tags",
                "--no-recurse-submodules",
                "--",
                url,
                commit,
                kill_after_timeout=waits.GIT_SECONDS,
            )
        except git.GitCommandError as error:
            # A server may refuse to give a commit by its id (uploadpack.allowReachableSHA1InWant): take all.
            if "not our ref" not in str(error.stderr) and "unadvertised" not in str(error.stderr):
                raise _failed(error) from error
            try:
                repo.git.fetch(
                    "--no-tags", "--", url, "+refs/heads/*:refs/remotes/origin/*", kill_after_timeout=waits.GIT_SECONDS
                )
            except git.GitCommandError as second:
                raise _failed(second) from second
        try:
            repo.git.checkout("--detach", "--force", commit)
        except git.GitCommandError as error:
            if any(words in str(error.stderr) for words in ("not a tree", "unable to read tree", "did not match")):
                there = repo.git.for_each_ref(
                    "--count=10",
                    "--sort=-committerdate",
                    "--format=%(refname:lstrip=3) (%(objectname))",
                    "refs/remotes/origin",
                )
                known = f" Branches there, newest first: {', '.join(str(there).splitlines())}." if there else ""
                raise GitFailed(f"{url} has no commit {commit} on any of its branches.{known}") from error
            raise _failed(error) from error


def _git(*arguments: str, seconds: float) -> str:
    command = git.Git()
    command.update_environment(**_ENV)
    try:
        return str(command.execute(["git", *arguments], kill_after_timeout=seconds))
    except git.GitCommandNotFound as error:
        raise not_found("git") from error
    except git.GitCommandError as error:
        raise _failed(error) from error


def _failed(error: git.GitCommandError) -> GitFailed:
    said = str(error.stderr).strip().removeprefix("stderr: ").strip("'\n ")
    lines = [clean_line(line) for line in said.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:", "ERROR:"))] or lines[-3:]
    # Git itself knows only that ssh has ended; ssh has said why, on a line of its own.
    of_ssh = [line for line in lines if line.startswith("ssh:") or any(words in line for words in _SSH_SAYS)]
    return GitFailed("Git: " + " ".join(dict.fromkeys([*of_ssh, *fatal]))[:800])
