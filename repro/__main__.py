"""`python -m repro`, as launchers such as torchrun start it."""

from repro.commands.cli import main

if __name__ == "__main__":
    main()
