"""A program that limits the requests to a Flask application by Flask-Limiter: `python flask_limiter_session.py PORT`.

It prints the version last.
"""

from __future__ import annotations

import sys
from importlib.metadata import version

from flask import Flask, request
from flask_limiter import Limiter


def user() -> str:
    return str(request.headers["user"])


def use(port: int, strategy: str) -> None:
    application = Flask(__name__)
    uri = f"redis://127.0.0.1:{port}/1"
    limiter = Limiter(
        user, app=application, storage_uri=uri, strategy=strategy, default_limits=["4 per 10 years"], headers_enabled=True
    )

    @application.route("/usual")
    def usual() -> str:
        return "usual"

    @application.route("/rare")
    @limiter.limit("1 per 10 years")
    def rare() -> str:
        return "rare"

    @application.route("/free")
    @limiter.exempt
    def free() -> str:
        return "free"

    client = application.test_client()

    def statuses(path: str, name: str, count: int) -> list[int]:
        return [client.get(path, headers={"user": name}).status_code for _ in range(count)]

    assert statuses("/usual", "Ada", 6) == [200] * 4 + [429] * 2
    assert statuses("/usual", "Grace", 2) == [200] * 2
    assert statuses("/rare", "Ada", 2) == [200, 429]
    assert statuses("/free", "Ada", 10) == [200] * 10
    headers = client.get("/usual", headers={"user": "Grace"}).headers
    assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == ("4", "1")
    limiter.reset()
    assert statuses("/usual", "Ada", 1) == [200]
    limiter.reset()


def main(port: int) -> None:
    for strategy in ("fixed-window", "moving-window", "sliding-window-counter"):
        use(port, strategy)
    print(version("flask-limiter"))


if __name__ == "__main__":
    main(int(sys.argv[1]))
