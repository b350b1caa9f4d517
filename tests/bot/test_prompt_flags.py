"""Flags inside a prompt."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.words.prompt_flags import EXAMPLES, FLAGS, OPTION_NAMES, combine, parse
from bot.words.wording import sentence
from flux_core.errors import InvalidRequest, NotANumber, UnknownFlag
from flux_core.generation import RequestOptions

READ: list[tuple[str, str, dict[str, Any]]] = [
    ("a fox", "a fox", {}),
    ("", "", {}),
    ("a fox --ar 16:9 --seed 7", "a fox", {"aspect": "16:9", "seed": 7}),
    (
        "a fox --steps 20 --n 2 --guidance 3 --strength 0.6 --model flux-dev --size 1024x768 --format png",
        "a fox",
        {
            "steps": 20,
            "count": 2,
            "guidance": 3.0,
            "strength": 0.6,
            "model": "flux-dev",
            "size": "1024x768",
            "output_format": "png",
        },
    ),
    # What phones make of two dashes, of quotes, of a minus and of a colon.
    ("a fox —ar 16:9", "a fox", {"aspect": "16:9"}),
    ("a fox –ar 16:9 —n 2", "a fox", {"aspect": "16:9", "count": 2}),
    ("a fox --model “flux-dev”", "a fox", {"model": "flux-dev"}),
    ("a fox --model ‘Flux-Dev’ at night", "a fox at night", {"model": "flux-dev"}),
    ("a fox --model „flux-dev“", "a fox", {"model": "flux-dev"}),
    ('a fox --size "1024 x 768"', "a fox", {"size": "1024 x 768"}),
    ("a fox --seed −3", "a fox", {"seed": -3}),
    ("a fox --ar 16∶9", "a fox", {"aspect": "16:9"}),
    ("a fox --ar 16x9", "a fox", {"aspect": "16:9"}),
    ("a fox --strength 0,6", "a fox", {"strength": 0.6}),
    # Other ways to write the same.
    ("--ar 1:1 a fox", "a fox", {"aspect": "1:1"}),
    ("a fox --seed 7 in the rain", "a fox in the rain", {"seed": 7}),
    ("a fox --seed=7 --AR=2:3", "a fox", {"seed": 7, "aspect": "2:3"}),
    ("a fox --ar 2:3, --seed 7.", "a fox", {"aspect": "2:3", "seed": 7}),
    ("a fox\n--seed 7", "a fox", {"seed": 7}),
    ("a fox --aspect 3:2 --count 1", "a fox", {"aspect": "3:2", "count": 1}),
    ("a fox --seed 7 --seed 7", "a fox", {"seed": 7}),
    ("a fox --size 1024x768 --size 1024×768", "a fox", {"size": "1024×768"}),
    # Dashes that belong to the picture.
    ("black--and--white", "black--and--white", {}),
    ("- - -", "- - -", {}),
    ("--", "--", {}),
    ("a fox -- and a hare", "a fox -- and a hare", {}),
    ("a fox --- hare", "a fox --- hare", {}),
    ("a fox ---ar 1:1", "a fox ---ar 1:1", {}),
    ("well-known x-ray, 1970--1980 --5", "well-known x-ray, 1970--1980 --5", {}),
    ("a forest —misty and still", "a forest —misty and still", {}),
    ("a forest — misty", "a forest — misty", {}),
    ("two  spaces\nand a line", "two  spaces\nand a line", {}),
]


@pytest.mark.parametrize(("text", "prompt", "said"), READ, ids=[text for text, _, _ in READ])
def test_flags_are_read(text: str, prompt: str, said: dict[str, Any]) -> None:
    assert parse(text) == RequestOptions(prompt=prompt, **said)


@pytest.mark.parametrize(
    ("text", "value", "suggestion"),
    [
        ("a --style raw", "style", ""),
        ("a --sed 4", "sed", "Did you mean `--seed`?"),
        ("a —strenght 3", "strenght", "Did you mean `--strength`?"),
        ("a --stesp 3", "stesp", "Did you mean `--steps`?"),
    ],
)
def test_an_unknown_flag_is_named_with_the_nearest_one(text: str, value: str, suggestion: str) -> None:
    with pytest.raises(UnknownFlag) as caught:
        parse(text)
    assert caught.value.facts["value"] == value
    assert f"`--{value}`" in sentence(caught.value)
    assert suggestion in sentence(caught.value)


@pytest.mark.parametrize(
    "text", ["a --seed", "a --seed ", "a --ar --seed 4", "a --ar —seed 4", "a --seed= 4", 'a --model ""']
)
def test_a_missing_value_is_named(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(text)
    assert caught.value.facts["reason"] == "missing_value"
    assert f"`{caught.value.facts['flag']}` needs a value" in sentence(caught.value)


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("a --seed seven", "--seed"),
        ("a --steps 4.5", "--steps"),
        ("a --n 1e3", "--n"),
        ("a --guidance nan", "--guidance"),
        ("a --guidance inf", "--guidance"),
        ("a --strength 0.5.5", "--strength"),
        ("a --strength .x", "--strength"),
        ("a --seed " + "9" * 5000, "--seed"),
        ("a --seed ٣", "--seed"),
    ],
)
def test_a_bad_number_names_its_flag(text: str, flag: str) -> None:
    with pytest.raises(NotANumber) as caught:
        parse(text)
    assert caught.value.facts["field"] == flag
    assert f"`{flag}` needs a" in sentence(caught.value)
    assert len(sentence(caught.value)) < 300


def test_a_flag_given_twice_with_two_values_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse("a --ar 1:1 --aspect 2:3")
    assert "is there twice" in sentence(caught.value)


def test_options_and_flags_are_joined() -> None:
    flags = parse("a fox --seed 7 --ar 16:9")
    assert combine(flags, RequestOptions(prompt="ignored", steps=4)) == RequestOptions(
        prompt="a fox", seed=7, aspect="16:9", steps=4
    )


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("a --seed 7", {"seed": 7}),
        ("a --size 1024X768", {"size": "1024×768"}),
        ("a --model FLUX-dev", {"model": "flux-dev"}),
        ("a --guidance 3", {"guidance": 3.0}),
    ],
)
def test_an_option_and_a_flag_may_say_the_same(text: str, given: dict[str, Any]) -> None:
    ((field, value),) = given.items()
    assert getattr(combine(parse(text), RequestOptions(prompt="", **given)), field) == value


@pytest.mark.parametrize(
    ("text", "given", "option"),
    [
        ("a --seed 7", {"seed": 8}, "seed"),
        ("a --ar 1:1", {"aspect": "2:3"}, "aspect"),
        ("a --format png", {"output_format": "webp"}, "format"),
        ("a --n 1", {"count": 2}, "count"),
    ],
)
def test_an_option_and_a_flag_that_disagree_are_refused(text: str, given: dict[str, Any], option: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        combine(parse(text), RequestOptions(prompt="", **given))
    assert f"The option `{option}` says" in sentence(caught.value)


def test_every_flag_leads_to_an_option() -> None:
    fields = set(RequestOptions.model_fields) - {"prompt"}
    assert set(FLAGS.values()) == set(EXAMPLES) == set(OPTION_NAMES) == fields


@pytest.mark.parametrize("flag", FLAGS)
def test_every_example_is_read(flag: str) -> None:
    assert getattr(parse(f"a --{flag} {EXAMPLES[FLAGS[flag]]}"), FLAGS[flag]) is not None


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        said = parse(text).prompt
    except InvalidRequest as error:
        said = sentence(error)[:0]
    assert len(said) <= len(text)


@given(st.text(alphabet=st.characters(exclude_characters="-–—"), max_size=200))
def test_text_without_dashes_stays_as_it_is(text: str) -> None:
    assert parse(text) == RequestOptions(prompt=text)


@given(
    st.lists(st.text("abcdefgh,.", min_size=1, max_size=8), min_size=1, max_size=6),
    st.fixed_dictionaries(
        {},
        optional={
            "seed": st.integers(0, 2**32 - 1),
            "steps": st.integers(1, 50),
            "n": st.integers(1, 4),
            "guidance": st.floats(1, 10).map(lambda value: round(value, 3)),
            "ar": st.sampled_from(["1:1", "16:9", "21:9"]),
        },
    ),
    st.sampled_from(["--", "—", "–"]),
    st.randoms(use_true_random=False),
)
def test_flags_stand_anywhere_between_words(words: list[str], flags: dict[str, Any], dash: str, random: Any) -> None:
    pieces = [f"{dash}{name} {value}" for name, value in flags.items()]
    mixed = list(words)
    for piece in pieces:
        mixed.insert(random.randint(0, len(mixed)), piece)
    options = parse(" ".join(mixed))
    assert options.prompt.split() == words
    assert {name: getattr(options, FLAGS[name]) for name in flags} == flags
