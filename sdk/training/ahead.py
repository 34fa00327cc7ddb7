"""Batches made ahead of their use."""
from __future__ import annotations

import queue
import threading


def ahead(make, first: int, depth: int = 2):
    """`make(step)` for step `first` and all after it, by one thread that keeps `depth` of them ready. Closing the generator ends the
    thread, which holds the data."""
    ready: queue.Queue = queue.Queue(depth)
    closed = threading.Event()

    def work():
        step = first
        while not closed.is_set():
            try:
                item = make(step)
            except BaseException as error:                 # hand it to the reader, who raises it
                ready.put(error)
                return
            ready.put(item)
            step += 1

    threading.Thread(target=work, daemon=True).start()
    try:
        while True:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        closed.set()
        while not ready.empty():                           # the thread may wait for room
            ready.get_nowait()
