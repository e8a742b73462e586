"""rackrate doctor: what this machine has, and what is missing."""

from __future__ import annotations

from rackrate.cli import options as given


def doctor(as_json: given.AsJson = False) -> None:
    """Say what this machine has, what is missing, and what to do about it."""
    from rackrate.app.doctor import examine
    from rackrate.cli.context import shell_context
    from rackrate.cli.output import print_json, show
    from rackrate.report.present.lists import document
    from rackrate.report.render.terminal import renderable

    rows = [
        {
            "what": item.what, "state": item.state, "found": item.found,
            "do": f"rackrate engines install {item.install}" if item.install else item.todo.replace("{on}", "--on"),
        }
        for item in examine(shell_context())
    ]  # fmt: skip
    if as_json:
        print_json(rows)
    else:
        show(renderable(document(rows)))
