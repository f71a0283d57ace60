"""What a browser is shown: `/docs`, with files of its own, so that it needs no other host; `/` leads there."""

from __future__ import annotations

from pathlib import Path

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

ASSETS = "docs/assets"


def install(app: FastAPI) -> None:
    """Adds both pages. Their addresses are relative, so that a proxy may put a folder in front of all."""

    @app.get("/", include_in_schema=False)
    async def begin() -> RedirectResponse:
        return RedirectResponse("docs")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            title=app.title,
            openapi_url="openapi.json",
            swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{ASSETS}/favicon.png",
            swagger_ui_parameters={"validatorUrl": None},  # another host would be asked
        )

    app.mount(f"/{ASSETS}", StaticFiles(directory=Path(fastapi_offline.__file__).parent / "static"))
