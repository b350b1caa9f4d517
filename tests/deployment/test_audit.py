"""The audit of our dependencies, with a stand-in for the service that knows of vulnerabilities."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

ROOT = Path(__file__).parents[2]
SCRIPT, CONSTRAINTS = ROOT / ".ci" / "audit.py", ROOT / "constraints.txt"


class Advisories:
    """Answers as OSV does: a result for each question, in their order."""

    def __init__(self) -> None:
        self.known: dict[str, list[str]] = {}
        self.further: dict[str, list[str]] = {}
        """What is on a second page."""
        self.asked: list[dict[str, Any]] = []
        self.answer: web.Response | None = None
        self.address = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.asked = (await request.json())["queries"]
        if self.answer is not None:
            return self.answer
        if all("page_token" in query for query in self.asked):
            ids = [self.further[query["package"]["name"]] for query in self.asked]
            return web.json_response({"results": [{"vulns": [{"id": id} for id in some]} for some in ids]})
        pages = [
            {"next_page_token": "more"} if query["package"]["name"] in self.further else {} for query in self.asked
        ]
        ids = [self.known.get(query["package"]["name"], []) for query in self.asked]
        results = [{"vulns": [{"id": id} for id in some]} if some else {} for some in ids]
        return web.json_response({"results": [one | page for one, page in zip(results, pages, strict=True)]})


@pytest.fixture
async def advisories() -> AsyncIterator[Advisories]:
    advisories = Advisories()
    app = web.Application()
    app.router.add_post("/v1/querybatch", advisories.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    advisories.address = "http://{}:{}".format(*runner.addresses[0][:2])
    yield advisories
    await runner.cleanup()


async def audit(address: str, constraints: Path = CONSTRAINTS) -> tuple[int | None, str]:
    """Run the audit as `make audit` does; return how it ended, and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(SCRIPT), str(constraints), "--service", address),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


async def test_every_pin_is_asked_about(advisories: Advisories) -> None:
    code, said = await audit(advisories.address)
    lines = [line for line in CONSTRAINTS.read_text().splitlines() if "==" in line]
    assert (code, said) == (0, f"{len(lines)} packages audited, no known vulnerabilities.\n")
    asked = {f"{query['package']['name']}=={query['version']}" for query in advisories.asked}
    assert asked == {line.partition("+")[0] for line in lines}
    assert {query["package"]["ecosystem"] for query in advisories.asked} == {"PyPI"}


async def test_a_known_vulnerability_fails_it(advisories: Advisories) -> None:
    advisories.known = {"pillow": ["GHSA-1", "PYSEC-2"]}
    code, said = await audit(advisories.address)
    assert code == 1
    assert "https://osv.dev/vulnerability/GHSA-1" in said
    assert "2 known vulnerabilities" in said


async def test_what_is_on_a_second_page_fails_it_too(advisories: Advisories) -> None:
    advisories.further = {"pillow": ["GHSA-3"]}
    code, said = await audit(advisories.address)
    assert (code, [query["package"]["name"] for query in advisories.asked]) == (1, ["pillow"])
    assert "https://osv.dev/vulnerability/GHSA-3" in said


async def test_a_service_out_of_reach_is_told_and_fails_nothing(advisories: Advisories) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
    code, said = await audit(nobody)
    assert (code, "not audited: the advisory service is out of reach" in said) == (0, True)
    advisories.answer = web.Response(status=503)
    code, said = await audit(advisories.address)
    assert (code, "not audited" in said, "503" in said) == (0, True, True)


@pytest.mark.parametrize(
    "answer", [b"<html>", b"[]", json.dumps({"results": [{}]}).encode(), json.dumps({"results": None}).encode()]
)
async def test_an_answer_of_somebody_else_is_no_clean_bill(advisories: Advisories, answer: bytes) -> None:
    advisories.answer = web.Response(body=answer, content_type="application/json")
    code, said = await audit(advisories.address)
    assert (code, "The audit failed" in said) == (2, True)


async def test_a_line_that_pins_nothing_is_told(advisories: Advisories, tmp_path: Path) -> None:
    loose = tmp_path / "constraints.txt"
    loose.write_text("# a comment\npillow==12.0.0\n\nhttpx>=0.28\n")
    code, said = await audit(advisories.address, loose)
    assert (code, advisories.asked) == (2, [])
    assert "'httpx>=0.28' pins no version" in said


def test_what_ci_runs_has_the_audit() -> None:
    assert "make audit" in (ROOT / ".ci" / "run").read_text()
    assert ".ci/audit.py constraints.txt" in (ROOT / "Makefile").read_text()
