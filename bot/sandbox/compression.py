"""Transport compression of the gateway: one stream per connection, flushed after every message."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable

Compress = Callable[[bytes], bytes]


def compressor_for(name: str | None) -> Compress | None:
    """Return the compressor that a client asked for in its URL, or None for plain text.

    Raises ValueError with a sentence for a name that is not known here.
    """
    match name:
        case None:
            return None
        case "zlib-stream":
            return _zlib_stream()
        case "zstd-stream":
            return _zstd_stream()
        case _:
            raise ValueError(f"There is no transport compression called {name!r}.")


def _zlib_stream() -> Compress:
    stream = zlib.compressobj(level=1)

    def compress(data: bytes) -> bytes:
        return stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)

    return compress


def _zstd_stream() -> Compress:
    """Make a zstd stream. discord.py asks for one where Python 3.14 or the zstandard package is present."""
    try:
        zstd = importlib.import_module("compression.zstd")
    except ImportError:
        try:
            zstd = importlib.import_module("zstandard")
        except ImportError:
            raise ValueError("zstd-stream needs Python 3.14 or the zstandard package.") from None
        stream = zstd.ZstdCompressor().compressobj()
        return lambda data: stream.compress(data) + stream.flush(zstd.COMPRESSOBJ_FLUSH_BLOCK)
    stream = zstd.ZstdCompressor()
    return lambda data: stream.compress(data, mode=zstd.ZstdCompressor.FLUSH_BLOCK)
