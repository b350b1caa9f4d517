"""What an operator sets for each hosted provider: its key, and little else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, create_model, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from flux_core.errors import ConfigurationError
from flux_core.family import FAMILY
from flux_core.offers import MICRO
from flux_core.providers.hosted.vendor import Access, Vendor

DAILY_CAP = 5.0
"""US dollars a day at one provider: 200 flux-dev pictures at a usual price. An operator who forgets about a key, in a
server that is busier than expected, finds it out for the price of a meal, not for that of a month's rent."""

_SECRET = re.compile(r"(^|_)(key|token|secret|password)(_|$)")


class ProviderSettings(BaseSettings):
    """The settings of one vendor; each variable begins with the vendor's prefix, as in ``EACHLABS_API_KEY``."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True, env_ignore_empty=True
    )

    api_key: SecretStr | None = Field(
        default=None, description="The key. It alone turns the provider on, where the provider has a public address."
    )
    base_url: str | None = Field(
        default=None, description="Address of the service; by default the vendor's public one, where there is one."
    )
    concurrency: int | None = Field(
        default=None, ge=1, le=1000, description="Most pictures in the making at once; by default the vendor's limit."
    )
    per_minute: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Most pictures ordered a minute; by default the vendor's limit.",
    )
    daily_cap: float | None = Field(
        default=DAILY_CAP,
        ge=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="Most US dollars spent there a day (in TIMEZONE); `none` lifts the cap.",
    )
    models: Annotated[Mapping[str, str], NoDecode] = Field(
        default_factory=dict,
        description="The vendor's names for models, over the built-in ones: `flux-dev=their-name,flux-schnell=…`.",
    )

    @field_validator("api_key", "base_url", mode="before")
    @classmethod
    def _blank_is_none(cls, value: object) -> object:
        return (value.strip() or None) if isinstance(value, str) else value

    @field_validator("api_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not (value.get_secret_value().isascii() and value.get_secret_value().isprintable()):
            raise ValueError("a key has no line breaks and no letters beyond ASCII; copy it again")
        return value

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            whole = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
        except ValueError:
            whole = False
        if not whole or parts.query or parts.fragment:
            raise ValueError("this is no address such as https://api.example.com/v1")
        if parts.username or parts.password:
            raise ValueError("the address must not hold a user name or password")
        return value.rstrip("/")

    @field_validator("daily_cap", mode="before")
    @classmethod
    def _none_lifts_it(cls, value: object) -> object:
        return None if isinstance(value, str) and value.strip().lower() == "none" else value

    @field_validator("models", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        known = [spec.id for spec in FAMILY]
        pairs = {}
        for part in filter(None, (part.strip() for part in value.split(","))):
            ours, _, theirs = (word.strip() for word in part.partition("="))
            if ours not in known or not theirs:
                raise ValueError(f"write flux-dev=their-name, with commas between; known here are {', '.join(known)}")
            pairs[ours] = theirs
        return pairs

    @property
    def extra(self) -> dict[str, str]:
        """Return what is set of the vendor's own settings, by their names in lower case."""
        own = type(self).model_fields.keys() - ProviderSettings.model_fields.keys()
        found = {name: getattr(self, name) for name in sorted(own)}
        said = {name: value.get_secret_value().strip() for name, value in found.items() if value is not None}
        return {name: text for name, text in said.items() if text}

    @property
    def money_cap(self) -> int | None:
        """Return the daily cap in millionths of a US dollar; None: there is none."""
        return None if self.daily_cap is None else round(self.daily_cap * MICRO)

    @property
    def secrets(self) -> Iterator[str]:
        """Yield what must not be seen in a log."""
        if self.api_key is not None:
            yield self.api_key.get_secret_value()
        yield from (value for name, value in self.extra.items() if _SECRET.search(name))

    def access(self, vendor: type[Vendor]) -> Access:
        """Return how to reach ``vendor`` with these settings."""
        return Access(
            base_url=(self.base_url or vendor.base_url).rstrip("/"),
            key=None if self.api_key is None else self.api_key.get_secret_value(),
            models=dict(self.models),
            extra=self.extra,
        )

    def missing(self, vendor: type[Vendor]) -> list[str]:
        """Return the variables that have to be set before ``vendor`` can be used; empty: it is configured.

        A vendor with a public address that also works without a key is used only when one of the two is given.
        """
        lacking = []
        if self.api_key is None and (vendor.needs_key or (vendor.base_url and self.base_url is None)):
            lacking.append(variable(vendor, "api_key"))
        if self.base_url is None and not vendor.base_url:
            lacking.append(variable(vendor, "base_url"))
        lacking += [variable(vendor, name) for name in vendor.required_settings if name not in self.extra]
        return lacking


def vendors() -> Mapping[str, type[Vendor]]:
    """Return every vendor by its name."""
    from flux_core.providers.hosted.registry import VENDORS

    return VENDORS


def variable(vendor: type[Vendor], name: str) -> str:
    """Return the variable of a vendor's setting: ``EACHLABS_API_KEY``."""
    return f"{vendor.name}_{name}".upper()


@cache
def settings_class(vendor: type[Vendor]) -> type[ProviderSettings]:
    """Return the settings of ``vendor``, its own ones included."""
    if not vendor.extra_settings:
        return ProviderSettings
    # Secret to pydantic, so that neither repr nor error shows one: some of them are passwords.
    own: dict[str, Any] = {
        name: (SecretStr | None, Field(default=None, description=sentence))
        for name, sentence in vendor.extra_settings.items()
    }
    return create_model(f"{vendor.__name__}Settings", __base__=ProviderSettings, **own)


def read(env_file: Any) -> dict[str, ProviderSettings]:
    """Read the settings of every vendor, configured or not: its name → what is set.

    Raises ConfigurationError with one line for each setting that is wrong, never with its value.
    """
    found, lines = {}, []
    for name, vendor in vendors().items():
        try:
            source: dict[str, Any] = {"_env_prefix": f"{name}_", "_env_file": env_file}
            found[name] = settings_class(vendor)(**source)  # type: ignore[arg-type]  # to mypy, a class is not hashable
        except ValidationError as error:
            lines += [f"{variable(vendor, str(e['loc'][0]))}: {e['msg']}" for e in error.errors()]
    if lines:
        raise ConfigurationError("These settings need a look:\n  " + "\n  ".join(lines))
    return found
