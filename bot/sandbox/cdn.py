"""The CDN: attachments, uploads and the default avatars."""

from __future__ import annotations

import functools
import io

from aiohttp import web
from PIL import Image, ImageDraw

from .files import content_type
from .world import World

_COLOURS = ("#5865f2", "#747f8d", "#3ba55d", "#faa61a", "#ed4245", "#eb459e")
"""Those of Discord's six default avatars."""
_TYPES_SHOWN = ("image/", "video/", "audio/", "text/plain")


@functools.cache
def default_avatar(index: int) -> bytes:
    """Draw a default avatar, a PNG of 128×128 pixels."""
    size = 128
    image = Image.new("RGB", (size, size), _COLOURS[index])
    draw = ImageDraw.Draw(image)
    draw.ellipse((44, 26, 84, 66), fill="white")
    draw.pieslice((24, 72, 104, 152), 180, 360, fill="white")
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def add_routes(app: web.Application, world: World) -> None:
    """Serve what messages and interactions link to."""

    async def attachment(request: web.Request) -> web.Response:
        file = world.files.get(request.match_info["attachment_id"])
        if file is None or file.filename != request.match_info["filename"]:
            return web.Response(status=404, text="This content is no longer available.")
        kind = content_type(file.filename)
        # Files come from anybody: the browser must neither guess a type nor run what is in them.
        headers = {"Cache-Control": "private, max-age=86400, immutable"}
        headers |= {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}
        if not kind.startswith(_TYPES_SHOWN) or kind.startswith("image/svg"):
            headers["Content-Disposition"] = "attachment"
        return web.Response(body=file.data, content_type=kind, headers=headers)

    async def avatar(request: web.Request) -> web.Response:
        return web.Response(body=default_avatar(int(request.match_info["index"]) % 6), content_type="image/png")

    for folder in ("attachments", "ephemeral-attachments"):
        app.router.add_get(f"/{folder}/{{channel_id}}/{{attachment_id}}/{{filename}}", attachment)
    app.router.add_get(r"/embed/avatars/{index:\d+}.png", avatar)
