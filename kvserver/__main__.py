"""The program `kvserver`, which is `python -m kvserver`, too."""

import gc

# Nothing that is imported is garbage. The collector would look for it some dozens of times: a tenth of a server's start.
gc.disable()

from kvserver.cli.main import main  # noqa: E402

gc.freeze()
gc.enable()

if __name__ == "__main__":
    raise SystemExit(main())
