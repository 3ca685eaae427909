"""A client: the part of a connection that the engine needs.

The engine takes requests from it, and says when it waits, goes on or ends. How its bytes travel is its own business.
"""

from __future__ import annotations

from kvserver.compilation import mypyc_attr
from kvserver.resp.request import Request
from kvserver.state.session import Session


# The clients of tests are interpreted in the compiled build, too.
@mypyc_attr(allow_interpreted_subclasses=True)
class Client:
    """The base of all classes of clients.

    It is a class and no Protocol, since of a Protocol's objects mypyc asks each attribute by its name.

    - `queue` has the requests that were parsed and have not run yet. The writer alone takes from it.
    - `is_queued`: the client is in the writer's inbox.
    - `is_waiting`: an effect is under way, and `is_choked`: the client does not read what was written to it. In both cases
      none of its requests may run.
    - `has_ended`: no more input will come, after a protocol error or an end of file.
    - `has_hung_up`: the client has closed its side.
    - `is_closed`: `close` was called, and the rest of the queue is dropped.
    - `is_full`: some of what the client has sent is held back, unparsed or unread, until some of the queue has run.
    """

    session: Session

    def __init__(self) -> None:
        self.queue: list[Request] = []
        self.is_queued = False
        self.is_waiting = False
        self.is_choked = False
        self.has_ended = False
        self.has_hung_up = False
        self.is_closed = False
        self.is_full = False

    def write(self, data: bytes) -> None:
        """Send bytes. May set `is_choked`."""
        raise NotImplementedError

    def wait(self, *, reads_on: bool = False) -> None:
        """Set `is_waiting`: an effect is under way. With `reads_on`, what the client sends meanwhile is read and queued."""
        raise NotImplementedError

    def go_on(self) -> None:
        """Unset `is_waiting`, since the effect is done, and have what is queued run."""
        raise NotImplementedError

    def recognize(self) -> None:
        """Take notice that the session has authenticated or was reset, so that other limits hold."""
        raise NotImplementedError

    def read_on(self) -> None:
        """Parse or read what was held back, since some of the queue of a full client has run."""
        raise NotImplementedError

    def finish(self) -> None:
        """Send what is to be said at the end of the input, and close: everything before that end has run."""
        raise NotImplementedError

    def close(self) -> None:
        """Close behind what was written; nothing more will run."""
        raise NotImplementedError

    def abort(self) -> None:
        """Close now, and drop what is still to be written."""
        raise NotImplementedError
