"""References to secrets in what a program is given, `${secret:name}` as in SQL."""

from __future__ import annotations

from collections.abc import Mapping

from core.errors import InvalidInput
from core.specs import JarSpec, PyFlinkSpec
from core.sql.references import check_clear, resolved, secrets_in


def check_references(spec: JarSpec | PyFlinkSpec) -> None:
    """Raise `InvalidInput` when a reference is malformed, or stands where its value could be seen, and when a secret
    stands in clear."""
    if isinstance(spec, JarSpec):
        names_in(spec.args)
        return
    if names_in(spec.args):
        raise InvalidInput(
            "A secret cannot be an argument of a Python program: other users of the worker's machine can see the "
            "arguments of a process.",
            code="secret_misplaced",
            field="spec.args",
            remedy="Give it under `env` or `files`.",
        )
    for field in ("env", "java_properties"):
        values: Mapping[str, str] = getattr(spec, field)
        names_in(list(values.values()))
        check_clear(values, f"spec.{field}")
    names_in(list(spec.files.values()))


def names_in(texts: list[str]) -> set[str]:
    """The names of the secrets that texts refer to. Raises `InvalidInput` on a malformed reference."""
    return set().union(*map(secrets_in, texts))


def opened(values: Mapping[str, str], secret: Mapping[str, str]) -> dict[str, str]:
    """`values` with their references replaced."""
    return {name: resolved(text, secret) for name, text in values.items()}
