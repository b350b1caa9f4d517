"""Where the files of LoRAs are: found once, fetched from the hub where that is their place."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from flux_core.downloads import LORA, advice, fetch, place_on_hub
from flux_core.errors import LoraUnusable
from flux_core.loras import Lora


class LoraFiles:
    """The LoRAs of one worker. May be asked from any thread."""

    def __init__(self, listed: Mapping[str, Lora], hub_token: str | None = None) -> None:
        """Know those that the operator has ``listed``; ``hub_token`` opens gated repositories."""
        self._listed = listed
        self._hub_token = hub_token
        self._files: dict[Lora, Path] = {}
        self._fetching = {lora: threading.Lock() for lora in listed.values()}

    def named(self, name: str, model: str) -> Lora:
        """Return the LoRA of that name; raises LoraUnusable where it is not listed here."""
        if (lora := self._listed.get(name)) is None:
            raise LoraUnusable(f"{name} is not in this worker's LORAS.", lora=name, model=model)
        return lora

    def has(self, name: str) -> bool:
        """Say whether the file of a LoRA was found before, and is still there."""
        file = None if (lora := self._listed.get(name)) is None else self._files.get(lora)
        return file is not None and file.is_file()

    def find(self, lora: Lora) -> Path:
        """Return the file of ``lora``: nobody waits for the hub each time one takes the place of another.

        Raises as ``file_of`` does. Who asks while another thread fetches the same one waits for that.
        """
        with self._fetching[lora]:
            if (known := self._files.get(lora)) is None or not known.is_file():
                known = self._files[lora] = file_of(lora, self._hub_token)
            return known


def file_of(lora: Lora, hub_token: str | None = None) -> Path:
    """Return the .safetensors file of ``lora``, fetched where it is on the hub.

    On the hub that is one file of a repository where the source names it. Raises LoraUnusable where there is not
    exactly one.
    """
    place = Path(lora.source).expanduser()
    if place.is_file():
        return place
    if not place.exists() and (on_hub := place_on_hub(lora.source)) is not None:
        repository, file = on_hub
        try:
            place = fetch(repository, token=hub_token, parts=LORA if file is None else (file,))
        except Exception as error:
            # The hub's client has errors of its own for each of its troubles.
            raise LoraUnusable(advice(error, lora.name, repository, "LORAS"), lora=lora.name) from error
        if file is not None:
            place /= file
            if not place.is_file():  # the hub is away, and another file of it was fetched before
                raise LoraUnusable(
                    f"{lora.name}: {lora.source} was not downloaded yet; check the network.", lora=lora.name
                )
            return place
    if not place.is_dir():
        raise LoraUnusable(f"{lora.name}: there is no {lora.source}; check LORAS.", lora=lora.name)
    files = sorted(place.glob("*.safetensors"))
    if len(files) != 1:
        raise LoraUnusable(
            f"{lora.name}: {lora.source} holds {len(files)} .safetensors files where one is needed; name the file "
            f"itself in LORAS, as in {lora.source}/file.safetensors.",
            lora=lora.name,
        )
    return files[0]
