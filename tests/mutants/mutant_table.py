"""The mutants of our modules: which rule each one breaks, and how."""

import dataclasses

__all__ = ("FILES", "MUTANTS", "Mutant")

# What can be mutated, and the suite for it; that of scopes runs on the
# classes in Python where there is one in C as well.  A version that no program
# can tell from the right one has no place below.
FILES = {"cancellation.py": "scopes", "scopes.py": "scopes",
         "timeouts.py": "scopes", "supervisors.py": "supervisors",
         "taskgroups.py": "supervisors"}


@dataclasses.dataclass
class Mutant:
    """A version of *file* with *new* in place of *old*, found once in it."""

    file: str
    # What it does that the rules forbid, as a sentence.
    name: str
    old: str
    new: str


def _of(file, *mutants):
    return tuple(Mutant(file, *mutant) for mutant in mutants)


MUTANTS = (
    # --- The tree ------------------------------------------------------------
    *_of(
        "cancellation.py",
        ("a node that joins a cancelled parent is not cancelled", """\
        self.effective = self._is_effective()
""", """\
        self.effective = self.cancelled
"""),
        ("a node that is left takes its children out of the tree", """\
            child.parent = parent
""", """\
            child.parent = None
"""),
        ("a second cancel() changes the text", """\
        if not self.cancelled:
""", """\
        if True:
"""),
        ("a hiding node does not see its own cancellation in the text", """\
            yield node
            if node.hides:
                return
""", """\
            if node.hides:
                return
            yield node
"""),
        ("a shield hides nothing of the level", """\
        return self.cancelled or (not self.hides and self.parent is not None
""", """\
        return self.cancelled or (self.parent is not None
"""),
        ("only the own parent counts, not what is around that", """\
                                  and self.parent.effective)
""", """\
                                  and self.parent.cancelled)
"""),
        ("members of a group are not asked", """\
            return [c for c in self.members if c.node is self]
""", """\
            return []
"""),
        ("children are told in the reverse order", """\
        stack += reversed(node.children)
""", """\
        stack += node.children
"""),
        ("a wrapped coroutine's task is in no group", """\
    if unclaimed is not None:
""", """\
    if False:
"""),
    ),

    # --- The Canceller: what the task calls ----------------------------------
    *_of(
        "cancellation.py",
        ("a task that parks in a cancelled scope is not told", """\
        if self.node.effective:
            self.deliver()
""", """\
        pass
"""),
        ("an edge that meets a parked task is no delivery of the wait", """\
        self.told = told
""", """\
        self.told = False
"""),
        ("a task whose delivery was overtaken is never told again", """\
        handle, self.handle = self.handle, None
        if""", """\
        handle = self.handle
        if"""),
        ("a delivery that comes too late is not cancelled", """\
            handle.cancel()
""", """\
            pass
"""),
        ("an error in resuming leaves what was told", """\
            return self._resume(exc)
        finally:
            self.told""", """\
            exc = self._resume(exc)
        except ZeroDivisionError:
            raise
        else:
            self.told"""),
        ("a bare yield is not told", """\
        if self.yielded and exc is None and self.is_cancelled():
""", """\
        if False:
"""),
        ("a resume from a future throws in a cancelled scope", """\
        if self.yielded and exc is None and self.is_cancelled():
""", """\
        if exc is None and self.is_cancelled():
"""),
        ("the level takes the place of an edge at a bare yield", """\
        if self.yielded and exc is None and self.is_cancelled():
""", """\
        if self.yielded and self.is_cancelled():
"""),
        ("bare yields that swallow are told without end", """\
            if self._wait_in_storm() <= 0:
""", """\
            if True:
"""),
        ("a wait with a result does not end a row of deliveries", """\
            self.streak = 0
""", """\
            pass
"""),
        ("a wait that was told of and ended otherwise does not end a row", """\
        elif not (self.accepted
                  and isinstance(exc, exceptions.CancelledError)):
""", """\
        elif not self.accepted:
"""),
        ("an edge counts for the storm of the level", """\
        elif not (self.accepted
                  and isinstance(exc, exceptions.CancelledError)):
""", """\
        elif not isinstance(exc, exceptions.CancelledError):
"""),
        ("after a bare yield every resume throws", """\
        self.told = self.accepted = self.yielded = False
""", """\
        self.told = self.accepted = False
"""),
        ("a foreign cancel() comes from outside of all shields", """\
            request = Request(self._foreign_origin(), msg)
""", """\
            request = Request(None, msg)
"""),
        ("a new request does not make the task end as cancelled", """\
        if self.pending and all(r.released for r in self.pending):
""", """\
        if any(r.released for r in self.pending):
"""),
        ("a request that is not held cannot be withdrawn alone", """\
        self.pending.append(request)
""", ""),
        ("what a block takes back lowers its own baseline", """\
        guard._baseline = baseline
    guard._request""", """\
    guard._request"""),
        ("an edge delivered to a parked task does not count for its wait", """\
        self.told = True
        self._delivered_edge()
""", """\
        self._delivered_edge()
"""),
        ("uncancel() leaves what is held", """\
        del self.held[self.task.cancelling():]
""", ""),
        ("uncancel() to what is held leaves the pending request", """\
        if not outstanding:
            self.task._must_cancel = False
""", """\
        if not outstanding:
"""),
        ("uncancel() does not lower the baselines", """\
            guard._baseline = baseline
""", """\
            pass
"""),
        ("uncancel() lowers the baseline of the innermost block only", """\
            guard._baseline = baseline
""", """\
            guard._baseline = baseline
            break
"""),
        ("what is pending after uncancel() is taken for granted", """\
        baseline = self.new_baseline()
""", """\
        baseline = self.outstanding()
"""),
        ("what was held is delivered to a task that ends", """\
        if self.pending and all(r.released for r in self.pending):
            self.task._must_cancel = False
""", """\
        if self.pending and all(r.released for r in self.pending):
"""),
        ("a task that ends with a new request pending ends normally", """\
        if self.pending and all(r.released for r in self.pending):
""", """\
        if True:
"""),
        ("nobody learns that what was released has been dropped", """\
                request.dropped = True
""", """\
                pass
"""),
        ("a storm begins after ninety-nine deliveries", """\
STORM_LIMIT = 100
""", """\
STORM_LIMIT = 99
"""),
        ("the pauses of a storm do not double", """\
            pause = STORM_FIRST_PAUSE * 2 ** min(self.streak - STORM_LIMIT, 10)
""", """\
            pause = STORM_FIRST_PAUSE * 1 ** min(self.streak - STORM_LIMIT, 10)
"""),
        ("a task that is awaited is cancelled before its first step", """\
        elif type(future) in _PLAIN:
""", """\
        elif True:
"""),
        ("an awaited task is cancelled from where its scope is", """\
            self.handle = self.loop.call_soon(
                self._ask, future, context=self.task.get_context())
""", """\
            self.handle = self.loop.call_soon(self._ask, future)
"""),
        ("a delivery under way comes though a shield was put up", """\
        if self.told or not self.is_cancelled():
""", """\
        if self.told:
"""),
        ("a delivery under way comes though an edge was delivered", """\
        if self.told or not self.is_cancelled():
""", """\
        if not self.is_cancelled():
"""),
        ("a future that refuses is asked again in the same wait", """\
        self.told = True
        self.accepted = bool(future.cancel(msg=self.node.text()))
""", """\
        self.accepted = self.told = bool(future.cancel(msg=self.node.text()))
"""),
        ("a level delivery raises the count of requests", """\
        self.accepted = bool(future.cancel(msg=self.node.text()))
""", """\
        self.accepted = bool(future.cancel(msg=self.node.text()))
        self.task._num_cancels_requested += 1
"""),
    ),

    # --- Edge ----------------------------------------------------------------
    *_of(
        "cancellation.py",
        ("held requests are outstanding", """\
        return self.task.cancelling() - len(self.held)
""", """\
        return self.task.cancelling()
"""),
        ("a request that was pending at entry is in the baseline", """\
        return self.outstanding() - bool(self.task._must_cancel)
""", """\
        return self.outstanding()
"""),
        ("all that was pending at entry is out of the baseline", """\
        return self.outstanding() - bool(self.task._must_cancel)
""", """\
        return self.outstanding() - len(self.pending)
"""),
        ("an internal request comes from outside of all", """\
        request = self.asking = Request(origin, msg)
""", """\
        request = self.asking = Request(None, msg)
"""),
        ("an overridden cancel() is called for internal requests", """\
            _cancel_by_base(self.task, msg)
""", """\
            self.task.cancel(msg)
"""),
        ("a held request cannot be withdrawn", """\
            self.held.remove(request)
""", """\
            pass
"""),
        ("a cancel that is pending is delivered in a new shield", """\
        if not task._must_cancel:
            return
""", """\
        if True:
            return
"""),
        ("a new shield holds what was asked for from inside of it", """\
        self.held.extend(self._take(self.pending, True))
""", """\
        self.held.extend(self.pending)
        self.pending.clear()
"""),
        ("uncancel() leaves all that is pending", """\
        elif len(self.pending) > outstanding:
""", """\
        elif False:
"""),
        ("uncancel() forgets the last of what is pending", """\
            del self.pending[:-outstanding]
""", """\
            del self.pending[outstanding:]
"""),
        ("what a new shield leaves pending has the text of what it holds", """\
            task._cancel_message = self.pending[-1].msg
        else:
            task._must_cancel = False
        self._lower_baselines()
""", """\
            pass
        else:
            task._must_cancel = False
        self._lower_baselines()
"""),
        ("holding what is pending does not lower the baselines", """\
            task._must_cancel = False
        self._lower_baselines()
""", """\
            task._must_cancel = False
"""),
        ("a cancel() comes from the outermost of the shields around it", """\
            if node in inside:
                return node
            node = node.parent
        return None
""", """\
            if node is inside[0]:
                return node
            node = node.parent
        return None
"""),
        ("one shield that is gone releases all", """\
        freed = self._take(self.held, False)
""", """\
        freed = list(self.held)
        self.held.clear()
"""),
        ("what is held is searched for what is released", """\
        freed = self._take(self.held, False)
""", """\
        freed = [r for r in self.held if not self._is_held(r.origin)]
        self.held[:] = [r for r in self.held if r not in freed]
"""),
        ("what a signal handler adds to what is sorted is lost", """\
        requests[:] = [request for request in requests
                       if self._is_held(request.origin) is not is_held]
""", """\
        requests[:] = [request for request in list(requests)
                       if self._is_held(request.origin) is not is_held]
"""),
        ("what is pending keeps the place of a block that has ended", """\
        for request in self.held + self.pending:
            if request.origin is node:
""", """\
        for request in self.held:
            if request.origin is node:
"""),
        ("a timeout takes an interrupt for its own request", """\
    with from_outside(), _asking_for_nobody(task):
""", """\
    with from_outside():
"""),
        ("what is to be asked is asked in the next wait, too", """\
        if self.task is None or self.told or self.handle is not None:
""", """\
        if self.task is None or self.told:
"""),
        ("a timeout keeps the place that its scope had", """\
                inner._origin = node.parent
""", """\
                pass
"""),
        ("a task in a timeout is taken for one in a scope", """\
        if self.node is not None:
            outermost""", """\
        if self.guards:
            outermost"""),
        ("a task that has a group gets into another one", """\
    if canceller is not None and canceller.group is None:
""", """\
    if canceller is not None:
"""),
        ("what is pending in a foreign task does not count", """\
        guard._baseline = (task.cancelling()
                           - bool(getattr(task, "_must_cancel", False)))
""", """\
        guard._baseline = task.cancelling()
"""),
        ("a closed shield still marks its context", """\
    if node in inside:
        _inside.set(""", """\
    if False:
        _inside.set("""),
        ("a closed shield marks its context as outside of all", """\
        _inside.set(inside[:-1] if inside[-1] is node
                    else tuple(n for n in inside if n is not node))
""", """\
        _inside.set(())
"""),
        ("a context never forgets the shields of earlier tasks", """\
    if not len(inside) & len(inside) - 1:
""", """\
    if False:
"""),
        ("uncancel() keeps a request that is pending", """\
            self.task._must_cancel = False
            self._delivered_edge()
        elif""", """\
            self.task._must_cancel = False
        elif"""),
        ("a request that was delivered is still pending", """\
            self.told = self.accepted = self.yielded = False
            self._delivered_edge()
""", """\
            self.told = self.accepted = self.yielded = False
"""),
        ("a timer that fires early cancels nothing", """\
            due = max(due, self._loop.time())
""", """\
            due = self._loop.time()
"""),
        ("a group ends its tasks from where its failure comes from", """\
    token = _inside.set(())
""", """\
    token = _inside.set(_inside.get())
"""),
        ("a late delivery has the context of whoever cancels", """\
                delay, self._ask, future, context=self.task.get_context())
""", """\
                delay, self._ask, future)
"""),
        ("every task's cancel() gets an argument", """\
    if msg is None:
        # Not""", """\
    if False:
        # Not"""),
        ("of several released requests the first one's text is told", """\
        msg = freed[-1].msg
""", """\
        msg = freed[0].msg
"""),
        ("a parked task is not told when its shield is taken off", """\
            told = future is not None and future.cancel(msg=msg)
""", """\
            told = False
"""),
        ("a released request is no delivery of the wait", """\
            if told:
                self.told = True
            else:
                self._let_pend(freed, msg)
""", """\
            if not told:
                self._let_pend(freed, msg)
"""),
        ("a released request is delivered at the next wait as well", """\
            if told:
                self.told = True
            else:
                self._let_pend(freed, msg)
""", """\
            self.told = told
            self._let_pend(freed, msg)
"""),
        ("a released request is lost if a future raises", """\
            told = future is not None and future.cancel(msg=msg)
""", """\
            told = True
            told = future is not None and future.cancel(msg=msg)
"""),
        ("a request that was pending may be ignored when one is released", """\
        for request in requests:
            request.released = True
""", """\
        for request in self.pending + requests:
            request.released = True
"""),
        ("leaving a shield raises, and so does the next wait", """\
            self.task._must_cancel = False
            msg = self.task._cancel_message
""", """\
            msg = self.task._cancel_message
"""),
        ("what leaving a shield raises stays pending", """\
            self._delivered_edge()
            return cancelled_error(msg)
""", """\
            return cancelled_error(msg)
"""),
        ("leaving a shield does not tell of the level", """\
        if self.is_cancelled():
            return cancelled_error(self.node.text())
""", ""),
        ("a shield holds what comes from inside of it", """\
        while node is not None and node is not origin and node.host is self:
""", """\
        while node is not None and node.host is self:
"""),
        ("the shields of a group's host hold for its tasks", """\
        while node is not None and node is not origin and node.host is self:
""", """\
        while node is not None and node is not origin:
"""),
        ("only the innermost scope holds", """\
            if node.holds:
                return True
            node = node.parent
""", """\
            return node.holds
"""),
    ),

    # --- Nodes and guards ----------------------------------------------------
    *_of(
        "cancellation.py",
        ("a guard left in the middle takes the next one's timer", """\
                if index < self.armed:
                    self.armed -= 1
""", ""),
        ("a guard is searched for by ==", """\
            if other is guard:
""", """\
            if other == guard:
"""),
        ("a task with scopes of its own joins its group without them", """\
            outermost.link(group)
            outermost.update()
""", """\
            pass
"""),
        ("a guard that is left stays among the task's", """\
        canceller.leave(guard)
""", """\
        pass
"""),
        ("a scope around does not count for a guard", """\
            or (canceller is not None and canceller.is_cancelled()))
""", """\
            or False)
"""),
        ("a group re-arms any outstanding request", """\
        if has_new_requests(self):
""", """\
        if self._task.cancelling():
"""),
        ("a group whose member was cancelled ends as if it had finished", """\
        return None
    return cancelled_error(canceller.node.text())
""", """\
        return None
    return None
"""),
        ("the exit of a group has no text of the level", """\
        return None
    return cancelled_error(canceller.node.text())
""", """\
        return None
    return cancelled_error(None)
"""),
        ("a group takes the requests before its entry for new ones", """\
    if (canceller is None or canceller.node is None) and not host.cancelling():
""", """\
    if canceller is None or canceller.node is None:
"""),
        ("an error in asking stops the rest", """\
        except BaseException as exc:
            if error is not None and not""", """\
        except ZeroDivisionError:
            raise
        except BaseException as exc:
            if error is not None and not"""),
        ("an error in asking is lost", """\
    if error is not None:
        context = error.__context__
""", """\
    if error is None:
        context = error.__context__
"""),
        ("of two errors in asking one is lost", """\
                exc.__context__ = error
""", """\
                pass
"""),
        ("raising the error again changes its context", """\
            error.__context__ = context
""", """\
            pass
"""),
        ("an error in closing leaves the task its canceller", """\
            raise RuntimeError("closing a block raised StopIteration") from exc
        finally:
            self._forget_task()
""", """\
            raise RuntimeError("closing a block raised StopIteration") from exc
        else:
            self._forget_task()
"""),
        ("what the task left open is searched for", """\
            guard = self.guards[-1]
            yield guard._abandon
            if self.guards and self.guards[-1] is guard:
                self.guards.pop()
""", """\
            yield self.guards.pop()._abandon
"""),
        ("what is still to be told is told twice", """\
        if effective and not node.noted:
""", """\
        if effective:
"""),
        ("what was told once is not told again", """\
        self.noted = False
        if self.members""", """\
        if self.members"""),
        ("a group that ends is told at every wait", """\
        with hidden(self._task if hide else None):
""", """\
        with hidden(None):
"""),
        ("a Canceller is made for a task that is done", """\
    if canceller is None and not task.done():
""", """\
    if canceller is None:
"""),
        ("wait_for() of no time turns the level into TimeoutError", """\
    if canceller is None or not canceller.is_cancelled():
        return None
    return cancelled_error(canceller.node.text())
""", """\
    return None
"""),
        ("a storm is logged with the outermost place", """\
            place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
""", """\
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
"""),
    ),

    # --- Deadlines -----------------------------------------------------------
    *_of(
        "cancellation.py",
        ("a deadline that was moved fires at the earlier time, too", """\
        entry[2] = entry[3] = None
""", """\
        entry[3] = None
"""),
        ("sweeping takes live deadlines away", """\
        self._heap = [entry for entry in self._heap if entry[2] is not None]
""", """\
        self._heap = []
"""),
        ("dead deadlines are never swept", """\
        if len(self._heap) >= self._limit:
""", """\
        if False:
"""),
        ("of equal deadlines the later one comes first", """\
        self._order += 1
""", """\
        self._order -= 1
"""),
        ("a late timer leaves what has become due meanwhile", """\
            due = max(due, self._loop.time())
""", ""),
        ("one deadline expires at a time", """\
            while (when := self._first()) is not None and when <= due:
""", """\
            if (when := self._first()) is not None and when <= due:
"""),
        ("a dead deadline has a timer", """\
        while self._heap and self._heap[0][2] is None:
""", """\
        while False:
"""),
        ("what is left is lost when one raises", """\
        finally:
            # If one has raised, the others are for another pass.
            self._set_timer()
""", """\
        finally:
            pass
"""),
        ("each block has a timer", """\
        if before is not None and self._due <= when:
            return
""", ""),
        ("an earlier deadline waits for the timer of a later one", """\
        if before is not None and self._due <= when:
            return
""", """\
        if before is not None:
            return
"""),
        ("a timer that cannot be made takes away the one there is", """\
        # First, as the others still need the timer there is if this fails.
""", """\
        self._stop()
"""),
        ("the timer keeps the context of the first block alive", """\
        self._timer = contextvars.Context().run(
            self._loop.call_at, when, self._expire, when)
""", """\
        self._timer = self._loop.call_at(when, self._expire, when)
"""),
        ("a loop keeps what is armed when it is closed", """\
            loop._py_deadlines = weakref.ref(deadlines)
""", """\
            loop._py_deadlines = weakref.ref(deadlines)
            loop._kept_deadlines = deadlines
"""),
        ("a loop that takes no attribute is left with the timers", """\
            deadlines._stop()
""", """\
            pass
"""),
    ),

    # --- Scopes --------------------------------------------------------------
    *_of(
        "scopes.py",
        ("a parked task is not told when its shield is closed elsewhere", """\
        cancellation.call_all((canceller.release, canceller.deliver))
""", """\
        canceller.release()
"""),
        ("a task that is destroyed after its loop is told", """\
        canceller.told = True
""", ""),
        ("a shield hides the level, but holds no edge", """\
        self._node.hides = self._node.holds = bool(shield)
""", """\
        self._node.hides = bool(shield)
"""),
        ("a deadline set before the entry is overwritten by the timeout", """\
        self._timeout = None
""", ""),
        ("a shield that is put up holds nothing that is pending", """\
    scope._canceller.hold_pending()
""", """\
    pass
"""),
        ("a shield that is put up later does not mark its context", """\
        functools.partial(_put_up_shield, scope) if value
""", """\
        scope._canceller.hold_pending if value
"""),
        ("cancel_called does not look at the clock", """\
        if self._state is not _State.CLOSED:
            _look_at_clock(self)
""", ""),
        ("leaving a scope does not look at the clock", """\
            scope._look_at_clock(now)
""", ""),
        ("leaving a scope looks at no other clock", """\
                _look_at_clocks(node, now)
""", """\
                pass
"""),
        ("an outer deadline that passes later wins on leaving", """\
        if not node.cancelled:
            now =""", """\
        if True:
            now ="""),
        ("leaving a shield does not look at the clocks", """\
    _look_at_clocks(canceller.node)
""", ""),
        ("a closed scope looks at the clock", """\
        if self._state is not _State.CLOSED:
            _look_at_clock(self)
""", """\
        _look_at_clock(self)
"""),
        ("the error of a coroutine that is destroyed is hidden", """\
    return task is None or (exc_type is GeneratorExit
""", """\
    return (exc_type is GeneratorExit
"""),
        ("scopes around a group do not count in its tasks", """\
    return min((n.deadline for n in node.visible() if n.deadline is not None),
""", """\
    return min((n.deadline for n in node.visible()
                if n.deadline is not None and n.host is node.host),
"""),
        ("a clock that fails leaves the scope open", """\
    except BaseException:
        scope._abandon()
        raise
""", """\
    except BaseException:
        raise
"""),
        ("a timer that fails leaves the scope open", """\
            cancellation.disarm(self)
        finally:
            canceller.leave(self)
""", """\
            cancellation.disarm(self)
        except ZeroDivisionError:
            raise
        else:
            canceller.leave(self)
"""),
        ("an error in closing leaves the shield", """\
                canceller.pop(self._node)
            finally:
                if self._node.holds or self._marked:
                    _take_off_shield(self, canceller)
""", """\
                canceller.pop(self._node)
            except ZeroDivisionError:
                raise
            else:
                if self._node.holds or self._marked:
                    _take_off_shield(self, canceller)
"""),
        ("a shield that was taken off stays in the context", """\
                if self._node.holds or self._marked:
""", """\
                if self._node.holds:
"""),
        ("a group that cannot be split leaves its scope open", """\
            # Of a group: derive(), or one that is too deep to be split.
            scope._abandon()
""", """\
            # Of a group: derive(), or one that is too deep to be split.
"""),
        ("a shield that is taken off tells of the level first", """\
        else scope._canceller.release, node.update))
""", """\
        else node.update,
        node.update if value else scope._canceller.release))
"""),
        ("a deadline moved into the past waits for a timer", """\
        is_due = deadline <= loop.time()
""", """\
        is_due = False
"""),
        ("a clock that closes the scope is not noticed", """\
        if self._state is not _State.OPEN:
            return  # The clock has run code that has closed it.
""", ""),
        ("a clock that enters the scope is not noticed", """\
            _check_new(self)
        self._state""", """\
        self._state"""),
        ("another thread can leave a scope", """\
    _check_thread(scope, "leave")
""", ""),
        ("an error in asking one ends cancel_and_wait()", """\
    finally:
        await _wait_hidden(current, to_cancel)
""", """\
    except ZeroDivisionError:
        raise
    else:
        await _wait_hidden(current, to_cancel)
"""),
        ("a scope can be cancelled from another thread", """\
        _check_thread(self, "cancel")
""", ""),
        ("a deadline after a cancel() is called the cause", """\
        if not self._node.cancelled:
""", """\
        if True:
"""),
        ("timeout counts from the construction", """\
        self._timeout = _number("timeout", timeout)
        self._node = cancellation.Node()
        self._node.deadline = _number("deadline", deadline)
""", """\
        self._timeout = None
        self._node = cancellation.Node()
        self._node.deadline = _number("deadline", deadline)
        if timeout is not None:
            loop = events._get_running_loop()
            self._node.deadline = timeout + (loop.time() if loop else 0)
"""),
        ("a wrong exit leaves the scope open", """\
    scope._abandon()
    raise RuntimeError(wrong)
""", """\
    raise RuntimeError(wrong)
"""),
        ("what is raised after a task has ended is lost", """\
        return scope._state is _State.CLOSED
""", """\
        return False
"""),
        ("a scope that is not cancelled absorbs", """\
        return (node.cancelled
""", """\
        return (True
"""),
        ("the inner of two cancelled scopes absorbs", """\
                and (node.hides or node.parent is None
                     or not node.parent.effective)
""", ""),
        ("an edge is swallowed with the level", """\
               and canceller.outstanding() <= scope._baseline)
""", """\
               )
"""),
        ("old requests keep a scope from absorbing", """\
               and canceller.outstanding() <= scope._baseline)
""", """\
               and not canceller.outstanding())
"""),
        ("requests held by shields keep a scope from absorbing", """\
               and canceller.outstanding() <= scope._baseline)
""", """\
               and canceller.task.cancelling() <= scope._baseline)
"""),
        ("a group's other errors are taken for cancellation", """\
        scope._caught = rest is not exc
""", """\
        scope._caught = True
"""),
        ("an absorbed delivery counts for a storm", """\
        canceller.streak = 0
""", """\
        pass
"""),
        ("leaving any scope ends a storm", """\
    if scope._caught:
""", """\
    if True:
"""),
        ("TimeoutError comes for a cancel(), too", """\
        if scope._fails and scope._by_deadline:
""", """\
        if scope._fails:
"""),
        ("TimeoutError replaces other errors", """\
        if rest is not None:
            _raise_rest(rest)
""", """\
        if rest is not None and not scope._fails:
            _raise_rest(rest)
"""),
        ("fail_after() raises TimeoutError though nothing was cancelled", """\
            self._close()
            return False
""", """\
            self._close()
            if self._fails and self._by_deadline:
                raise TimeoutError
            return False
"""),
        ("leaving a shield by async with does not deliver", """\
        if shielded and (exc is None or absorbed):
""", """\
        if False:
"""),
        ("leaving any scope by async with delivers", """\
        if shielded and (exc is None or absorbed):
""", """\
        if exc is None or absorbed:
"""),
        ("leaving a shield replaces the body's exception", """\
        if shielded and (exc is None or absorbed):
""", """\
        if shielded:
"""),
        ("a shield that absorbed does not deliver", """\
        if shielded and (exc is None or absorbed):
""", """\
        if shielded and exc is None:
"""),
        ("an infinite deadline has a timer", """\
        if deadline is None or deadline == math.inf:
""", """\
        if deadline is None:
"""),
        ("a cancelled scope's deadline has a timer", """\
        elif not self._node.cancelled:
""", """\
        else:
"""),
        ("a deadline that is now has not passed", """\
        if deadline is not None and deadline <= now:
""", """\
        if deadline is not None and deadline < now:
"""),
        ("a shield set from outside marks the context of whoever sets it", """\
    if not scope._marked and _current_task() is scope._canceller.task:
""", """\
    if not scope._marked:
"""),
        ("what is no int or float is refused", """\
        if not hasattr(type(value), "__float__"):
""", """\
        if True:
"""),
        ("raising the rest changes its context", """\
        rest.__context__ = context
""", ""),
        ("move_on_at() has no shield", """\
    return CancelScope(deadline=when, shield=shield)
""", """\
    return CancelScope(deadline=when)
"""),
        ("fail_at() does not fail", """\
    scope = CancelScope(deadline=when, shield=shield)
    scope._fails = True
""", """\
    scope = CancelScope(deadline=when, shield=shield)
"""),
        ("the effective deadline does not look at the clock", """\
    _look_at_clocks(node)
    if node.effective:
""", """\
    if node.effective:
"""),
        ("checkpoint_if_cancelled() does not look at the clock", """\
    node = _current_node()
    _look_at_clocks(node)
""", """\
    node = _current_node()
"""),
        ("checkpoint_if_cancelled() does not look for an edge", """\
    if (node is not None and node.effective) or (
            task is not None and getattr(task, "_must_cancel", False)):
""", """\
    if node is not None and node.effective:
"""),
        ("cancel_and_wait() sees the level", """\
    with cancellation.hidden(current):
""", """\
    with cancellation.hidden(None):
"""),
        ("cancel_and_wait() swallows an edge", """\
                cancelled = exc
""", """\
                pass
"""),
        ("only the innermost clock is looked at", """\
    for outer in [n for n in node.visible() if n.deadline is not None]:
""", """\
    for outer in [n for n in node.visible() if n.deadline is not None][:1]:
"""),
    ),

    # --- Timeouts ------------------------------------------------------------
    *_of(
        "timeouts.py",
        ("reschedule() makes no timer", """\
        if when is not None:
            self._set_timer()
""", ""),
        ("a timeout has its timer at entry", """\
        self._armed = not self._is_known
""", """\
        self._armed = True
"""),
        ("a timeout that cannot be entered stays among the task's guards", """\
                cancellation.leave(self)
                raise
""", """\
                raise
"""),
        ("a timeout can be left again", """\
        if self._state not in (_State.ENTERED, _State.EXPIRING):
""", """\
        if self._state is _State.CREATED:
"""),
        ("a timeout that could not be entered can be left", """\
                self._state = _State.EXITED
                cancellation""", """\
                cancellation"""),
        ("a timer that fails leaves the timeout among the task's guards", """\
            self._disarm()
        finally:
            try:
                self._end(exc)
""", """\
            self._disarm()
        except ZeroDivisionError:
            raise
        else:
            try:
                self._end(exc)
"""),
        ("a timeout that ends in time stays among the task's guards", """\
            self._state = _State.EXITED
            cancellation.leave(self)
""", """\
            self._state = _State.EXITED
"""),
        ("a timeout does not take its request back", """\
    cancellation.withdraw(timeout)
""", ""),
        ("a timeout that expired stays among the task's guards", """\
    cancellation.leave(timeout)
    if ends_here and exc is not None:
""", """\
    if ends_here and exc is not None:
"""),
        ("TimeoutError comes though others ask the same", """\
    ends_here = not cancellation.is_asked_by_others(timeout)
""", """\
    ends_here = True
"""),
        ("TimeoutError comes though a scope around is cancelled", """\
    ends_here = not cancellation.is_asked_by_others(timeout)
""", """\
    ends_here = not cancellation.has_new_requests(timeout)
"""),
        ("what is no finite number is among the deadlines", """\
    return when if math.isfinite(when) else None
""", """\
    return when
"""),
        ("a timeout asks its task in the context of the timer", """\
    context.run(cancellation.ask, timeout)
""", """\
    cancellation.ask(timeout)
"""),
        ("a timeout that has ended is armed still", """\
        cancellation.disarm(self)
""", """\
        pass
"""),
        ("a timeout makes no timer when its task suspends", """\
        if self._timer is None and self._when is not None:
""", """\
        if False:
"""),
    ),

    # --- Supervisors: their state and their end ------------------------------
    *_of(
        "supervisors.py",
        ("work can be allocated while it closes", """\
_FOR_WORK = frozenset({_State.OPEN, _State.DRAINING})
""", """\
_FOR_WORK = frozenset({_State.OPEN, _State.DRAINING, _State.CLOSING})
"""),
        ("callbacks are refused while it closes", """\
_FOR_CALLBACKS = _FOR_WORK | {_State.CLOSING}
""", """\
_FOR_CALLBACKS = _FOR_WORK
"""),
        ("a cancel() before the entry is forgotten", """\
            self._node = guard.node
        if self._cancel_called:
""", """\
            self._node = guard.node
        if False:
"""),
        ("it can be left in another task", """\
        if not is_here and not isinstance(exc, GeneratorExit):
""", """\
        if False:
"""),
        ("a generator that is closed elsewhere leaves as one that ended", """\
            if not is_here:
                return False  # The coroutine of the host is being closed.
""", ""),
        ("an idle exit does not look for futures", """\
                    or self._futures is not None
""", ""),
        ("an idle exit does not look for callbacks", """\
                    or self._has_callbacks or self._has_machinery_callbacks
""", ""),
        ("a server that is made while it drains goes on", """\
        if self._state is _State.DRAINING:
            self._release(_Kind.SERVER)
""", """\
        if self._state is _State.DRAINING:
"""),
        ("servers accept while the work is awaited", """\
    async def _await_work(self):
        self._release(_Kind.SERVER)
""", """\
    async def _await_work(self):
"""),
        ("readers are left at a normal exit", """\
            self._release(_Kind.REGISTRATION)
            self._go("close")
""", """\
            self._go("close")
"""),
        ("connections are not awaited at a normal exit", """\
            await self._until(self._has_none, _Kind.TRANSPORT,
                              _Kind.MACHINERY, _Kind.CALL)
""", ""),
        ("layers of TLS are not awaited at a normal exit", """\
        while (self._has_layer_callbacks
""", """\
        while (False
"""),
        ("futures are cancelled after the last callbacks", """\
            self._cancel_futures()
            await self._one_pass_for_callbacks()

    async def _await_work""", """\
            await self._one_pass_for_callbacks()

    async def _await_work"""),
        ("ready callbacks are no work", """\
            if (first and self._has_callbacks
""", """\
            if (False
"""),
        ("a process that waits for the end of its input is waited for", """\
            and any(map(_open_stdin, self._of(_Kind.PROCESS).values())))
""", """\
            and False)
"""),
        ("processes are no work", """\
                self._release(_Kind.PROCESS)
                await self._until(self._has_no_process_or_an_open_stdin)
""", """\
                pass
"""),
        ("delays of transports outlive it", """\
        self._release(_Kind.DELAY)
        self._cancel""", """\
        self._cancel"""),
        ("what was accepted last is not run", """\
        self._go("end")
        await self._one_pass_for_callbacks()
""", """\
        self._go("end")
"""),
        ("a cancellation of its own is raised", """\
        if self._has_asked and not others:
""", """\
        if False:
"""),
        ("a host runs on as if its cancelled tasks had finished", """\
            cancelled = cancellation.level_error(self._host)
""", """\
            pass
"""),
        ("errors that an exit hides are told to nobody", """\
            if self._base_error is not None:
                self._report_errors()
""", """\
            if self._base_error is not None:
"""),
        ("a cancel of the host is lost beside errors", """\
                guard.ask_again()
""", ""),
        ("a level cancellation is seen while it aborts", """\
                                       hide=self._state is _State.ABORTING)
""", """\
                                       hide=False)
"""),
        ("a cancel while it exits does not abort it", """\
                self._cancelled_error = exc
            self._abort()
        finally""", """\
                self._cancelled_error = exc
        finally"""),
        ("of two cancels while it exits, the second is told", """\
            if self._cancelled_error is None or self._has_asked:
""", """\
            if True:
"""),
        ("it takes its own request for a cancel of the host", """\
            if self._cancelled_error is None or self._has_asked:
""", """\
            if self._cancelled_error is None:
"""),
        ("futures are cancelled between layers of TLS", """\
        elif self._has_layer_callbacks:
            self._settle_in_a_pass()
""", ""),
        ("tasks are not awaited when it aborts", """\
                and self._has_none(*_RUN_BY_THEMSELVES, *_MAY_WAIT))
""", """\
                and self._has_none(*_RUN_BY_THEMSELVES))
"""),
        ("an exit that is cut short leaves it open", """\
            self._go_on_from_crash()
""", """\
            pass
"""),
    ),

    # --- Supervisors: the abort, and failures --------------------------------
    *_of(
        "supervisors.py",
        ("the message of the second cancel() wins", """\
        if not self._cancel_called:
            self._cancel_called = True
""", """\
        if True:
            self._cancel_called = True
"""),
        ("callbacks are run though it aborts", """\
            self._drops = True
            super()._abort()
""", """\
            super()._abort()
"""),
        ("the body is not asked to stop", """\
            self._needed_guard().ask(self._cancel_msg)
""", """\
            pass
"""),
        ("its tasks are cancelled from within a shield", """\
        with cancellation.from_outside():
""", """\
        with self._lock:
"""),
        ("an error in a release ends the release", """\
                self._add_error(exc)
                failed = True
""", """\
                raise
"""),
        ("an error in a release is told to nobody", """\
                self._add_error(exc)
                failed = True
""", """\
                failed = True
"""),
        ("what fails after the end is told to nobody", """\
            self._loop.call_exception_handler(context)
            return
        if isinstance""", """\
            return
        if isinstance"""),
        ("a refusal of another supervisor is no failure", """\
        if isinstance(exc, _Refusal) and exc.supervisor is self:
""", """\
        if isinstance(exc, _Refusal):
"""),
        ("a refusal of its own is a failure", """\
        if isinstance(exc, _Refusal) and exc.supervisor is self:
""", """\
        if isinstance(exc, _Refusal) and exc.supervisor is not self:
"""),
        ("a protocol is not told why it is lost", """\
            context["transport"]._force_close(exc)
""", """\
            pass
"""),
        ("the error of a failure handler replaces the first", """\
            self._add_error(context["exception"])
            self._add_error(exc)
""", """\
            self._add_error(exc)
"""),
        ("an error that comes twice is told twice", """\
            self._errors[id(exc)] = exc
""", """\
            self._errors[len(self._errors)] = exc
"""),
        ("a handled reader stays", """\
            if registration.handle is handle and key[0] != "signal":
""", """\
            if False:
"""),
        ("a handled pipe that had paused stays", """\
                wanted.append(_self_of_callback(context["exception"]))
""", """\
                pass
"""),
        ("a handled datagram endpoint is aborted", """\
        if (transport is not None
                and not isinstance(transport, transports.DatagramTransport)):
""", """\
        if transport is not None:
"""),
        ("a callback that is handled ends what it was given", """\
        if handle is not None and handle._loop is self._inner:
""", """\
        if handle is not None:
"""),
        ("a CancelledError of a callback is a failure", """\
    if exc is None or isinstance(exc, exceptions.CancelledError):
""", """\
    if exc is None:
"""),
        ("an OSError of a protocol is no failure", """\
    return (not isinstance(exc, OSError)
            or message.startswith(_MESSAGES_OF_PROTOCOLS))
""", """\
    return not isinstance(exc, OSError)
"""),
        ("an OSError of the system is a failure", """\
    return (not isinstance(exc, OSError)
            or message.startswith(_MESSAGES_OF_PROTOCOLS))
""", """\
    return True
"""),
        ("an error of a protocol factory is no failure", """\
            self._view.call_exception_handler({
""", """\
            dict({
"""),
        ("an error of accept() ends the accepting", """\
            if sock.fileno() < 0:
                return  # The server was closed meanwhile.
""", """\
            raise
"""),
    ),

    # --- Supervisors: callbacks, futures, tasks and jobs ---------------------
    *_of(
        "supervisors.py",
        ("a thread need not wait for the state to be changed", """\
        with self._lock:
            if self._state not in _FOR_CALLBACKS:
""", """\
        if True:
            if self._state not in _FOR_CALLBACKS:
"""),
        ("a future that is made while it aborts is pending", """\
        if is_cancelled:
            future.cancel()
""", """\
        if is_cancelled:
            pass
"""),
        ("callbacks of futures are not owned", """\
            future._asyncio_owner = self._inner
""", """\
            pass
"""),
        ("a coroutine that is refused is not closed", """\
            _close_coroutine(coro)
            raise _Refusal(self)
""", """\
            raise _Refusal(self)
"""),
        ("callbacks of tasks are not owned", """\
            task._asyncio_owner = self._inner if owner is None else owner
""", """\
            pass
"""),
        ("scopes around do not reach its tasks", """\
            self._node.adopt(task)
""", """\
            pass
"""),
        ("a refused callback is told to nobody", """\
                handle = self._cancelled(events.Handle(
                    callback, args, self._loop, context))
                self._check_callbacks()
                return handle
""", """\
                self._check_callbacks()
                return self._cancelled(events.Handle(
                    callback, args, self._loop, context))
"""),
        ("what cannot tell of its end is taken", """\
            self._tasks.discard(task)
            raise
""", """\
            raise
"""),
        ("who aborts it while a task is taken does not end that", """\
        self.came_late = self._owner._adopt(task) is _State.ABORTING
""", """\
        self.came_late = self._owner._state is _State.ABORTING
        self._owner._adopt(task)
"""),
        ("a task that is made while it aborts is not cancelled", """\
        if adopter.came_late:
            _release_task(self, task)
""", """\
        pass
"""),
        ("an exit of a task is an error", """\
        if (isinstance(context["exception"], (KeyboardInterrupt, SystemExit))
                and self._errors is not None):
""", """\
        if False:
"""),
        ("a timer that has run is owned still", """\
        supervisor._timers.pop(id(self), None)
""", ""),
        ("a timer that was cancelled is owned still", """\
        supervisor._timers.pop(id(handle), None)
""", ""),
        ("nobody is told of a callback that is dropped", """\
    if dropped is not None:
        dropped()
""", ""),
        ("a job that was cancelled begins", """\
            if self._is_cancelled:
                return None
""", ""),
        ("a job of another executor that has begun is not awaited", """\
        # It cannot tell when it begins.
        self._has_begun = True
""", ""),
        ("a thread cannot end when the loop is closed", """\
        except RuntimeError:
            pass  # The loop is closed.
""", """\
        except ZeroDivisionError:
            pass
"""),
        ("a job is not awaited when its future is cancelled", """\
        if self.future.done() and (self._has_ended or self._is_cancelled):
""", """\
        if self.future.done():
"""),
    ),

    # --- Supervisors: registrations, connections, servers and processes ------
    *_of(
        "supervisors.py",
        ("a signal handler is put back above that of another", """\
        return self._leave_to_others()
""", """\
        return False
"""),
        ("a signal handler that is removed puts nothing back", """\
        return ((ours is not None and ours.remove())
                or self._loop.remove_signal_handler(sig))
""", """\
        return self._loop.remove_signal_handler(sig)
"""),
        ("a handler that is set again below another is put back", """\
            # Another supervisor's is above it, and will be below.
            ours.remove()
""", """\
            pass
"""),
        ("a signal handler that is set twice is put back", """\
            replaced = ours.replaced
""", """\
            pass
"""),
        ("a signal that has come calls who has ended", """\
        # It may be ready to run.
        self.handle.cancel()
""", ""),
        ("a handler in Python is not put back", """\
        if handle is None and handler is not None:
""", """\
        if False:
"""),
        ("a reader that somebody else has set is removed", """\
        if self.is_ours():
            self._remove()

""", """\
        self._remove()

"""),
        ("a call of a foreign task in flight is just cancelled", """\
            if call.take_back():
                raise""", """\
            if call.take_back() and False:
                raise"""),
        ("a foreign task that someone cancels is refused", """\
        return not cancellation.is_asked_by_others(self)
""", """\
        return True
"""),
        ("a server that is made too late serves", """\
        if self._state not in _FOR_WORK:
            server.close()
            raise""", """\
        if self._state not in _FOR_WORK:
            raise"""),
        ("a transport that is made too late stays", """\
            self._loop.call_soon(_abort_transport, transport)
""", """\
            pass
"""),
        ("a foreign transport is not owned after start_tls()", """\
        is_taken = self._take_over(bottom)
""", """\
        is_taken = False
"""),
        ("start_tls() that is refused keeps the transport", """\
            if is_taken and not bottom.is_closing():
""", """\
            if False:
"""),
        ("what a task tells of is reported, too", """\
        if id(context.get("exception")) not in (self._errors or ()):
""", """\
        if True:
"""),
        ("who is not to leave it is told of no errors", """\
            self._report_errors()
            raise RuntimeError(""", """\
            raise RuntimeError("""),
        ("nobody leaves it for a host that has ended", """\
        if not self._host.done():
            # Perhaps""", """\
        if True:
            # Perhaps"""),
        ("who leaves it for its host takes back what the host was asked", """\
        self._host = host
        self._has_asked = False
""", """\
        self._host = host
"""),
        ("who leaves it for its host leaves its tasks in the host's scopes", """\
        if self._guard is not None:
            self._guard.leave()
        self._host = host
""", """\
        self._host = host
"""),
        ("who leaves it for its host does not see scopes", """\
        self._has_asked = False
        self._look_around()
""", """\
        self._has_asked = False
        self._guard = None
"""),
        ("a process that has ended is told to be unclosed", """\
            transport.close()  # Nobody else needs to say so.
""", """\
            pass
"""),
        ("wait_closed() of a closed server waits for its connections", """\
            # Its connections are awaited by the supervisor.
            server._wakeup()
""", ""),
        ("pipes of a process stay when it is aborted", """\
        if pipe is not None and pipe.pipe is not None:
            _abort_transport(pipe.pipe)
""", """\
        pass
"""),
        ("the input of a process stays open", """\
    elif (stdin := _open_stdin(process)) is not None:
        stdin.close()
""", ""),
        ("what connects the pipes of a process is cut short", """\
    if getattr(task.get_coro(), "__name__", None) != "_connect_pipes":
""", """\
    if True:
"""),
        ("connections are closed, not aborted", """\
    if supervisor._state is _State.ABORTING:
        _abort_transport(transport)
""", """\
    if False:
        pass
"""),
        ("the bottom layer is closed at a normal exit", """\
        *_, top = _layers(transport, of_protocols=False)
        top.close()
""", """\
        transport.close()
"""),
        ("the end of a view closes the loop", """\
    def __del__(self):
        pass  # The loop goes on.
""", ""),
        ("a Runner cancels the tasks of a supervisor twice", """\
        return self._supervisor._host in tasks
""", """\
        return False
"""),
        ("nothing is called for tasks that fail with others", """\
        if task.cancelled() or task.exception() is not None:
            return False
        if self._returned is None:
""", """\
        if self._returned is None:
"""),
        ("nothing is called for the first task that returns", """\
            self._returned = []
            return False
""", """\
            self._returned = []
"""),
        ("tasks that return in one pass are told of one by one", """\
        self._returned.append(task)
        return True
""", """\
        return False
"""),
        ("tasks that have returned with others stay", """\
            self._tasks.difference_update(self._returned)
            self._returned = None
""", """\
            self._returned = None
"""),
        ("tasks that will return are told of by those that have", """\
            self._tasks.difference_update(self._returned)
            self._returned = None
""", """\
            self._tasks.difference_update(self._returned)
"""),
        ("the exit is not told that the last task has gone", """\
        if not self._tasks and self._wake is not None:
            self._changed()
""", """\
"""),
        ("the exit is told of each task", """\
        if not self._tasks and self._wake is not None:
""", """\
        if self._wake is not None:
"""),
        ("errors beside an exit are told to nobody", """\
                self._report_errors()
                if self._base_error is exc:
""", """\
                if self._base_error is exc:
"""),
        ("the error of a task is told when the block was left", """\
        if self._errors is None:
            # The block was left before.
            self._loop.call_exception_handler(context)
        else:
            self._fail_for""", """\
        if self._errors is not None:
            self._fail_for"""),
    ),
    *_of(
        "taskgroups.py",
        ("a group can be entered twice", """\
        if self._state is not _NEW:
            raise""", """\
        if False:
            raise"""),
        ("the body's error does not cancel the tasks", """\
                self._take_in(exc)
                self._abort()
""", """\
                self._take_in(exc)
"""),
        ("a group is left before its tasks have ended", """\
            while self._tasks:
                await""", """\
            if False:
                await"""),
        ("an exit with tasks, or in scopes, is as simple as one without", """\
        if (exc is None and not self._tasks and self._guard is None
                and self._state is _OPEN):
""", """\
        if exc is None and self._state is _OPEN:
"""),
        ("scopes around are forgotten where nothing fails", """\
            if self._state is _OPEN and self._guard is None:
""", """\
            if self._state is _OPEN:
"""),
        ("a group that shuts down takes tasks", """\
        elif self._state is _State.ABORTING:
            why = "is shutting down"
""", ""),
        ("a group that has ended takes tasks", """\
        elif self._is_exiting and not self._tasks:
            why = "is finished"
""", ""),
        ("what is refused is not closed", """\
        _close_coroutine(coro)
        raise RuntimeError(f"{self!r} {why}")
""", """\
        raise RuntimeError(f"{self!r} {why}")
"""),
        ("a cancelled start() leaves its task alone", """\
            if not status._has_started:
                await""", """\
            if False:
                await"""),
        ("a start() that is cancelled late ends a task that has begun", """\
            if not status._has_started:
                await""", """\
            if True:
                await"""),
        ("the error of a cancelled start() is lost", """\
                if not task.cancelled() and task.exception() is not None:
                    raise task.exception()
""", ""),
        ("an error before the report is of the group, too", """\
        if self._starting is None or context["task"] not in self._starting:
            super()._task_failed(context)
""", """\
        super()._task_failed(context)
"""),
        ("an error after the report is told to nobody", """\
            self._starting.discard(task)
""", ""),
        ("a task can report twice", """\
        if self._has_started:
            raise""", """\
        if False:
            raise"""),
        ("a report after the end is taken", """\
        if self._report is None:
            raise""", """\
        if False:
            raise"""),
        ("a report that nobody waits for is an error", """\
        if self._report.cancelled():
            return  # Nobody waits for it.
""", ""),
        ("a task that returns without a report is waited for", """\
        elif (exc := task.exception()) is None:
            exc =""", """\
        elif (exc := task.exception()) is None:
            return
            exc ="""),
        ("a task that is cancelled without a report is waited for", """\
        if task.cancelled():
            exc =""", """\
        if task.cancelled():
            return
            exc ="""),
    ),
)
