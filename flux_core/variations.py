"""Requests that come from a finished job: the same words drawn anew, or one of its pictures varied. Pure."""

from __future__ import annotations

from collections.abc import Callable

from flux_core.catalogue import Catalogue
from flux_core.errors import JobUnreadable, PictureGone
from flux_core.generation import GenerationRequest, InputPicture, random_seed
from flux_core.jobs import Job, Picture


def reroll_request(job: Job, *, draw_seed: Callable[[], int] = random_seed) -> GenerationRequest:
    """Return the request of ``job`` with a new seed; raises JobUnreadable."""
    _allow(job)
    return job.request.model_copy(update={"seed": draw_seed()})


def variation_request(
    job: Job, picture: Picture, catalogue: Catalogue, *, draw_seed: Callable[[], int] = random_seed
) -> GenerationRequest:
    """Return a request that draws as many pictures as ``job`` had, starting from one of them, with a new seed.

    Where nobody's version of the model starts from pictures, it draws the same words with a new seed instead, from no
    picture. Where the job had a mask, it goes on to hold.
    Raises PictureGone, JobUnreadable, or UnknownModel when the model is no longer offered.
    """
    _allow(job)
    if picture.key is None:
        raise PictureGone(job=job.id)
    spec = catalogue[job.request.model]
    if not spec.starts_from_pictures:
        return job.request.model_copy(update={"seed": draw_seed(), "input_picture": None, "strength": None})
    return job.request.model_copy(
        update={
            "seed": draw_seed(),
            "input_picture": InputPicture(key=picture.key, width=picture.width, height=picture.height),
            "strength": None if spec.strength is None else spec.strength.default,
        }
    )


def _allow(job: Job) -> None:
    if job.unreadable:
        raise JobUnreadable(job=job.id)
