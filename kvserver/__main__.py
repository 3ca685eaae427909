"""The program `kvserver`, also as `python -m kvserver`: it imports the package without the garbage collector, and runs it."""

import gc

# Imports make no garbage, and the collector would look for some dozens of times: that is a tenth of a server's start.
gc.disable()

try:
    from kvserver.cli.main import main
except KeyboardInterrupt:
    # As the program does further on.
    raise SystemExit(130) from None

gc.freeze()
gc.enable()

if __name__ == "__main__":
    raise SystemExit(main())
