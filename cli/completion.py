"""Completion in the shell: names of jobs, clusters and projects, and words that bash has taken apart."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import typer
from typer import _completion_shared

from cli.client import client
from settings import waits

ZSH = """
#compdef %(prog_name)s

_%(prog_name)s() {
  eval $(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" %(autocomplete_var)s=complete_zsh %(prog_name)s)
}

if [[ $funcstack[1] == _%(prog_name)s ]]; then
  _%(prog_name)s
else
  compdef _%(prog_name)s %(prog_name)s
fi
"""
"""In place of Typer's. Zsh runs the file `_penstock` as the function of this name when it is first asked for a
completion, and so that has to answer; Typer's only registers another function then, and the first Tab does nothing."""
_completion_shared._completion_scripts["zsh"] = ZSH


def complete_jobs(incomplete: str) -> list[str]:
    """Jobs as `project:name`, those of the project `default` by name alone, too."""
    until = time.monotonic() + waits.PROMPT_SECONDS
    project, colon, name = incomplete.partition(":")
    if colon:
        found = [f"{project}:{job}" for job in _names("/jobs", until, project=project, text=name or None)]
    else:
        found = list(_names("/jobs", until, project="default", text=incomplete or None))
        for other in _names("/projects", until):
            if other.startswith(incomplete):
                found += [f"{other}:{job}" for job in _names("/jobs", until, project=other)]
    return [name for name in found if name.startswith(incomplete)]


def complete_clusters(incomplete: str) -> list[str]:
    """Names of clusters that begin so."""
    return [
        name for name in _names("/clusters", time.monotonic() + waits.PROMPT_SECONDS) if name.startswith(incomplete)
    ]


def complete_projects(incomplete: str) -> list[str]:
    """Names of projects that begin so."""
    return [
        name for name in _names("/projects", time.monotonic() + waits.PROMPT_SECONDS) if name.startswith(incomplete)
    ]


def _names(path: str, until: float, **params: Any) -> Iterator[str]:
    """Names of a list, page after page, as far as they come in time; none rather than an error."""
    cursor: str | None = None
    given = {"limit": 200, **params}
    with contextlib.suppress(httpx.HTTPError, ValueError, KeyError, TypeError, typer.Exit):
        while (left := until - time.monotonic()) > 0:
            asked = {key: value for key, value in {**given, "cursor": cursor}.items() if value is not None}
            with client(left) as http:
                page = http.get(path, params=asked).json()
            yield from (item["name"] for item in page["items"])
            cursor = page.get("next_cursor")
            if cursor is None:
                return


def answering(run: Callable[[], None]) -> None:
    """Call `run`, which answers a shell's question for completions where there is one.

    Bash takes words apart at colons (COMP_WORDBREAKS), and puts an answer in the place of what follows the last one. So
    they are joined before the question is read, and the answers are cut.
    """
    if os.environ.get("_PENSTOCK_COMPLETE") != "complete_bash" or "COMP_WORDS" not in os.environ:
        run()
        return
    words, at, kept = joined(os.environ["COMP_WORDS"].split("\n"), int(os.environ.get("COMP_CWORD", "0")))
    os.environ.update({"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(at)})
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            run()
    finally:
        sys.stdout.write("".join(line.removeprefix(kept) for line in said.getvalue().splitlines(keepends=True)))


def joined(words: Sequence[str], at: int) -> tuple[list[str], int, str]:
    """Words with those joined that bash has taken apart at colons; the place of the one that is completed, which was
    `at`; and what of that bash keeps in front of an answer. What follows the cursor is left out."""
    made: list[str] = []
    kept = ""
    for number, word in enumerate(words[: at + 1]):
        # An empty word stands after a space.
        if number > 1 and word and (_is_colons(word) or _is_colons(words[number - 1])):
            kept = made[-1] + word if _is_colons(word) else made[-1]
            made[-1] += word
        else:
            kept = ""
            made.append(word)
    return made, len(made) - 1, kept


def _is_colons(word: str) -> bool:
    return bool(word) and not word.strip(":")
