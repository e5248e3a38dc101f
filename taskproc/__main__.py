"""`python -m taskproc`: the command `taskproc`."""

from taskproc.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
