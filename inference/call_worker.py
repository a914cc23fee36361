"""The worker process of `lp.cached`: run as a script, it imports nothing of lmppl."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection

import cloudpickle


def main() -> None:
    """Answers calls until the other side closes the connection."""
    connection = Connection(int(sys.argv[1]))
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
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
        return cloudpickle.dumps((False, (_pickled(error), traceback.format_exc(limit=-8))))


def _pickled(error: Exception) -> bytes | None:
    """Gives an exception as bytes that can be read again, or None: many a class cannot do that."""
    try:
        data = cloudpickle.dumps(error)
        pickle.loads(data)
    except Exception:
        return None
    return data


def _end_with(parent: int) -> None:
    """Ends the worker, and what its call has started, when the process that it works for is gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
