"""The worker process of `lp.cached`: run as a script, it imports nothing of lmppl."""

from __future__ import annotations

import pickle
import sys
import traceback
from multiprocessing.connection import Connection

import cloudpickle


def main() -> None:
    """Answers calls until the other side closes the connection."""
    connection = Connection(int(sys.argv[1]))
    sys.path[:] = connection.recv()
    while True:
        try:
            message = connection.recv_bytes()
        except EOFError:
            return
        connection.send_bytes(_answer(message, connection))


def _answer(message: bytes, connection: Connection) -> bytes:
    try:
        function, args, kwargs = pickle.loads(message)
        connection.send_bytes(b"")  # the clock of the call starts here
        return cloudpickle.dumps((True, function(*args, **kwargs)))
    except Exception as error:
        text = traceback.format_exc(limit=-8)
        try:
            return cloudpickle.dumps((False, (error, text)))
        except Exception:
            return cloudpickle.dumps((False, (None, text)))


if __name__ == "__main__":
    main()
