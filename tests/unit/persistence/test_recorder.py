"""Both journals keep the contract."""

from __future__ import annotations

from kvserver.failover.sender import Sender
from kvserver.failover.shared_journal import SharedJournal
from kvserver.persistence.courier import Courier
from kvserver.persistence.journal import Journal
from kvserver.persistence.recorder import Recorder, Recording, Way


def test_both_journals_have_all_that_snapshots_and_jobs_use() -> None:
    names = {name for name in vars(Recorder) if not name.startswith("_")}
    assert len(names) >= 8
    for journal in (Journal, SharedJournal):
        # `is_on` and `courier` are attributes of an object.
        assert names - {"is_on", "courier"} <= set(dir(journal))


def test_both_ways_say_when_replies_may_leave() -> None:
    names = {name for name in vars(Recording) if not name.startswith("_")}
    assert names == {"cover", "safe"}
    assert Recording in Way.__mro__
    for way in (Courier, Sender):
        assert names <= set(dir(way))
