"""Secrets at rest: sealed with a key that is not in the database."""

from __future__ import annotations

from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from core.errors import Conflict
from store.private_file import made_once


class Vault:
    """`keys` are Fernet keys, separated by commas: the first seals, all of them open. Without one, a key is
    made in `file` (mode 0600) when it is first wanted, which every process has to read."""

    def __init__(self, keys: str, file: Path):
        self._keys, self._file = keys, file
        self._made: MultiFernet | None = None

    def _fernet(self) -> MultiFernet:
        if self._made is None:
            keys = [k.strip() for k in (self._keys or self._from_file()).split(",") if k.strip()]
            try:
                self._made = MultiFernet([Fernet(k) for k in keys])
            except ValueError as error:
                raise Conflict(
                    "PENSTOCK_SECRET_KEY is not a Fernet key.",
                    code="bad_secret_key",
                    remedy="Give 32 bytes in URL-safe base64.",
                ) from error
        return self._made

    def _from_file(self) -> str:
        return made_once(self._file, lambda: Fernet.generate_key().decode())

    def seal(self, value: str) -> str:
        """A value as it is kept."""
        return self._fernet().encrypt(value.encode()).decode()

    def open(self, sealed: str) -> str:
        """Raises `Conflict` when it was sealed with another key."""
        try:
            return self._fernet().decrypt(sealed.encode()).decode()
        except InvalidToken as error:
            raise Conflict(
                "A secret was sealed with another key than this process has.",
                code="secret_sealed_otherwise",
                remedy="Give every API and worker the same PENSTOCK_SECRET_KEY, or set the secret again.",
            ) from error
