"""/clusters."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from api.clusters import service
from api.clusters.schemas import ClusterOut, ClusterPatch, KindOut, NewCluster, NewScale
from api.commands.router import Key
from api.commands.schemas import CommandOut
from api.deps import Page, Parts, Watcher
from api.problems import responses
from api.security import CurrentCaller

router = APIRouter(tags=["clusters"])
ClusterName = Annotated[str, Path(max_length=100)]


@router.get("/clusters", responses=responses(422, 503), summary="List clusters")
async def list_clusters(parts: Parts) -> Page[ClusterOut]:
    """All clusters, each with its slots and since when it answers."""
    return Page(items=await service.all_(parts))


@router.get("/cluster-kinds", summary="List kinds of cluster")
async def list_kinds() -> Page[KindOut]:
    """All kinds, each with the shape of its address and with what its clusters can do."""
    return Page(items=service.kinds())


@router.post("/clusters", status_code=201, responses=responses(409, 422, 503), summary="Register a cluster")
async def create_cluster(new: NewCluster, parts: Parts) -> ClusterOut:
    """Refused (`cluster_known`) when the Flink that answers there is a cluster already, under another name."""
    return await service.create(parts, new)


@router.get("/clusters/{name}", responses=responses(404, 422, 503), summary="One cluster with its health, fresh")
async def get_cluster(name: ClusterName, parts: Parts, watcher: Watcher) -> ClusterOut:
    """One cluster. It is asked anew when the last look at it is old."""
    return await service.get(parts, watcher, name)


@router.patch("/clusters/{name}", responses=responses(404, 409, 422, 503), summary="Change a cluster")
async def patch_cluster(name: ClusterName, changes: ClusterPatch, parts: Parts, caller: CurrentCaller) -> ClusterOut:
    """A new address is used from the next question on. `config` counts from each job's next attempt on.

    While attempts on the cluster have not been seen to end, another address is refused (`cluster_in_use`), unless the
    same Flink answers there, or the Flink at the old address knows none of them and none is on its way there; `force`
    does it all the same. `"identity": null` accepts the Flink that answers from now on for the one that is meant.
    """
    return await service.patch(parts, name, changes, requested_by=caller.name)


@router.delete("/clusters/{name}", status_code=204, responses=responses(404, 409, 422, 503), summary="Forget a cluster")
async def delete_cluster(name: ClusterName, parts: Parts, watcher: Watcher) -> None:
    """Only when no job is on it. The cluster itself is left alone, its name can be registered again; SQL sessions on it
    end."""
    await service.forget(parts, watcher, name)


@router.post(
    "/clusters/{name}/scale",
    status_code=202,
    responses=responses(404, 409, 422, 503),
    summary="Start or stop task managers of a cluster that Penstock runs",
)
async def scale_cluster(
    name: ClusterName, new: NewScale, parts: Parts, caller: CurrentCaller, key: Key = None
) -> CommandOut:
    """Gives its job a version with so many task managers, and sends a `resubmit` of it: the cluster goes on running.
    Task managers that run nothing are stopped first. Follow the command at the job. What is refused (409) leaves no
    version behind."""
    return await service.scale(parts, caller, name, new, key)
