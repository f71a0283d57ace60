"""`penstock sql shell`: a session at a prompt, with completion, history, and a way to make a job of what was tried."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import typer
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import Completer, Completion, ThreadedCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.patch_stdout import patch_stdout

from cli.client import Api, client, err, out
from cli.rows import follow, show_answer
from core.errors import InvalidInput
from core.sql.references import check_script
from core.sql.script import EMPTY, parse
from core.sql.tokens import TokenKind, tokens
from settings import waits

HISTORY = "shell-history"
HELP = """\
A statement ends with ; and may have several lines. Ctrl-C stops a query, Ctrl-D leaves, Tab completes.
INSERTs do not run here: they are checked and kept, for \\debug and \\job.

  \\d [TABLE]    tables; columns of a table
  \\d+ TABLE     its CREATE TABLE
  \\dv \\df \\dn \\dc   views, functions, databases, catalogs
  \\script       what a job would run: all that was made and set here, and the INSERTs
  \\debug        what the INSERTs would write; nothing is written
  \\job NAME     make a job of it
  \\clear        forget the INSERTs that were kept
  \\x            queries show the table at the end, or the changes as they come
  \\rows N       most rows of a query
  \\seconds N    longest time of a query
  \\i FILE       run the statements of a file
  \\q            leave"""

_SHOWS = {"\\dv": "SHOW VIEWS", "\\df": "SHOW USER FUNCTIONS", "\\dn": "SHOW DATABASES", "\\dc": "SHOW CATALOGS"}
_INSERTS = ("INSERT", "EXECUTE", "BEGIN", "STATEMENT")


class ShellExit(Exception):
    """The shell is to end."""


@dataclass
class Shell:
    """What is done with each statement and each `\\` command. `options` are project, cluster, libraries and
    configuration, as the API takes them; `session` is the id of the session."""

    api: Api
    session: str
    options: dict[str, Any]
    rows: int = 1000
    seconds: float = 60
    table: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    inserts: list[str] = field(default_factory=list)

    def take(self, text: str) -> None:
        """Do one thing: a `\\` command, or a statement (with or without its semicolon). Raises `typer.Exit` with what
        went wrong told, and `ShellExit`."""
        text = text.strip()
        if text.startswith("\\"):
            self._command(text)
        elif text.rstrip(";").strip():
            self._statement(text)

    # Statements -------------------------------------------------------------------------------

    def _statement(self, text: str) -> None:
        first = first_word(text)
        if first in ("QUIT", "EXIT"):
            raise ShellExit
        if first in _INSERTS:
            self._keep(text)
            return
        self._run(text)
        if first == "SET" and len(tokens(text)) > 2:
            self.settings[_set_key(text)] = _ended(text)
        elif first == "RESET":
            self.settings = {} if len(tokens(text)) <= 2 else self.settings
            self.settings.pop(_set_key(text), None)

    def _run(self, statement: str) -> None:
        limits = {"rows": self.rows, "seconds": self.seconds}
        body = {"statement": statement, "limits": limits, "materialize": self.table}
        answer = self.api.call("POST", f"/sql/sessions/{self.session}/statements", json=body, timeout=None)
        show_answer(self.api, answer, as_json=False, table=self.table)

    def _keep(self, insert: str) -> None:
        """Check an INSERT with all that it needs, and keep it."""
        text = self.script([*self.inserts, insert])
        checked = self.api.call("POST", "/sql/validate", json={**self.options, "sql": text}, timeout=None)
        if not checked["valid"]:
            for error in checked["errors"]:
                err.print(error["message"], style="red", markup=False, highlight=False)
                if error["remedy"]:
                    err.print(error["remedy"], markup=False, highlight=False)
            raise typer.Exit(1)
        self.inserts.append(insert)
        out.print("Checked and kept. \\debug shows what it would write, \\job NAME makes a job of it.", markup=False)

    def script(self, inserts: list[str] | None = None) -> str:
        """What a job would run."""
        made = self.api.call("GET", f"/sql/sessions/{self.session}")["setup"]
        every = [
            *self.settings.values(),
            *map(_ended, made),
            *map(_ended, self.inserts if inserts is None else inserts),
        ]
        return "\n".join(every) + "\n"

    # Commands ---------------------------------------------------------------------------------

    def _command(self, text: str) -> None:
        try:
            name, *words = shlex.split(text.rstrip(";").replace("\\", "\\\\", 1))
        except ValueError as error:
            raise self._wrong(str(error)) from error
        actions: dict[str, Callable[[], None]] = {
            "\\?": lambda: out.print(HELP, markup=False, highlight=False),
            "\\script": lambda: out.print(self.script(), markup=False, highlight=False, end=""),
            "\\debug": self._debug,
            "\\clear": self.inserts.clear,
            "\\x": self._toggle,
        }
        takes: dict[str, Callable[[str], None]] = {
            "\\d": lambda table: self._run(f"DESCRIBE {table}"),
            "\\d+": lambda table: self._run(f"SHOW CREATE TABLE {table}"),
            "\\job": self._job,
            "\\i": self._file,
            "\\rows": lambda n: self._limit("rows", n),
            "\\seconds": lambda n: self._limit("seconds", n),
        }
        if name in ("\\q", "\\quit", "\\exit"):
            raise ShellExit
        if name in ("\\h", "\\help"):
            name = "\\?"
        if name == "\\d" and not words:
            self._run("SHOW TABLES")
        elif name in _SHOWS and not words:
            self._run(_SHOWS[name])
        elif name in actions and not words:
            actions[name]()
        elif name in takes and len(words) == 1:
            takes[name](words[0])
        else:
            raise self._wrong(f"{text} is no command of the shell.")

    def _wrong(self, why: str) -> typer.Exit:
        err.print(f"{why} \\? shows them.", style="red", markup=False, highlight=False)
        return typer.Exit(2)

    def _toggle(self) -> None:
        self.table = not self.table
        out.print(f"Queries show {'the table at the end' if self.table else 'the changes as they come'}.", markup=False)

    def _limit(self, which: str, number: str) -> None:
        if not number.isdigit() or not int(number):
            raise self._wrong(f"\\{which} takes a number, not {number}.")
        setattr(self, which, int(number))

    def _file(self, path: str) -> None:
        try:
            text = Path(path).expanduser().read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise self._wrong(f"{path} cannot be read: {error}.") from error
        for statement in statements(text):
            self.take(statement)

    def _debug(self) -> None:
        self._check_inserts()
        limits = {"rows": self.rows, "seconds": self.seconds}
        body = {**self.options, "sql": self.script(), "sources": {}, "limits": limits}
        follow(self.api, self.api.call("POST", "/sql/debug", json=body, timeout=None), as_json=False, table=self.table)

    def _job(self, name: str) -> None:
        self._check_inserts()
        spec = {"type": "sql", "sql": self.script(), "libraries": self.options["libraries"]}
        where = {"project": self.options["project"], "cluster": self.options["cluster"]}
        body = {"name": name, **where, "spec": spec, "config": self.options["config"], "note": "made in a SQL shell"}
        job = self.api.call("POST", "/jobs", json=body)
        self.inserts.clear()
        full = f"{job['project']}:{job['name']}"
        out.print(f"{full} is there. Start it with: penstock jobs start {full}", markup=False, highlight=False)

    def _check_inserts(self) -> None:
        if not self.inserts:
            err.print("There is no INSERT yet: type one, it is kept until \\job or \\clear.", style="red", markup=False)
            raise typer.Exit(2)


def first_word(text: str) -> str:
    """The keyword that a text begins with; empty when there is none."""
    try:
        parts = tokens(text)
    except InvalidInput:
        return ""
    return parts[0].word if parts else ""


def is_whole(text: str) -> bool:
    """Whether what was typed can be sent: a `\\` command, nothing, or a statement with its semicolon."""
    if not text.strip() or text.lstrip().startswith("\\"):
        return True
    try:
        parts = tokens(text)
    except InvalidInput:
        return False
    return not parts or (parts[-1].kind is TokenKind.END and not parse(text).unfinished)


def statements(text: str) -> Iterator[str]:
    """The statements and `\\` commands of a text, each as it would be typed. What is not closed comes as the last one,
    for the API to refuse."""
    waiting = ""
    for line in text.splitlines(keepends=True):
        waiting += line
        if is_whole(waiting):
            yield from [waiting] if waiting.lstrip().startswith("\\") else parse(waiting).pieces()
            waiting = ""
    if waiting.strip():
        yield waiting


def _ended(statement: str) -> str:
    """A statement with its semicolon, in front of a comment that it ends with."""
    parts = tokens(statement)
    if not parts or parts[-1].kind is TokenKind.END:
        return statement.rstrip()
    end = parts[-1].end
    return (statement[:end] + ";" + statement[end:]).rstrip()


def _set_key(text: str) -> str:
    parts = tokens(text)
    return parts[1].text if len(parts) > 1 else ""


@contextmanager
def ended_in_order() -> Iterator[None]:
    """What ends the shell from outside, as when its window is closed, ends it like a `\\q`: nobody else would end its
    session. Once: a window sends it, and then the shell that this one was started from."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}

    def end(number: int, _: FrameType | None) -> None:
        for one in kept:
            signal.signal(one, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for number in kept:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, before in kept.items():
            signal.signal(number, before)


# At the terminal ------------------------------------------------------------------------------


class _Completer(Completer):
    """Asks the API, as it asks Flink; nothing rather than an error."""

    def __init__(self, shell: Shell, transport: httpx.BaseTransport | None = None):
        self._shell = shell
        self._http = client(waits.PROMPT_SECONDS, transport)

    def get_completions(self, document: Document, complete_event: object) -> Iterator[Completion]:
        text = document.text_before_cursor
        if text.lstrip().startswith("\\"):
            return
        where = {k: self._shell.options[k] for k in ("project", "cluster")}
        body = {**where, "session": self._shell.session, "sql": text, "position": len(text)}
        with contextlib.suppress(httpx.HTTPError, ValueError, KeyError, TypeError):
            answer = self._http.post("/sql/complete", json=body).raise_for_status().json()
            for item in answer["candidates"]:
                yield Completion(item["text"], answer["start"] - len(text), display_meta=item["kind"])


def history_file() -> Path:
    """Where what was typed is kept, readable by its owner only."""
    folder = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "penstock"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / HISTORY
    path.touch(mode=0o600)
    return path


class _History(FileHistory):
    """Keeps what was accepted: a statement that was refused for a secret in clear is in no file."""

    def store_string(self, string: str) -> None:
        try:
            check_script(parse(string) if not string.startswith("\\") else EMPTY)
        except InvalidInput:
            return
        super().store_string(string)


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_whole(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n")

    return keys


def at_terminal(shell: Shell) -> None:
    """Read and do, until the user leaves."""
    prompt = f"{shell.options['project']}> "
    asking: PromptSession[str] = PromptSession(
        history=_History(str(history_file())),
        completer=ThreadedCompleter(_Completer(shell)),
        complete_while_typing=False,
        multiline=True,
        key_bindings=_keys(),
        prompt_continuation=lambda width, *_: "." * (width - 1) + " ",
    )
    out.print("\\? shows what can be done here.", markup=False, style="dim")
    while True:
        try:
            with patch_stdout():
                text = asking.prompt(prompt)
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        try:
            for statement in statements(text):
                shell.take(statement)
        except ShellExit:
            return
        except KeyboardInterrupt:
            out.print("")
        except typer.Exit:
            pass  # what went wrong has been told
