"""A registered table: its columns, key, time and options, and the DDL that it stands for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, field_validator, model_validator

from core.errors import InvalidInput
from core.specs import Frozen
from core.sql.references import check_clear, secrets_in
from core.sql.tokens import COMMENTS, TokenKind, lexemes, quoted, quoted_name

TABLE_NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"
TableNameStr = Annotated[str, StringConstraints(pattern=TABLE_NAME)]
"""Letters, digits and `_`, so that it is written in SQL without quotes."""

MAX_NAME, MAX_TYPE = 200, 20_000
Fragment = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TYPE)]


def is_column_name(name: str) -> bool:
    """Whether a column or a field of a ROW may have the name."""
    return 0 < len(name) <= MAX_NAME and not any("\ud800" <= c <= "\udfff" for c in name)


def is_sendable(text: str) -> bool:
    """Whether a text can be stored and sent: no NUL, and no half of a surrogate pair."""
    return not any(c == "\x00" or "\ud800" <= c <= "\udfff" for c in text)


def check_fragment(text: str, what: str) -> str:
    """Return a type or an expression when it stays where it is put: closed, balanced, one. Raise `ValueError`."""
    try:
        every = list(lexemes(text))
    except InvalidInput as error:
        raise ValueError(f"{what}: {error.message}") from error
    depth = angle = 0
    parts = [token for token in every if token.kind is not TokenKind.SPACE]
    if not parts or any(
        token.kind in COMMENTS or token.kind in (TokenKind.HINT, TokenKind.HINT_END) for token in parts
    ):
        raise ValueError(f"{what} has to be one expression without comments")
    for i, token in enumerate(parts):
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(token.text, 0)
        # `ROW<...>` opens; a lone `<` compares.
        if token.text == "<" and i and parts[i - 1].word in ("ROW", "ARRAY", "MAP", "MULTISET"):
            angle += 1
        elif token.text == ">" and angle:
            angle -= 1
        if depth < 0 or token.kind is TokenKind.END or (token.text == "," and depth == 0 and angle == 0):
            raise ValueError(f"{what}: {token.text!r} at character {token.offset + 1} leads out of it")
    if depth or angle:
        raise ValueError(f"{what} is not balanced")
    return text


class ColumnDefinition(Frozen):
    """`type` for a physical or metadata column; `expression` alone for a computed one."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME)]
    type: Fragment | None = Field(default=None, examples=["BIGINT", "ROW<city STRING, zip STRING>"])
    expression: Fragment | None = Field(default=None, description="A computed column", examples=["PROCTIME()"])
    metadata: str | None = Field(
        default=None, max_length=200, description="A metadata column: the connector's key", examples=["timestamp"]
    )
    virtual: bool = Field(default=False, description="With `metadata`: read only")
    comment: str | None = Field(default=None, max_length=1000)

    @model_validator(mode="after")
    def _one(self) -> ColumnDefinition:
        if (self.type is None) == (self.expression is None):
            raise ValueError("a column has either a `type` or an `expression`")
        if self.metadata is not None and self.type is None:
            raise ValueError("a metadata column has a `type`")
        check_fragment(self.type or self.expression or "", f"column {self.name}")
        return self

    def ddl(self) -> str:
        """Its line in the parentheses of a CREATE TABLE."""
        text = quoted_name(self.name) + (f" {self.type}" if self.type else f" AS {self.expression}")
        if self.metadata is not None:
            text += f" METADATA FROM {quoted(self.metadata)}" + (" VIRTUAL" if self.virtual else "")
        return text + (f" COMMENT {quoted(self.comment)}" if self.comment else "")


class Watermark(Frozen):
    """The time attribute of events. `expression` is `column - INTERVAL '5' SECOND` and the like."""

    column: str = Field(min_length=1, max_length=200)
    expression: Fragment

    @field_validator("expression")
    @classmethod
    def _stays(cls, value: str) -> str:
        return check_fragment(value, "the watermark")


class TableDefinition(Frozen):
    """A table as Flink's CREATE TABLE takes it."""

    columns: list[ColumnDefinition] = Field(min_length=1, max_length=2000)
    primary_key: list[str] = Field(default=[], max_length=50)
    watermark: Watermark | None = None
    partitioned_by: list[str] = Field(default=[], max_length=50)
    options: dict[str, str] = Field(
        min_length=1, max_length=200, description="`connector` and its options; secrets as ${secret:name}"
    )
    comment: str | None = Field(default=None, max_length=1000)

    @model_validator(mode="after")
    def _consistent(self) -> TableDefinition:
        names = [c.name for c in self.columns]
        if len(set(names)) != len(names):
            raise ValueError("two columns have the same name")
        for name in [*self.primary_key, *self.partitioned_by, *([self.watermark.column] if self.watermark else [])]:
            if name not in names and name.split(".")[0] not in names:
                raise ValueError(f"there is no column {name}")
        if not self.options.get("connector"):
            raise ValueError("options: `connector` is missing")
        if any(not is_sendable(k + v) or len(v) > 8192 for k, v in self.options.items()):
            raise ValueError("options: a value has a NUL character, half a character, or more than 8192 of them")
        return self

    def check(self) -> None:
        """Raise `InvalidInput` when a secret stands in clear or a reference to one is malformed."""
        check_clear(self.options, "definition.options")
        self.secrets()

    def secrets(self) -> set[str]:
        """Names of the secrets that its options refer to as `${secret:name}`."""
        return {name for value in self.options.values() for name in secrets_in(value)}

    def ddl(self, *chain: str, if_not_exists: bool = False) -> str:
        """CREATE TABLE under the name `chain`."""
        lines = [c.ddl() for c in self.columns]
        if self.watermark:
            column = quoted_name(*self.watermark.column.split("."))
            lines.append(f"WATERMARK FOR {column} AS {self.watermark.expression}")
        if self.primary_key:
            lines.append(f"PRIMARY KEY ({', '.join(quoted_name(c) for c in self.primary_key)}) NOT ENFORCED")
        text = f"CREATE TABLE {'IF NOT EXISTS ' if if_not_exists else ''}{quoted_name(*chain)} (\n  "
        text += ",\n  ".join(lines) + "\n)"
        if self.comment:
            text += f" COMMENT {quoted(self.comment)}"
        if self.partitioned_by:
            text += f" PARTITIONED BY ({', '.join(quoted_name(c) for c in self.partitioned_by)})"
        options = ",\n  ".join(f"{quoted(k)} = {quoted(v)}" for k, v in self.options.items())
        return f"{text} WITH (\n  {options}\n)"
