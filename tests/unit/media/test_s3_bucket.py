"""The calls on a bucket: what they return, and one line for all that goes wrong."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from helpers.s3_servers import CREDENTIALS, FakeS3, Fault, S3Server
from kvserver.errors import MediumError, Unknown
from kvserver.media import s3_bucket
from kvserver.media.s3_bucket import Bucket, Found, Taken


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("s3://", "s3://BUCKET/PREFIX is asked for"),
        ("s3:///prefix", "s3://BUCKET/PREFIX is asked for"),
        ("s3://KEY:secret@bucket/prefix", "s3://BUCKET/PREFIX is asked for"),
        ("s3://bucket:80/prefix", "s3://BUCKET/PREFIX is asked for"),
        ("s3://bucket/a//b", "s3://bucket/…: there is an empty part"),
        ("s3://bucket/../b", "s3://bucket/…: there is an empty part"),
        ("s3://bucket/a%0ab", "s3://bucket/…: there is an empty part"),
        ("s3://bucket/a?endpiont=http://x", "s3://bucket/…: there is no endpiont=, but endpoint= and region="),
        ("s3://bucket/a?endpoint=nonsense", "s3://bucket/…: the endpoint is no URL such as https://host:9000"),
        ("s3://bucket/a?endpoint=", "s3://bucket/…: the endpoint is no URL"),
        ("s3://bucket/a?endpoint=http://x:port", "s3://bucket/…: the endpoint is no URL"),
        ("s3://bucket/a?endpoint=http://u:secret@x", "s3://bucket/…: the endpoint is no URL"),
        ("s3://bucket/a?endpoint=http://a%20b", "s3://bucket/…: the endpoint is no URL"),
        ("s3://bucket/a?region=a/b", "s3://bucket/…: region= is no name of a region"),
    ],
)
def test_url_that_means_nothing_is_told_in_one_line(url: str, line: str) -> None:
    with pytest.raises(MediumError) as failure:
        Bucket(url)
    assert str(failure.value).startswith(line)
    assert "\n" not in str(failure.value)
    assert "secret" not in str(failure.value)


def test_endpoint_comes_from_the_environment_too(fake_s3: tuple[S3Server, FakeS3], monkeypatch: pytest.MonkeyPatch) -> None:
    server, store = fake_s3
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    Bucket("s3://bucket/pre%20fix/").put("x", b"data")
    assert list(store.objects) == ["/bucket/pre fix/x"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    with pytest.raises(MediumError, match="the endpoint is no URL"):
        Bucket("s3://bucket")


def test_calls_return_what_is_there(fake_s3: tuple[S3Server, FakeS3]) -> None:
    server, _ = fake_s3
    bucket = Bucket(server.url("bucket"))
    assert bucket.get("x") is None
    assert bucket.look("x") is None
    assert bucket.read("x", 0, 1) is None
    tag = bucket.create("x", b"data", {"kv-mark": "1 2 -"})
    assert isinstance(tag, str)
    found = bucket.get("x")
    assert found
    assert (found.data, found.metadata["kv-mark"], found.tag) == (b"data", "1 2 -", tag)
    looked = bucket.look("x")
    assert looked
    assert looked["kv-mark"] == "1 2 -"
    assert bucket.create("x", b"other") == Taken(is_conflict=False)
    assert bucket.replace("x", b"other", '"stale"') == Taken(is_conflict=False)
    assert isinstance(bucket.replace("x", b"other", tag), str)
    bucket.delete(["x", "y"])
    bucket.delete([])
    assert bucket.get("x") is None


@pytest.mark.parametrize(
    ("fault", "error", "line"),
    [
        (Fault(500, "InternalError"), Unknown, "answers 500 InternalError: "),
        (Fault(503, "SlowDown"), Unknown, "answers 503 SlowDown: "),
        (Fault(429, "TooMany"), Unknown, "answers 429 TooMany: "),
        (Fault(400, "BadDigest"), MediumError, "answers 400 BadDigest: "),
        (Fault(403, "SignatureDoesNotMatch"), MediumError, "does not let us in, or do that (SignatureDoesNotMatch: "),
        (Fault(404, "NoSuchBucket"), MediumError, "there is no bucket bucket at http://127.0.0.1:"),
        # A proxy that does not know the way says so.
        (Fault(404, ""), MediumError, " answers 404"),
        (Fault(), Unknown, "the connection to the store at http://127.0.0.1:"),
        (Fault(has_effect=True), Unknown, "the connection to the store at http://127.0.0.1:"),
    ],
    ids=["500", "503", "429", "400", "403", "404", "404 of a proxy", "broken", "lost"],
)
def test_failed_put_says_if_it_may_have_had_an_effect(
    fake_s3: tuple[S3Server, FakeS3], fault: Fault, error: type[MediumError], line: str
) -> None:
    server, store = fake_s3
    store.fault_of = lambda method, path: fault
    bucket = Bucket(server.url("bucket/kv"))
    for call in (
        lambda: bucket.create("x", b"data"),
        lambda: bucket.replace("x", b"data", '"tag"'),
        lambda: bucket.put("x", b""),
    ):
        with pytest.raises(MediumError) as failure:
            call()
        assert type(failure.value) is error
        assert str(failure.value).startswith("s3://bucket/kv: ")
        assert line in str(failure.value)
        assert "\n" not in str(failure.value)
        assert "<" not in str(failure.value)
    # Nothing was tried twice.
    assert len(store.requests) == 3
    for look in (lambda: bucket.get("x"), lambda: bucket.read("x", 0, 1), lambda: list(bucket.list("x"))):
        with pytest.raises(MediumError) as failure:
            look()
        assert type(failure.value) is MediumError
        assert "\n" not in str(failure.value)


def test_answer_that_does_not_come_is_unknown(fake_s3: tuple[S3Server, FakeS3], monkeypatch: pytest.MonkeyPatch) -> None:
    server, store = fake_s3
    monkeypatch.setattr(s3_bucket, "SMALL_TIMEOUT", "50ms")
    bucket = Bucket(server.url("bucket/kv"))
    store.fault_of = lambda method, path: Fault(has_effect=True, delay_s=0.5)
    with pytest.raises(Unknown, match=r"did not answer in time$"):
        bucket.create("x", b"data")
    assert list(store.objects) == ["/bucket/kv/x"]


def test_conflict_is_told_from_an_object_that_is_there(fake_s3: tuple[S3Server, FakeS3]) -> None:
    server, store = fake_s3
    store.fault_of = lambda method, path: Fault(409, "ConditionalRequestConflict")
    bucket = Bucket(server.url("bucket/kv"))
    assert bucket.create("x", b"data") == Taken(is_conflict=True)
    assert bucket.replace("x", b"data", '"tag"') == Taken(is_conflict=True)


def test_no_connection_is_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    # A port that is taken, and at which nobody listens.
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        bucket = Bucket(f"s3://bucket/kv?endpoint={endpoint}")
        with pytest.raises(MediumError) as failure:
            bucket.create("x", b"data")
    assert type(failure.value) is MediumError
    assert str(failure.value) == f"s3://bucket/kv: no connection to the store at {endpoint}"


def test_bucket_that_is_not_there_is_told(s3_server: S3Server) -> None:
    bucket = Bucket(s3_server.url("no-such-bucket/kv"))
    for call in (
        lambda: bucket.get("x"),
        lambda: bucket.create("x", b""),
        lambda: bucket.replace("x", b"", '"tag"'),
        lambda: list(bucket.list("x")),
        lambda: bucket.write("x").close(),
    ):
        with pytest.raises(MediumError) as failure:
            call()
        assert str(failure.value) == f"s3://no-such-bucket/kv: there is no bucket no-such-bucket at {s3_server.endpoint}"


def test_large_object_is_seen_when_it_is_whole(s3_server: S3Server) -> None:
    bucket = Bucket(s3_server.url("kvserver/large"))
    large = bucket.write("object")
    for _ in range(3):
        large.write(b"x" * (6 << 20))
    assert bucket.look("object") is None
    large.close()
    assert bucket.read("object", (18 << 20) - 5, 10) == b"x" * 5
    assert bucket.read("object", 18 << 20, 10) == b""
    assert [listed.path for listed in bucket.list("object")] == []
    bucket.put("folder/a", b"")
    assert [listed.path for listed in bucket.list("folder")] == ["folder/a"]
    assert bucket.get("folder/a") == Found(b"", {"content-type": "binary/octet-stream"}, '"d41d8cd98f00b204e9800998ecf8427e"')


def test_who_logs_in_is_asked_for_where_nobody_is_named(
    fake_s3: tuple[S3Server, FakeS3], monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(*_: object, **__: object) -> None:
        raise OSError(
            "Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token in 1s\n\nDebug source: …"
        )

    monkeypatch.setattr("obstore.get", get)
    with pytest.raises(MediumError) as failure:
        Bucket(fake_s3[0].url("bucket/kv")).get("x")
    line = "s3://bucket/kv: who logs in is not known: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    assert str(failure.value) == line
