"""A registered catalog: what makes it, which scripts name it, and which of its tables they name.

Works on tokens, as `core.sql.references` does. A catalog is connected to when it is made, so it is looked for more
narrowly than a table: where a name can be nothing else, or is the head of one in three parts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from core.errors import InvalidInput
from core.specs import Frozen, Use
from core.sql.positions import tables_at
from core.sql.references import LONGEST_NAME, check_clear, created_by, secrets_in
from core.sql.resources import TABLE_NAME, is_sendable
from core.sql.script import Script
from core.sql.tokens import Chain, Token, chain_at, chains, name_at, quoted, quoted_name

OWN_CATALOG, OWN_DATABASE = "default_catalog", "default_database"
"""The one that each session has of its own."""
IN_MEMORY = "generic_in_memory"
JDBC = "jdbc"
MOST_TABLES = 200
"""Tables of a catalog that are made for one script, where they have to be made (`shadows`)."""

# Statements in which every dotted name may begin with a catalog.
_MANAGING = frozenset({"USE", "SHOW", "DESCRIBE", "DESC", "DROP", "ALTER", "ANALYZE", "CALL"})
_ABOUT = 6
"""What such a statement is about stands among its first words: `SHOW CREATE TABLE a.b.c`, `DROP DATABASE IF EXISTS
c.d`."""
_SHADOW = "CREATE TEMPORARY TABLE IF NOT EXISTS "


def _not_flinks_own(name: str) -> str:
    if name.lower() == OWN_CATALOG:
        raise ValueError(f"every session has a catalog {OWN_CATALOG} of its own; give it another name")
    return name


CatalogNameStr = Annotated[str, StringConstraints(pattern=TABLE_NAME), AfterValidator(_not_flinks_own)]
"""As the name of a table: written in SQL without quotes."""


class CatalogDefinition(Frozen):
    """A catalog as Flink's CREATE CATALOG takes it, and the jars that it needs."""

    options: dict[str, str] = Field(
        min_length=1,
        max_length=200,
        description="`type` and its options; secrets as ${secret:name}",
        examples=[{"type": "paimon", "warehouse": "s3://warehouse/shop"}],
    )
    libraries: list[Use] = Field(default=[], max_length=50, description="Jar libraries of the project that it needs")

    @model_validator(mode="after")
    def _consistent(self) -> CatalogDefinition:
        if not self.options.get("type"):
            raise ValueError("options: `type` is missing")
        if any(not is_sendable(k + v) or len(k) > 1024 or len(v) > 8192 for k, v in self.options.items()):
            raise ValueError("options: a value has a NUL character, half a character, or more than 8192 of them")
        names = [use.name for use in self.libraries]
        if len(set(names)) != len(names):
            raise ValueError("libraries: one is named twice")
        return self

    def check(self) -> None:
        """Raise `InvalidInput` when a secret stands in clear or a reference to one is malformed."""
        check_clear(self.options, "options")
        self.secrets()

    def secrets(self) -> set[str]:
        """The names of the secrets that it refers to. Raises `InvalidInput` on a malformed reference."""
        return {name for value in self.options.values() for name in secrets_in(value)}

    @property
    def type(self) -> str:
        return self.options["type"]

    @property
    def outlives(self) -> bool:
        """Whether what it holds is there without the session that made it."""
        return self.type != IN_MEMORY

    def ddl(self, name: str) -> str:
        """CREATE CATALOG; where a session has it already, that one stays."""
        options = ",\n  ".join(f"{quoted(k)} = {quoted(v)}" for k, v in self.options.items())
        return f"CREATE CATALOG IF NOT EXISTS {quoted_name(name)} WITH (\n  {options}\n)"


# What a script names --------------------------------------------------------------------------


@dataclass(frozen=True)
class Position:
    """Where a session is: short names are those of there. `database` None: the catalog's default one."""

    catalog: str = OWN_CATALOG
    database: str | None = None

    def after(self, parts: Sequence[Token]) -> Position:
        """Where it is after a statement."""
        words = [t.word for t in parts[:2]]
        if words[:1] != ["USE"] or words[1:] == ["MODULES"]:
            return self
        if words[1:] == ["CATALOG"]:
            return Position((chain_at(parts, 2) or (self.catalog,))[0])
        match chain_at(parts, 1):
            case (catalog, database):
                return _begun(Position(catalog, database))
            case (database,):
                return _begun(Position(self.catalog, database))
        return self


BEGINNING = Position()


def _begun(where: Position) -> Position:
    """The beginning has a name, too."""
    return BEGINNING if where == Position(OWN_CATALOG, OWN_DATABASE) else where


def position_after(scripts: Iterable[Script], where: Position = BEGINNING) -> Position:
    """Where a session is after what it has run from a place on."""
    for script in scripts:
        for parts in script.statements():
            where = where.after(parts)
    return where


def catalogs_created(script: Script) -> set[str]:
    """The catalogs that a script makes itself."""
    return {
        name_at(parts, 2)[0]
        for parts in script.statements()
        if [t.word for t in parts[:2]] == ["CREATE", "CATALOG"] and name_at(parts, 2)
    }


def catalogs_named(script: Script, names: Collection[str]) -> set[str]:
    """Those of some catalogs that a script names: as the head of a table's or a function's name in three parts, or in a
    statement about catalogs and databases. SHOW CATALOGS is about all of them."""
    found: set[str] = set()
    for parts in script.statements():
        words = [t.word for t in parts[:2]]
        if words == ["SHOW", "CATALOGS"]:
            found |= set(names) if everything_is_shown(script) else set()
        if words[0] in _MANAGING or words == ["CREATE", "DATABASE"]:
            found |= {chain[0] for at, chain in chains(parts) if at <= _ABOUT}
        found |= {chain[0] for _, chain in tables_at(parts) if len(chain) >= LONGEST_NAME}
        found |= {chain[0] for at, chain in chains(parts) if len(chain) == LONGEST_NAME and _is_called(parts, at)}
    return found & set(names)


def everything_is_shown(script: Script) -> bool:
    """Whether a script is SHOW CATALOGS: those that can be made, and none that it needs."""
    return [[t.word for t in parts[:2]] for parts in script.statements()] == [["SHOW", "CATALOGS"]]


def _is_called(parts: Sequence[Token], at: int) -> bool:
    behind = at + 2 * LONGEST_NAME - 1
    return behind < len(parts) and parts[behind].text == "("


def tables_of(script: Script, name: str, database: str | None, where: Position = BEGINNING) -> list[Chain]:
    """What may be tables of a catalog in a script, in full and in the order of the text. `database` is the catalog's
    default one, `where` the place at which the script begins. What the script makes itself is left out."""
    tables: dict[Chain, None] = {}
    own: set[Chain | None] = set()
    for parts in script.statements():
        home = (name, where.database or database) if where.catalog == name else None
        for _, chain in tables_at(parts):
            full = _in_full(chain, name, home)
            tables.update({full: None} if full else {})
        own.add(_in_full(created_by(parts), name, home))
        where = where.after(parts)
    return [chain for chain in tables if chain not in own][:MOST_TABLES]


def _in_full(chain: Chain, name: str, home: tuple[str, str | None] | None) -> Chain | None:
    """The full name of a table of the catalog `name`; None for one that is of another. `home` is where the session is
    in this catalog, None when it is not."""
    match chain:
        case (table,) if home and home[1]:
            return (name, home[1], table)
        case (database, table) if home:
            return (name, database, table)
        case (catalog, database, table, *_) if catalog == name:
            return (name, database, table)
    return None


# What is put in front of it -------------------------------------------------------------------


def shadows(definition: CatalogDefinition, name: str, script: Script, where: Position = BEGINNING) -> list[str]:
    """Temporary tables in front of the tables of a JDBC catalog that a script names, each LIKE its own.

    A statement has a class loader of its own in the gateway, and JDBC catalogs look for their database's classes in
    that one with classes of the session's: they fail with "not a subtype". The connector of a temporary table is looked
    for by its name, in the statement's class loader (docs/decisions/0026-catalogs.md).
    """
    if definition.type != JDBC:
        return []
    tables = tables_of(script, name, definition.options.get("default-database"), where)
    return [f"{_SHADOW}{quoted_name(*chain)} LIKE {quoted_name(*chain)}" for chain in tables]


def may_fail(statement: str) -> bool:
    """Whether a statement in front of a script is made for what may be a table: when there is none, Flink says so where
    the script names it."""
    head, _, like = statement.partition(" LIKE ")
    return head.startswith(_SHADOW) and head == _SHADOW + like


def compatible(
    uses: Sequence[Use], catalogs: Sequence[tuple[str, CatalogDefinition]]
) -> list[tuple[str, CatalogDefinition]]:
    """Those of some catalogs that can be there together, the first ones first."""
    kept: list[tuple[str, CatalogDefinition]] = []
    for name, definition in catalogs:
        try:
            merged(uses, [(n, d.libraries) for n, d in [*kept, (name, definition)]])
        except InvalidInput:
            continue
        kept.append((name, definition))
    return kept


def merged(uses: Sequence[Use], catalogs: Iterable[tuple[str, Sequence[Use]]]) -> list[Use]:
    """The libraries of a script, and those of the catalogs that it names. Raises `InvalidInput` when two versions of
    one would have to run."""
    every = {use.name: use for use in uses}
    owner = {use.name: "the script" for use in uses}
    for name, of_catalog in catalogs:
        for use in of_catalog:
            known = every.setdefault(use.name, use)
            if known.version != use.version:
                raise InvalidInput(
                    f"The catalog {name} needs the library {use.name} {use.version}, and {owner[use.name]} runs with "
                    f"{known.version}: there can be one version of it.",
                    code="library_conflict",
                    field="spec.libraries",
                    remedy="Name the same version in both.",
                )
            owner.setdefault(use.name, f"the catalog {name}")
    added = [use for use in every.values() if use not in uses]
    return [*uses, *added]
