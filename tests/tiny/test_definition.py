"""What the bot may read about flux-tiny without torch, and what git has to carry."""

import subprocess
import sys

from flux_core.tiny import definition


def test_the_definition_needs_no_torch() -> None:
    code = "import sys, flux_core.tiny.definition, flux_core.tiny.enlarge; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_native_sizes_keep_their_aspect_on_a_short_side_of_128() -> None:
    for aspect, (width, height) in definition.NATIVE_SIZES.items():
        across, down = map(int, aspect.split(":"))
        assert min(width, height) == 128
        assert width % definition.SIZE_MULTIPLE == 0
        assert height % definition.SIZE_MULTIPLE == 0
        assert abs(width / height / (across / down) - 1) < 0.1, aspect
    assert set(definition.TRAINED_ASPECTS) <= set(definition.NATIVE_SIZES)
    assert min(definition.NATIVE_SIZES["1:1"]) * definition.ENLARGE >= 512


def test_the_description_fits_a_discord_option() -> None:
    assert 20 < len(definition.DESCRIPTION) <= 100


def test_the_weights_fit_into_16_megabytes() -> None:
    files = [file for file in definition.WEIGHTS.rglob("*") if file.is_file()]
    assert (definition.WEIGHTS / "model_index.json") in files
    assert sum(file.stat().st_size for file in files) <= 16_000_000
