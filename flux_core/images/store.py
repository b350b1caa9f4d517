"""Keep pictures in a folder or a bucket: the one place that bot and workers share besides the database."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, MemoryStore, ObjectStore, S3Store, from_url

from flux_core.errors import ConfigurationError, PictureGone, StorageUnavailable

if TYPE_CHECKING:
    from obstore.store import RetryConfig

KEY = re.compile(r"[A-Za-z0-9_-]+(?:[./][A-Za-z0-9_-]+)*")
"""Keys are made by the studio: plain path segments, none hidden, none upwards."""
UNFINISHED = re.compile(r"#[0-9]+$")
"""How object_store ends the name of a file in a folder that it has not written to the end."""
RETRIES: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}
"""Of one request to a bucket. object_store would go on for three minutes; whoever calls has a patience of their own."""
STUCK_SECONDS = 120.0
"""What one picture may take. A folder on another machine that has gone away answers nothing at all, for ever."""
PLAIN_HTTP = "builder error"
"""All that object_store says of an http:// address that it was not allowed to use."""
NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
"""Codes of S3 and Google, and of Azure, for a place that is not there at all: no word about the picture."""


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """What the store knows of a picture without reading it; ``modified_at`` in unix seconds, ``size`` in bytes."""

    key: str
    size: int
    modified_at: float


class PictureStore:
    """Pictures by key. A key is either absent or holds all its bytes: writes appear at once or not at all."""

    def __init__(self, place: str) -> None:
        """Open a folder (made when missing) or an obstore URL (``s3://bucket/prefix``, ``gs://``, ``az://`` …).

        Raises ConfigurationError for a place that cannot be used.
        """
        self._folder: Path | None = None
        try:
            if "://" not in place or place.startswith("file://"):
                self._folder = Path(place.removeprefix("file://")).expanduser().resolve()
                self._store: ObjectStore = LocalStore(self._folder, mkdir=True, automatic_cleanup=True)
            elif place.startswith("memory://"):
                self._store = MemoryStore()
            else:
                self._store = from_url(place, retry_config=RETRIES)
        except (BaseError, OSError, ValueError) as error:
            shown = place.rsplit("@", 1)[-1]  # a URL may carry a password before its host, and errors quote it
            problem = _first_line(error).replace(place, shown)
            raise ConfigurationError(f"PICTURE_STORE cannot be used ({shown}): {problem}") from None

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        """Write ``data``, replacing what was there; raises StorageUnavailable."""
        attributes = {"Content-Type": content_type} if self._folder is None else None  # a folder keeps none
        try:
            # In one request: parts of an upload that was never completed would lie in a bucket unseen, and be billed.
            async with _in_time():
                await obstore.put_async(self._store, _checked(key), data, attributes=attributes, use_multipart=False)
        except (BaseError, OSError) as error:
            raise StorageUnavailable(f"Cannot write {key}: {_first_line(error)}") from error

    async def get(self, key: str) -> bytes:
        """Read a picture; raises PictureGone when it was deleted, StorageUnavailable."""
        try:
            async with _in_time():
                result = await obstore.get_async(self._store, _checked(key))
                return bytes(await result.bytes_async())
        except FileNotFoundError as error:
            if _misses_bucket(error):
                raise StorageUnavailable(f"Cannot read {key}: {_first_line(error)}") from error
            raise PictureGone() from error
        except (BaseError, OSError) as error:
            raise StorageUnavailable(f"Cannot read {key}: {_first_line(error)}") from error

    async def delete(self, keys: Iterable[str]) -> None:
        """Delete pictures; those that are gone already are no error. Raises StorageUnavailable at the first failure."""
        for key in keys:
            try:
                async with _in_time():
                    await obstore.delete_async(self._store, _checked(key))
            except FileNotFoundError as error:
                if _misses_bucket(error):
                    raise StorageUnavailable(f"Cannot delete {key}: {_first_line(error)}") from error
            except (BaseError, OSError) as error:
                raise StorageUnavailable(f"Cannot delete {key}: {_first_line(error)}") from error

    @property
    def has_links(self) -> bool:
        """Whether others can be given a URL: a bucket signs them, a folder has none."""
        return isinstance(self._store, S3Store | GCSStore | AzureStore)

    async def link(self, key: str, seconds: float) -> str:
        """Return a URL under which anybody can fetch ``key`` for so long; raises StorageUnavailable."""
        if not isinstance(self._store, S3Store | GCSStore | AzureStore):
            raise StorageUnavailable("A folder of pictures cannot hand out URLs.")
        try:
            return await obstore.sign_async(self._store, "GET", _checked(key), timedelta(seconds=seconds))
        except (BaseError, OSError) as error:
            raise StorageUnavailable(f"Cannot sign a URL for {key}: {_first_line(error)}") from error

    async def list(self, prefix: str = "") -> list[StoredPicture]:
        """Return what lies below ``prefix`` (whole path segments), by key; raises StorageUnavailable."""
        return sorted(
            [stored async for page in self.pages(prefix, 1000) for stored in page], key=lambda stored: stored.key
        )

    async def pages(self, prefix: str, size: int) -> AsyncIterator[Sequence[StoredPicture]]:
        """Go through what lies below ``prefix``, in no order, at most ``size`` at once; raises StorageUnavailable."""
        below = _checked(prefix.rstrip("/")) if prefix else None
        try:
            async for page in obstore.list(self._store, below, chunk_size=size):
                yield [StoredPicture(one["path"], one["size"], one["last_modified"].timestamp()) for one in page]
        except (BaseError, OSError) as error:
            raise StorageUnavailable(f"Cannot list {prefix}: {_first_line(error)}") from error

    async def drop_unfinished(self, prefix: str, before: float) -> int:
        """Delete what was begun below ``prefix`` before ``before`` and never finished, by a process that was killed.

        A folder holds it under the picture's name with a number, as ``0.webp#1``, which object_store lists nowhere;
        a bucket shows nothing of it. Returns how many; raises StorageUnavailable.
        """
        if self._folder is None:
            return 0
        try:
            return await asyncio.to_thread(_drop_unfinished, self._folder / _checked(prefix), before)
        except OSError as error:
            raise StorageUnavailable(f"Cannot clean up {prefix}: {_first_line(error)}") from error


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    """Raise an OSError where this takes longer than STUCK_SECONDS."""
    try:
        async with asyncio.timeout(STUCK_SECONDS):
            yield
    except TimeoutError:
        raise TimeoutError(f"nothing came of it in {STUCK_SECONDS:.0f} s") from None


def _drop_unfinished(folder: Path, before: float) -> int:
    dropped = 0
    for below, _, names in os.walk(folder):  # it passes by what others delete meanwhile
        for file in [Path(below, name) for name in names if UNFINISHED.search(name)]:
            with suppress(FileNotFoundError):
                if file.stat().st_mtime < before:
                    file.unlink()
                    dropped += 1
                    with suppress(OSError):  # others lie beside it
                        file.parent.rmdir()
    return dropped


def _checked(key: str) -> str:
    if not KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no key of a picture.")
    return key


def _misses_bucket(error: Exception) -> bool:
    return any(code in str(error) for code in NO_BUCKET)


def _first_line(error: Exception) -> str:
    # The backends append their whole configuration, credentials' names included, below the first line.
    line = str(error).strip().split("\n", 1)[0]
    return f"{line} (an http:// address needs AWS_ALLOW_HTTP=true)" if line.endswith(PLAIN_HTTP) else line
