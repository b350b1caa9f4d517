"""Tell the scenes of the small world apart, with a small network trained on the generator when it is needed."""

from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from torch import Tensor, nn

from flux_core.tiny.drawing import draw
from flux_core.tiny.world import SCENES, ScenePicture, sample_scene, sample_shapes

NO_SCENE = "shapes"
CLASSES = (*SCENES, NO_SCENE)
_SIDE = 24
_EXAMPLES = 4000
_EPOCHS = 10


class SceneClassifier:
    """Name the scene in a picture, or "shapes" for anything else. Training takes about half a minute."""

    def __init__(self, seed: int = 0) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._network = nn.Sequential(
                nn.Conv2d(3, 24, 5, padding=2, stride=2),
                nn.ReLU(),
                nn.Conv2d(24, 48, 3, padding=1, stride=2),
                nn.ReLU(),
                nn.Flatten(),
                nn.Dropout(0.2),
                nn.Linear(48 * (_SIDE // 4) ** 2, len(CLASSES)),
            )
            self._train(Random(f"scenes {seed}"))
        self._network.eval()

    def _train(self, rng: Random) -> None:
        inputs, labels = _examples(rng, _EXAMPLES)
        optimiser = torch.optim.AdamW(self._network.parameters(), lr=2e-3)
        for _ in range(_EPOCHS):
            for chosen in torch.split(torch.randperm(len(labels)), 64):
                optimiser.zero_grad()
                noisy = inputs[chosen] + 0.05 * torch.randn_like(inputs[chosen])
                loss = F.cross_entropy(self._network(noisy), labels[chosen])
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()

    def __call__(self, images: list[Image.Image]) -> list[str]:
        """Name each picture's class."""
        with torch.no_grad():
            scores = self._network(torch.stack([_reduce(image) for image in images]))
        return [CLASSES[index] for index in scores.argmax(1).tolist()]

    def accuracy(self, count: int = 600) -> float:
        """Return the share of fresh generated pictures named right, 0 to 1."""
        inputs, labels = _examples(Random("scenes checked"), count)
        with torch.no_grad():
            right = self._network(inputs).argmax(1) == labels
        return int(right.sum()) / count


def _examples(rng: Random, count: int) -> tuple[Tensor, Tensor]:
    inputs, labels = [], []
    for _ in range(count):
        picture = sample_scene(rng) if rng.random() < 0.85 else sample_shapes(rng)
        image = draw(picture)
        if rng.random() < 0.5:
            image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 3)))
        inputs.append(_reduce(image))
        labels.append(CLASSES.index(picture.scene if isinstance(picture, ScenePicture) else NO_SCENE))
    return torch.stack(inputs), torch.tensor(labels)


def _reduce(image: Image.Image) -> Tensor:
    small = image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return torch.from_numpy(np.asarray(small, np.float32) / 127.5 - 1).permute(2, 0, 1)
