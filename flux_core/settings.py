"""Every setting of flux-bot. Nothing else reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies
from zoneinfo import ZoneInfo

from pydantic import Field, PrivateAttr, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from flux_core import provider_settings, shards
from flux_core.catalogue import Catalogue
from flux_core.errors import ConfigurationError
from flux_core.family import FAMILY
from flux_core.loras import Lora, listed
from flux_core.provider_settings import ProviderSettings
from flux_core.router import RoutingPolicy
from flux_core.tiny.definition import WEIGHTS

STORE_SECRETS = frozenset(
    {
        *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY"),
        *("AZURE_STORAGE_CLIENT_SECRET", "AZURE_CLIENT_SECRET", "AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_SAS_TOKEN"),
        *("AZURE_STORAGE_TOKEN", "GOOGLE_SERVICE_ACCOUNT_KEY", "PGPASSWORD"),
    }
)
"""Variables that hold a secret and are read by libraries: obstore's, as its stores' documents name them; libpq's."""


class Settings(BaseSettings):
    """Read from the environment and a file ``.env`` in the working directory; a name in capitals is its variable."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True)

    # Discord
    discord_token: SecretStr | None = Field(
        default=None, description="The bot's token. Without one, `flux-bot run` opens the sandbox."
    )
    discord_api_base: str = Field(
        default="https://discord.com/api/v10", description="Base URL of Discord's REST API, or of a proxy before it."
    )
    discord_gateway: str = Field(
        default="wss://gateway.discord.gg/", description="URL of Discord's gateway, or of a proxy before it."
    )
    discord_cdn: str = Field(
        default="https://cdn.discordapp.com", description="Base URL of Discord's CDN, or of a proxy before it."
    )
    owner_ids: Annotated[frozenset[int], NoDecode] = Field(
        default=frozenset(),
        description="User ids, separated by commas, that may use /admin besides the application's owner.",
    )

    shards: str = Field(
        default="",
        description="Shards of Discord that this process keeps, such as 0-3 or 0,2; empty: all of them. auto: "
        "SHARDS_PER_BOT of them, by the number at the end of the host's name, as the pods of a StatefulSet have.",
    )
    shard_count: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Shards of the whole bot, the same in each of its processes; 0: as many as Discord recommends, "
        "where one process keeps them all.",
    )
    shards_per_bot: int = Field(default=1, ge=1, description="With SHARDS=auto: shards of each process.")

    # What is kept, and where
    data_dir: Path = Field(
        default=Path("data"), description="Folder for the database and the pictures, unless they are set below."
    )
    database_url: str | None = Field(
        default=None,
        description="SQLite file or PostgreSQL server, such as postgresql://flux:secret@db/flux; by default an SQLite "
        "file in DATA_DIR.",
    )
    database_pool: int = Field(
        default=5, ge=1, le=100, description="Connections of one process to PostgreSQL, besides the one that listens."
    )
    picture_store: str | None = Field(
        default=None, description="Folder or obstore URL for pictures; by default a folder in DATA_DIR."
    )
    keep_pictures_days: int = Field(
        default=0, ge=0, description="Days after their job's end for which pictures are kept; 0: for ever."
    )
    keep_jobs_days: int = Field(
        default=0,
        ge=0,
        description="Days for which prompts and whatever else an ended job says of its member are kept; 0: for ever.",
    )
    keep_reviews_days: int = Field(
        default=0,
        ge=0,
        description="Days after the verdict for which reports and approvals are kept, with what was reported; "
        "0: for ever.",
    )
    keep_audit_days: int = Field(
        default=0, ge=0, description="Days for which the audit log is kept, at least 30; 0: for ever."
    )

    # Models
    flux_tiny_path: str = Field(default=str(WEIGHTS), description="Folder of flux-tiny; empty turns it off.")
    flux_schnell_path: str = Field(
        default="", description="Folder or hub id of flux-schnell's weights; empty: not offered."
    )
    flux_dev_path: str = Field(
        default="", description="Folder or hub id of flux-dev's weights; empty: not offered. Non-commercial licence."
    )
    flux_krea_path: str = Field(
        default="",
        description="Folder or hub id of flux-krea-dev's weights; empty: not offered. Non-commercial licence.",
    )
    flux_kontext_path: str = Field(
        default="",
        description="Folder or hub id of flux-kontext-dev's weights, which edits pictures; empty: not offered. "
        "Non-commercial licence.",
    )
    flux_fill_path: str = Field(
        default="",
        description="Folder or hub id of flux-fill-dev's weights, which paints anew what a mask shows; empty: not "
        "offered. Non-commercial licence.",
    )
    flux_redux_path: str = Field(
        default="",
        description="Folder or hub id of flux-redux-dev's weights, which draws others like a picture and needs "
        "FLUX_DEV_PATH as well; empty: not offered. Non-commercial licence.",
    )
    flux_klein_path: str = Field(
        default="", description="Folder or hub id of flux-klein-4b's weights (FLUX.2); empty: not offered."
    )
    loras: Annotated[Mapping[str, Lora], NoDecode] = Field(
        default_factory=dict,
        description="LoRAs that a worker has, separated by commas: name=path-or-hub-id (of several in a repository, "
        "owner/repository/file.safetensors), with :model behind it where it is for one model only. Workers "
        "may have different ones. Members may ask for what a living worker has, and for what the bot's own list says "
        "of models that none draws at the moment.",
    )
    hf_token: SecretStr | None = Field(
        default=None,
        description="Token of the Hugging Face hub, for gated weights; by default the one that `hf auth login` keeps.",
    )
    default_model: str | None = Field(
        default=None, description="The model drawn when a member names none; by default the best one offered."
    )

    non_commercial_models: bool = Field(
        default=True,
        description="false: models whose licence is non-commercial (flux-dev and its family) are not offered, "
        "whoever would draw them.",
    )
    offered_elsewhere: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(),
        description="Models, separated by commas, that only workers on other machines draw; the bot offers them, too.",
    )

    # Hosted providers
    route_first: Literal["local", "hosted"] = Field(
        default="local", description="Who draws when both could: local (your own cards) or hosted."
    )
    route_order: Literal["cheapest", "fastest"] = Field(
        default="cheapest", description="Which hosted provider comes first: the cheapest or the fastest."
    )
    overflow_seconds: float = Field(
        default=120.0,
        ge=0,
        allow_inf_nan=False,
        description="With ROUTE_FIRST=local: how long a job may wait for your own cards before a hosted provider "
        "takes it.",
    )
    return_seconds: float = Field(
        default=20.0,
        ge=0,
        allow_inf_nan=False,
        description="How long your own cards get to come back, at a start or after a crash, before a hosted provider "
        "takes what waits for them.",
    )

    # Order in the queue
    daily_allowance: float = Field(
        default=100.0,
        ge=0,
        description="Credits a member may spend a day; one credit is one 1-megapixel flux-schnell picture.",
    )
    timezone: str = Field(default="UTC", description="IANA time zone in which the daily allowance renews at midnight.")
    max_waiting: int = Field(default=10, ge=1, description="Most jobs a member may have waiting at once.")

    # Workers
    workers: int = Field(default=1, ge=0, description="Worker processes that `flux-bot run` starts and supervises.")
    device: str = Field(default="auto", description="Torch device of a worker: auto, cpu, cuda, cuda:1, mps.")
    gpu_profile: str = Field(
        default="auto", description="How models are held on a worker's card; auto: as suits its free memory."
    )
    torch_threads: int = Field(default=0, ge=0, description="CPU threads of a worker; 0 leaves it to torch.")
    warm_up: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Models, separated by commas, that a worker loads when it starts, before it takes jobs, and then "
        "rehearses in every mode while no job waits; by default DEFAULT_MODEL, or the first one it has; off: each is "
        "loaded when it is first asked for.",
    )
    stall_seconds: float = Field(
        default=60.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds that a drawing step may always take. One that takes longer, and twenty times as long as "
        "any before it, means that the card hangs: the worker ends by force and is started anew. 0: nobody looks.",
    )
    preview_every: int = Field(default=2, ge=0, description="Steps between live previews; 0 turns them off.")
    batch_pictures: int = Field(
        default=8,
        ge=1,
        description="Most pictures that a worker draws at once, jobs of several members together, where that was seen "
        "to be faster; 1: every job alone.",
    )
    lease_seconds: float = Field(
        default=30.0,
        gt=0,
        description="How long a worker may be silent before its job goes back to the queue, and a bot before another "
        "stands in for it.",
    )
    max_attempts: int = Field(default=3, ge=1, description="How often a job is started before it fails for good.")
    job_timeout: float = Field(default=1800.0, gt=0, description="Seconds a drawing may take.")
    prompt_in_pictures: bool = Field(
        default=True,
        description="false: picture files do not tell their prompt; model, seed, steps and the mark of AI-made media "
        "stay.",
    )

    output_check_model: str = Field(
        default="",
        description="Folder or hub id of an image classifier that looks at every drawn picture; empty: nobody does.",
    )
    output_check_labels: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Its labels, separated by commas, that are not for everybody; by default those of nsfw, porn, "
        "hentai and sexy that it has.",
    )

    # What members may upload
    max_upload_bytes: int = Field(
        default=25 * 1024 * 1024, ge=1, description="Largest picture a member may upload, in bytes."
    )
    max_upload_pixels: int = Field(
        default=50_000_000, ge=1, description="Largest picture a member may upload, in pixels."
    )

    # Sandbox
    sandbox_host: str = Field(
        default="127.0.0.1", description="Loopback address of the sandbox. It has no passwords, so others are refused."
    )
    sandbox_port: int = Field(default=8765, ge=0, le=65535, description="Port of the sandbox; 0 takes a free one.")

    # Metrics
    metrics_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address on which each process tells how it is doing, at /metrics, /healthz and /readyz; loopback "
        "unless told otherwise: nobody is asked for a password.",
    )
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="Port of that; without one, none of it is served, and 0 takes a free one, which the log names. "
        "Worker number i of `flux-bot run` takes the i-th port after it; one that is started by hand takes this one.",
    )

    # Logs
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severity that is logged."
    )
    log_format: Literal["text", "json"] = Field(default="text", description="text for people, json for machines.")

    @field_validator(
        "discord_token", "hf_token", "default_model", "database_url", "picture_store", "metrics_port", mode="before"
    )
    @classmethod
    def _blank_is_none(cls, value: object) -> object:
        return None if isinstance(value, str) and not value.strip() else value

    _env_file: Any = PrivateAttr(default=".env")

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._env_file = given.get("_env_file", ".env")

    @field_validator("owner_ids", "offered_elsewhere", "output_check_labels", "warm_up", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return [part.strip() for part in value.strip().strip("[]").split(",") if part.strip()]

    @field_validator("loras", mode="before")
    @classmethod
    def _read_loras(cls, value: object) -> object:
        return listed(value, tuple(spec.id for spec in FAMILY if spec.weights)) if isinstance(value, str) else value

    @field_validator("offered_elsewhere")
    @classmethod
    def _known_models(cls, value: frozenset[str]) -> frozenset[str]:
        known = [spec.id for spec in FAMILY]
        if not value <= set(known):
            raise ValueError(f"only these models are known: {', '.join(known)}")
        return value

    @field_validator("shards")
    @classmethod
    def _some_shards(cls, value: str) -> str:
        value = value.strip().lower()
        if value not in ("", shards.AUTO):
            shards.parse(value)
        return value

    @field_validator("warm_up")
    @classmethod
    def _off_or_models(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = [spec.id for spec in FAMILY if spec.weights]
        if value != ("off",) and not set(value) <= set(known):
            raise ValueError(f"this is off, or of these models: {', '.join(known)}")
        return value

    @field_validator("data_dir")
    @classmethod
    def _at_home(cls, value: Path) -> Path:
        return value.expanduser()  # no shell does it in a file .env

    @field_validator("keep_audit_days")
    @classmethod
    def _long_enough(cls, value: int) -> int:
        if 0 < value < 30:
            raise ValueError("the audit log is kept for 30 days at least; 0 keeps it for ever")
        return value

    @field_validator("keep_jobs_days")
    @classmethod
    def _no_shorter_than_pictures(cls, value: int, info: ValidationInfo) -> int:
        pictures = info.data.get("keep_pictures_days", 0)
        if 0 < value < pictures:
            raise ValueError(f"pictures go with their jobs, so this is at least KEEP_PICTURES_DAYS ({pictures})")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError("this is no IANA time zone such as Europe/Berlin") from error
        return value

    @field_validator("discord_api_base", "discord_gateway", "discord_cdn")
    @classmethod
    def _no_password(cls, value: str) -> str:
        if "@" in urlsplit(value).netloc:
            raise ValueError("it takes no user name and no password")
        return value

    def kept_shards(self, host: str) -> tuple[int, ...] | None:
        """Return the shards that a bot on ``host`` keeps, None for all of them; raises ConfigurationError."""
        return shards.kept(self.shards, self.shard_count, per_bot=self.shards_per_bot, host=host)

    @property
    def database(self) -> str:
        """Return the SQLAlchemy URL of the database."""
        file = str(self.data_dir.resolve() / "flux-bot.db")
        return self.database_url or URL.create("sqlite", database=file).render_as_string()

    @property
    def database_password(self) -> str | None:
        """Return the password in the database's URL, to be kept out of logs."""
        try:
            url = make_url(self.database)
        except (ArgumentError, ValueError):
            return None  # opening it says what is wrong
        return url.password or (str(url.query["password"]) if "password" in url.query else None)

    @property
    def secrets_in_addresses(self) -> set[str]:
        """Return the passwords in the URLs that are set, of proxies as well, to be kept out of logs."""
        found = set()
        addresses = (self.picture_store, self.discord_api_base, self.discord_gateway, self.discord_cdn)
        for address in (*addresses, *getproxies().values()):
            with suppress(ValueError):  # what is no URL is told where it is used
                parts = urlsplit(address or "")
                found |= {password for password in (parts.password, unquote(parts.password or "")) if password}
        return found

    @property
    def store_secrets(self) -> set[str]:
        """Return the keys of bucket and database that their libraries read by themselves, to be kept out of logs."""
        return {value for name, value in os.environ.items() if name.upper() in STORE_SECRETS and value}

    @property
    def pictures(self) -> str:
        """Return the folder or URL of the picture store."""
        return self.picture_store or str(self.data_dir.resolve() / "pictures")

    @cached_property
    def every_provider(self) -> Mapping[str, ProviderSettings]:
        """Return what is set for each vendor that flux-bot knows; raises ConfigurationError for a wrong value."""
        return provider_settings.read(self._env_file)

    @cached_property
    def providers(self) -> Mapping[str, ProviderSettings]:
        """Return the configured hosted providers: name → what is set; raises ConfigurationError."""
        known = provider_settings.vendors()
        return {name: given for name, given in self.every_provider.items() if not given.missing(known[name])}

    @cached_property
    def routing(self) -> RoutingPolicy:
        """Return what the operator prefers, where a community has not said otherwise."""
        return RoutingPolicy(
            first=self.route_first,
            order=self.route_order,
            overflow_seconds=self.overflow_seconds,
            return_seconds=self.return_seconds,
        )

    @cached_property
    def catalogue(self) -> Catalogue:
        """Return the models that are configured; raises ConfigurationError when there is none."""
        known = provider_settings.vendors()
        hosted = {id for name, given in self.providers.items() for id in known[name](given.access(known[name])).offers}
        paths = {spec.id: getattr(self, spec.setting.lower()) for spec in FAMILY if spec.weights}
        weights = {id: path for id, path in paths.items() if path}
        return Catalogue(
            weights,
            hosted=hosted | self.offered_elsewhere,
            default=self.default_model,
            non_commercial=self.non_commercial_models,
            loras=self.loras,
        )

    @property
    def warmed_up(self) -> tuple[str, ...]:
        """Return the models that a worker loads when it starts; raises ConfigurationError for one without weights."""
        if self.warm_up == ("off",):
            return ()
        local = [spec.id for spec in self.catalogue if spec.local]
        if missing := [model for model in self.warm_up if model not in local]:
            raise ConfigurationError(f"WARM_UP names {', '.join(missing)}, whose weights are not configured.")
        default = self.catalogue.default
        return self.warm_up or ((default.id,) if default.local else tuple(local[:1]))


def load_settings(**changes: Any) -> Settings:
    """Read the settings, those of the providers as well, with ``changes`` over them.

    Raises ConfigurationError with one line for each setting that is wrong, never with its value: it may be a secret;
    and for a file .env that cannot be read.
    """
    try:
        settings = Settings(**changes)
    except UnicodeDecodeError:
        raise ConfigurationError("The file .env is not written in UTF-8. Save it again in that encoding.") from None
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ConfigurationError(f"The file .env in {Path.cwd()} cannot be read: {why}.") from None
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in e['loc']).upper()}: {e['msg']}" for e in error.errors()]
        raise ConfigurationError("These settings need a look:\n  " + "\n  ".join(lines)) from None
    _ = settings.providers
    return settings


def child_environment(**changes: str) -> dict[str, str]:
    """Return the environment for a child process: this one's, with ``changes``."""
    return {**os.environ, **changes}


def names_compiler() -> bool:
    """Say whether the environment names a C compiler (CC), which triton then takes."""
    return "CC" in os.environ
