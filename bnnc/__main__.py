"""`bnnc` and `python -m bnnc`: the command line."""

from __future__ import annotations


def main() -> None:
    """Run the command line with the arguments of this process; never returns normally."""
    from bnnc.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
