"""Where tables lie: a Kafka topic, a database table, a folder. One place has one spelling, whoever writes it.

`/tmp/x` is `file:///tmp/x`, brokers have no order, and a table of several topics lies in several places. A pattern of
topics is a place that meets each topic of which it is a pattern. Who names some brokers of a Kafka means the same Kafka
as who names others beside one of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import BeforeValidator

from core.paths import normal
from core.sql.references import is_sensitive

# Options that say where a table lies. Of a source its positions there are kept in its state.
PLACES = frozenset(
    [
        "topic",
        "topic-pattern",
        "topics",
        "path",
        "url",
        "table-name",
        "hostname",
        "port",
        "database-name",
        "schema-name",
        "stream",
        "stream.arn",
        "service-url",
        "properties.bootstrap.servers",
        "index",
        "collection",
        "database",
        "uri",
        "hosts",
        "aws.region",
    ]
)
_NOWHERE = frozenset(["datagen", "blackhole", "print", "values", "faker"])
_KEY = "|".join(map(re.escape, sorted(PLACES, key=len, reverse=True)))
_PART = re.compile(rf";(?=(?:{_KEY})=)")
_BROKERS = "properties.bootstrap.servers"
_BROKER_PORT = 9092
_PATTERN = "topic-pattern"
_TOPICS = ("topic", "topics")
# Not tried: what Java reads in another way, and what could take long, a repetition of repetitions or many of them.
_NOT_TRIED = re.compile(r"&&|\)[*+?{]")
_MOST_REPEATED = 3


def place_of_options(options: Mapping[str, str]) -> str | None:
    """Where a table lies, from its options; None for what is made or lost on the spot. A table without a connector has
    it from its catalog."""
    connector = options.get("connector", "catalog")
    if connector in _NOWHERE:
        return None
    where = {k: v for k, v in options.items() if k in PLACES and not is_sensitive(k)}
    kind = connector.removeprefix("upsert-").removesuffix("-cdc")
    return _written(kind, where) if where else None


def differing_places(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The options by which one table lies elsewhere than the other."""
    return sorted(key for key in PLACES if not _same(key, before.get(key, ""), after.get(key, "")))


def _same(key: str, one: str, other: str) -> bool:
    a, b = _spelled(key, one), _spelled(key, other)
    return a == b or (key == _BROKERS and bool({*a.split(",")} & {*b.split(",")}))


def one_spelling(place: str) -> str:
    """A place as it is always written; what is in no known words stays as it is."""
    parted = _parted(place)
    return _written(*parted) if parted else place


Place = Annotated[str, BeforeValidator(lambda value: one_spelling(value) if isinstance(value, str) else value)]
"""A field that holds a place: whatever is given, the one spelling is kept."""


def places_in(place: str) -> list[str]:
    """The places that a table lies in: one for each of its topics."""
    parted = _parted(place)
    if parted is None:
        return [place]
    kind, where = parted
    key = next((key for key in _TOPICS if key in where), None)
    topics = _listed(where[key], ";") if key else []
    return [_written(kind, {**where, str(key): topic}) for topic in topics] or [_written(kind, where)]


class Known:
    """The places that there are, each for one topic or one pattern, and each with all brokers that are known of it."""

    def __init__(self, places: Iterable[str]):
        every = frozenset(places)
        self._clusters = _joined(brokers for place in every if (brokers := _brokers_of(place)))
        self._places = frozenset(name for place in every for name in self.names(place))
        self._patterns = [(place, pattern) for place in self._places if (pattern := _pattern_of(place))]

    def names(self, place: str) -> list[str]:
        """A place as it is known: of some brokers of a Kafka with all of them. Several where it names brokers of
        several, the place itself where nothing else is known."""
        brokers = _brokers_of(place)
        clusters = [cluster for cluster in self._clusters if cluster & brokers]
        parted = _parted(place)
        if parted is None or not clusters:
            return [place]
        kind, where = parted
        return sorted(_written(kind, {**where, _BROKERS: ",".join(cluster)}) for cluster in clusters)

    def meeting(self, place: str) -> list[str]:
        """Those that are the place, or meet it by a pattern; of a place in one of its `names`."""
        found = {place} & self._places
        found |= {other for other, pattern in self._patterns if _has(pattern, place)}
        if mine := _pattern_of(place):
            found |= {other for other in self._places if _has(mine, other)}
        return sorted(found)

    def meant_by(self, words: str) -> list[str]:
        """Those that a place in any spelling, or of several topics, means."""
        names = {name for place in places_in(one_spelling(words)) for name in self.names(place)}
        return sorted({found for name in names for found in self.meeting(name)})


def _brokers_of(place: str) -> frozenset[str]:
    parted = _parted(place) if f"{_BROKERS}=" in place else None
    return frozenset(_listed(parted[1].get(_BROKERS, ""), ",")) if parted else frozenset()


def _joined(lists: Iterable[frozenset[str]]) -> list[frozenset[str]]:
    """Lists of brokers, those that share one made one."""
    clusters: list[frozenset[str]] = []
    for brokers in lists:
        shared = [cluster for cluster in clusters if cluster & brokers]
        clusters = [cluster for cluster in clusters if cluster not in shared] + [brokers.union(*shared)]
    return clusters


Pattern = tuple[str, dict[str, str], str]


def _pattern_of(place: str) -> Pattern | None:
    """(kind, all but the pattern, the pattern)."""
    parted = _parted(place) if f"{_PATTERN}=" in place else None
    if parted is None or _PATTERN not in parted[1]:
        return None
    kind, where = parted
    return kind, {k: v for k, v in where.items() if k != _PATTERN}, where[_PATTERN]


def _has(pattern: Pattern, place: str) -> bool:
    """Whether a place is a topic of a pattern. A pattern that cannot be tried has all topics."""
    parted = _parted(place)
    kind, where, text = pattern
    if parted is None or parted[0] != kind:
        return False
    key = next((key for key in _TOPICS if key in parted[1]), None)
    if key is None or {k: v for k, v in parted[1].items() if k != key} != where:
        return False
    if _NOT_TRIED.search(text) or len(re.findall(r"[*+{]", text)) > _MOST_REPEATED:
        return True
    try:
        return re.fullmatch(text, parted[1][key]) is not None
    except re.error:
        return True


def _parted(place: str) -> tuple[str, dict[str, str]] | None:
    """(kind, options) of a place in known words."""
    kind, _, rest = place.partition(":")
    pairs = [part.partition("=") for part in _PART.split(rest)]
    if not all(sign and key in PLACES for key, sign, _ in pairs):
        return None
    return kind, {key: value for key, _, value in pairs}


def _written(kind: str, where: Mapping[str, str]) -> str:
    return f"{kind}:" + ";".join(f"{key}={_spelled(key, where[key])}" for key in sorted(where))


def _spelled(key: str, value: str) -> str:
    match key:
        case "path":
            return normal(value).rstrip("/") or value
        case "topic" | "topics":
            return ";".join(_listed(value, ";"))
        case "topic-pattern":
            return value
        case "properties.bootstrap.servers":
            return ",".join(_listed(",".join(map(_broker, value.lower().split(","))), ","))
        case "hosts":
            return ";".join(_listed(value.lower(), ";"))
        case "hostname":
            return value.strip().lower()
        case "url" | "uri" | "service-url":
            return value.rstrip("/")
        case _:
            return value


def _broker(address: str) -> str:
    """`host:port`, without the protocol that Kafka takes in front of it."""
    host = address.rpartition("://")[2].strip()
    has_port = host.rpartition("]")[2].count(":") > 0
    return host if has_port or not host else f"{host}:{_BROKER_PORT}"


def _listed(text: str, sign: str) -> list[str]:
    return sorted({item.strip() for item in text.split(sign)} - {""})
