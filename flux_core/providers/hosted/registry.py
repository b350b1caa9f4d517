"""Every vendor that flux-bot knows, in the order in which people read of them."""

from __future__ import annotations

from flux_core.providers.hosted.vendor import Vendor

VENDORS: tuple[type[Vendor], ...] = ()
