"""Remembers the ids that came already: whatever comes at least once comes twice one day.

An application writes the id into a unique column, in the transaction that does what the event asks
for. This memory is short, and gone with the process.
"""

import collections

CAPACITY = 10_000


class Seen:
    def __init__(self):
        self._ids = collections.OrderedDict()

    def __contains__(self, event_id):
        return event_id in self._ids

    def add(self, event_id):
        self._ids[event_id] = True
        if len(self._ids) > CAPACITY:
            self._ids.popitem(last=False)
