"""Makes the pictures of the README from a run: `python tools/make_pictures.py demo/run`.

docs/pictures/terminal.svg is what `rackrate price` prints; chart.png is the report's cost chart, drawn by a headless
Chromium if there is one.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from rackrate.app.pricing import PriceRequest, price_run
from rackrate.app.runs import LoadedRun
from rackrate.cli.context import shell_context
from rackrate.report.present import present
from rackrate.report.render import render
from rackrate.report.render.terminal import renderable

PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"


def main() -> None:
    """Writes both pictures."""
    run = Path(sys.argv[1])
    priced = price_run(PriceRequest(run=run, force=True), shell_context())
    # the rented machine: the owned one is an assumption
    priced = replace(priced, pricing=replace(priced.pricing, machines=priced.pricing.machines[-1:]))
    PICTURES.mkdir(parents=True, exist_ok=True)
    console = Console(record=True, width=132, file=io.StringIO(), highlight=False)
    console.print(f"$ rackrate show {run}", style="bold")
    console.print(renderable(present(LoadedRun(priced.run, priced.levels, priced.best))))
    console.print(f"\n$ rackrate price {run}", style="bold")
    console.print(renderable(present(priced.pricing)))
    (PICTURES / "terminal.svg").write_text(console.export_svg(title="rackrate"), encoding="utf-8")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("wrote terminal.svg; no Chromium, so no chart.png")
    page = render(priced, "html").replace(
        "</style>",
        "header, .cards, figure ~ figure, h2, h3, .scroll, p, dl { display: none !important; } "
        "main { padding: 0; max-width: none; } figure.wide { border: 0; }</style>",
        1,
    )
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "chart.html"
        file.write_text(page, encoding="utf-8")
        subprocess.run(
            [
                chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
                "--disable-background-networking", f"--user-data-dir={place}/profile", "--hide-scrollbars",
                "--virtual-time-budget=8000", "--window-size=900,470", f"--screenshot={PICTURES / 'chart.png'}",
                file.as_uri(),
            ],
            check=True,
            capture_output=True,
        )  # fmt: skip
    sys.stdout.write(f"wrote {PICTURES / 'terminal.svg'} and {PICTURES / 'chart.png'}\n")


if __name__ == "__main__":
    main()
