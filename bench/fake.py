"""fakeredis's TCP server, as a program.

Owns its command line. Must never change how fakeredis works.
"""

import argparse

from fakeredis import TcpFakeServer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fake", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    TcpFakeServer(("127.0.0.1", options.port)).serve_forever()


if __name__ == "__main__":
    main()
