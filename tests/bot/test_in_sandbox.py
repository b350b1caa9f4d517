"""Members use the bot: over real sockets, through discord.py, down to the database."""

from __future__ import annotations

from bot.sandbox.driver import Person
from bot.sandbox.reading import labels_of, pictures_of, text_of
from tests.bot.conftest import Stage


async def test_imagine_posts_pictures(stage: Stage, ada: Person) -> None:
    asked = await ada.command("imagine", prompt="a red circle", seed=7, count=2)
    first = await ada.response(asked)
    assert "Getting ready" in text_of(first)
    job = await stage.easel.take()
    await stage.easel.finish(job)
    done = await ada.wait_for(lambda m: m["id"] == first["id"] and len(pictures_of(m)) == 2)
    assert "a red circle" in text_of(done)
    assert "seed 7" in text_of(done)
    assert labels_of(done) == ["V1", "V2", "Reroll", "Details", "Delete"]
