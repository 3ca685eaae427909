"""A program that uses Flask-Caching, whose cache is that of cachelib: `python flask_caching_session.py PORT`."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Any

import flask
import redis
from flask_caching import Cache


def main(port: int) -> None:
    client = redis.Redis(port=port)
    client.flushall()
    app = flask.Flask("session")
    cache: Any = Cache(app, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_PORT": port, "CACHE_KEY_PREFIX": "page:"})
    calls = []

    @app.route("/page")
    @cache.cached(timeout=100, query_string=True)
    def page() -> str:
        calls.append("page")
        return f"page {flask.request.args['number']}"

    @cache.memoize(timeout=100)
    def double(number: int) -> int:
        calls.append("double")
        return number * 2

    browser = app.test_client()
    assert [browser.get(f"/page?number={number}").text for number in (1, 1, 2)] == ["page 1", "page 1", "page 2"]
    assert calls == ["page", "page"]
    assert all(0 < client.ttl(key) <= 100 for key in client.keys("page:*"))
    with app.app_context():
        calls.clear()
        assert [double(2), double(2), double(3)] == [4, 4, 6]
        cache.delete_memoized(double, 2)
        assert [double(2), double(3)] == [4, 6]
        assert len(calls) == 3
        cache.delete_memoized(double)
        assert double(3) == 6
        assert len(calls) == 4
        assert cache.set("key", {"name": "Ada"}, timeout=50)
        assert cache.get("key") == {"name": "Ada"}
        assert cache.add("key", 1) is False
        assert cache.has("key")
        assert cache.set_many({"a": 1, "b": [2]}) == ["a", "b"]
        assert cache.get_many("a", "b", "missing") == [1, [2], None]
        assert cache.get_dict("a", "b") == {"a": 1, "b": [2]}
        assert cache.cache.inc("a", 5) == 6
        assert cache.cache.dec("a", 2) == 4
        assert cache.delete_many("a", "b") == ["a", "b"]
        assert cache.unlink("key") == 1
        assert cache.delete("key") is False
        client.set("other", "stays")
        assert cache.clear()
    assert client.keys() == [b"other"]
    print(version("flask-caching"))


if __name__ == "__main__":
    main(int(sys.argv[1]))
