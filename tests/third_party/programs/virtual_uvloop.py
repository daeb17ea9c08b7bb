"""uvloop on a virtual clock."""

import contextvars
import heapq

import uvloop

# How it works
#
# Callbacks are run by uvloop, with handles of its own.  Only time is not its
# own: timers wait in a heap here, and a callback that is the first of every
# pass of uvloop counts the passes.  It sees when nothing has been scheduled
# since the last one, and lets time jump to the next timer then.
#
# As with uvloop's own, the time is in whole milliseconds, timers are rounded
# to them, and one that is due at once is a plain handle, without when().

# Seconds that stand for any longer delay, as uvloop has it.
FOREVER = 100 * 365 * 24 * 3600


class VirtualUvloop(uvloop.Loop):
    """What VirtualLoop of asyncio's tests is, on uvloop.

    No socket, thread or process may be waited for.
    """

    # How many there have been.
    made = 0

    def __init__(self):
        super().__init__()
        VirtualUvloop.made += 1
        self.now = 0.0
        # How often the loop has run its callbacks.
        self.passes = 0
        # A heap of _Timer.
        self._scheduled = []
        # Calls scheduled since the last pass began.
        self._calls = 0
        # _begin_pass() is scheduled.
        self._passing = False
        self._ending = False

    @property
    def _ready(self):
        """As many as the calls that were scheduled since the pass began."""
        return range(self._calls)

    def time(self):
        return self.now

    def _clock(self):
        return round(self.now * 1000)

    def set_task_factory(self, factory):
        """Set it, without the eager_start=None that uvloop gives to all."""
        def make_task(loop, coro, *, eager_start=None, **kwargs):
            if eager_start is not None:
                kwargs["eager_start"] = eager_start
            return factory(loop, coro, **kwargs)
        super().set_task_factory(factory and make_task)

    def call_soon(self, callback, *args, context=None):
        self._keep_passing()
        self._calls += 1
        return super().call_soon(callback, *args, context=context)

    def call_later(self, delay, callback, *args, context=None):
        milliseconds = round(min(max(delay, 0), FOREVER) * 1000)
        if milliseconds == 0:
            return self.call_soon(callback, *args, context=context)
        if context is None:
            context = contextvars.copy_context()
        timer = _Timer(self._clock() + milliseconds, (callback, *args),
                       context)
        heapq.heappush(self._scheduled, timer)
        return timer

    def call_at(self, when, callback, *args, context=None):
        return self.call_later(when - self.now, callback, *args,
                               context=context)

    def run_forever(self):
        self._ending = False
        self._keep_passing()
        super().run_forever()

    def stop(self):
        self._ending = True
        super().stop()

    def close(self):
        self._scheduled.clear()
        super().close()

    def _keep_passing(self):
        if not self._passing:
            self._passing = True
            super().call_soon(self._begin_pass)

    def _begin_pass(self):
        self._passing = False
        if self._ending:
            return
        busy, self._calls = self._calls > 0, 0
        self._keep_passing()
        self._drop_cancelled()
        if busy:
            self.passes += 1
        elif self._scheduled:
            self.now = max(self.now, self._scheduled[0].due / 1000)
        else:
            # Nothing will ever happen; run_until_complete() says so.
            self.stop()
        while self._scheduled and self._scheduled[0].due <= self._clock():
            self._fire(heapq.heappop(self._scheduled))

    def _drop_cancelled(self):
        while self._scheduled and self._scheduled[0].cancelled():
            heapq.heappop(self._scheduled)

    def _fire(self, timer):
        if not timer.cancelled():
            timer.handle = self.call_soon(*timer.call, context=timer.context)


class _Timer:
    """A timer with what uvloop's own offers."""

    _made = 0

    def __init__(self, due, call, context):
        _Timer._made += 1
        # In milliseconds; ties are broken by insertion order.
        self.due = due
        self._order = _Timer._made
        self.call, self.context = call, context
        # uvloop's own handle, once it is due.
        self.handle = None
        self._cancelled = False

    def __lt__(self, other):
        return (self.due, self._order) < (other.due, other._order)

    def when(self):
        return self.due * 1e-3

    def cancelled(self):
        return self._cancelled

    def cancel(self):
        self._cancelled = True
        self.call = self.context = None
        if self.handle is not None:
            self.handle.cancel()
