"""Keep a vendor's key out of everything we say: vendors and libraries like to repeat what they were sent."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote

from flux_core.providers.hosted.vendor import Vendor

MASK = "***"
SHORTEST, LEAST_VARIED = 6, 4
"""Characters, and different ones. A lesser key ("none", "0000000000") protects nothing, and would black out parts of
words and numbers."""
_TELLING = ("auth", "key", "token", "secret", "password", "cookie")


class Veil:
    """Replaces one vendor's secrets: its key, and whatever its headers make of it."""

    def __init__(self, vendor: Vendor) -> None:
        secrets = {vendor.access.key or ""}
        secrets.update(value for name, value in vendor.access.extra.items() if _tells(name))
        for name, value in vendor.headers().items():
            if _tells(name):
                secrets.update(value.split())
        plain = {secret for secret in secrets if _is_one(secret)}
        forms = plain | {quote(secret, safe="") for secret in plain} | {b64encode(s.encode()).decode() for s in plain}
        self._texts = sorted(forms, key=len, reverse=True)
        self._bytes = [text.encode() for text in self._texts]

    def text(self, text: str) -> str:
        """Return ``text`` with every secret replaced."""
        for secret in self._texts:
            text = text.replace(secret, MASK)
        return text

    def body(self, body: bytes) -> bytes:
        """Return an answer's body with every secret replaced; it is a string in there, so JSON stays JSON."""
        for secret in self._bytes:
            if secret in body:
                body = body.replace(secret, MASK.encode())
        return body


def _tells(name: str) -> bool:
    return any(part in name.lower() for part in _TELLING)


def _is_one(text: str) -> bool:
    return len(text) >= SHORTEST and len(set(text)) >= LEAST_VARIED and text not in ("Bearer", "Basic", "Digest")
