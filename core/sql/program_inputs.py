"""References to secrets in what a program is given, `${secret:name}` as in SQL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from core.config import SECRETS_OF_CONFIG
from core.errors import InvalidInput
from core.names import SECRET_OPENS
from core.specs import JarSpec, JobSpec, PyFlinkSpec, SqlSpec
from core.sql.references import check_clear, resolved, secrets_in

PYTHON_ARGS = (
    "A secret cannot be an argument of a Python program: other users of the worker's machine can see the arguments of "
    "a process. Give it under `env` or `files`."
)
_OF_WORKERS = "put it into {} of the workers, or let a variable of theirs through (PENSTOCK_BUILD_ENV)"
_INSTEAD = {
    "build": f"Builds are given no secrets: {_OF_WORKERS.format('settings.xml or gradle.properties')}.",
    "config": SECRETS_OF_CONFIG,
    "git": "Use ssh, or a credential helper on the workers.",
    "requirements": f"pip is given no secrets: {_OF_WORKERS.format('the configuration of pip')}.",
}


def check_references(spec: JobSpec) -> None:
    """Raise `InvalidInput` when a reference is malformed, or stands where its value could be seen or where nobody opens
    it, and when a secret stands in clear. Of a SQL text that is said by others."""
    match spec:
        case JarSpec():
            names_in(spec.args)
            opened_there = {"args"}
        case PyFlinkSpec():
            if names_in(spec.args):
                said, _, remedy = PYTHON_ARGS.rpartition(". ")
                raise InvalidInput(f"{said}.", code="secret_misplaced", field="spec.args", remedy=remedy)
            for field in ("env", "java_properties"):
                values: Mapping[str, str] = getattr(spec, field)
                names_in(list(values.values()))
                check_clear(values, f"spec.{field}")
            names_in(list(spec.files.values()))
            opened_there = {"args", "env", "files", "java_properties"}
        case SqlSpec():
            opened_there = {"sql", "variables"}
        case _:
            opened_there = set()
    check_unopened(spec.model_dump(exclude=opened_there), "spec")
    if isinstance(spec, PyFlinkSpec):
        check_unopened({"files": list(spec.files)}, "spec")


def check_unopened(what: Mapping[str, Any], field: str) -> None:
    """Raise `InvalidInput` when one of these values, however deep, refers to a secret: nobody opens it there, and it
    would be taken as it is written."""
    for name, value in what.items():
        if SECRET_OPENS in json.dumps(value):
            raise InvalidInput(
                f"{field}.{name} refers to a secret, and none is put in there.",
                code="secret_misplaced",
                field=f"{field}.{name}",
                remedy=_INSTEAD.get(name, "Take the reference out."),
            )


def names_in(texts: list[str]) -> set[str]:
    """The names of the secrets that texts refer to. Raises `InvalidInput` on a malformed reference."""
    return set().union(*map(secrets_in, texts))


def opened(values: Mapping[str, str], secret: Mapping[str, str]) -> dict[str, str]:
    """`values` with their references replaced."""
    return {name: resolved(text, secret) for name, text in values.items()}
