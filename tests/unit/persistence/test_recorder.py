"""Both journals keep the contract."""

from __future__ import annotations

from kvserver.failover.shared_journal import SharedJournal
from kvserver.persistence.journal import Journal
from kvserver.persistence.recorder import Recorder


def test_both_journals_have_all_that_snapshots_and_jobs_use() -> None:
    names = {name for name in vars(Recorder) if not name.startswith("_")}
    assert len(names) >= 8
    for journal in (Journal, SharedJournal):
        # `is_on` and `courier` are attributes of an object.
        assert names - {"is_on", "courier"} <= set(dir(journal))
