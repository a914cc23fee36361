"""The worker process of `worker_processes`: run as a script, it imports nothing of lmppl."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle

_PLAIN = (bool, int, float, str, type(None))


def main() -> None:
    """Answers calls until the other side closes the connection."""
    connection = Connection(int(sys.argv[1]))
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    functions: dict[int, Any] = {}
    while True:
        try:
            message = connection.recv_bytes()
            connection.send_bytes(_answer(message, functions, connection))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return


def _answer(message: bytes, functions: dict[int, Any], connection: Connection) -> bytes:
    try:
        slot, new, arguments, says_when_it_starts = pickle.loads(message)
        if new is not None:
            function, sys.path[:] = new
            functions[slot] = pickle.loads(function)
        args, kwargs = pickle.loads(arguments)
        if says_when_it_starts:
            connection.send_bytes(b"")  # the clock of the call starts here
        value = functions[slot](*args, **kwargs)
        # Far quicker, where nothing in it can need more.
        dump = pickle.dumps if type(value) in _PLAIN else cloudpickle.dumps
        return dump((True, value))
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
