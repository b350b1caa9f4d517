"""Logs: one line per event, for people or machines, with every secret masked."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, TextIO
from urllib.parse import quote

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from flux_core.settings import Settings

MASK = "***"
SHORTEST = 6
"""Characters of a secret that is looked for in every line."""
# Discord puts interaction tokens into paths, and a bot token into the Authorization header.
_IN_TEXT = (
    re.compile(r"(?<=/webhooks/)(\d+/)[^/\s?'\"]+"),
    re.compile(r"(?<=/interactions/)(\d+/)[^/\s?'\"]+"),
    re.compile(r"(?i)\b((?:bot|bearer|basic)\s+)[\w.\-+/=]{20,}"),
    re.compile(
        r"(?i)((?:token|(?:api|access|account|sas)[_-]?key|secret|password)['\"]?\s*[=:]\s*['\"]?)[^\s'\",;&]{6,}"
    ),
    # The hub's client also finds tokens that it keeps itself, which no setting names.
    re.compile(r"\b(hf_)[A-Za-z0-9]{20,}"),
    # A password, which may have an @ of its own, or a token in its place.
    re.compile(r"(?<=://)([^:/@\s]*:)[^/\s]+(?=@)"),
    re.compile(r"(://)[^:/@\s]{16,}(?=@)"),
    # Whoever has such a URL has the picture: AWS, Google, Azure.
    re.compile(r"(?i)([?&](?:X-Amz-Signature|X-Amz-Security-Token|X-Goog-Signature|sig)=)[^&\s'\"]+"),
)


def mask(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Return ``text`` with ``secrets`` and everything that looks like one replaced."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    for pattern in _IN_TEXT:
        text = pattern.sub(lambda found: found[1] + MASK, text)
    return text


def _secrets(settings: Settings) -> tuple[str, ...]:
    tokens = (settings.discord_token, settings.hf_token)
    found = {token.get_secret_value() for token in tokens if token is not None}
    for given in settings.every_provider.values():
        found.update(given.secrets)
    if settings.database_password is not None:
        found.add(settings.database_password)
    found.update(settings.secrets_in_addresses)
    found.update(settings.store_secrets)
    # As they stand in URLs.
    found.update({quote(secret, safe="") for secret in found})
    # A key of two letters, for a server that takes any, would mask half of what is logged. Long ones first: one secret
    # may be the beginning of another.
    return tuple(sorted((secret for secret in found if len(secret) >= SHORTEST), key=len, reverse=True))


def masking(settings: Settings) -> Callable[[str], str]:
    """Return what replaces the secrets of ``settings``, and everything that looks like one, in a text."""
    secrets = _secrets(settings)
    return lambda text: mask(text, secrets)


def _hidden(value: Any, hide: Callable[[str], str]) -> Any:
    """Return what a log line shows of ``value``: texts masked, wherever they are, and things as their masked text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {hide(str(key)): _hidden(inner, hide) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_hidden(inner, hide) for inner in value]
    return hide(value if isinstance(value, str) else str(value))


def configure_logging(settings: Settings, stream: TextIO | None = None) -> None:
    """Send the logs of this process, libraries included, to ``stream`` (standard error) in the configured form."""
    stream = stream or sys.stderr
    hide = masking(settings)

    def masked(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {hide(key): _hidden(value, hide) for key, value in event.items()}

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Tracebacks become text before the mask, which reads text only.
        structlog.processors.format_exc_info,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer(default=str)
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, masked, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    # Libraries tell at "info" what only their authors want to know.
    for noisy in ("httpx", "httpx2", "httpcore", "httpcore2", "discord.gateway", "discord.client", "alembic", "PIL"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
