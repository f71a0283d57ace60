"""What the API says, in words of the command line: requests become commands to type, fields become options."""

from __future__ import annotations

import re

_JOB = r"(?P<job>\{id\}|[\w.{}-]+(?::[\w.{}-]+)?)"
_COMMANDS: list[tuple[str, str]] = [
    (rf"POST /jobs/{_JOB}/versions", "penstock jobs add-version {job}"),
    (rf"POST /jobs/{_JOB}/commands, kind (?P<kind>\w+)", "penstock jobs {kind} {job}"),
    (rf"POST /jobs/{_JOB}/commands", "penstock jobs start {job}"),
    (rf"GET /jobs/{_JOB}/commands/(?P<number>\d+)", "penstock jobs log {job} {number}"),
    (rf"GET /jobs/{_JOB}/commands", "penstock jobs commands {job}"),
    (rf"GET /jobs/{_JOB}/logs", "penstock jobs logs {job}"),
    (rf"GET /jobs/{_JOB}/restore-points", "penstock jobs restore-points {job}"),
    (
        rf"GET /jobs/{_JOB}/versions/(?P<number>\{{number\}}|\d+)/verdict",
        "penstock jobs verdict {job} --version {number}",
    ),
    (rf"GET /jobs/{_JOB}", "penstock jobs show {job}"),
    (r"PATCH /projects/(?P<name>[\w.-]+) with \{\"archived\": false\}", "penstock projects unarchive {name}"),
    (r"PATCH /projects/(?P<name>[\w.-]+)", "penstock projects set {name}"),
    (
        r"PUT /projects/(?P<project>[\w.-]+)/members/(?P<account>[\w./-]*\w)",
        "penstock members set {account} --project {project}",
    ),
    (r"PATCH /clusters/(?P<name>[\w.-]+)", "penstock clusters set {name}"),
    (r"POST /clusters, kind \w+", "penstock up"),
    (r"POST /clusters", "penstock clusters add"),
    (r"GET /clusters", "penstock clusters list"),
    (r"GET /cluster-kinds", "penstock clusters kinds"),
    (r"POST /projects/(?:\{project\}|[\w.-]+)/libraries", "penstock libraries add"),
    (r"GET /orphans", "penstock orphans list"),
    (r"GET /settings", "penstock settings"),
    (r"POST /api/v1/sql/previews/(?P<name>[\w-]+)/resume", "penstock sql resume {name}"),
    # Bodies, or the part of one that says where a start goes on from.
    (r"\bSend (?=\{\"mode\")", "Give "),
    (r"(?:\brestore )?\{\"mode\": \"(?P<mode>newest|none)\"\}", "--restore {mode}"),
    (
        r"(?:\brestore )?\{\"mode\": \"point\", \"point\": (?:PATH|\"<id or path>\"), \"accept_unknown_state\": true\}",
        "--restore POINT --accept-unknown-state",
    ),
    (r"(?:\brestore )?\{\"mode\": \"point\", \"point\": (?:PATH|\"<id or path>\")\}", "--restore POINT"),
]
_PATTERNS = [(re.compile(pattern), command) for pattern, command in _COMMANDS]
_PLACEHOLDERS = {"{id}": "JOB", "{number}": "VERSION"}
_FIELDS = {
    "`force`": "--force",
    "`restore.point`": "--restore POINT",
    "restore.point": "--restore",
    "`restore`": "--restore",
    "restore.accept_unknown_state": "--accept-unknown-state",
    "`accept_unknown_state`": "--accept-unknown-state",
    "restore.allow_non_restored_state": "--allow-non-restored-state",
    "`allow_non_restored_state`": "--allow-non-restored-state",
    "with restore none": "with --restore none",
    "with restore newest": "with --restore newest",
    "under `libraries` of the spec": "with --library NAME:VERSION, or under `libraries` of the spec",
}
REQUEST = re.compile(r"\b(?:GET|POST|PUT|PATCH|DELETE) /[^\s,;)`\"']+|\{\"\w+\": ")
"""What nobody types: a request, or a JSON body of one."""


def as_commands(text: str) -> str:
    """`text` of the API with commands instead of requests, and options instead of fields of a request's body. What has
    no command stays as it is."""
    for pattern, command in _PATTERNS:
        text = pattern.sub(lambda match, command=command: _filled(command, match), text)  # type: ignore[misc]
    for name, option in _FIELDS.items():
        text = text.replace(name, option)
    return text


def _filled(command: str, match: re.Match[str]) -> str:
    for name, value in match.groupdict().items():
        command = command.replace(f"{{{name}}}", _PLACEHOLDERS.get(value, value))
    return command
