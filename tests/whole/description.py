"""Answers of the API against its own OpenAPI description."""

from __future__ import annotations

import functools
from typing import Any

import httpx
import jsonschema_rs
from fastapi import FastAPI


@functools.cache
def operations(app: FastAPI) -> dict[str, dict[str, Any]]:
    """What the description says of each operation, by `METHOD /path`."""
    paths = app.openapi()["paths"]
    return {f"{method.upper()} {path}": found for path, all_ in paths.items() for method, found in all_.items()}


@functools.cache
def _validator(app: FastAPI, operation: str, status: str, media: str) -> Any:
    schema = operations(app)[operation]["responses"][status]["content"][media].get("schema", {})
    return jsonschema_rs.validator_for({**schema, "components": app.openapi()["components"]})


def check(app: FastAPI, method: str, route: str, response: httpx.Response) -> None:
    """Fails for an answer that the description does not know: its status, its media type, or its shape."""
    operation = f"{method} {route}"
    if operation not in operations(app):
        return
    described = operations(app)[operation]["responses"]
    status = str(response.status_code)
    assert status in described, f"{operation} is not described to answer {status}: {response.text[:500]}"
    content = described[status].get("content")
    if not content:
        assert not response.content, f"{operation} is described to answer {status} without a body"
        return
    media = response.headers["content-type"].partition(";")[0]
    assert media in content, f"{operation} answers {status} as {media}; described: {', '.join(content)}"
    if "json" not in media:
        return
    body = response.json()
    errors = [f"{e.instance_path}: {e.message}" for e in _validator(app, operation, status, media).iter_errors(body)]
    assert not errors, f"{operation} answers {status} in another shape: {errors[:3]} {response.text[:500]}"
