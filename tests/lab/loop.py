# SPDX-License-Identifier: GPL-2.0-only
"""The lab's heart: one thread that reads every wire and every machine's line,
and one way to wait for what it brings."""

import os
import select
import threading
import time

# Software emulation on a busy machine can be slow: all deadlines are
# stretched by this factor.
PATIENCE = float(os.environ.get('LAB_PATIENCE', '1'))


class LabError(Exception):
    """Something the lab was asked for did not happen."""


class Late(LabError):
    """A deadline passed."""


class Loop:
    """Calls a handler for each readable (or writable) file descriptor.

    Handlers run with `lock` held, a whole turn at a time, so whoever holds the
    lock sees only what complete turns have left behind.
    """

    def __init__(self):
        self.lock = threading.Condition()
        self.broken = {}                # what is beyond repair: key -> function that gives the exception
        self._epoll = select.epoll()
        self._handlers = {}
        self._news = self._unread = False
        self._turns = 0
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._bell, select.EPOLLIN)
        threading.Thread(target=self._run, name='lab', daemon=True).start()

    def add(self, fd, handler):
        """Have handler(events) called whenever fd is ready."""
        with self.lock:
            self._handlers[fd] = handler
            self._epoll.register(fd, select.EPOLLIN)

    def want_write(self, fd, yes):
        self._epoll.modify(fd, select.EPOLLIN | (select.EPOLLOUT if yes else 0))

    def remove(self, fd):
        with self.lock:
            if self._handlers.pop(fd, None):
                self._epoll.unregister(fd)

    def news(self):
        """To be called by a handler: somebody may be waiting for this."""
        self._news = True

    def unread(self):
        """To be called by a handler that left something unread."""
        self._unread = True

    def _run(self):
        while True:
            events = self._epoll.poll()
            with self.lock:
                self._unread = False
                for fd, mask in events:
                    if fd in self._handlers:
                        try:
                            self._handlers[fd](mask)
                        except Exception as error:
                            self.broken[fd] = lambda error=error: error
                            self.remove(fd)
                            self._news = True
                if (self._bell, select.EPOLLIN) in events and not self._unread:
                    os.eventfd_read(self._bell)
                    self._turns += 1
                    self._news = True
                if self._news:
                    self._news = False
                    self.lock.notify_all()

    def check(self):
        """Raise what is beyond repair, if anything is."""
        with self.lock:
            for error in self.broken.values():
                raise error()

    @staticmethod
    def deadline(timeout):
        """A function that tells whether the time is over."""
        end = time.monotonic() + timeout * PATIENCE
        return lambda: time.monotonic() > end

    def wait(self, ready, timeout, what, poll=None):
        """The first true value of ready(), asked again at each piece of news
        (or every `poll` seconds). `what` names it, should it not come."""
        deadline = time.monotonic() + timeout * PATIENCE
        with self.lock:
            while True:
                self.check()
                if result := ready():
                    return result
                left = deadline - time.monotonic()
                if left <= 0:
                    what = what() if callable(what) else what
                    raise Late(f'{what}: not within {timeout * PATIENCE:g} s')
                self.lock.wait(min(left, poll or left))

    def settle(self):
        """Return when everything that is readable by now has been delivered."""
        with self.lock:
            turn = self._turns
            os.eventfd_write(self._bell, 1)
            self.wait(lambda: self._turns > turn, 60, 'the wires to fall quiet')


loop = Loop()
