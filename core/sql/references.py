"""What a SQL text names without saying it in full: registered tables, and secrets by reference.

Works on tokens: what is a table and what a column is for Flink to say. So a name that may be a table's is taken
for one, which costs nothing but a CREATE TABLE that is not used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import dropwhile

from core.errors import InvalidInput
from core.names import NAME_PATTERN
from core.sql.script import Token, place_of, statements, tokens

_REFERENCE = re.compile(r"\$\{secret:([^}]*)\}")
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

Chain = tuple[str, ...]
"""A name as it is written: `orders`, or `team`.`orders`."""


def named(text: str) -> set[Chain]:
    """Every name in a text, dotted ones as a whole and their heads too. Raises `InvalidInput` on what is not closed."""
    found: set[Chain] = set()
    chain: list[str] = []
    dotted = False
    for token in tokens(text):
        if token.kind in ("word", "name"):
            chain = [*chain, unquoted(token)] if dotted else [unquoted(token)]
            found.add(tuple(chain))
            dotted = False
        else:
            dotted = token.text == "." and bool(chain)
            if not dotted:
                chain = []
    return found


def unquoted(token: Token) -> str:
    return token.text[1:-1].replace("``", "`") if token.kind == "name" else token.text


def created(text: str) -> set[Chain]:
    """The tables and views that a script creates itself, as it writes their names."""
    found = set()
    for parts in statements(text):
        words = [t.word for t in parts]
        if not words or words[0] != "CREATE":
            continue
        at = next((i for i, w in enumerate(words[:5]) if w in ("TABLE", "VIEW", "FUNCTION")), None)
        if at is None:
            continue
        if chain := name_at(parts[at + 1 :]):
            found.add(chain)
    return found


def name_at(parts: list[Token]) -> Chain:
    """The name that a CREATE, an ALTER or a DROP is about, behind IF [NOT] EXISTS."""
    return chain_at(list(dropwhile(lambda t: t.word in ("IF", "NOT", "EXISTS"), parts)))


def chain_at(parts: list[Token]) -> Chain:
    """The dotted name that tokens begin with."""
    chain: list[str] = []
    for i, token in enumerate(parts):
        if i % 2 == 0 and token.kind in ("word", "name"):
            chain.append(unquoted(token))
        elif i % 2 == 0 or token.text != ".":
            break
    return tuple(chain)


# Secrets --------------------------------------------------------------------------------------


def secrets_in(text: str) -> set[str]:
    """The names of secrets that a text refers to (`${secret:name}`). Raises `InvalidInput` on a malformed one."""
    found = set()
    for match in _REFERENCE.finditer(text):
        if not _NAME.match(match.group(1)):
            raise InvalidInput(
                f"{match.group()[:80]} is not a reference to a secret.",
                code="bad_secret_reference",
                remedy="Write ${secret:name}, the name in lower case.",
            )
        found.add(match.group(1))
    return found


def resolved(text: str, secret: Mapping[str, str], *, escape: Callable[[str], str] = lambda v: v) -> str:
    """`text` with its references replaced. Every name in it has to be in `secret`."""
    return _REFERENCE.sub(lambda m: escape(secret[m.group(1)]), text)


def resolved_sql(text: str, secret: Mapping[str, str]) -> str:
    """A SQL text with the references in its options replaced; a quote in a secret stays inside.

    An option is `'key' = 'value'` in a CREATE, an ALTER or a SET. Anywhere else a reference would put a secret where
    it can be seen (`SELECT '${secret:x}'`), so it is refused with `InvalidInput`.
    """
    options = {
        value.offset for parts in statements(text) if parts[0].word in _WITH_OPTIONS for _, value in options_in(parts)
    }
    made, end = [], 0
    for token in tokens(text):
        if token.kind == "string" and "${secret:" in token.text:
            if token.offset not in options:
                line, column = place_of(text, token.offset)
                raise InvalidInput(
                    f"Line {line}, column {column}: a secret stands in an option of a table, a catalog or a SET only.",
                    code="secret_misplaced",
                    field="spec.sql",
                )
            made += [text[end : token.offset], resolved(token.text, secret, escape=lambda v: v.replace("'", "''"))]
            end = token.offset + len(token.text)
    return "".join([*made, text[end:]])


def bent(text: str) -> list[tuple[str, Chain, int]]:
    """Tables whose definition a text takes or changes instead of reading or writing them: (how, name, where).

    LIKE copies options with what they give access to, ALTER and an OPTIONS hint point them elsewhere.
    """
    found: list[tuple[str, Chain, int]] = []
    every = list(tokens(text))
    for parts in statements(text):
        words = [t.word for t in parts[:3]]
        if words[0] in ("ALTER", "DROP") and words[1:2] == ["TABLE"]:
            found.append((f"{words[0]} TABLE", name_at(parts[2:]), parts[0].offset))
        if words[0] == "CREATE":
            found += [("LIKE", chain_at(parts[i + 1 :]), t.offset) for i, t in enumerate(parts) if t.word == "LIKE"]
    for match in re.finditer(r"/\*\+(.*?)\*/", text, re.DOTALL):
        if "options" in match.group(1).lower():
            before = [t for t in every if t.offset < match.start()]
            found.append(("an OPTIONS hint", _chain_before(before), match.start()))
    return [item for item in found if item[1]]


def _chain_before(parts: list[Token]) -> Chain:
    """The dotted name that tokens end with."""
    chain: list[str] = []
    for i, token in enumerate(reversed(parts)):
        if i % 2 == 0 and token.kind in ("word", "name"):
            chain.insert(0, unquoted(token))
        elif i % 2 == 0 or token.text != ".":
            break
    return tuple(chain)


def is_sensitive(key: str) -> bool:
    """Whether the value of a table or catalog option is a secret."""
    return _SENSITIVE.search(key) is not None and _HARMLESS.search(key) is None


def in_clear(key: str, value: str) -> bool:
    """Whether an option has a secret in it that is not a reference."""
    rest = _REFERENCE.sub("", value).strip()
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


def check_script(text: str) -> None:
    """Raise `InvalidInput` with the place when a script has a secret in clear: in an option, a SET or a hint."""
    for key, value, offset in _options(text):
        if in_clear(key, value):
            line, column = place_of(text, offset)
            raise InvalidInput(
                f"Line {line}, column {column}: the option {key} has a secret in clear.",
                code="secret_in_clear",
                field="spec.sql",
                remedy=_remedy(key),
            )


def _options(text: str) -> Iterator[tuple[str, str, int]]:
    """Every `'key' = 'value'` of a text, in hints too."""
    parts = [(text, 0), *((m.group(1), m.start(1)) for m in re.finditer(r"/\*\+(.*?)\*/", text, re.DOTALL))]
    for part, shift in parts:
        for key, value in options_in(list(tokens(part))):
            yield literal(key.text), literal(value.text), key.offset + shift


def options_in(parts: list[Token]) -> Iterator[tuple[Token, Token]]:
    """Key and value of every `'key' = 'value'` of some tokens."""
    for key, sign, value in zip(parts, parts[1:], parts[2:], strict=False):
        if key.kind == "string" and sign.text == "=" and value.kind == "string":
            yield key, value


def literal(text: str) -> str:
    """What a string literal stands for."""
    return text[1:-1].replace("''", "'")


def quoted(value: str) -> str:
    """A string literal."""
    return "'" + value.replace("'", "''") + "'"


def quoted_name(*chain: str) -> str:
    return ".".join("`" + part.replace("`", "``") + "`" for part in chain)
