"""The command line: one file per command. Only this package prints, exits and reads the environment."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from rackrate import __version__
from rackrate.cli import (
    calibrate,
    catalog,
    compare,
    doctor,
    energy,
    engines,
    fit,
    fleet,
    import_,
    measure,
    plan,
    price,
    quality,
    report,
    serve,
    show,
    side_by_side,
    simulate,
    study,
    tokens,
    trace,
    traffic,
    tune,
    validate,
    verify,
)
from rackrate.cli.output import print_text
from rackrate.errors import UserError

app = typer.Typer(
    name="rackrate",
    help="What a million tokens costs on hardware you rent or own, measured at your own traffic, and when that beats "
    "an API.\n\nThe first two commands: rackrate engines install llamacpp, then rackrate measure --engine llamacpp.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help starts in a third of the time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
COMMANDS: dict[str, Callable[..., None]] = {
    "doctor": doctor.doctor,
    "engines": engines.engines,
    "measure": measure.measure,
    "trace": trace.trace,
    "import": import_.import_,
    "show": show.show,
    "side-by-side": side_by_side.side_by_side,
    "price": price.price,
    "compare": compare.compare,
    "study": study.study,
    "traffic": traffic.traffic,
    "fleet": fleet.fleet,
    "report": report.report,
    "fit": fit.fit,
    "calibrate": calibrate.calibrate,
    "verify": verify.verify,
    "validate": validate.validate,
    "simulate": simulate.simulate,
    "plan": plan.plan,
    "serve": serve.serve,
    "tune": tune.tune,
    "quality": quality.quality,
    "tokens": tokens.tokens,
    "energy": energy.energy,
    "catalog": catalog.catalog,
}
for _name, _function in COMMANDS.items():
    app.command(_name)(_function)


def _version(wanted: bool) -> None:
    if wanted:
        print_text(f"rackrate {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Print help."""


_ClickException: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)  # typer does not export it


def main() -> None:
    """Runs a command. A mistake of the user's becomes one sentence on standard error and exit code 2."""
    try:
        sys.exit(app(standalone_mode=False))
    except UserError as error:
        print(f"rackrate: {error}", file=sys.stderr)
        sys.exit(2)
    except _ClickException as error:
        _show_usage_error(error)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        print("rackrate: stopped", file=sys.stderr)
        sys.exit(130)


def _show_usage_error(error: Exception) -> None:
    """A wrong flag or argument, in a sentence; a command without any shows its help."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
        print(context.get_help(), file=sys.stderr)
        return
    message = " ".join(str(getattr(error, "format_message", error.__str__)()).split()).rstrip(".")
    where = f" (`{context.command_path} --help` lists what there is)" if context is not None else ""
    print(f"rackrate: {message}{where}", file=sys.stderr)
