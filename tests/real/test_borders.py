"""Who reaches a Flink that Penstock runs."""

from __future__ import annotations

import httpx
import pytest

from tests.real.conftest import Stack


@pytest.mark.parametrize("part", ["flink_url", "gateway_url"])
def test_pages_of_other_origins_read_nothing(stack: Stack, part: str):
    """Flink answers `*` by default, also to a page that some browser on this machine happens to show."""
    url = getattr(stack, part)
    path = "/overview" if part == "flink_url" else "/v1/info"
    answer = httpx.get(f"{url}{path}", headers={"Origin": "http://evil.example.com"}, trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == stack.flink_url
