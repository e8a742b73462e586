"""rackrate engines: which engines there are, what each needs; `install` makes one ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rackrate.cli import options as given

if TYPE_CHECKING:
    from rackrate.engines.spec import EngineSpec


def engines(
    action: Annotated[
        str | None,
        typer.Argument(
            metavar="install|settings", help="install, settings, or nothing to list them.", show_default=False
        ),
    ] = None,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The engine.", show_default=False)] = None,
    as_json: given.AsJson = False,
) -> None:
    """List the engines and what each needs; `engines install NAME` makes one ready, `settings NAME` lists its settings.

    An engine lives in an environment of its own in your cache directory (RACKRATE_CACHE moves it), from pinned
    packages whose hashes are checked.
    """
    from rackrate.errors import EngineError

    if action == "install":
        if name is None:
            raise EngineError("say which engine: rackrate engines install llamacpp")
        _install(name)
    elif action == "settings":
        if name is None:
            raise EngineError("say of which engine: rackrate engines settings llamacpp")
        _settings(name, as_json)
    elif action is None:
        _list(as_json)
    else:
        raise EngineError(
            f"`rackrate engines {action}` is not a command; use `rackrate engines` or `rackrate engines install NAME`"
        )


def _install(name: str) -> None:
    import time

    from rackrate.cli.output import say
    from rackrate.engines.known import launcher, listed_engine
    from rackrate.engines.weights import EMBEDDED

    engine, launch = listed_engine(name), launcher(name)
    began = time.monotonic()
    launch.install(say)
    launch.find(EMBEDDED[0].model, say)  # fetched, and converted where the engine does not read GGUF
    say(f"{engine.title} is ready ({time.monotonic() - began:.0f} s): {_how(engine)} --model {EMBEDDED[0].model}")


def _settings(name: str, as_json: bool) -> None:
    from rackrate.cli.output import print_json, show
    from rackrate.engines.known import launcher
    from rackrate.report.tables import plain_table

    settings = launcher(name).settings
    if as_json:
        print_json(
            [
                {"name": setting.name, "kind": setting.kind, "meaning": setting.meaning, "words": setting.words}
                for setting in settings
            ]
        )
        return
    table = plain_table("--set", "is", "what it sets", left=["--set", "is", "what it sets"])
    for setting in settings:
        table.add_row(setting.name, ", ".join(setting.words) or setting.kind, setting.meaning)
    show(table)


def _list(as_json: bool) -> None:
    from rackrate.cli.output import print_json, show
    from rackrate.engines.known import ENGINES

    rows: list[dict[str, str]] = []
    for spec in ENGINES:
        if not spec.needs:
            continue
        state = "by URL"
        if spec.launch is not None:
            state = "ready" if spec.launch.is_ready() else "not installed"
        rows.append({"name": spec.name, "state": state, "engine": spec.title, "needs": spec.needs, "how": _how(spec)})
    if as_json:
        print_json(rows)
        return
    from rich.text import Text

    from rackrate.report.tables import plain_table

    styles = {"ready": "green", "not installed": "yellow", "by URL": "dim"}
    table = plain_table(*rows[0], left=list(rows[0]))
    for row in rows:
        table.add_row(
            row["name"], Text(row["state"], style=styles[row["state"]]), row["engine"], row["needs"], row["how"]
        )
    show(table)


def _how(spec: EngineSpec) -> str:
    """The command that measures an engine."""
    if spec.launch is not None:
        return f"rackrate measure --engine {spec.name}"
    return f"rackrate measure --url {spec.url}" + (" --key-env NAME" if spec.needs_key else "")
