"""`python -m rackrate` is the command `rackrate`."""

from rackrate.cli import main

main()
