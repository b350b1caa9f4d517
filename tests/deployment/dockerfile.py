"""A Dockerfile as its stages, and the files that a build would see."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass
class Stage:
    """One ``FROM … AS name`` with its instructions, as (keyword, rest)."""

    name: str
    parent: str
    lines: list[tuple[str, str]] = field(default_factory=list)


def stages(text: str) -> dict[str, Stage]:
    """Read a Dockerfile: its stages by name, in order."""
    joined = re.sub(r"\\\n\s*", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    found: dict[str, Stage] = {}
    for line in filter(None, map(str.strip, joined.splitlines())):
        keyword, _, rest = line.partition(" ")
        if keyword == "FROM":
            parent, _, name = rest.split()
            stage = found[name] = Stage(name, parent)
        elif found:
            stage.lines.append((keyword, rest.strip()))
    return found


def instructions(target: str, known: dict[str, Stage]) -> list[tuple[str, str]]:
    """Return everything that makes a stage, its ancestors' instructions first."""
    stage = known[target]
    return [*(instructions(stage.parent, known) if stage.parent in known else []), *stage.lines]


def last(keyword: str, lines: list[tuple[str, str]]) -> str:
    """Return what the last instruction of a kind says; it overrides those before."""
    return [rest for word, rest in lines if word == keyword][-1]


def environment(lines: list[tuple[str, str]]) -> dict[str, str]:
    """Return the variables that ENV sets."""
    pairs = (pair.partition("=") for word, rest in lines if word == "ENV" for pair in shlex.split(rest))
    return {name: value for name, _, value in pairs}


def healthcheck(lines: list[tuple[str, str]]) -> list[str]:
    """Return the command that says whether a container is well."""
    command: list[str] = json.loads(last("HEALTHCHECK", lines).partition("CMD ")[2])
    return command


def context() -> list[Path]:
    """Return the files that .dockerignore lets into a build; the last rule that fits holds."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    tops = [path for path in ROOT.iterdir() if _let_in(path.name, rules)]
    files = [file for top in tops for file in (top.rglob("*") if top.is_dir() else [top]) if file.is_file()]
    return [path for file in files if _let_in(str(path := file.relative_to(ROOT)), rules)]


def _let_in(path: str, rules: list[str]) -> bool:
    inside = True
    for rule in rules:
        pattern = rule.removeprefix("!").removeprefix("**/")
        parts = path.split("/") if rule.startswith("**/") else path.split("/")[:1]
        if any(fnmatch.fnmatch(part, pattern) for part in parts):
            inside = rule.startswith("!")
    return inside


STAGES = stages((ROOT / "Dockerfile").read_text())
"""Those of this repository."""
