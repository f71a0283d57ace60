"""Settings: the environment, read once and typed. Every name begins with `PENSTOCK_`."""

from __future__ import annotations

import socket
import tempfile
from functools import lru_cache
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.history import SEARCHED, HistoryPolicy

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _cache() -> Path:
    import os

    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "penstock"


def default_home() -> Path:
    """Where `home` is unless a setting says otherwise."""
    import os

    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "penstock"


class Settings(BaseSettings):
    """Of every process. Durations are in seconds, those that end in `_days` in days, sizes in bytes."""

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_", extra="ignore")

    home: Path = Field(
        default_factory=default_home, description="Data: database, artifacts, logs, state of the local Flink"
    )
    cache: Path = Field(default_factory=_cache, description="Installed parts; safe to delete")
    database_url: str = Field(default="", description="SQLAlchemy URL; SQLite below `home` by default")
    temporal_address: str = Field(default="127.0.0.1:7233")
    temporal_namespace: str = "default"
    artifacts: Path | None = Field(default=None, description="Built jars and archives; `home`/artifacts by default")
    secret_key: SecretStr = Field(
        default=SecretStr(""),
        description="Fernet key that seals secrets, the same for all processes; by default one is made in "
        "`home`/secret.key. Several, separated by commas: the first seals, all open",
    )
    authentication: bool = Field(
        default=True,
        description="Whether a caller of the API has to show a token; without, it listens on loopback addresses only",
    )
    local_token: bool = Field(
        default=True,
        description="Whether the API keeps a token in `home`/token that may do everything, for who can read that file",
    )
    bootstrap_token: SecretStr = Field(
        default=SecretStr(""),
        description="A token that may do everything, in place of that file; at least 32 characters that nobody guesses",
    )
    host: str = Field(
        default_factory=socket.gethostname,
        description="Name of this machine, where session clusters run as processes; in a container set one that stays",
    )
    git_local_roots: list[Path] = Field(
        default=[], description="Folders whose Git repositories may be built; JSON list"
    )
    maven_settings: Path | None = Field(default=None, description="A settings.xml for builds")
    maven_repository: Path | None = Field(
        default=None, description="Local Maven repository of builds; ~/.m2 by default"
    )
    gradle_user_home: Path | None = Field(
        default=None,
        description="Where Gradle keeps its distributions and dependencies, and has its gradle.properties and init.d; "
        "`cache`/gradle by default",
    )
    build_env: list[str] = Field(default=[], description="Further environment variables that builds may see; JSON list")
    build_timeout: float = Field(default=1800, description="Seconds after which a build is stopped")
    build_log_limit: int = Field(default=16 * 1024 * 1024, description="Bytes of output after which a build is stopped")
    watch_interval: float = Field(default=10, description="Seconds between two questions to a quiet cluster")
    watch_interval_busy: float = Field(default=1, description="The same while something on it is in transition")
    check_interval: float = Field(default=600, description="Seconds between a job's own checks, with jitter of a half")
    submit_timeout: float = Field(default=600, description="Seconds to find out what became of a submission")
    stop_timeout: float = Field(default=1800, description="Seconds for a stop with savepoint")
    plan_timeout: float = Field(default=45, description="Seconds for Flink to check or plan what somebody waits for")
    running_timeout: float = Field(
        default=120, gt=0, le=1800, description="Seconds that a start waits for all tasks to run"
    )
    flink_start_timeout: float = Field(
        default=180, gt=0, le=1200, description="Seconds that the JobManager of a session cluster has to answer in"
    )
    lost_grace: float = Field(default=5, description="Seconds that a missing job has to stay missing to be believed")
    cannot_tell_after: float = Field(
        default=60, description="Seconds without an answer of a cluster until its jobs' timelines say so"
    )
    command_expiry: float = Field(
        default=3600,
        description="Seconds after which a command that could not be delivered is not carried out any more; the same "
        "for all processes",
    )
    recovery_interval: float = Field(default=60, description="Seconds between two runs of the recovery schedule")
    keep_events_days: float = Field(default=90, ge=0, description="Days that timelines reach back; 0: for ever")
    keep_log_lines_days: float = Field(default=30, ge=0, description="Days that logs are kept; 0: for ever")
    keep_commands_days: float = Field(
        default=90,
        ge=0,
        description="Days that commands are kept after their end, and their Idempotency-Keys; 0: for ever",
    )
    keep_attempts_days: float = Field(
        default=180, ge=0, description="Days that attempts are kept after their end; 0: for ever"
    )
    keep_previews_days: float = Field(
        default=7, ge=0, description="Days that previews are kept after their end; 0: for ever"
    )
    keep_last: int = Field(
        default=50,
        ge=SEARCHED,
        description="Of each job the last so many events, commands and attempts are kept for ever",
    )
    log_format: str = Field(default="console", pattern="^(console|json)$")
    log_level: str = "INFO"

    def url_of_database(self) -> str:
        """The SQLAlchemy URL of the database."""
        return self.database_url or f"sqlite+aiosqlite:///{self.home / 'penstock.db'}"

    def history(self) -> HistoryPolicy:
        """How far back the past is kept."""
        return HistoryPolicy(
            events_days=self.keep_events_days,
            log_lines_days=self.keep_log_lines_days,
            commands_days=self.keep_commands_days,
            attempts_days=self.keep_attempts_days,
            previews_days=self.keep_previews_days,
            keep_last=self.keep_last,
        )

    def artifact_root(self) -> Path:
        """The folder of what was built."""
        return self.artifacts or self.home / "artifacts"


class ApiSettings(BaseSettings):
    """Where the API listens."""

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_", extra="ignore")

    api_host: str = "127.0.0.1"
    api_port: int = 8000


class StackSettings(BaseSettings):
    """The local stack that `penstock up` starts."""

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_", extra="ignore")

    flink_version: str = "2.3.0"
    temporal_port: int = 7233
    temporal_ui_port: int = 8233
    flink_port: int = 8081
    flink_rpc_port: int = 6123
    gateway_port: int = 8083
    flink_slots: int = 16
    flink_jobmanager_memory: str = "1100m"
    flink_taskmanager_memory: str = "2240m"
    flink_config: dict[str, str] = {}


@lru_cache
def settings() -> Settings:
    """Those of this process, read once. Raises `ValidationError` of pydantic for a value that is none."""
    return Settings()


def local_stack_roots() -> list[Path]:
    """What the local stack may build from by default: the user's own files and temporary folders."""
    return [Path.home(), Path(tempfile.gettempdir())]
