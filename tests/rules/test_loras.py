"""What an operator lists as LoRAs, and what a member may type of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flux_core.catalogue import Catalogue
from flux_core.errors import InvalidRequest, LoraNotForModel, NotANumber, OutOfRange, UnknownLora
from flux_core.generation import RequestOptions, resolve
from flux_core.loras import HIGH, LOW, Lora, LoraUse, chosen, listed
from flux_core.offers import Offer, own_offers
from flux_core.settings import Settings
from flux_core.skills import loras_at_hand, skills_of

MODELS = ("flux-dev", "flux-schnell")
LISTED = listed("ink=loras/ink.safetensors, oil = studio/oil:flux-dev", MODELS)
KNOWN = Catalogue(dict.fromkeys(MODELS, "here"), loras=LISTED).known_loras


def test_each_entry_has_a_name_a_place_and_perhaps_a_model() -> None:
    assert {
        "ink": Lora("ink", "loras/ink.safetensors"),
        "oil": Lora("oil", "studio/oil", "flux-dev"),
    } == LISTED
    assert listed(r"win=C:\loras\a.safetensors", MODELS)["win"].source == r"C:\loras\a.safetensors"
    assert listed(r"win=C:\loras\a.safetensors:flux-dev", MODELS)["win"] == Lora(
        "win", r"C:\loras\a.safetensors", "flux-dev"
    )
    assert listed("", MODELS) == {}


@pytest.mark.parametrize("text", ["ink", "=place", "ink=", "two words=place", "a=b,a=c", "a=b:flux-dove"])
def test_what_makes_no_sense_is_said_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"entry [12]") as caught:
        listed(text, MODELS)
    assert "place" not in str(caught.value)


def test_the_setting_reaches_what_members_may_ask_for_and_what_workers_offer() -> None:
    settings = Settings(_env_file=None, loras="ink=ink.safetensors,oil=oil.safetensors:flux-dev", flux_dev_path="dev")  # type: ignore[arg-type]
    offers = own_offers(settings.catalogue)
    assert offers["flux-tiny"].loras == ("ink",)
    assert offers["flux-dev"].loras == ("ink", "oil")
    request = resolve(RequestOptions(prompt="a", model="flux-dev", lora="Oil:0,5"), settings.catalogue)
    assert request.lora == LoraUse(name="oil", weight=0.5)
    assert offers["flux-dev"].objection(request, links=False) is None
    assert offers["flux-tiny"].objection(request, links=False) == "not this LoRA"
    assert own_offers(Catalogue({"flux-dev": "dev"}))["flux-dev"].objection(request, links=False) == "no LoRAs"
    assert skills_of(offers) == ["flux-dev", "flux-tiny", "flux-dev ink", "flux-dev oil", "flux-tiny ink"]
    with pytest.raises(ValidationError, match="entry 1"):
        Settings(_env_file=None, loras="nonsense")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("typed", "weight"), [("ink", 1.0), (" INK : 0.8 ", 0.8), ("ink:0", 0.0), ("ink:1,5", 1.5), ("ink:.25", 0.25)]
)
def test_a_weight_may_follow_the_name(typed: str, weight: float) -> None:
    assert chosen(typed, KNOWN, "flux-schnell") == LoraUse(name="ink", weight=weight)


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        ("pen", UnknownLora),
        ("oil", LoraNotForModel),
        ("ink:1.51", OutOfRange),
        ("ink:−0.1", OutOfRange),
        ("ink:", NotANumber),
        ("ink:nan", NotANumber),
        ("ink:1:2", NotANumber),
    ],
)
def test_what_cannot_be_had_is_refused(typed: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        chosen(typed, KNOWN, "flux-schnell")


@given(st.text(max_size=30))
def test_whatever_is_typed_is_a_weight_within_bounds_or_a_refusal(typed: str) -> None:
    try:
        use = chosen(f"ink:{typed}", KNOWN, "flux-dev")
    except InvalidRequest:
        return
    assert use is not None
    assert LOW <= use.weight <= HIGH


def test_what_living_workers_have_counts_and_the_list_where_none_lives() -> None:
    def offers(**models: tuple[str, ...]) -> dict[str, Offer]:
        return {f"flux-{model}": Offer(theirs="x", loras=loras) for model, loras in models.items()}

    assert KNOWN == {"ink": ["flux-schnell", "flux-dev"], "oil": ["flux-dev"]}
    assert loras_at_hand(KNOWN, []) == {"ink": {"flux-schnell", "flux-dev"}, "oil": {"flux-dev"}}
    assert loras_at_hand(KNOWN, [offers(dev=())]) == {"ink": {"flux-schnell"}}
    crew = [offers(dev=("ink",), schnell=()), offers(schnell=("pen",))]
    assert loras_at_hand(KNOWN, crew) == {"ink": {"flux-dev"}, "pen": {"flux-schnell"}}
