"""What each type of job is like, for everything that treats them differently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Traits:
    """`keeps_state`: it has state of its own, which savepoints and checkpoints keep and a start goes on from.
    `is_built`: it is made from a commit in Git. `compiles`: it is SQL, whose plan can be compiled and compared before
    it is started. `runs_cluster`: what an attempt starts is a Flink cluster, and no Flink job."""

    keeps_state: bool = True
    is_built: bool = False
    compiles: bool = False
    runs_cluster: bool = False


TYPES: Mapping[str, Traits] = {
    "sql": Traits(compiles=True),
    "jar": Traits(is_built=True),
    "pyflink": Traits(is_built=True),
    "session-cluster": Traits(keeps_state=False, runs_cluster=True),
}
"""By the name of the type, which is the `type` of its spec."""


def traits(type_: str) -> Traits:
    """Of a type that this version knows. Raises `KeyError` on another."""
    return TYPES[type_]
