"""rackrate doctor: what this machine has, and what is missing."""

from __future__ import annotations

from rackrate.cli import options as given


def doctor(out: given.Out = None, as_json: given.AsJson = False) -> None:
    """Say what this machine has, what is missing, and what to do about it."""
    from rackrate.app.doctor import examine
    from rackrate.cli.context import shell_context
    from rackrate.cli.output import deliver
    from rackrate.schemas.lists import DoctorView, Finding

    findings = [
        Finding(
            item.what, item.state, item.found,
            f"rackrate engines install {item.install}" if item.install else item.todo.replace("{on}", "--on"),
        )
        for item in examine(shell_context())
    ]  # fmt: skip
    deliver(DoctorView(findings), as_json=as_json, out=out)
