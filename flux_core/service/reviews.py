"""What moderators are asked to look at: jobs that wait for approval, and reported results."""

from __future__ import annotations

from flux_core.database.engine import Database
from flux_core.service.store import PictureStore


class Reviews:
    """What moderators are asked to look at: jobs that wait for approval, and reported results."""

    def __init__(self, db: Database, pictures: PictureStore) -> None:
        self._db = db
        self._pictures = pictures
