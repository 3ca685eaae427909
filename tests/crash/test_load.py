"""The load of the failover tests finds nothing wrong with a server that is right, and finds what a forgetful one loses."""

from __future__ import annotations

from pathlib import Path

from helpers.load import Load
from helpers.nodes import Nodes


def test_a_server_that_keeps_everything_is_right(tmp_path: Path) -> None:
    with Nodes(tmp_path, "", 1, 1000, "--appendonly", "yes", "--appendfsync", "no") as nodes:
        with Load(nodes, seed=1) as load:
            load.wait_for(200)
            nodes.nodes[0].kill()
            nodes.nodes[0].restart()
            load.wait_for(200)
        verdict = load.verdict()
        print(verdict)
        assert verdict.is_right, verdict
        assert verdict.acknowledged >= 400
        assert verdict.moves > 5


def test_what_a_forgetful_server_loses_is_found(tmp_path: Path) -> None:
    with Nodes(tmp_path, "", 1, 1000, "--appendonly", "no", "--save", "") as nodes:
        with Load(nodes, seed=1) as load:
            load.wait_for(200)
            nodes.nodes[0].kill()
            nodes.nodes[0].restart()
            load.wait_for(200)
        verdict = load.verdict()
        assert not verdict.is_right
        assert verdict.lost
        assert verdict.violations
