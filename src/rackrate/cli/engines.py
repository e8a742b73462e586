"""rackrate engines: which engines there are, what each needs; `install` makes one ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rackrate.cli import options as given

if TYPE_CHECKING:
    from rackrate.engines.spec import EngineSpec
    from rackrate.schemas.lists import EnginesView, SettingsView


def engines(
    action: Annotated[
        str | None,
        typer.Argument(
            metavar="install|settings", help="install, settings, or nothing to list them.", show_default=False
        ),
    ] = None,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The engine.", show_default=False)] = None,
    out: given.Out = None,
    as_json: given.AsJson = False,
) -> None:
    """List the engines and what each needs; `engines install NAME` makes one ready, `settings NAME` lists its settings.

    An engine lives in an environment of its own in your cache directory (RACKRATE_CACHE moves it), from pinned
    packages whose hashes are checked.
    """
    from rackrate.cli.output import deliver
    from rackrate.errors import EngineError

    if action == "install":
        if name is None:
            raise EngineError("say which engine: rackrate engines install llamacpp")
        _install(name)
    elif action == "settings":
        if name is None:
            raise EngineError("say of which engine: rackrate engines settings llamacpp")
        deliver(_settings(name), as_json=as_json, out=out)
    elif action is None:
        deliver(_list(), as_json=as_json, out=out)
    else:
        raise EngineError(
            f"`rackrate engines {action}` is not a command; use `rackrate engines` or `rackrate engines install NAME`"
        )


def _install(name: str) -> None:
    from rackrate.app.engines import InstallEngineRequest, install_engine
    from rackrate.cli.context import shell_context
    from rackrate.cli.output import say

    done = install_engine(InstallEngineRequest(name), shell_context())
    say(f"{done.spec.title} is ready ({done.seconds:.0f} s): {_how(done.spec)} --model {done.model}")


def _settings(name: str) -> SettingsView:
    from rackrate.app.engines import settings_of_engine
    from rackrate.schemas.lists import SettingsView

    return SettingsView(name, settings_of_engine(name))


def _list() -> EnginesView:
    from rackrate.app.engines import list_engines
    from rackrate.schemas.lists import EnginesView, ListedEngine

    return EnginesView(
        [
            ListedEngine(item.spec.name, item.state, item.spec.title, item.spec.needs, _how(item.spec))
            for item in list_engines()
        ]
    )


def _how(spec: EngineSpec) -> str:
    """The command that measures an engine."""
    if spec.launch is not None:
        return f"rackrate measure --engine {spec.name}"
    return f"rackrate measure --url {spec.url}" + (" --key-env NAME" if spec.needs_key else "")
