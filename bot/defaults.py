"""Which options hold where a member names none: their own settings, then the channel's, then the studio's. Pure.

A default never gets in the way: one that does not fit what was asked for, such as the steps of another model, is left
aside. What a member typed is never touched; where it cannot be done, they are told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import floor, sqrt
from typing import Any

from flux_core.catalogue import Catalogue
from flux_core.errors import OperationUnavailable
from flux_core.generation import InputPicture, OutputFormat, RequestOptions
from flux_core.models import ASPECTS, MEGAPIXEL, MIN_SIDE, MULTIPLE, Mode, ModelSpec
from flux_core.policy.guild import Defaults
from flux_core.policy.permitted import Permitted
from flux_core.preferences import Preferences


class Source(StrEnum):
    """Who has said what holds."""

    TYPED = "typed"
    OWN = "own"
    CHANNEL = "channel"
    STUDIO = "studio"


@dataclass(frozen=True, slots=True)
class Settled:
    """Options with every default taken in, and where each came from."""

    options: RequestOptions
    private: bool
    spoiler: bool
    sources: Mapping[str, Source]
    """Option, named as in RequestOptions, or private or spoiler → who has said it."""


def settle(
    typed: RequestOptions,
    own: Preferences,
    channel: Defaults,
    catalogue: Catalogue,
    permitted: Permitted,
    *,
    picture: InputPicture | None = None,
    mask: bool = False,
    private: bool | None = None,
    spoiler: bool | None = None,
) -> Settled:
    """Fill in what ``typed`` leaves open; ``picture``: the one that the drawing starts from, perhaps with a ``mask``.

    ``private`` and ``spoiler`` are as typed, None where they were not.
    """
    found: dict[str, tuple[Any, Source]] = {}

    def does(spec: ModelSpec) -> bool:
        try:
            spec.operation(picture=picture is not None, mask=mask)
        except OperationUnavailable:
            return False
        return True

    spec = _model(typed, own, channel, catalogue, permitted, does, found)
    if typed.aspect is None and typed.size is None and picture is None:
        # A picture to start from brings its own shape.
        _first(found, "aspect", [(own.aspect, Source.OWN), (channel.aspect, Source.CHANNEL)], ASPECTS)
    if typed.size is None and spec is not None:
        _size(typed, picture, spec, permitted, found)
    if typed.count is None and spec is not None:
        _count(own, channel, spec, permitted, found)
    if typed.steps is None and channel.steps is not None and spec is not None:
        meant = channel.model is None or channel.model == spec.id
        if meant and channel.steps in spec.steps and spec.steps.low < spec.steps.high:
            found["steps"] = channel.steps, Source.CHANNEL
    if typed.output_format is None:
        wanted = [(own.output_format, Source.OWN), (channel.output_format, Source.CHANNEL)]
        _first(found, "output_format", wanted, [one.value for one in OutputFormat])
    if typed.mode is None:
        _first(found, "mode", [(own.mode, Source.OWN)], [one.value for one in Mode])
    hidden = _said(private, (own.private, Source.OWN), (channel.private, Source.CHANNEL))
    veiled = _said(spoiler, (None, Source.OWN), (channel.spoiler, Source.CHANNEL))
    sources = {name: Source.TYPED for name, value in typed if value is not None} | {
        name: source for name, (_, source) in found.items()
    }
    return Settled(
        options=typed.model_copy(update={name: value for name, (value, _) in found.items()}),
        private=hidden[0],
        spoiler=veiled[0],
        sources=sources | {"private": hidden[1], "spoiler": veiled[1]},
    )


def _model(
    typed: RequestOptions,
    own: Preferences,
    channel: Defaults,
    catalogue: Catalogue,
    permitted: Permitted,
    does: Callable[[ModelSpec], bool],
    found: dict[str, tuple[Any, Source]],
) -> ModelSpec | None:
    """Settle who draws; None for a model that was typed and that nobody here knows."""

    def fits(id: str) -> bool:
        return id in catalogue and permitted.allows(id) and does(catalogue[id])

    if typed.model is not None:
        return next((spec for spec in catalogue if spec.id == typed.model), None)
    _first(
        found,
        "model",
        [(own.model, Source.OWN), (channel.model, Source.CHANNEL)],
        [spec.id for spec in catalogue if fits(spec.id)],
    )
    if "model" not in found and not fits(catalogue.default.id):
        # The studio's own default is not for everybody or everything here: the first that is stands in for it.
        for spec in catalogue:
            if fits(spec.id):
                found["model"] = spec.id, Source.STUDIO
                break
    return catalogue[found["model"][0]] if "model" in found else catalogue.default


def _size(
    typed: RequestOptions,
    picture: InputPicture | None,
    spec: ModelSpec,
    permitted: Permitted,
    found: dict[str, tuple[Any, Source]],
) -> None:
    """Settle for a smaller size of the same shape where the model's own is more than the member may have."""
    aspect = typed.aspect or found.get("aspect", ("1:1",))[0]
    if permitted.max_megapixels is None or spec.native_short_side is not None or aspect not in ASPECTS:
        return
    by_picture = picture is not None and typed.aspect is None
    ratio = picture.width / picture.height if picture is not None and by_picture else ASPECTS[aspect]
    width, height = spec.size_for_ratio(ratio)
    if width * height <= permitted.max_megapixels * MEGAPIXEL:
        return
    ratio, area = width / height, permitted.max_megapixels * MEGAPIXEL
    width, height = (floor(side / MULTIPLE) * MULTIPLE for side in (sqrt(area * ratio), sqrt(area / ratio)))
    if min(width, height) >= MIN_SIDE:
        # The size says the shape now; rounded, it may be a little off the aspect.
        source = found["aspect"][1] if "aspect" in found else Source.STUDIO
        found["size"], found["aspect"] = (f"{width}x{height}", Source.STUDIO), (None, source)


def _count(
    own: Preferences, channel: Defaults, spec: ModelSpec, permitted: Permitted, found: dict[str, tuple[Any, Source]]
) -> None:
    most = int(spec.count.high) if permitted.max_count is None else min(int(spec.count.high), permitted.max_count)
    _first(found, "count", [(own.count, Source.OWN), (channel.count, Source.CHANNEL)], range(1, most + 1))
    if "count" not in found and spec.count.default > most:
        found["count"] = most, Source.STUDIO


def _first(found: dict[str, tuple[Any, Source]], name: str, wanted: list[tuple[Any, Source]], possible: Any) -> None:
    for value, source in wanted:
        if value is not None and value in possible:
            found[name] = value, source
            return


def _said(typed: bool | None, *wanted: tuple[bool | None, Source]) -> tuple[bool, Source]:
    def said() -> Iterator[tuple[bool, Source]]:
        for value, source in ((typed, Source.TYPED), *wanted):
            if value is not None:
                yield value, source

    return next(said(), (False, Source.STUDIO))
