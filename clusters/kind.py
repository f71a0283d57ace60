"""What a kind of cluster is: the shape of its address, what it can do, and how one is spoken to.

Each kind is a folder here with a `kind.py` in it, whose `KIND` stands in `clusters/registry.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from clusters.protocol import CAPABILITIES, Engine
from core.errors import InvalidInput
from settings import Settings

Url = Annotated[
    str, StringConstraints(pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$", max_length=500)
]
FLAT = ("jobmanager_url", "standby_urls", "gateway_url", "gateway_urls")
"""Fields of a cluster in which the API and older versions have its address; each kind reads and writes them its way."""


class Address(BaseModel):
    """Where a cluster is. `str` of it is what a person is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    GATEWAYS: ClassVar[frozenset[str]] = frozenset()
    """Fields that say where SQL gateways are; the others say which cluster it is."""

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """From the shape of the kind. Raises `InvalidInput`."""
        try:
            return cls.model_validate(dict(fields))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in ("address", *first["loc"]))
            raise InvalidInput(f"{where}: {first['msg']}", code="bad_address", field=where) from None

    @classmethod
    def from_flat(cls, kind: str, fields: Mapping[str, Any]) -> Self:
        """From those of the fields `FLAT` that are set. Raises `InvalidInput`: a kind has none of them by itself."""
        field_ = next((name for name in FLAT if fields.get(name)), "address")
        raise InvalidInput(
            f"A cluster of kind {kind} has its address in `address`, in the shape of its kind.",
            code="field_unused" if field_ != "address" else "bad_address",
            field=field_,
        )

    def flat(self) -> dict[str, Any]:
        """What of it the fields `FLAT` show; those that are left out are empty."""
        return {}

    @property
    def is_all_flat(self) -> bool:
        """Whether `flat` is the whole of it: then it is stored so."""
        return False

    def differences(self, other: Address) -> frozenset[str]:
        """Names of the fields in which two addresses of one kind differ."""
        return frozenset(name for name in type(self).model_fields if getattr(self, name) != getattr(other, name))

    @abstractmethod
    def __str__(self) -> str: ...


@dataclass(frozen=True)
class KeptHere:
    """Of an attempt, what is kept on this machine: `folder` is named by its id, `log_bytes` are those of its logs."""

    name: str
    folder: Path
    runs: bool
    log_bytes: int


@dataclass(frozen=True)
class ThisMachine:
    """What a kind keeps running on the machine that this process is on: whether there is any of it, how it is
    stopped (not for good: restart policies answer it), which returns how much there was, and what there is of each
    attempt. `forget` deletes what is left of ended attempts that nobody asks for any more, by their handles."""

    runs: Callable[[Settings], bool]
    stop: Callable[[Settings], int]
    kept: Callable[[Settings], list[KeptHere]]
    forget: Callable[[Settings, Collection[str]], None]


class Closable(Protocol):
    """What `Shared` may keep."""

    async def close(self) -> None:
        """Let go of connections."""
        ...


C = TypeVar("C", bound=Closable)


class Shared:
    """What all engines of a process share, one of each type; closed after them."""

    def __init__(self) -> None:
        self._made: dict[type, Closable] = {}

    def get(self, type_: type[C], make: Callable[[], C]) -> C:
        """The one of this type, made when it is first wanted."""
        found = self._made.get(type_)
        if not isinstance(found, type_):
            self._made[type_] = found = make()
        return found

    async def close(self) -> None:
        """Close all that were made; what is asked for after that is made anew."""
        made, self._made = list(self._made.values()), {}
        for one in made:
            await one.close()


@dataclass(frozen=True)
class Opening:
    """With what an engine is made. `transport` takes the place of the network, where the kind speaks HTTP."""

    settings: Settings
    flink_version: str
    transport: Any = None
    shared: Shared = field(default_factory=Shared)


@dataclass(frozen=True)
class ClusterKind:
    """`engine` is the adapter: the capabilities of the kind are the protocols that it is a subclass of. `job_types` are
    those whose programs its `submit` takes. `open` makes an engine from an address of this kind; `default` is the
    address of one that is registered without."""

    name: str
    summary: str
    address: type[Address]
    engine: type[Engine]
    job_types: tuple[str, ...]
    open: Callable[[Any, Opening], Engine]
    default: Callable[[Settings], Address] | None = None
    this_machine: ThisMachine | None = None
    capabilities: frozenset[type] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "capabilities", frozenset(c for c in CAPABILITIES if issubclass(self.engine, c)))

    def can(self, capability: type) -> bool:
        """Whether each cluster of this kind can do that; `capability` is one of `clusters.protocol.CAPABILITIES`."""
        return capability in self.capabilities
