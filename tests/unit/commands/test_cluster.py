"""CLUSTER and its kin are refused, and known. (wire/cases/cluster.txt compares the replies with redis-server's.)"""

from __future__ import annotations

import pytest

from helpers.sessions import Server, run, text
from kvserver.commands.catalogue import COMMANDS
from kvserver.commands.cluster import DISABLED, cluster


@pytest.mark.parametrize("line", ["CLUSTER INFO", "cluster slots", "CLUSTER MEET h 1", "READONLY", "READWRITE", "ASKING"])
def test_server_has_no_cluster(line: str) -> None:
    assert text(run(Server().session(), *line.split())) == DISABLED


def test_wrong_call_has_its_own_error() -> None:
    session = Server().session()
    assert text(run(session, "CLUSTER", "KEYSLOT")) == "ERR wrong number of arguments for 'cluster|keyslot' command"
    assert text(run(session, "CLUSTER", "NOSUCH")) == "ERR unknown subcommand 'NOSUCH'. Try CLUSTER HELP."


def test_every_subcommand_is_gathered() -> None:
    assert len(COMMANDS[b"cluster"].subcommands) == 27
    assert COMMANDS[b"cluster"] is cluster
