"""`python -m wmrun` is `wmrun`."""

from wmrun.cli.app import main

main()
