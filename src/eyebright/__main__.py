"""`python -m eyebright` is the command `eyebright`."""

from eyebright.cli.main import main

main()
