"""Every command, suggestion and button of the bot is used by a test that sits at the sandbox's keyboard.

The tests are read, not run: what they type and press is followed through their own short ways of saying it, such as
``say(grace, "quota set")``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from discord import app_commands

from bot.commands import COMMANDS
from bot.layouts.custom_ids import Action
from bot.reviews.custom_ids import Choice

ROOT = Path(__file__).parents[1]
TESTS = [*sorted((ROOT / "tests" / "bot").glob("*.py")), *sorted((ROOT / "tests" / "e2e").glob("*.py"))]
SOURCES = [path for path in sorted((ROOT / "bot").rglob("*.py")) if "sandbox" not in path.parts]

COMMAND, USER_MENU, MESSAGE_MENU, AUTOCOMPLETE, PRESS = "command", "user_menu", "message_menu", "autocomplete", "press"
KEYBOARD: dict[str, tuple[str, tuple[int, ...]]] = {
    "command": (COMMAND, (0,)),
    "user_menu": (USER_MENU, (0,)),
    "message_menu": (MESSAGE_MENU, (0,)),
    "autocomplete": (AUTOCOMPLETE, (0, 1)),
    "press": (PRESS, (1,)),
    "select": (PRESS, (1,)),
}
"""What a ``Person`` can do, and in which arguments it says what with."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Words = tuple[str, ...]
Part = tuple[str, str | None]
"""Words, and the name of a variable that holds the rest, if there is more."""
Said = list[Part]
"""What an expression may say."""


@dataclass(frozen=True)
class Way:
    """A function of the tests that types or presses something for its callers."""

    deed: str
    parts: tuple[Part, ...]
    """For each word of the deed: what comes before, and the parameter that holds the rest (None: nothing)."""


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def name_of(call: ast.Call) -> str:
    called = call.func
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""


def parameters(function: Function) -> list[str]:
    arguments = function.args
    return [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


def said(expression: ast.expr) -> Said:
    """Return what an expression may say: (words, and the name of a variable that holds the rest)."""
    match expression:
        case ast.Constant(value=str(text)):
            return [(text, None)]
        case ast.Name(id=name):
            return [("", name)]
        case ast.IfExp(body=body, orelse=other):
            return [*said(body), *said(other)]
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), ast.FormattedValue(value=ast.Name(id=name))]):
            return [(text, name)]
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]):
            return [(text, None)]  # as much of it as is known: the beginning of a custom_id
    return []


def argument(call: ast.Call, function: Function | None, place: int, name: str) -> ast.expr | None:
    """Return what a call gives for a parameter, by its place or its name."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    if place < len(call.args):
        return call.args[place]
    if function is not None:
        arguments = function.args
        positional = [*arguments.posonlyargs, *arguments.args]
        from_end = len(positional) - place
        if 0 < from_end <= len(arguments.defaults):
            return arguments.defaults[-from_end]
    return None


def choices(name: str, function: Function | None) -> list[str]:
    """Return what a variable may hold: the words of the test's parametrize, of a loop over words, or of a default."""
    found: list[str] = []
    if function is None:
        return found
    sources: list[ast.expr] = [one for one in function.decorator_list if "parametrize" in ast.dump(one)]
    for node in ast.walk(function):
        if isinstance(node, ast.For | ast.AsyncFor) and name in {
            one.id for one in ast.walk(node.target) if isinstance(one, ast.Name)
        }:
            sources.append(node.iter)
    for source in sources:
        found += [
            node.value for node in ast.walk(source) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
    return found


class Reader:
    """Reads what the tests do."""

    def __init__(self) -> None:
        self.trees = {path: ast.parse(path.read_text()) for path in TESTS}
        self.functions = {path: list(functions(tree)) for path, tree in self.trees.items()}
        self.calls = {
            one: [node for node in ast.walk(one) if isinstance(node, ast.Call)]
            for own in self.functions.values()
            for one in own
        }
        self.homes = {path: self._names(path) for path in TESTS}
        self.ways: dict[tuple[Path, str], list[tuple[Function, Way]]] = {}
        self.done: dict[Path, set[tuple[str, Words]]] = {path: set() for path in TESTS}
        while self._learn():
            pass
        for path in TESTS:
            self._read(path)

    def _names(self, path: Path) -> dict[str, Path]:
        """Return where the functions that a file calls by their names are."""
        found: dict[str, Path] = {}
        for node in ast.walk(self.trees[path]):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests."):
                home = ROOT.joinpath(*str(node.module).split(".")).with_suffix(".py")
                found |= {one.asname or one.name: home for one in node.names}
        return found | {function.name: path for function in self.functions[path]}

    def _deeds(self, path: Path, function: Function) -> Iterator[tuple[str, list[Said]]]:
        """Return what the calls in a function do: the deed, and for each of its words what it may be."""
        for call in self.calls[function]:
            name = name_of(call)
            if name in KEYBOARD and isinstance(call.func, ast.Attribute):
                deed, places = KEYBOARD[name]
                given = [argument(call, None, place, "") for place in places]
                yield deed, [said(one) if one is not None else [] for one in given]
            home = self.homes[path].get(name)
            for known, way in self.ways.get((home, name), []) if home is not None else []:
                words: list[Said] = []
                for before, parameter in way.parts:
                    if parameter is None:
                        words.append([(before, None)])
                        continue
                    value = argument(call, known, parameters(known).index(parameter), parameter)
                    words.append([] if value is None else [(before + text, rest) for text, rest in said(value)])
                yield way.deed, words

    def _learn(self) -> bool:
        """Find functions that do something with their parameters; True when there were new ones."""
        new = False
        for path, own in self.functions.items():
            for function in own:
                if function.name.startswith("test_"):
                    continue
                for deed, words in self._deeds(path, function):
                    for parts in _combined(words):
                        variables = {rest for _, rest in parts if rest is not None}
                        ways = self.ways.setdefault((path, function.name), [])
                        entry = (function, Way(deed, parts))
                        if variables and variables <= set(parameters(function)) and entry not in ways:
                            ways.append(entry)
                            new = True
        return new

    def _read(self, path: Path) -> None:
        for function in self.functions[path]:
            for deed, words in self._deeds(path, function):
                for parts in _combined(words):
                    self.done[path].update((deed, read) for read in _spelled(parts, function))


def _combined(words: list[Said]) -> list[tuple[Part, ...]]:
    found: list[tuple[Part, ...]] = [()]
    for options in words:
        found = [(*one, option) for one in found for option in options]
    return found


def _spelled(combination: tuple[Part, ...], function: Function) -> list[Words]:
    found: list[Words] = [()]
    for before, rest in combination:
        ends = [""] if rest is None else choices(rest, function)
        found = [(*one, before + end) for one in found for end in ends]
    return found


@cache
def deeds(*only: str) -> frozenset[tuple[str, Words]]:
    """Return all that tests do: (what, its words); of those whose file has one of ``only`` in its name, if given."""
    done = reader().done
    return frozenset().union(*(own for path, own in done.items() if not only or any(one in path.name for one in only)))


@cache
def reader() -> Reader:
    return Reader()


def walk(commands: object) -> Iterator[app_commands.Command | app_commands.ContextMenu]:  # type: ignore[type-arg]
    for command in commands:  # type: ignore[attr-defined]
        if isinstance(command, app_commands.Group):
            yield from walk(command.commands)
        else:
            yield command


SLASH = {one.qualified_name: one for one in walk(COMMANDS) if isinstance(one, app_commands.Command)}
MENUS = {one.name: one for one in walk(COMMANDS) if isinstance(one, app_commands.ContextMenu)}
SUGGESTING = [
    (name, option.display_name) for name, one in SLASH.items() for option in one.parameters if option.autocomplete
]


@pytest.mark.parametrize("name", list(SLASH))
def test_each_command_is_given_in_a_test(name: str) -> None:
    assert (COMMAND, (name,)) in deeds()


@pytest.mark.parametrize("name", list(MENUS))
def test_each_command_of_a_menu_is_chosen_in_a_test(name: str) -> None:
    deed = USER_MENU if MENUS[name].type.name == "user" else MESSAGE_MENU
    assert (deed, (name,)) in deeds()


@pytest.mark.parametrize(("command", "option"), SUGGESTING)
def test_each_option_with_suggestions_is_typed_in_a_test(command: str, option: str) -> None:
    assert (AUTOCOMPLETE, (command, option)) in deeds()


def labels() -> Iterator[tuple[str, str, str]]:
    """Return every button: (file, label, how its custom_id begins); of a label with a number its letters."""
    for path in SOURCES:
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            if name_of(call) not in ("Button", "_button", "confirm"):
                continue
            given = next((one.value for one in call.keywords if one.arg == "label"), None)
            if given is None and name_of(call) == "_button":
                given = call.args[0]
            where = path.relative_to(ROOT).as_posix()
            match given:
                case ast.Constant(value=str(label)) | ast.JoinedStr(values=[ast.Constant(value=str(label)), *_]):
                    yield where, label, custom_id_in(call)
    # The two whose labels are the keys of a table.
    yield from (("bot/interactions/paging.py", label, "flux:page:") for label in ("Back", "More"))


def custom_id_in(call: ast.Call) -> str:
    for node in ast.walk(call):
        match node:
            case ast.Attribute(value=ast.Name(id="Action"), attr=name):
                return f"flux:{Action[name].value}:"
            case ast.Attribute(value=ast.Name(id="Choice"), attr=name):
                return f"flux:review:{Choice[name].value}:"
    return ""


LABELS = sorted(set(labels()))


def test_the_buttons_are_found() -> None:
    """The reading of the sources has not lost track of them."""
    found = {label for _, label, _ in LABELS}
    assert {"Reroll", "V", "Details", "Delete", "Cancel", "Move up", "Approve", "Ban", "Keep as it is", "More"} <= found
    paging = "bot/interactions/paging.py"
    assert all(f'"{label}"' in (ROOT / paging).read_text() for path, label, _ in LABELS if path == paging)


@pytest.mark.parametrize(("path", "label", "custom_id"), LABELS)
def test_each_button_is_pressed_in_a_test(path: str, label: str, custom_id: str) -> None:
    # What moderators press under reviews is told apart from the buttons of the same name under pictures.
    where = ("review", "report", "three_members") if path.startswith("bot/reviews/") else ()
    pressed = {words[0] for deed, words in deeds(*where) if deed == PRESS}
    by_label = {label} if label != "V" else {"V1", "V2", "V3", "V4"}
    assert pressed & by_label or any(custom_id and one.startswith(custom_id) for one in pressed)


def test_a_command_without_a_test_would_be_found() -> None:
    assert (COMMAND, ("admin levitate",)) not in deeds()
    assert len([one for one in deeds() if one[0] == COMMAND]) >= len(SLASH)
