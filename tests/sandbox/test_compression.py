"""The gateway's transport compression, taken apart as a client does."""

from __future__ import annotations

import zlib

import pytest

from bot.sandbox.compression import compressor_for


def test_plain_text() -> None:
    assert compressor_for(None) is None


def test_zlib_messages_share_one_stream() -> None:
    compress = compressor_for("zlib-stream")
    assert compress is not None
    inflate = zlib.decompressobj()
    messages = [b'{"op": 10}', b'{"op": 11}' * 100, b""]
    assert [inflate.decompress(compress(message)) for message in messages] == messages


def test_zstd_messages_share_one_stream() -> None:
    zstandard = pytest.importorskip("zstandard", reason="zstd-stream is spoken where the zstandard package is.")
    compress = compressor_for("zstd-stream")
    assert compress is not None
    inflate = zstandard.ZstdDecompressor().decompressobj()
    messages = [b'{"op": 10}', b'{"op": 11}' * 100]
    assert [inflate.decompress(compress(message)) for message in messages] == messages


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="no transport compression called 'lz4'"):
        compressor_for("lz4")
