"""A program that uses Django's own Redis cache: `python django_session.py PORT`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import django
from django.conf import settings
from django.core.cache import cache as django_cache

cache: Any = django_cache


async def use_async() -> None:
    await cache.aset("async", "value", 60)
    assert await cache.aget("async") == "value"
    assert await cache.aincr("hits") == 13
    assert await cache.adelete("async")


def main(port: int) -> None:
    backend = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": f"redis://127.0.0.1:{port}",
        "KEY_PREFIX": "session",
    }
    settings.configure(CACHES={"default": backend})
    django.setup()
    cache.clear()
    document = {"name": "Ada", "tags": ["é", b"\xff"], "none": None}
    cache.set("document", document, timeout=300)
    assert cache.get("document") == document
    assert cache.get("missing", "default") == "default"
    assert cache.add("document", "other") is False
    assert cache.add("added", 1) is True
    assert cache.has_key("added")
    assert cache.touch("added", 100) is True
    assert cache.touch("missing", 100) is False
    cache.set("forever", 1, timeout=None)
    cache.set("at-once", 1, timeout=0)
    assert cache.get("at-once") is None
    cache.set("hits", 10)
    assert cache.incr("hits") == 11
    assert cache.incr("hits", 4) == 15
    assert cache.decr("hits", 3) == 12
    try:
        cache.incr("missing")
    except ValueError:
        pass
    else:
        raise AssertionError("the increment of a missing key raised nothing")
    cache.set_many({"a": 1, "b": [2]}, timeout=60)
    assert cache.get_many(["a", "b", "missing"]) == {"a": 1, "b": [2]}
    cache.delete_many(["a", "b"])
    assert cache.get_many(["a", "b"]) == {}
    assert cache.get_or_set("made", lambda: "new") == "new"
    assert cache.incr_version("made") == 2
    assert cache.get("made", version=2) == "new"
    assert cache.delete("document") is True
    assert cache.delete("document") is False
    asyncio.run(use_async())
    cache.clear()
    assert cache.get("forever") is None
    print(django.__version__)


if __name__ == "__main__":
    main(int(sys.argv[1]))
