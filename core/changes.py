"""What was changed, in words for a timeline."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from core.config import HIDDEN, MOST_KEYS, is_secret, unhidden
from core.errors import InvalidInput

LONGEST = 120


Values = Mapping[str, object]


def differences(before: Mapping[str, Values], after: Mapping[str, Values]) -> list[str]:
    """Of each key whose value differs, by the name of its group: `label team: none → web`. Values of secrets are not
    told."""
    return [line for what in before for line in _of(what, before[what], after[what])]


def _of(what: str, before: Values, after: Values) -> list[str]:
    keys = sorted(key for key in before.keys() | after.keys() if _text(before, key) != _text(after, key))
    return [f"{what} {key}: {_shown(before, key)} → {_shown(after, key)}" for key in keys]


def _text(values: Values, key: str) -> str | None:
    value = values.get(key)
    return None if value is None else str(value)


def _shown(values: Values, key: str) -> str:
    text = _text(values, key)
    if text is None:
        return "none"
    if is_secret(key):
        return HIDDEN
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def check_most(values: Collection[str], most: int, whose: str, field: str) -> None:
    """Raise `InvalidInput` where `whose` field would have too many entries."""
    if len(values) > most:
        message = f"{whose} would have more than {most} entries in {field}."
        raise InvalidInput(message, code="too_many", field=field, remedy="Unset others.")


def merged(now: Mapping[str, Any], given: Mapping[str, Any], gone: Collection[str]) -> dict[str, Any]:
    """`now` with what is given laid over it, and without the keys that are to go."""
    return {key: value for key, value in {**now, **given}.items() if key not in gone}


def changed_config(
    now: Mapping[str, str], given: Mapping[str, str], gone: Collection[str], *, merge: bool, whose: str
) -> dict[str, str]:
    """The configuration that `whose` one becomes: what is given in its place, or with `merge` that laid over what is
    there `now`. Raises `InvalidInput` for a secret that there is none of, or too many keys."""
    given = unhidden(dict(given), dict(now), "config")
    if not merge:
        return given
    config = merged(now, given, gone)
    check_most(config, MOST_KEYS, whose, "config")
    return config
