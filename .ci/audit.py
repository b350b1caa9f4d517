"""Ask OSV, the open database of vulnerabilities, about every version that a constraints file pins.

One request for all of them, and more where it answers in pages (see google.github.io/osv.dev, post-v1-querybatch).
Ends with 1 where a pin is known to be vulnerable, and with 2 where the file or the answer cannot be read. Where the
service is out of reach, it says that nothing was audited and ends with 0: a build without a network is no worse than it
was.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import httpx
from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import Version

SERVICE = "https://api.osv.dev"
SECONDS = 30.0
MOST_PAGES = 20
"""Of answers, which come in parts where there are many."""
ACCEPTED: dict[str, str] = {}
"""Advisories that do not concern this project (id → why); they are told, and fail nothing."""


class Unreadable(Exception):
    """Say what cannot be read."""


def pins(text: str) -> dict[str, str]:
    """Return the version of every package that a constraints file pins; raises Unreadable for a line that pins none."""
    found = {}
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if not line:
            continue
        try:
            wanted = Requirement(line)
            [exact] = wanted.specifier
            if exact.operator != "==":
                raise ValueError(f"{exact} is no pin")
            # Builds of one version, such as +cpu, are one version to those who write advisories.
            found[wanted.name] = Version(exact.version).public
        except (InvalidRequirement, ValueError) as error:
            raise Unreadable(f"{line!r} pins no version: {error}") from None
    return found


def known(pinned: dict[str, str], service: str) -> dict[str, list[str]]:
    """Return the advisories about each pinned package that has any.

    Raises httpx.TransportError where the service is out of reach, or not in order; Unreadable for an answer that is not
    its own.
    """
    found: dict[str, list[str]] = {name: [] for name in pinned}
    waiting = [
        (name, {"package": {"name": name, "ecosystem": "PyPI"}, "version": version}) for name, version in pinned.items()
    ]
    for _ in range(MOST_PAGES):
        results = _answers([query for _, query in waiting], service)
        further = []
        for (name, query), (ids, next_page) in zip(waiting, results, strict=True):
            found[name] += ids
            if next_page:  # a part of an answer may well hold nothing
                further.append((name, query | {"page_token": next_page}))
        if not further:
            return {name: ids for name, ids in found.items() if ids}
        waiting = further
    raise Unreadable(f"{service} has more than {MOST_PAGES} pages of answers.")


def _answers(queries: list[dict[str, Any]], service: str) -> list[tuple[list[str], str | None]]:
    """Return for each query the advisories, and the token of the next page where there are more."""
    answer = httpx.post(f"{service}/v1/querybatch", json={"queries": queries}, timeout=SECONDS)
    if answer.status_code >= 500 or answer.status_code == 429:
        raise httpx.ConnectError(f"it answers {answer.status_code}")
    try:
        answer.raise_for_status()
        results: list[dict[str, Any]] = answer.json()["results"]
        found = [([one["id"] for one in result.get("vulns", ())], result.get("next_page_token")) for result in results]
    except (httpx.HTTPStatusError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"{service} gave no answer of its own: {error}") from None
    if len(found) != len(queries):
        raise Unreadable(f"{service} answered about {len(found)} of {len(queries)} packages.")
    return found


def main() -> int:
    """Audit the file that is named, and return how to end."""
    parser = argparse.ArgumentParser(description="Ask OSV about every pinned version.")
    parser.add_argument("constraints", type=Path)
    parser.add_argument("--service", default=SERVICE)
    given = parser.parse_args()
    try:
        pinned = pins(given.constraints.read_text())
        found = known(pinned, given.service.rstrip("/"))
    except (Unreadable, OSError) as error:
        sys.stderr.write(f"The audit failed: {error}\n")
        return 2
    except httpx.TransportError as error:
        sys.stderr.write(f"WARNING: not audited: the advisory service is out of reach ({given.service}: {error}).\n")
        return 0
    open_ = 0
    for name, ids in found.items():
        for advisory in ids:
            open_ += advisory not in ACCEPTED
            why = f" (accepted: {ACCEPTED[advisory]})" if advisory in ACCEPTED else ""
            sys.stdout.write(f"{name} {pinned[name]}: https://osv.dev/vulnerability/{advisory}{why}\n")
    sys.stdout.write(f"{len(pinned)} packages audited, {open_ or 'no'} known vulnerabilities.\n")
    return 1 if open_ else 0


if __name__ == "__main__":
    sys.exit(main())
