"""The studio: the one door through which the bot and the shell submit, follow, cancel, deliver and govern jobs."""

from flux_core.database.bans import Ban
from flux_core.database.outbox import LiveJob
from flux_core.database.own_data import Forgotten
from flux_core.database.places import Place
from flux_core.database.submissions import Quota, Submission
from flux_core.database.workers import WorkerInfo
from flux_core.service.store import PictureStore
from flux_core.service.studio import Studio

__all__ = ["Ban", "Forgotten", "LiveJob", "PictureStore", "Place", "Quota", "Studio", "Submission", "WorkerInfo"]
