"""The command line: one file per command. Only this package prints, exits and reads the environment."""

from __future__ import annotations

import errno
import sys
import textwrap
from typing import Any

import typer
from typer.core import TyperGroup

from rackrate import __version__
from rackrate.cli.commands import COMMANDS, Commands
from rackrate.cli.names import command_line_namer
from rackrate.cli.output import leave_standard_output, print_text, say
from rackrate.cli.streams import prepare_streams, readable
from rackrate.errors import UserError


class _Group(TyperGroup):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = Commands()

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Lists the commands as its base does, without importing them."""
        room = formatter.width - 6 - max(map(len, COMMANDS))
        rows = [(name, textwrap.shorten(f"{does}.", room, placeholder="...")) for name, does in COMMANDS.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


app = typer.Typer(
    name="rackrate",
    cls=_Group,
    help="What a million tokens costs on hardware you rent or own, measured at your own traffic, and when that beats "
    "an API.\n\nThe first two commands: rackrate engines install llamacpp, then rackrate measure --engine llamacpp.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help starts in a third of the time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


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


STOPPED = 130
"""Exit code after Ctrl-C: 128 and the number of the signal."""


def main() -> None:
    """Runs a command. A mistake of the user's becomes one sentence on standard error and exit code 2."""
    prepare_streams()
    try:
        code = app(standalone_mode=False)
        if code == STOPPED:  # typer makes it of a KeyboardInterrupt, and says nothing
            raise KeyboardInterrupt
        sys.exit(code)
    except UserError as error:
        say(f"rackrate: {readable(error.named(command_line_namer()))}")
        sys.exit(2)
    except _ClickException as error:
        _show_usage_error(error)
        sys.exit(2)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} or error.filename is not None:
            raise
        leave_standard_output()  # a help text, which typer prints
        say(f"rackrate: standard output cannot be written ({error.strerror})")
        sys.exit(2)
    except MemoryError:
        say("rackrate: this machine's memory is too small for that: ask for fewer requests, or give a shorter file")
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        say("rackrate: stopped")
        sys.exit(STOPPED)


def _show_usage_error(error: Exception) -> None:
    """A wrong flag or argument, in a sentence; a command without any shows its help."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
        say(context.get_help())
        return
    message = " ".join(str(getattr(error, "format_message", error.__str__)()).split()).rstrip(".")
    where = f" (`{context.command_path} --help` lists what there is)" if context is not None else ""
    say(f"rackrate: {readable(message)}{where}")
