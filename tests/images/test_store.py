"""The picture store, as a folder, in memory and as a bucket: the same promises."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from flux_core.errors import ConfigurationError, PictureGone, StorageUnavailable
from flux_core.images.store import PictureStore


@pytest.fixture(params=["folder", "memory", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> PictureStore:
    match request.param:
        case "bucket":
            return PictureStore(f"{request.getfixturevalue('bucket')}/below")
        case "memory":
            return PictureStore("memory:///")
    return PictureStore(str(tmp_path / "deep" / "pictures"))


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


async def test_what_was_put_is_read_again(store: PictureStore) -> None:
    await store.put("pictures/a/0.webp", b"first", "image/webp")
    await store.put("pictures/a/0.webp", b"second", "image/webp")
    assert await store.get("pictures/a/0.webp") == b"second"


async def test_a_large_picture_comes_back_whole(store: PictureStore) -> None:
    data = bytes(range(256)) * 40_000
    await store.put("inputs/x.png", data, "image/png")
    assert await store.get("inputs/x.png") == data


async def test_a_deleted_picture_is_gone_and_deleting_it_again_is_no_error(store: PictureStore) -> None:
    await store.put("pictures/a/0.webp", b"x", "image/webp")
    await store.put("pictures/a/1.webp", b"y", "image/webp")
    await store.delete(["pictures/a/0.webp", "pictures/never/there.webp"])
    await store.delete(["pictures/a/0.webp"])
    with pytest.raises(PictureGone):
        await store.get("pictures/a/0.webp")
    assert await store.get("pictures/a/1.webp") == b"y"


async def test_a_prefix_lists_whole_segments(store: PictureStore) -> None:
    for key in ("previews/ab/1.webp", "previews/ab/2.webp", "previews/a/1.webp", "pictures/ab/0.png"):
        await store.put(key, b"12345", "image/webp")
    found = await store.list("previews/a")
    assert [(stored.key, stored.size) for stored in found] == [("previews/a/1.webp", 5)]
    assert [stored.key for stored in await store.list("previews/")] == [
        "previews/a/1.webp",
        "previews/ab/1.webp",
        "previews/ab/2.webp",
    ]
    assert len(await store.list()) == 4
    assert await store.list("nothing/here") == []


async def test_times_are_unix_seconds(store: PictureStore) -> None:
    before = time.time()
    await store.put("inputs/x.png", b"x", "image/png")
    (stored,) = await store.list("inputs")
    assert before - 2 <= stored.modified_at <= time.time() + 2


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/.hidden", "a b", "a\\b", "a/"])
async def test_a_key_cannot_leave_the_store(store: PictureStore, key: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        await store.put(key, b"x", "image/png")
    with pytest.raises(ValueError, match="no key"):
        await store.get(key)


async def test_a_reader_never_sees_half_a_picture(tmp_path: Path) -> None:
    store = PictureStore(str(tmp_path))
    versions = [bytes([n]) * 3_000_000 for n in range(2)]
    await store.put("a.png", versions[0], "image/png")

    async def write() -> None:
        for n in range(20):
            await store.put("a.png", versions[n % 2], "image/png")

    writer = asyncio.create_task(write())
    while not writer.done():
        assert await store.get("a.png") in versions
    await writer
    assert everything_in(tmp_path) == ["a.png"]


async def test_emptied_folders_go_away(tmp_path: Path) -> None:
    store = PictureStore(str(tmp_path))
    await store.put("previews/a/1.webp", b"x", "image/webp")
    await store.delete(["previews/a/1.webp"])
    assert everything_in(tmp_path) == []


async def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    store = PictureStore(str(tmp_path))
    (tmp_path / "pictures").write_text("a file where a folder belongs")
    with pytest.raises(StorageUnavailable):
        await store.put("pictures/a.png", b"x", "image/png")


@pytest.mark.parametrize("place", ["nope://bucket", "s3://"])
def test_a_place_that_is_none_is_the_operators_to_put_right(place: str) -> None:
    with pytest.raises(ConfigurationError, match="PICTURE_STORE"):
        PictureStore(place)


def test_a_password_in_the_place_is_not_told() -> None:
    with pytest.raises(ConfigurationError) as caught:
        PictureStore("nope://me:hunter2@bucket")
    assert "hunter2" not in str(caught.value)


def test_a_file_cannot_be_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigurationError, match="PICTURE_STORE"):
        PictureStore(str(tmp_path / "file"))


async def test_everything_is_gone_through_in_pages(store: PictureStore) -> None:
    for number in range(7):
        await store.put(f"pictures/a/{number}.webp", b"x", "image/webp")
    await store.put("inputs/x.png", b"x", "image/png")
    pages = [page async for page in store.pages("pictures", 3)]
    assert all(len(page) <= 3 for page in pages)
    assert sorted(stored.key for page in pages for stored in page) == [f"pictures/a/{n}.webp" for n in range(7)]
    assert [page async for page in store.pages("previews", 3)] == []


async def test_what_was_begun_long_ago_and_never_finished_goes(store: PictureStore, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "pictures" / "previews"
    await store.put("previews/a/1.webp", b"x", "image/webp")
    assert await store.drop_unfinished("previews", time.time() + 10) == 0
    if folder.exists():  # a bucket shows nothing of them
        (folder / "b").mkdir()
        for name in ("a/2.webp#1", "b/1.webp#12"):
            (folder / name).write_bytes(b"half")
        assert await store.drop_unfinished("previews", time.time() - 10) == 0
        assert await store.drop_unfinished("previews", time.time() + 10) == 2
        assert everything_in(folder) == ["a", "a/1.webp"]
    assert await store.get("previews/a/1.webp") == b"x"


async def test_a_folder_that_answers_nothing_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one on another machine that has gone away: here a pipe that nobody writes to."""
    monkeypatch.setattr("flux_core.images.store.STUCK_SECONDS", 0.2)
    store, pipe = PictureStore(str(tmp_path)), tmp_path / "inputs" / "x.png"
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    try:
        with pytest.raises(StorageUnavailable, match=r"Cannot read inputs/x\.png: nothing came of it"):
            await asyncio.wait_for(store.get("inputs/x.png"), 30)
    finally:
        os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))  # let the thread go that waits
