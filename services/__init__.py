"""What everything with effects shares: database, engines, artifacts, Temporal client."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from temporalio.client import Client

from builds.artifacts import Artifacts
from clusters.registry import Engines
from core.names import Installation
from settings import Settings
from store.database import Database
from store.installation import identity
from store.migrate import upgrade
from store.vault import Vault


@dataclass(frozen=True)
class Services:
    """What a process of ours is made of."""

    settings: Settings
    database: Database
    engines: Engines
    artifacts: Artifacts
    vault: Vault
    client: Client
    installation: Installation = field(default_factory=Installation)

    async def ready(self) -> Services:
        """With the newest schema, and knowing whose they are. Queues are served, and work is sent, only after this."""
        await upgrade(self.database)
        async with self.database.read() as session:
            return replace(self, installation=await identity(session))

    @staticmethod
    def make(settings: Settings, client: Client) -> Services:
        """By the settings. `client` may be one that connects at first use. Nothing is asked yet."""
        return Services(
            settings=settings,
            database=Database(settings.url_of_database()),
            engines=Engines(settings),
            artifacts=Artifacts(settings.artifact_root()),
            vault=Vault(settings.secret_key.get_secret_value(), settings.home / "secret.key"),
            client=client,
        )

    async def close(self) -> None:
        """Close what holds connections."""
        await self.engines.close()
        await self.database.close()
