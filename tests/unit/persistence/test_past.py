"""The data of earlier moments, from folders that were written by hand: whole, with gaps, damaged, with a clock set back."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from helpers.histories import WrittenHistory, put
from kvserver.cli.past import member_of, payload_of
from kvserver.errors import HistoryError, MediumError
from kvserver.formats.frame import encode_frame
from kvserver.formats.moment import AtTime
from kvserver.persistence.past import FoundFrame, Past
from kvserver.persistence.timeline import REPLACED
from kvserver.persistence.workplace import finish

EMPTY_ID = hashlib.sha256(b"{}").hexdigest()[:16]


@pytest.fixture
def history(tmp_path: Path) -> WrittenHistory:
    """From 100 to 190 in segment 1, on to 290 in 2, and from 300 in 3, which is the journal's; the frame of 2 was not kept."""
    history = WrittenHistory(tmp_path)
    history.frame(1, 100, b'{"old":"0"}', 1)
    history.segment(1, (110, [put("a", "1")]), (120, [put("a", "2"), put("b", "2")]), (120, [put("c", "3")]))
    history.segment(2, (210, [[b"DEL", b"a"]]), (290, [[b"SELECT", b"3"], put("there", "4"), [b"SELECT", b"0"]]))
    history.frame(3, 300, b'{"$kvs:3:there":"4","b":"2","c":"3","old":"0"}', 4)
    history.segment(3, (310, [[b"FLUSHALL"]]), is_live=True)
    return history


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (100, '{"old":"0"}'),
        (110, '{"a":"1","old":"0"}'),
        (119, '{"a":"1","old":"0"}'),
        ("(120", '{"a":"1","old":"0"}'),
        (120, '{"a":"2","b":"2","c":"3","old":"0"}'),
        ("1:0", '{"old":"0"}'),
        ("1:2", '{"a":"2","b":"2","old":"0"}'),
        ("(1:2", '{"a":"1","old":"0"}'),
        (209, '{"a":"2","b":"2","c":"3","old":"0"}'),
        ("(2:1", '{"a":"2","b":"2","c":"3","old":"0"}'),
        ("2:1", '{"b":"2","c":"3","old":"0"}'),
        (299, '{"$kvs:3:there":"4","b":"2","c":"3","old":"0"}'),
        (305, '{"$kvs:3:there":"4","b":"2","c":"3","old":"0"}'),
        (310, "{}"),
        ("0s", "{}"),
    ],
)
def test_data_of_a_moment(history: WrittenHistory, moment: str | int, expected: str) -> None:
    assert history.at(moment) == expected


def test_frames_are_listed_with_those_of_the_medium(history: WrittenHistory) -> None:
    history.medium.write_bytes(encode_frame(b'{"m":1}') + encode_frame(b'{"old":"0"}') + b"torn")
    frames: list[FoundFrame] = history.read().frames()
    assert [(frame.time_ms, frame.keys, frame.is_linked) for frame in frames] == [
        (100, 1, True),
        (300, 4, True),
        (-1, -1, False),
    ]
    digest = hashlib.sha256(b'{"m":1}').hexdigest()
    assert frames[2].id == digest[:16]
    assert history.at(digest[:16]) == history.at(digest) == '{"m":1}'
    assert history.at(frames[0].id) == '{"old":"0"}'
    with pytest.raises(HistoryError, match=f"there is no frame {EMPTY_ID}"):
        history.at(EMPTY_ID)


def test_later_moment_on_the_way_goes_on_from_the_past(history: WrittenHistory) -> None:
    folder = history.read()
    past = folder.at("110")
    assert folder.at("1:2", past) is past
    assert folder.at("250", past) is past
    assert past.databases[0].peek(b"a") is None
    # An earlier one is loaded anew, and so is one behind the next frame.
    assert folder.at("110", past) is not past
    assert folder.at("310", past) is not past
    assert past.databases[0].peek(b"b") == b"2"


def test_no_record_runs_twice_where_a_past_goes_on(tmp_path: Path) -> None:
    history = WrittenHistory(tmp_path)
    history.frame(1, 100)
    history.segment(1, *((100 + number, [[b"RPUSH", b"l", b"%d" % number]]) for number in range(1, 6)))
    history.segment(2, *((200 + number, [[b"RPUSH", b"l", b"%d" % number]]) for number in range(6, 9)), is_live=True)
    folder, past = history.read(), None
    for moment, count in (("102", 2), ("102", 2), ("1:4", 4), ("207", 7), ("300", 8)):
        past = folder.at(moment, past)
        elements = ",".join(f'"{number}"' for number in range(1, count + 1))
        assert member_of(past.databases, b"l", 0) == f'{{"$kvs":{{"list":[{elements}]}}}}'.encode()


def test_key_that_was_due_at_the_moment_is_missing_and_one_that_was_not_is_there(tmp_path: Path) -> None:
    history = WrittenHistory(tmp_path)
    history.frame(1, 100, b'{"k":{"$kvs":{"expires_at_ms":150,"value":"v"}}}', 1)
    # Its removal was recorded later.
    history.segment(1, (180, [[b"del", b"k"]]))
    for time_ms, value in ((149, b"v"), (150, None), (170, None), (180, None)):
        assert history.read().at(str(time_ms)).databases[0].live(b"k") == value


def test_what_is_due_is_dropped_in_steps(tmp_path: Path) -> None:
    history = WrittenHistory(tmp_path)
    history.frame(
        1, 100, b'{"$kvs:3:t":{"$kvs":{"expires_at_ms":190,"value":"1"}},"t":{"$kvs":{"expires_at_ms":150,"value":"1"}}}', 2
    )
    fields = [[b"HSET", b"h", b"a", b"1", b"b", b"2"], [b"HPEXPIREAT", b"h", b"150", b"FIELDS", b"1", b"a"]]
    history.segment(1, (110, [*fields, put("k", "1"), [b"COPY", b"h", b"g"], [b"HDEL", b"g", b"b"]]), is_live=True)
    past = history.read().at("120")
    assert [*past.drop_due(149)] != []
    assert past.databases.key_count == 5
    assert [*past.drop_due(150)] != []
    assert b"".join(payload_of(past.databases)) == (
        b'{"$kvs:3:t":{"$kvs":{"expires_at_ms":190,"value":"1"}},"h":{"$kvs":{"hash":{"b":"2"}}},"k":"1"}'
    )
    assert past.databases.records.take() == []
    assert not past.is_settled


def test_no_key_rests_where_what_is_due_is_dropped_once_more(tmp_path: Path) -> None:
    history = WrittenHistory(tmp_path)
    history.frame(1, 100)
    keys = [[b"SET", b"%d" % number, b"v", b"PXAT", b"%d" % (150 + number % 2)] for number in range(20_000)]
    history.segment(1, (110, keys), is_live=True)
    past = history.read().at("120")
    for now_ms, left in ((150, 10_000), (151, 0)):
        for _ in past.drop_due(now_ms):
            pass
        assert past.databases.key_count == left


def test_gap_is_told_and_what_is_before_and_behind_it_can_be_read(history: WrittenHistory) -> None:
    (history.path / "0000000002.journal").unlink()
    assert history.at(120) == history.at("1:3") == '{"a":"2","b":"2","c":"3","old":"0"}'
    assert history.at(310) == "{}"
    for time_ms in (121, 299):
        with pytest.raises(HistoryError, match=r"nobody knows what was written behind 1970-01-01T00:00:00\.120Z"):
            history.at(time_ms)
    next(history.path.glob("0000000003-*")).unlink()
    with pytest.raises(HistoryError, match="nobody knows what was written behind"):
        history.at(310)
    with pytest.raises(HistoryError, match="no frame that the segment 3 of the journal goes on from"):
        history.at("3:1")


def test_what_was_before_a_replacement_held_until_then(tmp_path: Path) -> None:
    history = WrittenHistory(tmp_path)
    history.frame(1, 100)
    history.segment(1, (110, [put("a", "1")]))
    history.frame(1 + REPLACED, 200, b'{"b":"2"}', 1)
    history.segment(1 + REPLACED, (210, [put("c", "3")]), linked="0" * 64, is_live=True)
    assert history.at(199) == history.at(f"({1 + REPLACED}:0") == '{"a":"1"}'
    assert history.at(200) == history.at(f"{1 + REPLACED}:0") == '{"b":"2"}'
    assert history.at("0s") == '{"b":"2","c":"3"}'
    with pytest.raises(HistoryError, match="the history has nothing before the segment 1"):
        history.at("(1:0")


def test_end_of_a_journal_that_is_written_no_more_is_no_later_moment(tmp_path: Path) -> None:
    history = WrittenHistory(tmp_path)
    history.frame(1, 100)
    history.segment(1, (110, [put("a", "1")]))
    assert history.at(110) == '{"a":"1"}'
    with pytest.raises(HistoryError, match="nobody knows what was written behind"):
        history.at(111)


@pytest.mark.parametrize("is_live", [False, True])
def test_torn_end_is_damage_but_in_what_is_being_written(tmp_path: Path, is_live: bool) -> None:
    history = WrittenHistory(tmp_path)
    history.frame(1, 100)
    path = history.segment(1, (110, [put("a", "1")]), (120, [put("a", "2")]), is_live=is_live)
    path.write_bytes(path.read_bytes()[:-1])
    assert history.at("1:1") == '{"a":"1"}'
    if is_live:
        assert history.at(130) == '{"a":"1"}'
    else:
        with pytest.raises(HistoryError, match="the segment 1 of the journal is damaged at offset"):
            history.at(130)


def test_damage_is_told_with_its_place_and_what_is_before_it_can_be_read(history: WrittenHistory) -> None:
    path = history.path / "0000000001.journal"
    content = path.read_bytes()
    place = content.index(b"$1\r\n3")
    path.write_bytes(content[:place] + b"$1\r\n9" + content[place + 5 :])
    assert history.at(119) == '{"a":"1","old":"0"}'
    assert history.at("1:2") == '{"a":"2","b":"2","old":"0"}'
    for moment in (120, 200, "1:3", "2:1"):
        with pytest.raises(HistoryError, match=r"the segment 1 of the journal is damaged at offset \d+: the checksum"):
            history.at(moment)
    # Behind the next frame nothing of it is needed.
    assert history.at(310) == "{}"


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data.replace(b"old", b"new"), lambda data: b""])
def test_frame_that_is_damaged_is_told(history: WrittenHistory, damage: object) -> None:
    path = next(history.path.glob("0000000001-*"))
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(HistoryError, match=re.escape("the frame of 1970-01-01T00:00:00.100Z is damaged")):
        history.at(110)


def test_record_that_can_not_be_run_is_damage(history: WrittenHistory) -> None:
    history.segment(3, (310, [[b"NOSUCH", b"x"]]), (320, [put("a", "1")]), is_live=True)
    assert history.at(305).startswith("{")
    with pytest.raises(HistoryError, match="the segment 3 of the journal is damaged at offset 0: this version takes no such"):
        history.at(310)


def test_moment_at_which_nobody_knows_what_was_cut_off_is_told(history: WrittenHistory) -> None:
    history.lose(history.path / "0000000001.journal", 200)
    for time_ms in (120, 199):
        with pytest.raises(
            HistoryError,
            match=re.escape(
                "nobody knows what was written behind 1970-01-01T00:00:00.120Z: it was damaged, and the start at "
                "1970-01-01T00:00:00.200Z cut it off"
            ),
        ):
            history.at(time_ms)
    assert history.at(119) == '{"a":"1","old":"0"}'
    assert history.at(200) == history.at("1:3") == history.at("(2:1") == '{"a":"2","b":"2","c":"3","old":"0"}'
    assert history.at(210) == history.at("2:1") == '{"b":"2","c":"3","old":"0"}'


def test_clock_that_was_set_back_makes_a_time_ambiguous_but_no_record(tmp_path: Path) -> None:
    history = WrittenHistory(tmp_path)
    history.frame(1, 100)
    history.segment(1, (110, [put("a", "1")]), (190, [put("a", "2")]), (150, [put("a", "3")]), (195, [put("a", "4")]))
    history.frame(2, 160)
    history.segment(2, (165, [put("b", "1")]), (300, [put("b", "2")]))
    for time_ms in (150, 160, 170, 189, 194):
        with pytest.raises(HistoryError, match=r"the clock was set back, so that 1970-01-01T00:00:00.\d+Z was more than once"):
            history.at(time_ms)
    assert history.at(149) == '{"a":"1"}'
    assert history.at(300) == '{"b":"2"}'
    assert (history.at("1:2"), history.at("1:3"), history.at("2:1")) == ('{"a":"2"}', '{"a":"3"}', '{"b":"1"}')


def test_frame_that_another_has_taken_the_place_of_is_looked_for_again(history: WrittenHistory) -> None:
    first, second = encode_frame(b'{"m":1}'), encode_frame(b'{"m":2}')
    history.medium.write_bytes(first + second)
    folder = history.read()
    digest = second[16:32].decode()
    frames = folder.frames()
    # A compaction comes between the list and the load.
    folder._loader.frames = lambda: given(frames)  # type: ignore[method-assign]
    history.medium.write_bytes(second)
    with pytest.raises(HistoryError, match="the history changes while it is read"):
        folder.at(digest)
    history.medium.write_bytes(second + first)
    with pytest.raises(HistoryError, match="the history changes while it is read"):
        folder.at(digest)


async def given(frames: list[FoundFrame]) -> list[FoundFrame]:
    return frames


def test_past_that_is_let_go_is_used_again_and_so_is_one_whose_load_fails(history: WrittenHistory) -> None:
    loader = history.read()._loader

    def load(time_ms: int, past: Past | None = None) -> Past:
        return finish(loader.load(AtTime(time_ms), past))

    first = load(200)
    assert first.databases.key_count == 4
    finish(loader.release(first))
    assert first.databases.key_count == 0
    second = load(110)
    assert second.state is first.state
    finish(loader.release(second))
    # It fails amid its way.
    history.segment(2, (210, [put("x", "1")]), (220, [[b"NOSUCH"]]))
    for _ in range(3):
        with pytest.raises(HistoryError, match="takes no such command"):
            load(250)
    assert load(110).state is first.state
    assert load(110).databases.key_count == 2


def test_record_that_is_not_there(history: WrittenHistory) -> None:
    with pytest.raises(HistoryError, match="the segment 2 of the journal has 2 records"):
        history.at("2:3")
    with pytest.raises(HistoryError, match="no segment 9"):
        history.at("9:1")


def test_folder_that_has_gone_is_no_history(tmp_path: Path) -> None:
    history = WrittenHistory(tmp_path)
    history.path.rmdir()
    with pytest.raises((HistoryError, MediumError), match="no history is kept"):
        history.at(1)


def test_nothing_in_the_folder_is_changed_by_reading(history: WrittenHistory) -> None:
    before = {path: path.read_bytes() for path in history.folder.rglob("*") if path.is_file()}
    for moment in (110, 210, 310):
        history.at(moment)
    assert {path: path.read_bytes() for path in history.folder.rglob("*") if path.is_file()} == before
