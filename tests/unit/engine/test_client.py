"""A client begins with nothing under way, and each kind of clients says itself how it does what the engine asks for."""

from __future__ import annotations

import inspect

import pytest

from kvserver.engine.client import Client
from kvserver.following.applying import Applying
from kvserver.network.connection import Connection

ACTIONS = [name for name, method in inspect.getmembers(Client, callable) if not name.startswith("_")]


def test_client_begins_with_nothing_under_way() -> None:
    client = Client()
    assert client.queue == []
    states = (client.is_queued, client.is_waiting, client.is_choked, client.has_ended, client.has_hung_up, client.is_closed)
    assert not any((*states, client.is_full))


@pytest.mark.parametrize("name", ACTIONS)
def test_action_is_that_of_a_kind_of_clients(name: str) -> None:
    assert len(ACTIONS) == 8
    kinds = Client.__subclasses__()
    assert {Connection.__module__, Applying.__module__} <= {kind.__module__ for kind in kinds}
    for kind in kinds:
        assert getattr(kind, name) is not getattr(Client, name)
    with pytest.raises(NotImplementedError):
        getattr(Client(), name)(*([b""] if name == "write" else []))
