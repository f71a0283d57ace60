"""POST /projects/{project}/resources/infer: columns from what the data looks like."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from api.deps import Parts, Workbench
from api.inference import service
from api.inference.schemas import InferenceBody, InferenceOut
from api.problems import responses

router = APIRouter(prefix="/projects/{project}/resources", tags=["resources"])


@router.post("/infer", responses=responses(404, 409, 422, 503), summary="Columns from samples, a schema or a source")
async def infer(
    project: Annotated[str, Path(max_length=80)], body: InferenceBody, parts: Parts, bench: Workbench
) -> InferenceOut:
    """Nothing is registered: look at the columns, then PUT the resource."""
    return await service.infer(parts, bench, project, body)
