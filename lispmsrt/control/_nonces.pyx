"""What has been seen of one xTR, as a structure: the compiled twin of
:class:`lispmsrt.control.nonces.History`.
"""

from collections import OrderedDict


cdef class History:
    """What has been seen of one xTR with one key."""

    def __init__(self):
        self.seen = OrderedDict()
        self.increases = 0
        self.answers = []
        self.is_forgotten = False
        self.greatest = 0
        self.is_new = True

    @property
    def highest(self):
        """The highest nonce; -1 before the first."""
        return -1 if self.is_new else self.greatest

    @highest.setter
    def highest(self, unsigned long long nonce):
        self.greatest = nonce
        self.is_new = False
