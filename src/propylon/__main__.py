"""`python -m propylon`: the same as the command `propylon`."""

from propylon.cli.main import main

if __name__ == "__main__":
    main(prog_name="propylon")
