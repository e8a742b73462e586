"""The command `rackrate`, also as `python -m rackrate`."""

import sys


def main() -> None:
    """Runs a command. Ctrl-C while the command is still being loaded is a sentence, too."""
    try:
        from rackrate.cli import main as command
    except KeyboardInterrupt:
        sys.stderr.write("rackrate: stopped\n")
        sys.exit(130)
    command()


if __name__ == "__main__":
    main()
