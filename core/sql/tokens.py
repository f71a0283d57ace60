"""The tokens of a SQL text: what is a name, what a string, what hides a semicolon.

A tokenizer, not a parser: whether a statement is valid is for Flink to say. The lexical rules are those of Flink SQL
(Calcite's parser with its Java lexis, Flink 1.20 and 2.3): `'text'` with `''` inside, `E'text'` with backslashes,
`` `name` ``, comments `-- line` and `// line` up to a line feed or a carriage return, `/* block */`, and hints. `/*+`
and `*/` are tokens of a hint, and what is between them are tokens as everywhere.

All of it is linear in the text. A text is tokenized once in a request (`core.sql.script.Script`).
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from core.errors import InvalidInput

# Possessive quantifiers: what is not closed is found out in one pass, with nothing to go back to. After `/**` comes one
# more character before `*/` counts, as in Flink: `/***/` does not end there. What is not ASCII belongs to a word: Flink
# takes some of it for letters that Python does not, and refuses the rest wherever it stands.
_LEXEME = re.compile(
    r"""
    (?P<space>[ \t\n\r\f]++)
  | (?P<line>(?:--|//)[^\n\r]*+)
  | (?P<hint>/\*\+)
  | (?P<block>/\*(?:\*[^/])?+(?:[^*]|\*(?!/))*+\*/)
  | (?P<hint_end>\*/)
  | (?P<string>'(?:[^']|'')*+')
  | (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*+')
  | (?P<name>`(?:[^`]|``)*+`)
  | (?P<end>;)
  | (?P<word>[A-Za-z_$\x80-\U0010ffff][\w$\x80-\U0010ffff]*+)
  | (?P<number>[0-9][\w$\x80-\U0010ffff]*+)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_UNCLOSED = {"'": "string", "`": "quoted name", "/*": "comment"}
NEWLINE = re.compile(r"\r\n?|\n")
"""What ends a line, for Flink's places and for ours."""


class TokenKind(StrEnum):
    SPACE = "space"
    LINE = "line"  # a comment up to the end of the line
    BLOCK = "block"  # a comment /* ... */
    HINT = "hint"  # /*+
    HINT_END = "hint_end"  # */
    STRING = "string"
    ESCAPED = "escaped"  # E'...', where a backslash keeps a quote inside
    NAME = "name"  # in backticks
    END = "end"  # ;
    WORD = "word"
    NUMBER = "number"
    OTHER = "other"


_KINDS = {kind.value: kind for kind in TokenKind}
COMMENTS = frozenset({TokenKind.LINE, TokenKind.BLOCK})
SKIPPED = COMMENTS | {TokenKind.SPACE}
_PARENTHESES = {"(": 1, ")": -1}


class Token(NamedTuple):
    """`offset` is where it begins in the text, in characters."""

    kind: TokenKind
    text: str
    offset: int

    @property
    def word(self) -> str:
        """In upper case when it may be a keyword, which are ASCII (`ı` is no `I`); else empty."""
        return self.text.upper() if self.kind is TokenKind.WORD and self.text.isascii() else ""

    @property
    def end(self) -> int:
        return self.offset + len(self.text)


Chain = tuple[str, ...]
"""A name as it is written: `orders`, or `team`.`orders`."""


class Lines:
    """Places in a text."""

    def __init__(self, text: str):
        self._starts = [0, *(m.end() for m in NEWLINE.finditer(text))]

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of a character, counted from 1."""
        line = bisect.bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


def lexemes(text: str) -> Iterator[Token]:
    """All of a text: its tokens, and the spaces and comments between them. Raises `InvalidInput` on something that is
    not closed."""
    hint = -1
    for match in _LEXEME.finditer(text):
        kind = _KINDS[str(match.lastgroup)]
        at = match.start()
        if kind is TokenKind.OTHER and (opener := "/*" if text.startswith("/*", at) else match.group()) in _UNCLOSED:
            raise _not_closed(text, at, _UNCLOSED[opener])
        if kind is TokenKind.HINT and hint < 0:
            hint = at
        elif kind is TokenKind.HINT_END:
            hint = -1
        elif kind is TokenKind.END and hint >= 0:
            break
        yield Token(kind, match.group(), at)
    if hint >= 0:
        raise _not_closed(text, hint, "hint")


def _not_closed(text: str, at: int, what: str) -> InvalidInput:
    line, column = Lines(text).place(at)
    return InvalidInput(
        f"The {what} that begins at line {line}, column {column} is not closed.", code="sql_unclosed", field="spec.sql"
    )


def tokens(text: str) -> list[Token]:
    """The tokens of a text, without spaces and comments. Raises `InvalidInput` on something that is not closed."""
    return [token for token in lexemes(text) if token.kind not in SKIPPED]


def statements(every: Sequence[Token]) -> Iterator[list[Token]]:
    """The tokens of each statement, split at semicolons; empty statements are left out."""
    current: list[Token] = []
    for token in every:
        if token.kind is not TokenKind.END:
            current.append(token)
        elif current:
            yield current
            current = []
    if current:
        yield current


# Parentheses ----------------------------------------------------------------------------------


def closing(parts: Sequence[Token], at: int) -> int:
    """The number of the token that closes the parenthesis at the number `at`; how many there are when none does."""
    depth = 0
    for i in range(at, len(parts)):
        depth += _PARENTHESES.get(parts[i].text, 0)
        if depth == 0:
            return i
    return len(parts)


def outside(parts: Sequence[Token]) -> Iterator[tuple[int, Token]]:
    """The tokens that stand in no parentheses, with their numbers; a closing one counts to them."""
    depth = 0
    for i, token in enumerate(parts):
        depth += _PARENTHESES.get(token.text, 0)
        if depth == 0:
            yield i, token


# Names and literals ---------------------------------------------------------------------------


def is_name(token: Token) -> bool:
    """Whether it can name something: a word, reserved or not, or text in backticks."""
    return token.kind is TokenKind.WORD or token.kind is TokenKind.NAME


def unquoted(token: Token) -> str:
    """The name that a word or a name in backticks stands for."""
    return token.text[1:-1].replace("``", "`") if token.kind is TokenKind.NAME else token.text


def literal(text: str) -> str:
    """What a string literal stands for."""
    return text[1:-1].replace("''", "'")


def quoted(value: str) -> str:
    """A string literal."""
    return "'" + value.replace("'", "''") + "'"


def quoted_name(*chain: str) -> str:
    """A dotted name, each part in backticks."""
    return ".".join("`" + part.replace("`", "``") + "`" for part in chain)


def chain_at(parts: Sequence[Token], at: int = 0) -> Chain:
    """The dotted name that begins at the token number `at`; empty when none does."""
    chain: list[str] = []
    while at < len(parts) and is_name(parts[at]):
        chain.append(unquoted(parts[at]))
        if at + 1 >= len(parts) or parts[at + 1].text != ".":
            break
        at += 2
    return tuple(chain)


def chains(parts: Sequence[Token]) -> Iterator[tuple[int, Chain]]:
    """Every dotted name of some tokens, and the number of the token at which it begins."""
    at = 0
    while at < len(parts):
        chain = chain_at(parts, at)
        if chain:
            yield at, chain
        at += max(1, 2 * len(chain) - 1)


def chain_before(parts: Sequence[Token], at: int) -> Chain:
    """The dotted name that ends in front of the token number `at`; empty when none does."""
    chain: list[str] = []
    at -= 1
    while at >= 0 and is_name(parts[at]):
        chain.append(unquoted(parts[at]))
        if at == 0 or parts[at - 1].text != ".":
            break
        at -= 2
    return tuple(reversed(chain))


def name_at(parts: Sequence[Token], at: int) -> Chain:
    """The name that a CREATE, an ALTER or a DROP is about, behind IF [NOT] EXISTS."""
    while at < len(parts) and parts[at].word in ("IF", "NOT", "EXISTS"):
        at += 1
    return chain_at(parts, at)


def options_in(parts: Sequence[Token]) -> Iterator[tuple[Token, Token]]:
    """Key and value of every `'key' = 'value'` of some tokens."""
    for at in range(len(parts) - 2):
        key, sign, value = parts[at], parts[at + 1], parts[at + 2]
        if key.kind is TokenKind.STRING and sign.text == "=" and value.kind is TokenKind.STRING:
            yield key, value
