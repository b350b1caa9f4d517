"""Small pictures for tests."""

from __future__ import annotations

import io

from PIL import Image


def picture(colour: str = "red", size: tuple[int, int] = (32, 24), kind: str = "PNG") -> bytes:
    """Draw a plain picture."""
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, kind)
    return stream.getvalue()
