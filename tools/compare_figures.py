"""Says whether two versions of the code print the same figures, over the lines of tools/figures.yaml.

    python tools/compare_figures.py record --tree BEFORE --out A     # what each line prints and writes
    python tools/compare_figures.py record --tree AFTER --out B
    python tools/compare_figures.py compare A B --renamed renamed.yaml
    python tools/compare_figures.py pair --before BEFORE --after AFTER --out C   # both, line by line, and compared

The runs that lines read are made once, in --place, by the first code that is asked: begin with that of before (and
delete --place to have them made anew, with the files in tools/figures as they are then). JSON is compared key by key,
all else by the numbers in it. renamed.yaml has `old: new` for keys, or for ends of their paths (`rows.usd: usd_month`);
`old: null` for keys that are gone. Prices of some APIs hang on the hour of the day: use `pair`.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import html
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import SequenceMatcher
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import yaml

HERE = Path(__file__).resolve().parent
RELATIVE = 1e-12
NUMBER = re.compile(r"(?<![A-Za-z0-9_.@-])(?<![A-Za-z]/)[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
"""A number that is no part of a name such as g4dn.12xlarge, p95 or llama-3.1."""
SHARED = {
    "imports": "tests/importers/data", "measurements/fit": "measurements/fit",
    "measurements/judge": "measurements/holdout", "measurements/aside": "measurements/excluded", "studies": "studies",
}  # fmt: skip
"""What lines read, and where a tree has it. Lines name measurements as they were called once: a recording is
found by the text of its line, so that a line which is changed compares with no earlier recording."""
Json = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """A command line to run."""

    text: str
    loose: bool
    """What it says differs from machine to machine: only its keys count."""

    @property
    def name(self) -> str:
        """Of its directory."""
        words = [word for word in self.text.split() if "=" not in word]
        return f"{words[0]}-{hashlib.sha256(self.text.encode()).hexdigest()[:8]}"


@dataclass
class Plan:
    """What tools/figures.yaml says."""

    values: Json

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Of a file."""
        return cls(cast("Json", yaml.safe_load(path.read_text(encoding="utf-8"))))

    def lines(self, only: str | None) -> list[Line]:
        """All of them, or those that contain a text."""
        found: list[Line] = []
        for kind in ("json", "text"):
            for one in cast("list[str | Json]", self.values[kind]):
                given: Json = {"line": one} if isinstance(one, str) else one
                text = str(given["line"]) + (" --json" if kind == "json" else "")
                found.append(Line(text, bool(given.get("loose", False))))
        if len({line.text for line in found}) < len(found):
            sys.exit("a line is there twice")
        return [line for line in found if only is None or only in line.text]


# --- recording ---


class _Answers(BaseHTTPRequestHandler):
    """An OpenAI-compatible server whose answers and counts follow from the question alone."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The models."""
        self._answer({"object": "list", "data": [{"id": "counted", "object": "model"}]})

    def do_POST(self) -> None:
        """A completion: every second word of the question."""
        asked = cast("Json", json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        words = str(asked["messages"][-1]["content"]).split()
        said = words[: 2 * int(asked["max_tokens"]) : 2]
        message = {"role": "assistant", "content": " ".join(said)}
        usage = {"prompt_tokens": len(words) + 7, "completion_tokens": len(said) + 1}
        self._answer({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage})

    def _answer(self, values: Json) -> None:
        body = json.dumps(values).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that it has there
        """Nothing."""


@contextmanager
def serving() -> Generator[str]:
    """The address of that server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True)
class Place:
    """The directory that all lines are run in, by whatever code: it has the runs that they read."""

    path: Path
    server: str

    def environment(self, tree: Path) -> dict[str, str]:
        """Nothing of the user's own; one thread a process, for sums to have one order."""
        kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        return kept | {
            "PYTHONPATH": str(tree / "src"), "HOME": str(self.path / "home"), "TZ": "UTC", "LC_ALL": "C.UTF-8",
            "XDG_CONFIG_HOME": str(self.path / "home" / "config"), "XDG_CACHE_HOME": str(self.path / "cache"),
            "COLUMNS": "400", "NO_COLOR": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1",
        }  # fmt: skip

    def run(self, tree: Path, text: str, directory: Path) -> subprocess.CompletedProcess[str]:
        """A line, in a directory."""
        words = shlex.split(text.replace("{server}", self.server))
        environment = self.environment(tree)
        while re.match(r"[A-Z_]+=", words[0]):
            name, _, value = words.pop(0).partition("=")
            environment[name] = value
        return subprocess.run(
            [sys.executable, "-m", "rackrate", *words],
            cwd=directory, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def set_up(self, tree: Path, plan: Plan) -> None:
        """The runs, unless they are there."""
        base = self.path / "base"
        if (self.path / "ready").exists():
            return
        say(f"setting up {self.path} with {tree}\n")
        shutil.rmtree(base, ignore_errors=True)
        base.mkdir(parents=True)
        shutil.copytree(HERE / "figures", base / "given")
        for name, source in SHARED.items():
            shutil.copytree(tree / source, base / name)
        for step in cast("list[str | Json]", plan.values["setup"]):
            if isinstance(step, str):
                ran = self.run(tree, step, base)
                if ran.returncode:
                    sys.exit(f"{step}: {ran.stderr}")
            else:
                shutil.copytree(base / step["copy"], base / step["to"])
                header = base / step["to"] / "run.json"
                values = overlaid(json.loads(header.read_text(encoding="utf-8")), step["with"])
                header.write_text(json.dumps(values, indent=2), encoding="utf-8")
        (self.path / "ready").write_text(f"{tree}\n", encoding="utf-8")

    def record(self, tree: Path, line: Line, out: Path) -> float:
        """Runs a line in an empty directory that sees what the set-up left, and keeps what comes of it."""
        work = self.path / "work" / line.name
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        for entry in (self.path / "base").iterdir():
            (work / entry.name).symlink_to(entry)
        began = time.monotonic()
        ran = self.run(tree, line.text, work)
        took = time.monotonic() - began
        kept = out / line.name
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        for entry in work.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.copytree(entry, kept / "files" / entry.name)
            elif not entry.is_symlink():
                (kept / "files").mkdir(exist_ok=True)
                shutil.copy(entry, kept / "files" / entry.name)
        shutil.rmtree(work)
        ended = {"line": line.text, "loose": line.loose, "exit": ran.returncode, "wall_s": round(took, 2)}
        (kept / "ended.json").write_text(json.dumps(ended, indent=2) + "\n", encoding="utf-8")
        for name, text in (("stdout", ran.stdout), ("stderr", ran.stderr)):
            (kept / name).write_text(text.replace(self.server, "{server}"), encoding="utf-8")
        return took


def overlaid(values: Json, over: Json) -> Json:
    """With other values, deep within."""
    changed = dict(values)
    for name, one in over.items():
        old: object = values.get(name)
        both = isinstance(one, dict) and isinstance(old, dict)
        changed[name] = overlaid(cast("Json", old), cast("Json", one)) if both else one
    return changed


def record(trees: dict[Path, Path], place: Path, plan: Plan, jobs: int, only: str | None) -> None:
    """Runs all lines with each tree, one right after the other; `trees` says where each is recorded."""
    place.mkdir(parents=True, exist_ok=True)
    lines = plan.lines(only)
    began = time.monotonic()
    with (place / "lock").open("w") as lock, serving() as server:
        fcntl.flock(lock, fcntl.LOCK_EX)
        here = Place(place, server)
        here.set_up(next(iter(trees.values())), plan)
        for out, tree in trees.items():
            out.mkdir(parents=True, exist_ok=True)
            here.run(tree, str(plan.values["warm"]), place / "base")  # compiles
            about = {"tree": str(tree), "day": f"{datetime.now(UTC):%Y-%m-%d}"}
            (out / "about.json").write_text(json.dumps(about) + "\n", encoding="utf-8")

        def one(line: Line) -> None:
            times = [here.record(tree, line, out) for out, tree in trees.items()]
            say(f"{' '.join(f'{took:6.1f}' for took in times)} s  {line.text}\n")

        with ThreadPoolExecutor(jobs) as pool:
            for _ in pool.map(one, lines):
                pass
    for out in trees:
        ends = [json.loads((out / line.name / "ended.json").read_text(encoding="utf-8"))["exit"] for line in lines]
        say(f"{out}: {len(ends)} lines, {sum(code != 0 for code in ends)} refused\n")
    say(f"{time.monotonic() - began:.0f} s\n")


# --- comparing ---


@dataclass
class Comparison:
    """Two values, of before and after; what differs, and what is only to be known."""

    volatile_keys: set[str]
    volatile_text: list[re.Pattern[str]]
    renamed: dict[str, str | None]
    days: tuple[str, str]
    differences: list[str] = field(default_factory=list[str])
    added: list[str] = field(default_factory=list[str])

    def say(self, path: str, before: Any, after: Any) -> None:
        """A difference."""
        self.differences.append(f"{path or '.'}: {_short(before)} -> {_short(after)}")

    def plain(self, text: str, side: int) -> str:
        """Without what two runs of the same code say differently."""
        for pattern in self.volatile_text:
            text = pattern.sub("", text)
        return text.replace(self.days[side], "TODAY")

    def values(self, path: str, before: Any, after: Any) -> None:
        """JSON values, key by key."""
        if isinstance(before, dict) and isinstance(after, dict):
            self._objects(path, cast("Json", before), cast("Json", after))
        elif isinstance(before, list) and isinstance(after, list):
            olds, news = cast("list[Any]", before), cast("list[Any]", after)
            if len(olds) != len(news):
                self.say(path, f"{len(olds)} entries", f"{len(news)} entries")
            for number, (old, new) in enumerate(zip(olds, news, strict=False)):
                self.values(f"{path}[{number}]", old, new)
        elif isinstance(before, str) and isinstance(after, str):
            old, new = self.plain(before, 0), self.plain(after, 1)
            if old != new and " " in old and " " in new:
                self.text(path, before, after)
            elif old != new:
                self.say(path, before, after)
        elif isinstance(before, bool) or isinstance(after, bool) or before is None or after is None:
            if before is not after:
                self.say(path, before, after)
        elif isinstance(before, int | float) and isinstance(after, int | float):
            if not _equal(before, after):
                self.say(path, before, after)
        else:
            self.say(path, before, after)

    def _objects(self, path: str, before: Json, after: Json) -> None:
        news = {name: one for name, one in after.items() if name not in self.volatile_keys}
        for name, old in before.items():
            if name in self.volatile_keys:
                continue
            inside = f"{path}.{name}".lstrip(".")
            now = self._new_name(inside, name)
            if now is None:
                news.pop(name, None)
            elif now not in news:
                self.say(inside, old, "not there")
            else:
                self.values(inside, old, news.pop(now))
        self.added += [f"{path}.{name}".lstrip(".") for name in news]

    def _new_name(self, path: str, name: str) -> str | None:
        """What a key is called now; None where it is gone."""
        bare = "." + re.sub(r"\[\d+\]", "", path)
        for old, new in self.renamed.items():
            if bare.endswith("." + old):
                return None if new is None else new.rsplit(".", 1)[-1]
        return name

    def text(self, path: str, before: str, after: str) -> None:
        """Text, by the numbers in it."""
        old, new = self.plain(before, 0), self.plain(after, 1)
        olds, news = list(NUMBER.finditer(old)), list(NUMBER.finditer(new))
        left, right = [_key(one.group()) for one in olds], [_key(one.group()) for one in news]
        if left == right:
            return
        for what, i, j, k, m in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
            if what != "equal" and not (j - i == m - k and all(map(_near, left[i:j], right[k:m]))):
                self.say(path, _around(old, olds[i:j]), _around(new, news[k:m]))

    def parsed(self, path: str, before: str, after: str, loose: bool) -> None:
        """Text that may be JSON or HTML."""
        if before.lstrip()[:1] in {"{", "["}:
            try:
                olds, news = _json(before), _json(after)
            except ValueError:
                self.text(path, before, after)
                return
            self.values(path, _shape(olds) if loose else olds, _shape(news) if loose else news)
        elif loose:
            return
        elif "<html" in before[:500]:
            olds, news = charts(before), charts(after)
            self.values(f"{path}:charts", olds, news)
            self.text(path, page_text(before), page_text(after))
        else:
            self.text(path, before, after)


def _json(text: str) -> Any:
    """A value, or a list of values that stand one a line."""
    try:
        return json.loads(text)
    except ValueError:
        return [json.loads(line) for line in text.splitlines()]


def _shape(value: Any) -> Any:
    """The keys alone."""
    if isinstance(value, dict):
        return {name: _shape(one) for name, one in cast("Json", value).items()}
    return [_shape(one) for one in cast("list[Any]", value)[:1]] if isinstance(value, list) else None


def _equal(before: float, after: float) -> bool:
    return before == after or math.isclose(before, after, rel_tol=RELATIVE) or (before != before and after != after)  # noqa: PLR0124 - NaN


def _key(number: str) -> str:
    return number.replace(",", "").lstrip("+")


def _near(before: str, after: str) -> bool:
    return _equal(float(before), float(after))


def _around(text: str, numbers: list[re.Match[str]]) -> str:
    """The line in which numbers stand."""
    if not numbers:
        return "nothing"
    begin = text.rfind("\n", 0, numbers[0].start()) + 1
    words = " ".join(text[max(begin, numbers[0].start() - 60) : numbers[0].start()].split())
    return f"{words} [{' '.join(one.group() for one in numbers)}]"


def _short(value: object, most: int = 200) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= most else text[:most] + "..."


def page_text(page: str) -> str:
    """What an HTML page shows."""
    page = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", " ", page))


def charts(page: str) -> list[Any]:
    """The data of its charts, in their order."""
    found: list[Any] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for name, one in cast("Json", value).items():
                if name == "datasets" and isinstance(one, dict):
                    found.extend(cast("Json", one).values())
                elif name == "values" and isinstance(one, list):
                    found.append(one)
                else:
                    walk(one)
        elif isinstance(value, list):
            for one in cast("list[Any]", value):
                walk(one)

    for text in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL):
        walk(json.loads(text))
    return found


def compare(first: Path, second: Path, plan: Plan, renamed: dict[str, str | None], strict: bool, most: int) -> int:
    """Prints what differs between two recordings; how many lines do."""
    pair = (first, second)
    days = cast("tuple[str, str]", tuple(json.loads((one / "about.json").read_text())["day"] for one in pair))
    names = sorted({one.parent.name for directory in pair for one in directory.glob("*/ended.json")})
    differ = 0
    for name in names:
        found = Comparison(
            set(plan.values["volatile_keys"]), [re.compile(one) for one in plan.values["volatile_text"]], renamed, days
        )
        line = compare_line(first / name, second / name, found)
        if strict:
            found.differences += [f"added {one}" for one in found.added]
        elif found.added:
            say(f"  ({line}: added {', '.join(sorted({re.sub(r'.[0-9]+.', '', one) for one in found.added})[:8])})\n")
        if found.differences:
            differ += 1
            say(f"{line}    ({name})\n" + "".join(f"    {one}\n" for one in found.differences[:most]))
            if len(found.differences) > most:
                say(f"    and {len(found.differences) - most} more\n")
    say(f"{len(names)} lines, {differ} differ\n")
    return differ


def compare_line(before: Path, after: Path, found: Comparison) -> str:
    """Compares what two versions made of a line."""
    there = [one for one in (before, after) if (one / "ended.json").exists()]
    ends = [cast("Json", json.loads((one / "ended.json").read_text(encoding="utf-8"))) for one in there]
    line = str(ends[0]["line"])
    if len(there) < 2:
        found.differences.append(f"recorded only in {there[0].parent}")
        return line
    if ends[0]["exit"] != ends[1]["exit"]:
        found.say("exit code", ends[0]["exit"], ends[1]["exit"])
    loose = bool(ends[0]["loose"])
    for name in ("stdout", "stderr"):
        old, new = ((one / name).read_text(encoding="utf-8") for one in there)
        found.parsed("" if name == "stdout" else name, old, new, loose)
    olds, news = (
        {str(one.relative_to(d / "files")) for one in (d / "files").rglob("*") if one.is_file()} for d in there
    )
    for name in sorted(olds ^ news):
        found.say(name, *("written" if name in names else "not written" for names in (olds, news)))
    for name in sorted(olds & news):
        left, right = ((one / "files" / name).read_bytes() for one in there)
        if left != right:
            found.parsed(name, left.decode(errors="replace"), right.decode(errors="replace"), loose)
    return line


def say(text: str) -> None:
    """Prints without ending the line."""
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> None:
    """Records, compares, or both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways = parser.add_subparsers(dest="way", required=True)
    recording, comparing, pairing = (ways.add_parser(name) for name in ("record", "compare", "pair"))
    recording.add_argument("--tree", type=Path, required=True, help="a checkout; its src is run")
    pairing.add_argument("--before", type=Path, required=True)
    pairing.add_argument("--after", type=Path, required=True)
    comparing.add_argument("first", type=Path)
    comparing.add_argument("second", type=Path)
    for one in (recording, pairing):
        one.add_argument("--out", type=Path, required=True, help="where recordings go")
        one.add_argument("--place", type=Path, default=Path(tempfile.gettempdir()) / "figures" / "place")
        one.add_argument("--jobs", type=int, default=2)
        one.add_argument("--only", help="lines that contain this text")
    for one in (comparing, pairing):
        one.add_argument("--renamed", type=Path, help="keys of before, and what they are called now")
        one.add_argument("--strict", action="store_true", help="keys that were added differ, too")
        one.add_argument("--most", type=int, default=12, help="differences shown of a line")
    for one in (recording, comparing, pairing):
        one.add_argument("--lines", type=Path, default=HERE / "figures.yaml")
    given = parser.parse_args()
    plan = Plan.read(given.lines)
    first, second = (
        (given.first, given.second) if given.way == "compare" else (given.out / "before", given.out / "after")
    )
    if given.way == "record":
        record({given.out: given.tree.resolve()}, given.place.resolve(), plan, given.jobs, given.only)
        return
    if given.way == "pair":
        trees = {first: given.before.resolve(), second: given.after.resolve()}
        record(trees, given.place.resolve(), plan, given.jobs, given.only)
    text = given.renamed.read_text(encoding="utf-8") if given.renamed else "{}"
    renamed = cast("dict[str, str | None]", yaml.safe_load(text) or {})
    sys.exit(1 if compare(first, second, plan, renamed, given.strict, given.most) else 0)


if __name__ == "__main__":
    main()
