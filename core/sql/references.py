"""What a SQL text names without saying it in full: registered tables, and secrets by reference.

Works on tokens: what is a table and what a column is for Flink to say. So a name that may be a table's is taken
for one, which costs nothing but a CREATE TABLE that is not used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from core.errors import InvalidInput
from core.names import NAME_PATTERN, SECRET_OPENS
from core.sql.operators import TableName
from core.sql.script import Script, parse
from core.sql.tokens import (
    Chain,
    Token,
    TokenKind,
    chain_at,
    chain_before,
    chains,
    is_name,
    literal,
    name_at,
    options_in,
    tokens,
    unquoted,
)

_CLOSES = "}"
_NAME = re.compile(NAME_PATTERN)
# As Flink hides them in its own messages (GlobalConfiguration), and what people call such things besides.
_SENSITIVE = re.compile(
    r"password|passwd|secret|token$|api[-_.]?key|credential|private[-_.]?key|fs\.azure\.account\.key|auth-params|"
    r"service-key|basic-auth|jaas\.config|http-headers|access[-_.]?key",
    re.IGNORECASE,
)
_URL_LOGIN = re.compile(r"://[^/\s:@']+:[^/\s@']+@|[?&;](?:password|pwd)=[^&;'$]", re.IGNORECASE)
# Names of options that have such a word in them and are no secret.
_HARMLESS = re.compile(r"(token-ttl|secret-name|-path|\.path|\.location|\.type|\.enabled|\.class|\.mechanism)$")

_WITH_OPTIONS = frozenset({"CREATE", "ALTER", "SET"})

_LEAVE_TABLES = frozenset({"CREATE", "SET", "RESET", "ADD"})
_DIALECT = "sql-dialect"
_FIRST_DATABASE = ("default_catalog", "default_database")

LONGEST_NAME = 3
"""Catalog, database, table."""


def named(script: Script) -> set[Chain]:
    """Every name in a script with up to three parts, dotted ones as a whole and their heads too."""
    names: set[Chain] = set()
    chain: list[str] = []
    dotted = False
    for token in script.tokens:
        if is_name(token):
            chain = [*chain, unquoted(token)] if dotted else [unquoted(token)]
            if len(chain) <= LONGEST_NAME:
                names.add(tuple(chain))
            else:
                chain = chain[:LONGEST_NAME]  # what follows is no part of a table's name
            dotted = False
        else:
            dotted = token.text == "." and bool(chain)
            if not dotted:
                chain = []
    return names


def created(script: Script) -> set[Chain]:
    """The tables, views and functions that a script creates itself, as it writes their names."""
    return {chain for parts in script.statements() if (chain := created_by(parts))}


def created_by(parts: Sequence[Token]) -> Chain:
    """The table, view or function that a statement creates; empty when it creates none."""
    if parts[0].word != "CREATE":
        return ()
    at = next((i for i, t in enumerate(parts[:5]) if t.word in ("TABLE", "VIEW", "FUNCTION")), None)
    return name_at(parts, at + 1) if at is not None else ()


def stays_in_session(parts: Sequence[Token]) -> bool:
    """Whether a statement changes a session's own memory only: a SET, or a CREATE TABLE in the catalog that each has of
    its own. Where the session has moved to another catalog, a short name is one of there."""
    words = [t.word for t in parts]
    if words[0] == "SET":
        return True
    chain = created_by(parts)
    own = 0 < len(chain) < LONGEST_NAME or chain[:1] == _FIRST_DATABASE[:1]
    return own and "TABLE" in words[1:3] and "LIKE" not in words


def options_of_created(before: Sequence[str], script: Script) -> dict[TableName, dict[str, str]]:
    """The options of tables that statements make in a new session, those of `before` first, then the script's set-up.
    What they do not tell for certain is left out: a table that is made twice, or LIKE another one; all of them where a
    statement may change what others say."""
    every = [*map(tokens, before), *(statement.tokens for statement in script.setup)]
    if any(parts[0].word not in _LEAVE_TABLES or any(_DIALECT in t.text for t in parts) for parts in every):
        return {}
    found: dict[TableName, dict[str, str] | None] = {}
    for parts in every:
        chain = created_by(parts)
        if 0 < len(chain) <= LONGEST_NAME:
            table = TableName(*_FIRST_DATABASE[: LONGEST_NAME - len(chain)], *chain)
            found[table] = _options_in_create(parts) if table not in found else None
    return {table: options for table, options in found.items() if options is not None}


def _options_in_create(parts: Sequence[Token]) -> dict[str, str] | None:
    words = [t.word for t in parts]
    if "TABLE" not in words[1:3] or "LIKE" in words or "WITH" not in words:
        return None
    last = parts[len(words) - words[::-1].index("WITH") :]
    # Plain strings to the end and nothing else: two in a row are one, and a string may have a word in front of it.
    shape = [t.text if t.kind is TokenKind.OTHER else t.kind for t in last]
    each = [TokenKind.STRING, "=", TokenKind.STRING]
    if shape != ["(", *each, *[",", *each] * (len(shape) // 4 - 1), ")"]:
        return None
    return {literal(key.text): literal(value.text) for key, value in options_in(last)}


def read_names(script: Script) -> set[Chain]:
    """Every name in a script but those that stand behind INSERT INTO or INSERT OVERWRITE only: what it may read."""
    every = script.tokens
    targets = {i + 2 for i, token in enumerate(every) if _is_insert(every, i, token)}
    names = [chain[:LONGEST_NAME] for at, chain in chains(every) if at not in targets]
    return {name[:n] for name in names for n in range(1, len(name) + 1)}


def _is_insert(every: Sequence[Token], i: int, token: Token) -> bool:
    return token.word == "INSERT" and i + 1 < len(every) and every[i + 1].word in ("INTO", "OVERWRITE")


def written(script: Script) -> set[Chain]:
    """The tables that a script writes, as it names them: those behind INSERT INTO or INSERT OVERWRITE."""
    every = script.tokens
    return {chain_at(every, i + 2) for i, token in enumerate(every) if _is_insert(every, i, token)}


# Secrets --------------------------------------------------------------------------------------


def _references(text: str) -> Iterator[tuple[int, int, str]]:
    """Each `${secret:name}` of a text: where it begins and ends, and the name as it is written."""
    end = 0
    while (start := text.find(SECRET_OPENS, end)) >= 0:
        close = text.find(_CLOSES, start)
        if close < 0:
            return
        end = close + 1
        yield start, end, text[start + len(SECRET_OPENS) : close]


def secrets_in(text: str) -> set[str]:
    """The names of secrets that a text refers to (`${secret:name}`). Raises `InvalidInput` on a malformed one."""
    names = set()
    for start, end, name in _references(text):
        if not _NAME.match(name):
            raise InvalidInput(
                f"{text[start : min(end, start + 80)]} is not a reference to a secret.",
                code="bad_secret_reference",
                remedy="Write ${secret:name}, the name in lower case.",
            )
        names.add(name)
    return names


def resolved(text: str, secret: Mapping[str, str], *, escape: Callable[[str], str] = lambda v: v) -> str:
    """`text` with its references replaced. Every name in it has to be in `secret`."""
    parts, done = [], 0
    for start, end, name in _references(text):
        parts += [text[done:start], escape(secret[name])]
        done = end
    return "".join([*parts, text[done:]])


def resolved_script(script: Script, secret: Mapping[str, str]) -> Script:
    """A script with the references in its options replaced; a quote in a secret stays inside. Without references it is
    the same script.

    An option is `'key' = 'value'` in a CREATE, an ALTER or a SET. Anywhere else a reference would put a secret where
    it can be seen (`SELECT '${secret:x}'`), so it is refused with `InvalidInput`.
    """
    references = [
        t for t in script.tokens if t.kind in (TokenKind.STRING, TokenKind.ESCAPED) and SECRET_OPENS in t.text
    ]
    if not references:
        return script
    options = {
        value.offset
        for parts in script.statements()
        if parts[0].word in _WITH_OPTIONS
        for _, value in options_in(parts)
    }
    texts, done = [], 0
    for token in references:
        if token.offset not in options:
            line, column = script.place(token)
            raise InvalidInput(
                f"Line {line}, column {column}: a secret stands in an option of a table, a catalog or a SET only.",
                code="secret_misplaced",
                field="spec.sql",
            )
        texts += [
            script.text[done : token.offset],
            resolved(token.text, secret, escape=lambda v: v.replace("'", "''")),
        ]
        done = token.end
    return parse("".join([*texts, script.text[done:]]))


def definition_overrides(script: Script) -> list[tuple[str, Chain, Token]]:
    """Tables whose definition a script takes or changes instead of reading or writing them: (how, name, where).

    LIKE copies options with what they give access to, ALTER and an OPTIONS hint point them elsewhere.
    """
    overrides: list[tuple[str, Chain, Token]] = []
    for parts in script.statements():
        words = [t.word for t in parts[:2]]
        if words in (["ALTER", "TABLE"], ["DROP", "TABLE"]):
            overrides.append((" ".join(words), name_at(parts, 2), parts[0]))
        if words[0] == "CREATE":
            overrides += [("LIKE", chain_at(parts, i + 1), t) for i, t in enumerate(parts) if t.word == "LIKE"]
        hint = -1
        for i, token in enumerate(parts):
            if token.kind in (TokenKind.HINT, TokenKind.HINT_END):
                hint = i if token.kind is TokenKind.HINT else -1
            elif hint >= 0 and token.word == "OPTIONS":
                overrides.append(("an OPTIONS hint", chain_before(parts, hint), parts[hint]))
                hint = -1
    return [override for override in overrides if override[1]]


def has_options_hint(script: Script) -> bool:
    """Whether options of a table are other ones where it is read or written."""
    for parts in script.statements():
        is_hint = False
        for token in parts:
            if token.kind in (TokenKind.HINT, TokenKind.HINT_END):
                is_hint = token.kind is TokenKind.HINT
            elif is_hint and token.word == "OPTIONS":
                return True
    return False


def _without_references(text: str) -> str:
    parts, done = [], 0
    for start, end, _ in _references(text):
        parts.append(text[done:start])
        done = end
    return "".join([*parts, text[done:]])


def is_sensitive(key: str) -> bool:
    """Whether the value of a table or catalog option is a secret."""
    return _SENSITIVE.search(key) is not None and _HARMLESS.search(key) is None


def in_clear(key: str, value: str) -> bool:
    """Whether an option has a secret in it that is not a reference."""
    rest = _without_references(value).strip()
    if is_sensitive(key):
        # A JAAS line has words around its secrets; what is quoted in it has to be a reference.
        if "jaas" in key.lower():
            return re.search(r"""password\s*=\s*["']?(?!\$\{secret:)[^"'\s;]""", value, re.IGNORECASE) is not None
        return bool(rest) and rest.lower() not in ("basic", "bearer", "true", "false")
    return _URL_LOGIN.search(rest) is not None


def check_clear(options: Mapping[str, str], field: str) -> None:
    """Raise `InvalidInput` when an option has a secret in clear."""
    for key, value in options.items():
        if in_clear(key, value):
            raise InvalidInput(
                f"The option {key} has a secret in clear.", code="secret_in_clear", field=field, remedy=_remedy(key)
            )


def _remedy(key: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")[:60]
    return f"Store it with `penstock secrets set {name}`, and write '{key}' = '${{secret:{name}}}'."


def check_script(script: Script) -> None:
    """Raise `InvalidInput` with the place when a script has a secret in clear: in an option, a SET or a hint."""
    every = script.tokens
    for at in range(len(every) - 2):
        key, sign = every[at], every[at + 1]
        if (
            key.kind is TokenKind.STRING
            and sign.text == "="
            and _is_in_clear(literal(key.text), every[at + 2 : at + 5])
        ):
            line, column = script.place(key)
            name = literal(key.text)
            raise InvalidInput(
                f"Line {line}, column {column}: the option {name} has a secret in clear.",
                code="secret_in_clear",
                field="spec.sql",
                remedy=_remedy(name),
            )


def _is_in_clear(name: str, value: Sequence[Token]) -> bool:
    """Whether the tokens behind `'name' =` begin with a secret. A reference stands in a plain string only: of others
    (`E'text'`, `U&'text'`, `N'text'`) all that is sensitive is in clear."""
    if value[0].kind is TokenKind.STRING:
        return in_clear(name, literal(value[0].text))
    at = 2 if len(value) > 1 and value[1].text == "&" else 1
    is_prefixed = value[0].kind is TokenKind.WORD and len(value) > at and value[at].kind is TokenKind.STRING
    if value[0].kind is not TokenKind.ESCAPED and not is_prefixed:
        return False
    return is_sensitive(name) or any(_URL_LOGIN.search(token.text) for token in value[: at + 1])
