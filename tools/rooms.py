"""The rooms of the source: which floor each is on, how large it is, and what the house's rules count.

    python tools/rooms.py            # lines, shares, circles, the largest bodies of commands, modules over 400 lines
    python tools/rooms.py --write    # the table of ARCHITECTURE.md, anew

tests/test_imports.py holds the rules; this has the floors and what is counted.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "rackrate"
PAGE = ROOT / "ARCHITECTURE.md"

FLOORS: dict[str, tuple[str, ...]] = {
    "base": ("errors", "bounds", "files", "text", "units"),
    "facts": ("catalog", "workload", "engines", "runs"),
    "description": ("models", "simulation", "metrics"),
    "theory": ("economics", "memory", "steptime", "measurement"),
    "answers": ("studies", "planner", "validation", "calibration", "tuning", "importers"),
    "use cases": ("app",),
    "presentation": ("report", "schemas"),
    "shells": ("cli", "api", "web", "meter", "deploy"),
}
"""From the ground up. A room imports from the floors below its own."""
NEIGHBOURS: dict[str, set[str]] = {
    "bounds": {"errors"},
    "units": {"errors"},
    "files": {"errors"},
    "engines": {"catalog"},
    "report": {"schemas"},
}
"""And, of its own floor, from these."""

SHELLS = set(FLOORS["shells"])


def may_import(room: str) -> set[str]:
    """The rooms that a room may name in an import: those of the floors below, and its neighbours."""
    below: set[str] = set()
    for rooms in FLOORS.values():
        if room in rooms:
            return below | NEIGHBOURS.get(room, set())
        below |= set(rooms)
    raise KeyError(room)


def module_name(path: Path) -> str:
    """The name under which a file of the package is imported."""
    parts = ("rackrate", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str | None:
    """The room of a module; None for `python -m rackrate`.

    The package itself is the Python API, a shell: of it only the version is imported by others.
    """
    parts = module.split(".")
    if len(parts) == 1:
        return "api"
    return None if parts[1] == "__main__" else parts[1]


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py")) if "launch" not in path.parts}
"""Module name to file; engines/launch runs in the engines' own environments, and is not part of the graph."""


@cache
def tree_of(path: Path) -> ast.Module:
    """A file's syntax."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def named_in(path: Path) -> Iterator[tuple[str, str | None]]:
    """Every module of all packages that a file imports, and the name that it takes from it; inside functions too."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path}:{node.lineno}: relative import")
            yield from ((node.module or "", alias.name) for alias in node.names)


def imports_of(path: Path) -> set[str]:
    """Every module of ours that a file names in an import, inside functions and TYPE_CHECKING too."""
    found: set[str] = set()
    for module, name in named_in(path):
        if module.split(".")[0] == "rackrate" and (module, name) != ("rackrate", "__version__"):
            found.add(f"{module}.{name}" if f"{module}.{name}" in FILES else module)
    return found


def lines_of(path: Path) -> int:
    """Lines of a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


def circle(edges: Mapping[str, set[str]]) -> list[str]:
    """A circle of names that import one another; empty where there is none."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return [str(name) for name in error.args[1]]
    return []


def room_edges() -> dict[str, set[str]]:
    """Which rooms each room imports."""
    edges: dict[str, set[str]] = {}
    for name, path in FILES.items():
        room = room_of(name)
        if room is not None:
            others = {room_of(target) for target in imports_of(path)} - {room, None}
            edges.setdefault(room, set()).update(other for other in others if other is not None)
    return edges


def room_lines() -> dict[str, int]:
    """Lines of each room, the largest first."""
    lines: dict[str, int] = {}
    for name, path in FILES.items():
        room = room_of(name)
        if room is not None:
            lines[room] = lines.get(room, 0) + lines_of(path)
    return dict(sorted(lines.items(), key=lambda item: -item[1]))


def command_bodies(commands: Iterable[str]) -> dict[str, int]:
    """Lines of each command's own body: without its signature and its docstring."""
    bodies: dict[str, int] = {}
    for command in commands:
        word = command.replace("-", "_") + "_" * (command == "import")
        for node in tree_of(PACKAGE / "cli" / f"{word}.py").body:
            if isinstance(node, ast.FunctionDef) and node.name == word:
                body = node.body[1 if ast.get_docstring(node) is not None else 0 :]
                bodies[command] = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
    return bodies


def literals_of(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each piece of text in a file that is no docstring."""
    tree = tree_of(path)
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.lineno, node.value


_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


def flags_in(path: Path) -> list[str]:
    """Options of a command line that a file's texts name, each with its line."""
    return [f"{line}: {flag}" for line, text in literals_of(path) for flag in _FLAG.findall(text)]


def ambient_uses(path: Path) -> set[str]:
    """What of a process a file reads or does that is a shell's alone: environment, arguments, signals, exit."""
    wanted = {
        ("os", "environ"): "environ", ("os", "getenv"): "environ", ("sys", "argv"): "argv", ("sys", "exit"): "exit",
        ("typer", "Exit"): "exit", ("typer", "Abort"): "exit", ("signal", "signal"): "signals",
    }  # fmt: skip
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and (node.value.id, node.attr) in wanted:
                found.add(wanted[node.value.id, node.attr])
            elif node.attr == "add_signal_handler":
                found.add("signals")
        elif isinstance(node, ast.Name) and node.id == "SystemExit":
            found.add("exit")
    return found | {kind for module, name in named_in(path) if (kind := wanted.get((module, name or "")))}


def calls(path: Path, function: str) -> list[int]:
    """The lines in which a file calls a function by its bare name."""
    return [
        node.lineno
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function
    ]


def table() -> str:
    """Floors, top first, and what each room is, by the first line of its own docstring."""
    there = room_lines()
    rows = ["| floor | room | what it is |", "|---|---|---|"]
    for floor, rooms in reversed(FLOORS.items()):
        for room in rooms:
            if room in there:
                module = "rackrate" if room == "api" else f"rackrate.{room}"
                told = (ast.get_docstring(tree_of(FILES[module])) or "").splitlines() or [""]
                shown = "`rackrate` (Python API)" if room == "api" else f"`{room}`"
                rows.append(f"| {floor} | {shown} | {told[0].replace('|', '/')} |")
    beside = [f"`{room}` from {', '.join(f'`{n}`' for n in sorted(names))}" for room, names in NEIGHBOURS.items()]
    return "\n".join(rows) + f"\n\nOn its own floor a room imports from no other, except {' and '.join(beside)}.\n"


_BEGIN, _END = "<!-- rooms: written by tools/rooms.py -->\n", "<!-- end of rooms -->\n"


def page_with_table(text: str) -> str:
    """The page with its table as it should be."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{table()}\n{_END}{after}"


def main() -> None:
    """Prints what is counted, or writes the page's table."""
    parser = argparse.ArgumentParser(description="The rooms of the source.")
    parser.add_argument("--write", action="store_true", help="write the table of ARCHITECTURE.md")
    if parser.parse_args().write:
        PAGE.write_text(page_with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        return
    from rackrate.cli import COMMANDS

    say = sys.stdout.write
    lines = room_lines()
    total = sum(lines.values())
    for room, count in lines.items():
        say(f"{room:12} {count:6,} {count / total:6.1%}\n")
    say(f"{'all':12} {total:6,}\n\n")
    for what, edges in (("rooms", room_edges()), ("modules", {n: imports_of(p) for n, p in FILES.items()})):
        found = circle(edges)
        say(f"circles of {what}: {' -> '.join(found) if found else 'none'}\n")
    bodies = sorted(command_bodies(COMMANDS).items(), key=lambda item: -item[1])
    say("\nlargest bodies of commands: " + ", ".join(f"{name} {count}" for name, count in bodies[:8]) + "\n")
    long = sorted(((lines_of(path), name) for name, path in FILES.items() if lines_of(path) > 400), reverse=True)
    say("modules over 400 lines: " + ", ".join(f"{name} {count}" for count, name in long) + "\n")


if __name__ == "__main__":
    main()
