"""The mark of AI-made media, read the way strangers read it: out of the container, as RDF."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest
from PIL import Image

from flux_core.generation import OutputFormat
from flux_core.images.encoding import encode, fit, read_provenance, read_source
from flux_core.images.provenance import DigitalSource, Provenance, parameters_of
from tests.images.picture_files import halves, saved

FORMATS = list(OutputFormat)
WORDS = "a secret garden"
DESCRIPTION = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"
SOURCE_TYPE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
CODES = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def made(source: DigitalSource = DigitalSource.TRAINED, prompt: str | None = WORDS) -> Provenance:
    return Provenance(
        prompt=prompt, model="flux-tiny", seed=7, steps=8, width=64, height=32, job_id="0af3", source=source
    )


def noisy() -> Image.Image:
    return Image.effect_noise((256, 256), 90).convert("RGB")


def packets(data: bytes) -> Iterator[bytes]:
    """Yield the XMP packets of a file, found where the XMP specification (part 3) puts them for its container."""
    if data.startswith(b"\x89PNG"):
        at = 8
        while at < len(data):
            length, kind = struct.unpack_from(">I4s", data, at)
            body = data[at + 8 : at + 8 + length]
            # Keyword, no compression, no language, no translated keyword.
            if kind == b"iTXt" and body.startswith(b"XML:com.adobe.xmp\0\0\0\0\0"):
                yield body[22:]
            at += 12 + length
    elif data.startswith(b"RIFF"):
        at = 12
        while at < len(data):
            kind, length = struct.unpack_from("<4sI", data, at)
            if kind == b"XMP ":
                assert data[12:16] == b"VP8X", "only an extended file may have it"
                assert data[20] & 0b100, "and announces it in its header (RFC 9649, 2.7.1)"
                yield data[at + 8 : at + 8 + length]
            at += 8 + length + length % 2
    else:
        at = 2
        while data[at + 1] != 0xDA:
            marker, length = struct.unpack_from(">HH", data, at)
            body = data[at + 4 : at + 2 + length]
            if marker == 0xFFE1 and body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
                yield body[29:]
            at += 2 + length


def source_type(data: bytes) -> str | None:
    """Return the digital source type that a picture file states in its one XMP packet."""
    (packet,) = packets(data)
    (described,) = ElementTree.fromstring(packet).iter(DESCRIPTION)
    return described.get(SOURCE_TYPE)


@pytest.mark.parametrize(
    ("source", "code"),
    [
        (DigitalSource.TRAINED, "trainedAlgorithmicMedia"),
        (DigitalSource.COMPOSITE, "compositeWithTrainedAlgorithmicMedia"),
    ],
)
@pytest.mark.parametrize("fmt", FORMATS)
def test_each_file_is_marked_as_made_by_a_model(fmt: OutputFormat, source: DigitalSource, code: str) -> None:
    data = encode(halves(), fmt, made(source)).data
    assert source_type(data) == CODES + code
    assert read_source(data) is source
    assert read_provenance(data) == parameters_of(made(source))


@pytest.mark.parametrize("source", DigitalSource)
@pytest.mark.parametrize("fmt", FORMATS)
def test_making_a_file_fit_keeps_its_mark(fmt: OutputFormat, source: DigitalSource) -> None:
    encoded = encode(noisy(), fmt, made(source))
    for share in (0.9, 0.1):
        fitted = fit(encoded.data, max(3_000, int(len(encoded.data) * share))).data
        assert fitted != encoded.data
        assert source_type(fitted) == source.value
        assert read_provenance(fitted) == parameters_of(made(source))


@pytest.mark.parametrize("fmt", FORMATS)
def test_somebody_elses_file_gets_no_mark(fmt: OutputFormat) -> None:
    data = saved(noisy(), fmt.value.upper())
    assert read_source(data) is None
    fitted = fit(data, 6_000).data
    assert list(packets(fitted)) == []


@pytest.mark.parametrize("fmt", FORMATS)
def test_the_mark_costs_little(fmt: OutputFormat) -> None:
    (packet,) = packets(encode(halves(), fmt, made(DigitalSource.COMPOSITE)).data)
    assert len(packet) <= 520


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_file_can_keep_its_prompt_to_itself(fmt: OutputFormat) -> None:
    silent = made(prompt=None)
    for data in (encoded := encode(noisy(), fmt, silent).data, fit(encoded, len(encoded) // 2).data):
        for encoding in ("utf-8", "utf-16-be", "utf-16-le"):
            assert WORDS.encode(encoding) not in data
        text = read_provenance(data)
        assert text is not None
        assert re.fullmatch(r"Steps: 8, .*Seed: 7, Size: 64x32, Model: flux-tiny, .*Job: 0af3", text)
        assert source_type(data) == CODES + "trainedAlgorithmicMedia"
