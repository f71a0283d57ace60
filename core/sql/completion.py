"""The text around a cursor: its statements as far as they can be read, and in which options the cursor stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import InvalidInput
from core.sql.references import created_by
from core.sql.reserved import RESERVED, SOMETIMES
from core.sql.tokens import (
    SKIPPED,
    Chain,
    Token,
    TokenKind,
    chain_before,
    lexemes,
    literal,
    options_in,
    quoted_name,
)

_REGULAR = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

BEGINNINGS = (
    *("SELECT", "WITH", "VALUES", "TABLE", "INSERT INTO", "INSERT OVERWRITE", "EXECUTE STATEMENT SET BEGIN"),
    *("CREATE TABLE", "CREATE TEMPORARY TABLE", "CREATE VIEW", "CREATE TEMPORARY VIEW", "CREATE FUNCTION"),
    *("CREATE CATALOG", "CREATE DATABASE", "ALTER TABLE", "DROP TABLE", "DROP VIEW", "DESCRIBE", "EXPLAIN", "SHOW"),
    *("SET", "RESET", "USE", "USE CATALOG", "LOAD MODULE", "UNLOAD MODULE"),
)
"""How statements begin that a script or a session may have. Flink's completer knows what follows, and not these."""


def written(name: str) -> str:
    """A name as it has to be written: in backticks where it would be read as something else."""
    is_plain = _REGULAR.fullmatch(name) and name.upper() not in RESERVED | SOMETIMES
    return name if is_plain else quoted_name(name)


def readable(text: str) -> tuple[list[Token], str]:
    """The tokens of a text up to what is not closed, and that."""
    parts: list[Token] = []
    end = 0
    try:
        for token in lexemes(text):
            end = token.end
            if token.kind not in SKIPPED:
                parts.append(token)
    except InvalidInput:
        return parts, text[end:].lstrip()
    return parts, ""


def split(parts: Sequence[Token]) -> list[list[Token]]:
    """The statements of some tokens; the last one is the one that is being written, and may be empty."""
    found: list[list[Token]] = [[]]
    for token in parts:
        if token.kind is TokenKind.END:
            found.append([])
        else:
            found[-1].append(token)
    return found


# Options --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InOptions:
    """The cursor stands in a string. `given` are the options before it, `of` the key when it is in a value, `typed`
    what there is of it. `of_table`: in WITH (...) or in a hint, else in a SET; `hinted` is the table of a hint."""

    given: dict[str, str]
    of: str | None
    typed: str
    of_table: bool
    hinted: Chain = ()


def in_options(statement: Sequence[Token], unclosed: str) -> InOptions | None:
    """Where in the options of a table, or in a SET, the cursor stands; None elsewhere. `unclosed` is what stands
    directly in front of it."""
    if not unclosed.startswith("'") or not statement:
        return None
    typed = unclosed[1:]
    is_value = len(statement) > 1 and statement[-1].text == "=" and statement[-2].kind is TokenKind.STRING
    of = literal(statement[-2].text) if is_value else None
    if statement[0].word == "SET" and len(statement) == (3 if is_value else 1):
        return InOptions({}, of, typed, of_table=False)
    opening = next((i for i in range(len(statement) - 1, 0, -1) if statement[i].text in ("(", ")")), 0)
    if not opening or statement[opening].text != "(" or statement[opening - 1].word not in ("WITH", "OPTIONS"):
        return None
    hinted: Chain = ()
    if statement[opening - 1].word == "OPTIONS":
        hint = next((i for i in range(opening, 0, -1) if statement[i].kind is TokenKind.HINT), 0)
        if not (hinted := chain_before(statement, hint)):
            return None
    given = {literal(key.text): literal(value.text) for key, value in options_in(statement[opening + 1 :])}
    return InOptions(given, of, typed, of_table=True, hinted=hinted)


def options_of(statements: Sequence[Sequence[Token]], name: str) -> dict[str, str]:
    """The options of a table that one of the statements makes; the last one counts."""
    for parts in reversed(statements):
        if parts and (chain := created_by(parts)) and ".".join(chain).lower() == name.lower():
            return {literal(key.text): literal(value.text) for key, value in options_in(parts)}
    return {}
