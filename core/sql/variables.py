"""Variables of a SQL text: `${TPS}`, or `${TPS:-5}` with what holds when no value is given.

A value stands where its name stood: inside a string or a quoted name its quotes are doubled, so that it stays there;
elsewhere it is taken as SQL. Comments stay as they are. `$${TPS}` is the text `${TPS}`. A default ends at the first
brace, so there is no variable in it. All of it happens before the text is parsed: what a script may do is asked of the
text that runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from core.errors import InvalidInput
from core.specs import VARIABLE_NAME, SqlSpec
from core.sql.tokens import COMMENTS, Lines, Token, TokenKind, lexemes

_REFERENCE = re.compile(rf"(?P<kept>\$)?\$\{{(?P<name>{VARIABLE_NAME})(?::-(?P<default>[^}}\r\n]*))?\}}")


def variables_in(text: str) -> dict[str, str | None]:
    """The variables of a text, each with its default; None where one has none. Raises `InvalidInput` for a text with
    something that is not closed, and for a variable in the default of another one."""
    found: dict[str, str | None] = {}
    for match, _ in _references(text):
        if not match["kept"] and found.get(match["name"]) is None:
            found[match["name"]] = match["default"]
    return found


def filled(text: str, values: Mapping[str, str], *, field: str = "spec.variables") -> str:
    """The text with its variables replaced. Raises `InvalidInput` for a variable that has neither value nor default,
    and for a value whose variable is not in the text."""
    defaults = variables_in(text)
    if unknown := sorted(set(values) - set(defaults)):
        raise InvalidInput(
            f"The script has no variable {', '.join(unknown)}.",
            code="unknown_variable",
            field=field,
            remedy=f"It has: {', '.join(defaults)}." if defaults else "A variable is written ${NAME}.",
        )
    parts, done = [], 0
    for match, kind in _references(text):
        name = match["name"]
        if match["kept"]:
            value = match.group()[1:]
        elif name in values or defaults[name] is not None:
            value = _escaped(values.get(name, defaults[name] or ""), kind)
        else:
            line, column = Lines(text).place(match.start())
            raise InvalidInput(
                f"Line {line}, column {column}: the variable {name} has no value.",
                code="variable_missing",
                field=field,
                remedy=f"Give it one, or a default: ${{{name}:-value}}. The text itself is written $${{{name}}}.",
            )
        parts += [text[done : match.start()], value]
        done = match.end()
    return "".join([*parts, text[done:]])


def text_of(spec: SqlSpec) -> str:
    """The text that a version runs: with its variables replaced. A version that was written down before there were
    variables runs what it says. Raises `InvalidInput`."""
    return filled(spec.sql, spec.variables) if "variables" in spec.model_fields_set else spec.sql


def lexemes_with_variables(text: str) -> Iterator[Token]:
    """All of a text, as the tokenizer tells it. A reference to a variable is in one token with the word, the number or
    the text that it stands in. Raises `InvalidInput` on something that is not closed."""
    for token in lexemes(_masked(text)):
        yield token._replace(text=text[token.offset : token.end])


def _masked(text: str) -> str:
    """A default may have in it what begins a string or a comment: for the tokenizer a reference is one word."""
    return _REFERENCE.sub(lambda match: "_" * len(match.group()), text)


def _references(text: str) -> list[tuple[re.Match[str], TokenKind]]:
    """Each reference to a variable outside of comments, and in which kind of token it stands."""
    matches = list(_REFERENCE.finditer(text))
    if not matches:
        return []
    kinds = iter(lexemes(_masked(text)))
    token = next(kinds)
    references = []
    for match in matches:
        while token.end <= match.start():
            token = next(kinds)
        if token.kind not in COMMENTS:
            _check_default(text, match)
            references.append((match, token.kind))
    return references


def _check_default(text: str, match: re.Match[str]) -> None:
    if match["kept"] or "${" not in (match["default"] or ""):
        return
    line, column = Lines(text).place(match.start())
    raise InvalidInput(
        f"Line {line}, column {column}: the default of the variable {match['name']} has another reference in it, and "
        "what stands there is taken as it is.",
        code="variable_nested",
        field="spec.sql",
        remedy="Write the default as text, or leave it out and give the variable a value.",
    )


def _escaped(value: str, kind: TokenKind) -> str:
    match kind:
        case TokenKind.STRING:
            return value.replace("'", "''")
        case TokenKind.ESCAPED:
            return value.replace("\\", "\\\\").replace("'", "\\'")
        case TokenKind.NAME:
            return value.replace("`", "``")
        case _:
            return value
