"""A program that uses Flask-Session on Redis: `python flask_session_session.py PORT`."""

from __future__ import annotations

import sys
from importlib.metadata import version

import flask
import redis
from flask_session import Session


def main(port: int) -> None:
    client = redis.Redis(port=port)
    client.flushall()
    app = flask.Flask("session")
    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=client, SECRET_KEY="of the tests", PERMANENT_SESSION_LIFETIME=1000)
    Session(app)

    @app.route("/visit")
    def visit() -> str:
        flask.session["visits"] = flask.session.get("visits", 0) + 1
        flask.session["names"] = ["Ada", "é"]
        return str(flask.session["visits"])

    @app.route("/leave")
    def leave() -> str:
        flask.session.clear()
        return "bye"

    browser, other = app.test_client(), app.test_client()
    assert [browser.get("/visit").text for _ in range(3)] == ["1", "2", "3"]
    assert other.get("/visit").text == "1"
    keys = client.keys("session:*")
    assert len(keys) == 2
    assert all(900 < client.ttl(key) <= 1000 for key in keys)
    assert browser.get("/leave").text == "bye"
    assert len(client.keys("session:*")) == 1
    assert browser.get("/visit").text == "1"
    print(version("flask-session"))


if __name__ == "__main__":
    main(int(sys.argv[1]))
