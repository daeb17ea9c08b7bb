"""What is promised of a supervisor when its block has ended."""

__all__ = ("Checks",)

import asyncio
import contextlib


class Checks:
    """The part of a Player that tells what is wrong."""

    def wrong(self, what):
        self.problems.append(what)

    def check_host(self, outcome, late):
        cancels = self.cancels.get(self.host, 0)
        is_cancelled = isinstance(outcome, asyncio.CancelledError)
        if self.host.cancelling() != cancels:
            self.wrong(f"the host was cancelled {cancels} times, and "
                       f"cancelling() is {self.host.cancelling()}")
        if self.is_loose:
            return
        if not cancels and (is_cancelled or late is not None):
            self.wrong(f"the host ends with {outcome!r}, {late!r}, and was "
                       "not cancelled")
        is_group = type(outcome) in (BaseExceptionGroup, ExceptionGroup)
        if cancels and late is None and (outcome is None or is_group):
            self.wrong(f"the host was cancelled, and ends with {outcome!r}")

    def check_block(self, s, outcome, body, cancels):
        for thing in s.things:
            for problem in thing.problems():
                self.wrong(f"{thing} {problem}")
        if s.sup.owned() or "closed" not in repr(s.sup):
            self.wrong(f"{s.sup!r} is left")
        for call in (s.sup.create_future, lambda: s.sup.call_soon(print),
                     lambda: s.sup.call_soon_threadsafe(print),
                     lambda: s.sup.call_later(1, print),
                     lambda: s.sup.create_task(asyncio.sleep(0)),
                     lambda: s.sup.add_reader(0, print)):
            with contextlib.suppress(RuntimeError):
                call()
                self.wrong(f"{s.name} takes more after its end")
        if (s.aborted_at is not None and self.loop.time() > max(
                s.aborted_at, s.worked_until)):
            self.wrong(f"{s.name} has aborted at {s.aborted_at}, and ends "
                       f"late, at {self.loop.time()}")
        self.check_asked(s)
        self.check_outcome(s, outcome, body, cancels)

    def unhandled(self, s):
        """The errors that the block must tell of."""
        asked, errors = list(s.asked), []
        for exc, where in s.escaped:
            if where != "body" and self.is_own_refusal(s, exc):
                continue
            if isinstance(exc, (KeyboardInterrupt, SystemExit)):
                continue
            if isinstance(exc, GeneratorExit) and where == "body":
                continue
            handled = False
            if where != "body" and s.has_handler:
                for index, (other, answer) in enumerate(asked):
                    if other is exc:
                        del asked[index]
                        handled = answer
                        break
            if not handled:
                errors.append(exc)
        return errors + s.handler_errors

    def is_own_refusal(self, s, exc):
        return getattr(exc, "supervisor", None) is s.sup

    def check_asked(self, s):
        if not s.has_handler:
            return
        wanted = [exc for exc, where in s.escaped
                  if where != "body" and not self.is_own_refusal(s, exc)
                  and not isinstance(exc, (KeyboardInterrupt, SystemExit))]
        got = [exc for exc, _ in s.asked]
        if sorted(map(id, wanted)) != sorted(map(id, got)):
            self.wrong(f"the handler of {s.name} was asked of {got}, not of "
                       f"{wanted}")

    def check_outcome(self, s, outcome, body, cancels):
        errors = {id(exc): exc for exc in self.unhandled(s)}
        exits = [exc for exc, _ in s.escaped
                 if isinstance(exc, (KeyboardInterrupt, SystemExit))]
        if exits:
            self.expected += errors.values()
            if not any(outcome is exc for exc in exits):
                self.wrong(f"{s.name} ends with {outcome!r}, not {exits}")
        elif errors:
            found = getattr(outcome, "exceptions", ())
            if (not isinstance(outcome, BaseExceptionGroup)
                    or outcome is body.exc
                    or sorted(map(id, found)) != sorted(errors)):
                self.wrong(f"{s.name} ends with {outcome!r}, not with "
                           f"{list(errors.values())}")
        elif isinstance(outcome, asyncio.CancelledError):
            self.check_cancelled(s, outcome, body, cancels)
        elif outcome is not None:
            self.wrong(f"{s.name} ends with {outcome!r} without an error")
        elif body.exc is not None and not s.was_cancelled:
            self.wrong(f"{s.name} has swallowed {body.exc!r}")

    def check_cancelled(self, s, outcome, body, cancels):
        around = self.around.get(asyncio.current_task(), ["task"])
        is_of_body = body.exc is not None and not body.had_aborted
        if not cancels and not around and not is_of_body:
            self.wrong(f"{s.name} ends with {outcome!r}, and nobody has "
                       "cancelled its host")
