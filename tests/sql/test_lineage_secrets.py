"""Places that are shown have no secrets in them."""

from __future__ import annotations

from sql.compiling import _use


class Gateway:
    """The options of a table, as a session with opened secrets has them."""

    async def options(self, session: str, table: str) -> dict[str, str]:
        return {"connector": "jdbc", "table-name": "t", "url": "jdbc:mysql://h/db?user=u&password=opened"}


async def test_a_secret_in_the_address_is_hidden():
    use = await _use(Gateway(), "session", "c.d.t", "project", ["opened"])  # type: ignore[arg-type]
    assert "opened" not in str(use.place)
    assert "******" in str(use.place)
