"""What a statement changes outside of the session that it runs in: in a catalog that is there without it.

In a session end: what is TEMPORARY, modules, and what lies in the catalog that each has of its own or in one that keeps
its tables in memory. Tables of a JDBC, Paimon or Iceberg catalog stay.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from core.sql.catalogs import IN_MEMORY, OWN_CATALOG
from core.sql.script import Script
from core.sql.tokens import Token, literal, name_at, options_in

_KINDS = ("TABLE", "VIEW", "FUNCTION", "DATABASE", "CATALOG", "MODEL")


def changed_outside(parts: Sequence[Token], catalog: str, own: Collection[str]) -> tuple[str, str] | None:
    """What a statement changes outside of the session, as a word, and in which catalog: those that are not its `own`
    outlive it. None when it changes nothing there. `catalog` is where the statement stands."""
    words = [t.word for t in parts[:6]]
    if words[:1] not in (["CREATE"], ["DROP"], ["ALTER"], ["ANALYZE"]) or "TEMPORARY" in words[:4]:
        return None
    at = next((i for i, w in enumerate(words) if w in _KINDS), None)
    if at is None or words[at] == "CATALOG":
        return None
    chain = name_at(parts, at + 1)
    target = chain[0] if len(chain) == 3 or (words[at] == "DATABASE" and len(chain) == 2) else catalog
    return None if target in own else (words[at], target)


def in_memory(parts: Sequence[Token]) -> set[str]:
    """The catalog that a statement makes, when it lives in the session only."""
    options = {literal(key.text): literal(value.text) for key, value in options_in(parts)}
    made = [t.word for t in parts[:2]] == ["CREATE", "CATALOG"] and options.get("type") == IN_MEMORY
    return set(name_at(parts, 2)[:1]) if made else set()


def own_catalogs(scripts: Iterable[Script], registered: Collection[str]) -> set[str]:
    """The catalogs that end with a session, after what it has run. `registered` are those in memory of its project; one
    that the session makes itself takes the place of a registered one."""
    own = {OWN_CATALOG, *registered}
    for script in scripts:
        for parts in script.statements():
            if [t.word for t in parts[:2]] == ["CREATE", "CATALOG"]:
                own = own - set(name_at(parts, 2)[:1]) | in_memory(parts)
    return own
