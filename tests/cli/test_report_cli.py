"""`rackrate report` on runs whose throughput is known: the formats agree, and nothing from outside gets out."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest

from priced_runs import BLENDED_C7A_LARGE, CPU, RIG, Command, refused, write_run

pytestmark = pytest.mark.usefixtures("shipped_catalogue")


# --- reports ---

HOSTILE = "</script><script>alert(1)</script>|<img src=x onerror=alert(2)>"
FORMATS = ("html", "md", "json", "csv")


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that comes from outside wants to be a script."""
    machine = CPU.model_copy(update={"cpu_model": HOSTILE, "system": HOSTILE})
    directory = tmp_path_factory.mktemp("runs") / "<img src=x>"
    return write_run(directory, machine, model=HOSTILE, catalogue_id=None, note=HOSTILE)


@pytest.fixture
def hostile_rig(tmp_path: Path) -> Path:
    text = RIG.replace("my rig", json.dumps(HOSTILE)) + f"notes: {json.dumps(HOSTILE)}\n"
    (tmp_path / "rig.yaml").write_text(text, encoding="utf-8")
    return tmp_path / "rig.yaml"


class Page(HTMLParser):
    """Elements with their attributes, and the text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._in_script = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        self._in_script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts[-1] += data
        else:
            self.text += data

    def tags(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


def written(rackrate: Command, run: Path, kind: str, *words: object) -> str:
    file = Path(f"written.{kind}")
    ran = rackrate("report", run, "-o", file, *words)
    assert ran.code == 0, ran.err
    assert ran.err.startswith(f"wrote {file}")
    return (Path.cwd() / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("words", [(), ("--as-if", "--offer", "aws/g4dn.12xlarge", "-u", "0.3")])
def test_the_page_needs_no_network(rackrate: Command, cpu_run: Path, words: tuple[str, ...]) -> None:
    page = Page(written(rackrate, cpu_run, "html", *words))
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), f"<{tag} {name}={value!r}>"
    style = "".join(
        re.findall(r"<style>(.*?)</style>", (Path.cwd() / "written.html").read_text(encoding="utf-8"), re.DOTALL)
    )
    assert style != ""
    assert "url(" not in style
    assert "@import" not in style
    assert len(page.tags("table")) >= 4


def test_the_page_has_its_charts_and_figures(rackrate: Command, cpu_run: Path) -> None:
    page = Page(written(rackrate, cpu_run, "html", "--offer", "aws/c7a.large"))
    assert [tag.get("type") for tag in page.tags("script")] == ["application/json", None, None, None, None]
    specs = json.loads(page.scripts[0])
    drawn = {attributes["id"] for attributes in page.tags("div") if (attributes.get("id") or "").startswith("chart-")}
    assert drawn == {f"chart-{name}" for name in specs}
    cost = json.dumps(specs["cost"])
    assert "aws/c7a.large" in cost
    assert "https://vega.github.io/schema" in cost  # a name of the format, which nothing fetches
    assert "$0.119" in page.text
    assert "llama-3.2-1b-instruct" in page.text


def test_what_comes_from_outside_is_escaped_in_the_page(
    rackrate: Command, hostile_run: Path, hostile_rig: Path
) -> None:
    text = written(rackrate, hostile_run, "html", "--own", hostile_rig)
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    page = Page(text)
    assert len(page.scripts) == 5
    assert page.tags("img") == []
    assert page.text.count("alert(1)") >= 6  # shown as what it is: model, engine, version, command, machine, rig
    assert not any("alert(" in script for script in page.scripts[1:])
    assert HOSTILE in json.dumps(json.loads(page.scripts[0]))


def test_what_comes_from_outside_is_escaped_in_markdown(
    rackrate: Command, hostile_run: Path, hostile_rig: Path
) -> None:
    text = written(rackrate, hostile_run, "md", "--own", hostile_rig)
    assert "alert(1)" in text
    assert [line for line in text.splitlines() if "<script" in line or "<img" in line] == []


def test_what_comes_from_outside_is_whole_in_json_and_csv(
    rackrate: Command, hostile_run: Path, hostile_rig: Path
) -> None:
    values = json.loads(written(rackrate, hostile_run, "json", "--own", hostile_rig))
    assert values["run"]["provenance"]["model"]["requested"] == HOSTILE
    assert values["pricing"]["machines"][0]["cost"]["name"] == HOSTILE
    rows = list(csv.DictReader(io.StringIO(written(rackrate, hostile_run, "csv", "--own", hostile_rig))))
    assert {row["model"] for row in rows} == {HOSTILE}
    assert {row["machine"] for row in rows} == {HOSTILE}


@pytest.mark.parametrize("command", ["price", "show"])
def test_what_comes_from_outside_is_text_in_the_terminal(rackrate: Command, tmp_path: Path, command: str) -> None:
    machine = CPU.model_copy(update={"cpu_model": "[red]cpu[/nothing]"})
    run = write_run(tmp_path / "[bold]run[/x]", machine, model="[red]model[/y]", catalogue_id=None, note="[/z]")
    words = ["--sources", "--usd-per-hour", "1"] if command == "price" else []
    ran = rackrate(command, run, *words)
    assert ran.code == 0
    assert "[red]model[/y]" in ran.out


def test_the_four_formats_agree(rackrate: Command, cpu_run: Path) -> None:
    words = ("--offer", "aws/c7a.large", "--api", "gpt-3.5-turbo")
    values = json.loads(written(rackrate, cpu_run, "json", *words))
    blended = values["pricing"]["machines"][0]["full_load"]["blended_usd"]
    assert blended == pytest.approx(BLENDED_C7A_LARGE, rel=1e-6)
    rows = list(csv.DictReader(io.StringIO(written(rackrate, cpu_run, "csv", *words))))
    assert [(row["concurrency"], row["kind"]) for row in rows] == [
        ("1", "closed"), ("2", "closed"), ("4", "closed"), ("8", "closed"), ("4", "prefill"),
    ]  # fmt: skip
    assert float(rows[2]["usd_per_1m_tokens"]) == pytest.approx(blended)
    assert float(rows[2]["output_tok_s"]) == pytest.approx(80.0, rel=1e-6)
    assert float(rows[2]["e2e_p50_s"]) == pytest.approx(1.6)
    assert "$0.119" in written(rackrate, cpu_run, "html", *words)
    assert "**$0.119** per 1M tokens, input and output together, at full load: aws/c7a.large" in written(
        rackrate, cpu_run, "md", *words
    )


def test_markdown_tables_have_as_many_cells_as_columns(rackrate: Command, hostile_run: Path) -> None:
    width: int | None = None
    tables = 0
    for line in written(rackrate, hostile_run, "md").splitlines():
        if not line.startswith("|"):
            width = None
            continue
        cells = len(re.findall(r"(?<!\\)\|", line))
        tables += width is None
        width = width or cells
        assert cells == width, line
    assert tables >= 3


@pytest.mark.parametrize("kind", FORMATS)
def test_equal_inputs_give_equal_bytes(rackrate: Command, cpu_run: Path, kind: str) -> None:
    first, second = (written(rackrate, cpu_run, kind) for _ in range(2))
    assert first == second
    assert len(first) > 500


def test_another_process_writes_the_same_page(
    rackrate: Command, cpu_run: Path, private_environment: dict[str, str], tmp_path: Path
) -> None:
    here = written(rackrate, cpu_run, "html")
    command = [sys.executable, "-m", "rackrate", "report", str(cpu_run), "-o", "there.html"]
    environment = {**private_environment, "PYTHONHASHSEED": "12345", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    subprocess.run(command, check=True, timeout=60, cwd=tmp_path, env=environment, capture_output=True)
    assert (tmp_path / "there.html").read_text(encoding="utf-8") == here


def test_formats_are_chosen_by_ending_or_by_name(rackrate: Command, cpu_run: Path, tmp_path: Path) -> None:
    assert rackrate("report", cpu_run, "-f", "md").out.startswith("# ")
    assert json.loads(rackrate("report", cpu_run, "-f", "json").out)["run"]["schema"] == "rackrate.run-summary/2"
    assert rackrate("report", cpu_run, "-o", "sub/page.HTM").code == 0
    assert (tmp_path / "sub" / "page.HTM").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert rackrate("report", cpu_run).code == 0
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-f", "pdf"], r"--format is one of html, md, json, csv, not 'pdf'"),
        (["-o", "report.docx"], r"report\.docx: give a name that ends in \.html, "),
        (["-o", "file/below.md"], r"file/below\.md: cannot be written \("),
        (["--utilisation", "2"], r"--utilisation is a share"),
        (["--offer", "aws/g4dn.12xlarge"], r"aws/g4dn\.12xlarge is 4 x t4, the run was on CPUs"),
    ],
)
def test_a_report_that_cannot_be_is_refused(
    rackrate: Command, cpu_run: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    (tmp_path / "file").write_text("not a directory", encoding="utf-8")
    assert re.match(said, refused(rackrate("report", cpu_run, *words)))


def test_the_chart_library_is_the_one_that_was_checked() -> None:
    folder = resources.files("rackrate.report") / "vega"
    sums: dict[str, str] = {}
    for line in (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        digest, name = line.split()
        sums[name] = digest
    shipped = {file.name for file in folder.iterdir() if file.name.endswith(".js")}
    assert set(sums) == shipped == {"vega.min.js", "vega-lite.min.js", "vega-embed.min.js"}
    for name, expected in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected, name


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("arguments", [["show", "--json"], ["show"], ["report", "--force", "-f", "md"]])
def test_output_that_cannot_be_written_is_one_sentence(tmp_path: Path, arguments: list[str]) -> None:
    run = write_run(tmp_path / "run", CPU)
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "rackrate", *arguments, str(run)],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr == "rackrate: standard output cannot be written (No space left on device)\n"


def test_a_dash_is_standard_output_for_a_report(rackrate: Command, cpu_run: Path) -> None:
    for words in (("-f", "md"), ()):
        ran = rackrate("report", cpu_run, "-o", "-", *words)
        assert ran.code == 0, ran.err
        assert ran.out.startswith("# " if words else "<!doctype html>")
        assert ran.err == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("report", "r", "-o", ".html"), ".html: give a name that ends in .html, .md, .json or .csv"),
        (("report", "r", "-o", "x.txt"), "x.txt: give a name that ends in .html, .md, .json or .csv"),
        (("show", "r", "-o", "-"), "- is no name: give --out one (`--json` prints on standard output)"),
        (("trace", "t.csv", "-o", ".csv"), ".csv: give a name that ends in"),
        (("simulate", "m", "-o", "-"), "- is no name: give --out one"),
        (("calibrate", "r", "-o", "-"), "- is no name: give --out one"),
        (("calibrate", "r", "--report", "-"), "- is no name: give --report one"),
        (("study", "new", "-"), "- is no name: give FILE one"),
    ],
)
def test_a_name_that_is_none_is_refused_before_anything_is_read(
    rackrate: Command, words: tuple[str, ...], said: str
) -> None:
    assert said in refused(rackrate(*words))


@pytest.mark.parametrize("name", ["run.json", "requests.jsonl", "power.csv"])
def test_a_result_never_takes_the_place_of_a_file_of_a_run(rackrate: Command, cpu_run: Path, name: str) -> None:
    before = (cpu_run / "run.json").read_bytes()
    ending = [] if name.endswith((".json", ".csv")) else ["-f", "json"]
    assert "has a file of that name" in refused(rackrate("report", cpu_run, "--force", "-o", cpu_run / name, *ending))
    assert (cpu_run / "run.json").read_bytes() == before


def test_a_result_never_takes_the_place_of_what_the_command_reads(rackrate: Command, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    text = "time_s,input_tokens,output_tokens\n0,10,5\n1,12,6\n2,9,4\n"
    trace.write_text(text, encoding="utf-8")
    (tmp_path / "same.csv").hardlink_to(trace)
    for name in ("trace.csv", "same.csv"):
        ran = rackrate("trace", trace, "-o", tmp_path / name)
        assert (ran.code, ran.err.count("\n")) == (2, 1)
        assert "not written, for the command reads it; name another file" in ran.err
    assert trace.read_text(encoding="utf-8") == text
