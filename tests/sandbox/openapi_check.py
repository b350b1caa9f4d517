"""Hold recorded REST requests against Discord's published OpenAPI description.

The description is no part of this project. It is looked for where the environment variable DISCORD_OPENAPI points,
then in ../shared/discord/openapi.json beside the project.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012, Draft202012Validator, Registry

from bot.sandbox.recorder import HIDDEN, Record

PROJECT = Path(__file__).resolve().parents[2]
ADDRESS = "urn:discord-openapi"
MISSING = (
    "Discord's OpenAPI description is not here. Set DISCORD_OPENAPI to its path, "
    "or put it at ../shared/discord/openapi.json."
)


def description_path() -> Path | None:
    """Return where the description lies, or None."""
    named = os.environ.get("DISCORD_OPENAPI")
    candidates = [Path(named)] if named else [PROJECT.parent / "shared" / "discord" / "openapi.json"]
    return next((path for path in candidates if path.is_file()), None)


needs_description = pytest.mark.skipif(description_path() is None, reason=MISSING)


class Description:
    """Discord's description, ready to check requests."""

    def __init__(self, document: dict[str, Any]) -> None:
        # Discord takes ids as numbers as well as strings; its description knows strings only. discord.py sends
        # attachments[].id and recipient_id as numbers.
        spelled = document["components"]["schemas"]["SnowflakeType"]
        document["components"]["schemas"]["SnowflakeType"] = {"anyOf": [spelled, {"type": "integer", "minimum": 0}]}
        self._paths = document["paths"]
        self._registry = Registry([(ADDRESS, document)], draft=Draft202012)
        self._validators: dict[str, Draft202012Validator] = {}

    def violations(self, record: Record) -> list[str]:
        """Say what is wrong with a request; nothing when it fits."""
        where = f"{record.method} {record.path}"
        operations = self._paths.get(record.route, {})
        operation = operations.get(record.method.lower())
        if operation is None:
            return [f"{where}: Discord's description has no such operation"]
        parameters = [*operations.get("parameters", []), *operation.get("parameters", [])]
        found = [f"{where}: {problem}" for problem in self._parameter_problems(record, parameters)]
        return found + [f"{where}: {problem}" for problem in self._body_problems(record, operation)]

    def _parameter_problems(self, record: Record, parameters: list[dict[str, Any]]) -> Iterable[str]:
        described = {parameter["name"]: parameter for parameter in parameters if parameter["in"] == "query"}
        for name, value in record.query.items():
            if name not in described:
                yield f"there is no query parameter {name!r}"
            elif not any(self._fits(described[name]["schema"], reading) for reading in _readings(value)):
                yield f"the query parameter {name!r} cannot be {value!r}"
        for name, parameter in described.items():
            if parameter.get("required") and name not in record.query:
                yield f"the query parameter {name!r} is missing"
        pieces = zip(record.route.split("/"), record.path.split("/"), strict=True)
        schemas = {parameter["name"]: parameter["schema"] for parameter in parameters if parameter["in"] == "path"}
        for template, piece in pieces:
            name = template.strip("{}")
            if template != name and piece != HIDDEN and not self._fits(schemas.get(name, {}), piece):
                yield f"the path parameter {name!r} cannot be {piece!r}"

    def _body_problems(self, record: Record, operation: dict[str, Any]) -> Iterable[str]:
        body = operation.get("requestBody")
        if body is None:
            if record.json is not None:
                yield "a body is sent where none is taken"
            return
        if record.json is None:
            if body.get("required"):
                yield "the body is missing"
            return
        kind = "multipart/form-data" if record.files else "application/json"
        if kind not in body["content"]:
            yield f"the body cannot be {kind}"
            return
        steps = (record.route, record.method.lower(), "requestBody", "content", kind, "schema")
        pointer = "/paths/" + "/".join(step.replace("~", "~0").replace("/", "~1") for step in steps)
        for error in self._validator(pointer).iter_errors(record.json):
            path = "/".join(map(str, error.instance_path)) or "the body"
            yield f"{path}: {error.message[:300]}"

    def _validator(self, pointer: str) -> Draft202012Validator:
        if pointer not in self._validators:
            schema = {"$ref": f"{ADDRESS}#{pointer.replace('{', '%7B').replace('}', '%7D')}"}
            self._validators[pointer] = Draft202012Validator(schema, registry=self._registry)
        return self._validators[pointer]

    def _fits(self, schema: dict[str, Any], value: Any) -> bool:
        absolute = json.loads(json.dumps(schema).replace('"#/', f'"{ADDRESS}#/'))
        return Draft202012Validator(absolute, registry=self._registry).is_valid(value)


def _readings(value: str) -> list[Any]:
    """Return what a query value may mean: text, number, or true and false."""
    readings: list[Any] = [value]
    if value.isdecimal():
        readings.append(int(value))
    if value.lower() in ("0", "1", "true", "false"):
        readings.append(value.lower() in ("1", "true"))
    return readings


@functools.cache
def load() -> Description:
    """Load the description once. Raises FileNotFoundError that says where to put it."""
    path = description_path()
    if path is None:
        raise FileNotFoundError(MISSING)
    return Description(json.loads(path.read_text(encoding="utf-8")))


def read_records(path: Path) -> list[Record]:
    """Read the lines a sandbox wrote with `record=`."""
    return [Record(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def check(records: Iterable[Record]) -> None:
    """Assert that every request fits the description; skips where there is none."""
    if description_path() is None:
        pytest.skip(MISSING)
    description = load()
    problems = [problem for record in records for problem in description.violations(record)]
    assert not problems, "\n".join(problems)
