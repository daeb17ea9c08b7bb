"""Small programs with cancel scopes, in words that Trio and asyncio share.

scope_kits.py says what the words are.  The outcome of a program is what it
says, each line after the time at which it does, and what it raises.  It must
not depend on the order of tasks that run at the same instant.
"""

__all__ = ("SAME", "DIFFERENT", "Difference")

import dataclasses
import math

# Programs with the same outcome on both.
SAME = []
# Program: Difference.
DIFFERENT = {}


@dataclasses.dataclass
class Difference:
    """The outcomes, and why they must differ."""

    why: str
    trio: list
    asyncio: list
    # With eager tasks, if that is something else.
    eager: list | None = None


def same(program):
    SAME.append(program)
    return program


def different(**difference):
    def enter(program):
        DIFFERENT[program] = Difference(**difference)
        return program
    return enter


# Where CancelledError is raised.

@same
async def every_wait_of_a_cancelled_scope_raises(k):
    with k.scope() as scope:
        scope.cancel()
        for n in range(5):
            try:
                await k.sleep(9)
            except k.Cancelled:
                k.say(f"told {n}")
        await k.sleep(9)
        k.say("not reached")
    k.say_state("scope", scope)


@same
async def a_wait_in_finally_does_not_stay(k):
    with k.move_on_after(5) as scope:
        try:
            await k.sleep(9)
        finally:
            k.say("first")
            try:
                await k.sleep(9)
            finally:
                k.say("second")
    k.say_state("scope", scope)


@same
async def after_the_block_waits_are_free(k):
    with k.move_on_after(1):
        await k.sleep(9)
    k.say("left")
    await k.sleep(2)
    k.say("slept")


@same
async def code_without_a_wait_runs_in_a_cancelled_scope(k):
    with k.scope() as scope:
        scope.cancel()
        k.say("no wait")
    k.say_state("scope", scope)


@same
async def a_scope_cancelled_after_its_last_wait(k):
    with k.scope() as scope:
        await k.sleep(1)
        scope.cancel()
        scope.cancel()
    k.say_state("scope", scope)


@same
async def a_body_that_swallows_everything_has_finished(k):
    with k.move_on_after(1) as scope:
        try:
            await k.sleep(9)
        except k.Cancelled:
            k.say("swallowed")
    k.say_state("scope", scope)


@same
async def a_wait_that_refuses_goes_on_to_its_end(k):
    with k.move_on_after(1) as scope:
        await k.refuse_until(3)
        k.say("its result")
        await k.sleep(9)
        k.say("not reached")
    k.say_state("scope", scope)


@same
async def checkpoints_outside_and_inside_of_a_cancelled_scope(k):
    with k.scope() as scope:
        await k.checkpoint()
        await k.checkpoint_if_cancelled()
        k.say("passed")
        scope.cancel()
        for checkpoint in (k.checkpoint, k.checkpoint_if_cancelled):
            try:
                await checkpoint()
            except k.Cancelled:
                k.say("told")


@same
async def a_sleep_of_zero_is_a_checkpoint(k):
    with k.scope() as scope:
        scope.cancel()
        await k.sleep(0)
        k.say("not reached")
    k.say_state("scope", scope)


@same
async def the_text_of_a_cancellation(k):
    for texts in (["why"], [None], ["first", "second"]):
        with k.scope() as scope:
            for text in texts:
                scope.cancel(text)
            try:
                await k.sleep(9)
            except k.Cancelled as exc:
                k.say(k.text_of(exc))
                raise


# Nesting.

@same
async def an_inner_scope_ends_alone(k):
    with k.scope() as outer:
        with k.move_on_after(1) as inner:
            await k.sleep(9)
        await k.sleep(1)
        k.say("goes on")
    k.say_state("inner", inner)
    k.say_state("outer", outer)


@same
async def an_outer_scope_ends_the_inner(k):
    with k.move_on_after(1) as outer:
        with k.scope() as inner:
            await k.sleep(9)
        k.say("not reached")
    k.say_state("inner", inner)
    k.say_state("outer", outer)


@same
async def the_outer_scope_wins_in_either_order(k):
    for inner_first in (True, False):
        with k.scope() as outer:
            with k.scope() as inner:
                scopes = [inner, outer] if inner_first else [outer, inner]
                for scope in scopes:
                    scope.cancel()
                await k.sleep(9)
            k.say("not reached")
        k.say_state("inner", inner)
        k.say_state("outer", outer)


@same
async def deadlines_at_the_same_instant(k):
    with k.move_on_at(1) as outer:
        with k.move_on_at(1) as middle:
            with k.move_on_at(1) as inner:
                await k.sleep(9)
            k.say("not reached")
        k.say("not reached")
    for name, scope in (("inner", inner), ("middle", middle),
                        ("outer", outer)):
        k.say_state(name, scope)


@same
async def an_outer_scope_cancelled_while_the_inner_is_left(k):
    with k.scope() as outer:
        with k.move_on_after(1) as inner:
            try:
                await k.sleep(9)
            finally:
                outer.cancel()
        k.say("not reached")
    k.say_state("inner", inner)
    k.say_state("outer", outer)


@same
async def an_outer_deadline_during_shielded_cleanup_of_the_inner(k):
    with k.move_on_at(2) as outer:
        with k.move_on_at(1) as inner:
            try:
                await k.sleep(9)
            finally:
                with k.scope(shield=True):
                    await k.sleep(3)
                    k.say("cleaned up")
        k.say("not reached")
    k.say_state("inner", inner)
    k.say_state("outer", outer)


@same
async def retries_with_a_deadline_each(k):
    for n in range(3):
        with k.move_on_after(2) as scope:
            await k.sleep(5 - 2 * n)
            k.say(f"attempt {n} succeeds")
        k.say_state(f"scope {n}", scope)


@same
async def a_scope_entered_in_a_cancelled_one(k):
    with k.scope() as outer:
        outer.cancel()
        with k.scope() as inner:
            k.say("entered")
            await k.sleep(9)
            k.say("not reached")
        k.say("not reached")
    k.say_state("inner", inner)
    k.say_state("outer", outer)


@same
async def the_scopes_of_other_tasks_go_on(k):
    async def child(name, seconds):
        with k.move_on_after(seconds) as scope:
            await k.sleep(4)
            k.say(f"{name} slept")
        k.say_state(name, scope)

    async with k.group() as group:
        for name, seconds in (("one", 1), ("two", 2), ("nine", 9)):
            group.start_soon(child, name, seconds)


# Shields.

@same
async def a_shielded_scope_finishes_in_a_cancelled_one(k):
    with k.move_on_after(1) as outer:
        with k.scope(shield=True) as inner:
            await k.sleep(5)
            k.say("finished")
        k.say_state("inner", inner)
        await k.sleep(9)
        k.say("not reached")
    k.say_state("outer", outer)


@same
async def a_shield_taken_off_from_a_parked_task(k):
    with k.move_on_after(1) as outer:
        with k.scope(shield=True) as inner:
            k.later(3, setattr, inner, "shield", False)
            await k.sleep(9)
            k.say("not reached")
    k.say_state("inner", inner)
    k.say_state("outer", outer)


@same
async def a_shield_put_up_in_a_cancelled_scope(k):
    with k.scope() as outer:
        outer.cancel()
        with k.scope() as inner:
            inner.shield = True
            await k.sleep(1)
            k.say("protected")
            inner.shield = False
            await k.sleep(1)
            k.say("not reached")
    k.say_state("inner", inner)
    k.say_state("outer", outer)


@same
async def a_shield_taken_off_and_put_up_again_between_waits(k):
    with k.scope() as outer:
        with k.scope(shield=True) as inner:
            outer.cancel()
            await k.sleep(1)
            inner.shield = False
            inner.shield = True
            await k.sleep(1)
            k.say("protected")
    k.say_state("inner", inner)
    k.say_state("outer", outer)


@same
async def a_shield_with_a_deadline_of_its_own(k):
    with k.move_on_after(1) as outer:
        with k.move_on_after(5, shield=True) as inner:
            await k.sleep(9)
        k.say_state("inner", inner)
        await k.sleep(9)
        k.say("not reached")
    k.say_state("outer", outer)


@same
async def a_shielded_scope_that_is_cancelled_itself(k):
    with k.scope() as outer:
        with k.scope(shield=True) as inner:
            k.later(2, inner.cancel)
            await k.sleep(9)
        k.say("goes on")
    k.say_state("inner", inner)
    k.say_state("outer", outer)


@same
async def a_scope_in_a_shield_sees_no_further_than_that(k):
    with k.move_on_after(1) as outer:
        with k.move_on_after(3, shield=True) as shield:
            with k.move_on_after(2) as inner:
                await k.sleep(9)
            k.say_state("inner", inner)
            await k.sleep(9)
        k.say_state("shield", shield)
    k.say_state("outer", outer)


@same
async def two_shields_and_one_taken_off(k):
    with k.move_on_after(1) as outer:
        with k.scope(shield=True) as middle:
            with k.scope(shield=True):
                k.later(2, setattr, middle, "shield", False)
                await k.sleep(4)
                k.say("inner protects")
            await k.sleep(9)
            k.say("not reached")
    k.say_state("outer", outer)


@same
async def cleanup_with_a_shield_and_a_deadline(k):
    with k.move_on_after(1) as scope:
        try:
            await k.sleep(9)
        finally:
            with k.move_on_after(2, shield=True) as cleanup:
                await k.sleep(9)
            k.say_state("cleanup", cleanup)
    k.say_state("scope", scope)


@same
async def a_shield_taken_off_before_the_exit(k):
    with k.scope() as outer:
        with k.scope(shield=True) as inner:
            outer.cancel()
            inner.cancel()
            try:
                await k.sleep(9)
            finally:
                inner.shield = False
        k.say("not reached")
    k.say_state("inner", inner)
    k.say_state("outer", outer)


@same
async def a_shield_put_up_before_the_exit(k):
    for cancelled in (True, False):
        with k.scope() as outer:
            with k.scope() as inner:
                outer.cancel()
                if cancelled:
                    inner.cancel()
                try:
                    await k.sleep(9)
                finally:
                    inner.shield = True
            k.say("left")
        k.say_state("inner", inner)
        k.say_state("outer", outer)


@same
async def a_shield_around_a_group_taken_off(k):
    async def child():
        try:
            await k.sleep(9)
        finally:
            k.say("told")

    with k.move_on_after(1) as outer:
        with k.scope(shield=True) as shield:
            async with k.group() as group:
                group.start_soon(child)
                k.later(3, setattr, shield, "shield", False)
        k.say("not reached")
    k.say_state("outer", outer)


# Deadlines.

@same
async def a_deadline_moved_under_a_parked_task(k):
    for then in (9, 3, 2, 1, math.inf):
        start = k.now()
        with k.move_on_after(5) as scope:
            k.later(2, k.move, scope, start + then)
            await k.sleep(12)
            k.say("slept")
        k.say_state(f"moved to {then:g}", scope)


@same
async def a_deadline_moved_in_the_block(k):
    with k.scope() as scope:
        k.move(scope, 4)
        await k.sleep(1)
        k.move(scope, 2)
        await k.sleep(9)
    k.say_state("scope", scope)


@same
async def a_deadline_moved_to_the_past_in_the_block(k):
    await k.sleep(5)
    with k.scope() as scope:
        k.move(scope, 3)
        await k.sleep(9)
        k.say("not reached")
    k.say_state("scope", scope)


@same
async def a_deadline_moved_after_the_cancellation_changes_nothing(k):
    with k.move_on_after(1) as scope:
        try:
            await k.sleep(9)
        except k.Cancelled:
            k.move(scope, math.inf)
        await k.sleep(9)
        k.say("not reached")
    k.say_state("scope", scope)


@same
async def a_deadline_set_before_the_entry(k):
    scope = k.scope()
    k.move(scope, 2)
    k.say(f"deadline {k.deadline_of(scope):g}")
    with scope:
        await k.sleep(9)
    k.say_state("scope", scope)


@same
async def a_timeout_counts_from_the_entry(k):
    scope = k.move_on_after(2)
    await k.sleep(3)
    with scope:
        k.say(f"deadline {k.deadline_of(scope):g}")
        await k.sleep(9)
    k.say_state("scope", scope)


@same
async def scopes_that_have_expired_at_their_entry(k):
    await k.sleep(5)
    for scope in (k.move_on_after(0), k.move_on_at(5), k.move_on_at(3),
                  k.scope(deadline=-math.inf)):
        with scope:
            k.say_state("entered", scope)
            k.say(f"effective {k.effective_deadline():g}")
            await k.checkpoint_if_cancelled()
            k.say("not reached")
        k.say_state("left", scope)


@same
async def a_scope_cancelled_before_its_entry(k):
    for scope in (k.scope(), k.scope(deadline=9)):
        scope.cancel()
        k.say_state("new", scope)
        with scope:
            k.say("entered")
            await k.sleep(5)
            k.say("not reached")
        k.say_state("left", scope)


@same
async def a_deadline_that_passes_before_the_entry_is_due_there(k):
    scope = k.move_on_at(2)
    await k.sleep(3)
    k.say_state("new", scope)
    with scope:
        await k.sleep(9)
    k.say_state("left", scope)


@same
async def a_deadline_that_passes_after_the_block_is_nothing(k):
    with k.move_on_after(2) as scope:
        await k.sleep(1)
    await k.sleep(2)
    k.say_state("scope", scope)


@same
async def time_that_passes_without_a_wait_counts(k):
    with k.move_on_after(2) as scope:
        k.block(3)
        k.say_state("blocked", scope)
        await k.checkpoint()
        k.say("not reached")
    k.say_state("left", scope)


@same
async def a_checkpoint_sees_time_that_has_passed(k):
    with k.move_on_after(2) as scope:
        k.block(3)
        await k.checkpoint()
        k.say("not reached")
    k.say_state("left", scope)


@same
async def a_checkpoint_sees_time_that_has_passed_for_outer_scopes(k):
    for shield in (False, True):
        with k.move_on_after(2) as outer:
            with k.scope(shield=shield) as inner:
                k.block(3)
                await k.checkpoint()
                k.say("passed")
            await k.checkpoint()
            k.say("not reached")
        k.say_state("inner", inner)
        k.say_state("outer", outer)


@same
async def an_outer_deadline_that_no_one_has_seen_leaves_the_inner_scope(k):
    with k.move_on_at(2) as outer:
        with k.move_on_at(1) as inner:
            try:
                await k.sleep(9)
            finally:
                k.block(2)
        k.say("left")
        await k.sleep(9)
        k.say("not reached")
    k.say_state("inner", inner)
    k.say_state("outer", outer)


@same
async def a_body_that_ends_late_without_a_wait_was_not_cancelled(k):
    with k.move_on_after(2) as scope:
        k.block(3)
    k.say_state("left", scope)


@same
async def effective_deadlines(k):
    def say():
        k.say(f"{k.effective_deadline():g}")
    say()
    with k.move_on_at(20) as outer:
        say()
        with k.move_on_at(30):
            say()
            with k.scope(shield=True) as shield:
                say()
                k.move(shield, 40)
                say()
                outer.cancel()
                say()
                shield.shield = False
                say()
        with k.move_on_at(10):
            say()
    say()


@same
async def the_effective_deadline_of_a_task_is_that_around_its_group(k):
    async def child():
        k.say(f"child {k.effective_deadline():g}")
        with k.move_on_at(5):
            k.say(f"child's scope {k.effective_deadline():g}")

    with k.move_on_at(9):
        async with k.group() as group:
            with k.move_on_at(3):
                group.start_soon(child)
                await k.sleep(1)


# fail_after().

@same
async def fail_after_raises_for_its_own_deadline(k):
    with k.fail_after(2):
        await k.sleep(9)


@same
async def fail_after_raises_nothing_for_a_body_that_finished(k):
    with k.fail_after(2) as in_time:
        await k.sleep(1)
    with k.fail_after(2) as swallowing:
        try:
            await k.sleep(9)
        except k.Cancelled:
            k.say("swallowed")
    k.say_state("in time", in_time)
    k.say_state("swallowing", swallowing)


@same
async def fail_after_in_a_scope_that_ends_at_the_same_instant(k):
    with k.move_on_at(2) as outer:
        with k.fail_at(2) as inner:
            await k.sleep(9)
        k.say("not reached")
    k.say_state("inner", inner)
    k.say_state("outer", outer)


@same
async def fail_after_around_a_scope_that_ends_at_the_same_instant(k):
    try:
        with k.fail_at(2) as outer:
            with k.move_on_at(2) as inner:
                await k.sleep(9)
            k.say("not reached")
    finally:
        k.say_state("inner", inner)
        k.say_state("outer", outer)


@same
async def fail_after_around_fail_after(k):
    with k.fail_after(3) as outer:
        try:
            with k.fail_after(1):
                await k.sleep(9)
        except k.TooSlow:
            k.say("inner")
        try:
            await k.sleep(9)
        finally:
            k.say_state("outer", outer)


@same
async def fail_after_raises_inside_of_a_shield(k):
    with k.move_on_after(1) as outer:
        try:
            with k.fail_after(2, shield=True):
                await k.sleep(9)
        except k.TooSlow:
            k.say("too slow")
        await k.sleep(9)
    k.say_state("outer", outer)


@same
async def fail_after_lets_an_error_of_the_cleanup_pass(k):
    with k.fail_after(1):
        try:
            await k.sleep(9)
        finally:
            raise ValueError


# Exceptions.

@same
async def an_error_of_the_cleanup_passes_with_its_context(k):
    try:
        with k.move_on_after(1) as scope:
            try:
                await k.sleep(9)
            finally:
                raise ValueError
    except ValueError as exc:
        k.say(f"after {k.shape(exc.__context__)}")
    k.say_state("scope", scope)


@same
async def an_error_raised_in_a_cancelled_scope_passes(k):
    with k.scope() as scope:
        scope.cancel()
        raise ValueError


async def _caught_in(k, scope):
    """Return the exception that the cancelled *scope* raises here."""
    scope.cancel()
    try:
        await k.checkpoint()
    except k.Cancelled as exc:
        return exc


@same
async def cancellation_is_split_out_of_groups(k):
    try:
        with k.scope() as scope:
            cancelled = await _caught_in(k, scope)
            raise BaseExceptionGroup("outer", [
                cancelled, ValueError(), BaseExceptionGroup("inner", [
                    KeyError(), cancelled,
                    BaseExceptionGroup("empty", [cancelled])])])
    finally:
        k.say_state("scope", scope)


@same
async def a_group_of_cancellation_alone_vanishes(k):
    with k.scope() as scope:
        cancelled = await _caught_in(k, scope)
        raise BaseExceptionGroup("outer", [
            cancelled, BaseExceptionGroup("inner", [cancelled])])
    k.say_state("scope", scope)


@same
async def a_group_passes_an_inner_scope_whole(k):
    try:
        with k.scope() as outer:
            try:
                with k.scope() as inner:
                    inner.cancel()
                    cancelled = await _caught_in(k, outer)
                    raise BaseExceptionGroup("", [cancelled, ValueError()])
            except BaseExceptionGroup as exc:
                k.say(f"between: {k.shape(exc)}")
                raise
    finally:
        k.say_state("inner", inner)
        k.say_state("outer", outer)


@same
async def a_group_without_cancellation_passes(k):
    try:
        with k.scope() as scope:
            scope.cancel()
            raise ExceptionGroup("", [ValueError(), KeyError()])
    finally:
        k.say_state("scope", scope)


# Groups of tasks.

@same
async def tasks_of_a_group_are_in_the_scope_around_it(k):
    async def child(name, waits):
        for _ in range(waits):
            try:
                await k.sleep(9)
            except k.Cancelled:
                told[name] = told.get(name, 0) + 1

    told = {}
    with k.move_on_after(1) as scope:
        async with k.group() as group:
            group.start_soon(child, "one", 1)
            group.start_soon(child, "three", 3)
            await k.sleep(9)
            k.say("not reached")
        k.say("not reached")
    k.say(sorted(told.items()))
    k.say_state("scope", scope)


@different(
    why="The exit of a TaskGroup is a wait of its host, and cancelled as any.",
    trio=["1 swallowed", "1 the group has ended", "1 scope: called"],
    asyncio=["1 swallowed", "1 scope: called caught"])
async def a_group_whose_tasks_swallow_everything(k):
    async def child():
        try:
            await k.sleep(9)
        except k.Cancelled:
            k.say("swallowed")

    with k.move_on_after(1) as scope:
        async with k.group() as group:
            group.start_soon(child)
        k.say("the group has ended")
    k.say_state("scope", scope)


@same
async def tasks_of_tasks_are_in_the_scope_around_all(k):
    async def middle():
        async with k.group() as group:
            group.start_soon(child)

    async def child():
        try:
            await k.sleep(9)
        finally:
            k.say("told")

    with k.move_on_after(1) as scope:
        async with k.group() as group:
            group.start_soon(middle)
    k.say_state("scope", scope)


@same
async def a_scope_in_the_body_of_a_group_is_not_its_tasks(k):
    async def child():
        await k.sleep(3)
        k.say("finished")

    async with k.group() as group:
        with k.move_on_after(1) as scope:
            group.start_soon(child)
            await k.sleep(9)
        k.say_state("scope", scope)


@same
async def a_scope_in_one_task_leaves_the_others(k):
    async def child(seconds):
        with k.move_on_after(seconds) as scope:
            await k.sleep(3)
            k.say("slept")
        k.say_state(f"{seconds:g}", scope)
        await k.sleep(3)

    async with k.group() as group:
        group.start_soon(child, 1)
        group.start_soon(child, 9)


@same
async def a_task_cancels_the_scope_around_its_group(k):
    async def child():
        await k.sleep(1)
        scope.cancel()
        await k.sleep(9)
        k.say("not reached")

    with k.scope() as scope:
        async with k.group() as group:
            group.start_soon(child)
            await k.sleep(9)
            k.say("not reached")
    k.say_state("scope", scope)


@same
async def a_shield_in_a_task_keeps_its_group_waiting(k):
    async def child():
        with k.scope(shield=True):
            await k.sleep(5)
            k.say("finished")
        await k.sleep(9)
        k.say("not reached")

    with k.move_on_after(1) as scope:
        async with k.group() as group:
            group.start_soon(child)
    k.say_state("scope", scope)


@same
async def a_group_in_a_shield_is_not_cancelled(k):
    async def child():
        await k.sleep(5)
        k.say("finished")

    with k.move_on_after(1) as outer:
        with k.scope(shield=True):
            async with k.group() as group:
                group.start_soon(child)
        await k.checkpoint()
        k.say("not reached")
    k.say_state("outer", outer)


@same
async def a_task_made_in_a_cancelled_scope_runs_to_its_first_wait(k):
    async def child():
        k.say("first step")
        await k.sleep(9)
        k.say("not reached")

    with k.scope() as scope:
        scope.cancel()
        async with k.group() as group:
            group.start_soon(child)
    k.say_state("scope", scope)


@same
async def a_shielded_body_makes_tasks_that_are_cancelled(k):
    async def child():
        k.say("first step")
        await k.sleep(9)
        k.say("not reached")

    with k.move_on_after(1) as scope:
        async with k.group() as group:
            with k.scope(shield=True):
                await k.sleep(2)
                group.start_soon(child)
                await k.sleep(2)
                k.say("the body goes on")
    k.say_state("scope", scope)


@same
async def a_task_that_fails_ends_its_group(k):
    async def failing():
        await k.sleep(1)
        raise ValueError

    async def other():
        try:
            await k.sleep(9)
        finally:
            k.say("told")

    async with k.group() as group:
        group.start_soon(failing)
        group.start_soon(other)
        await k.sleep(9)
        k.say("not reached")


@same
async def errors_of_two_tasks_are_grouped(k):
    async def failing():
        await k.sleep(1)
        raise ValueError

    async def failing_in_cleanup():
        try:
            await k.sleep(9)
        finally:
            raise KeyError

    async with k.group() as group:
        group.start_soon(failing)
        group.start_soon(failing_in_cleanup)


@same
async def a_body_that_fails_ends_its_tasks(k):
    async def child():
        try:
            await k.sleep(9)
        finally:
            k.say("told")

    async with k.group() as group:
        group.start_soon(child)
        await k.sleep(1)
        raise ValueError


@same
async def a_task_that_fails_in_a_cancelled_scope(k):
    async def failing():
        try:
            await k.sleep(9)
        finally:
            raise ValueError

    with k.move_on_after(1):
        async with k.group() as group:
            group.start_soon(failing)
            group.start_soon(k.sleep, 9)


@same
async def a_group_that_failed_ends_in_its_body_of_a_scope(k):
    async def failing():
        await k.sleep(1)
        raise ValueError

    with k.move_on_after(5) as scope:
        try:
            async with k.group() as group:
                group.start_soon(failing)
                await k.sleep(9)
        except ExceptionGroup as exc:
            k.say(k.shape(exc))
        k.say_state("scope", scope)
        await k.sleep(9)
        k.say("not reached")
    k.say_state("scope", scope)


@same
async def errors_of_nested_groups_in_a_cancelled_scope(k):
    async def failing():
        try:
            await k.sleep(9)
        finally:
            raise ValueError

    async def middle():
        async with k.group() as group:
            group.start_soon(failing)
            group.start_soon(k.sleep, 9)

    with k.move_on_after(1):
        async with k.group() as group:
            group.start_soon(middle)
            group.start_soon(k.sleep, 9)


@same
async def a_deadline_around_a_group_moved(k):
    with k.move_on_after(5) as scope:
        async with k.group() as group:
            group.start_soon(k.sleep, 9)
            k.later(1, k.move, scope, 3)
    k.say_state("scope", scope)


@same
async def too_slow_in_a_task_ends_its_group(k):
    async def child():
        with k.fail_after(1):
            await k.sleep(9)

    async with k.group() as group:
        group.start_soon(child)
        await k.sleep(9)


# A result and a cancellation at the same instant.

async def _at_one(k, wait, steps):
    """Wait in a scope; at 1, *steps* are called with the scope."""
    def call():
        for step in steps:
            step(scope)

    with k.scope() as scope:
        k.later(1, call)
        await wait()
        k.say("has its result")
        await k.sleep(9)
        k.say("not reached")
    k.say_state("scope", scope)


@same
async def an_event_that_is_set_at_the_instant_of_the_cancellation(k):
    for event_first in (True, False):
        event = k.Event()
        steps = [lambda scope: event.set(), lambda scope: scope.cancel()]
        await _at_one(k, event.wait,
                      steps if event_first else reversed(steps))


@same
async def an_item_that_comes_at_the_instant_of_the_cancellation(k):
    for item_first in (True, False):
        queue = k.queue()
        steps = [lambda scope: queue.put_nowait("item"),
                 lambda scope: scope.cancel()]
        await _at_one(k, queue.get, steps if item_first else reversed(steps))
        k.say(f"left: {queue.qsize()}")


@same
async def a_lock_handed_over_at_the_instant_of_the_cancellation(k):
    for release_first in (True, False):
        lock, release = k.Lock(), k.Event()

        async def holder():
            async with lock:
                held.set()
                await release.wait()

        async def waiter():
            with k.scope() as scope:
                scopes.append(scope)
                async with lock:
                    k.say("has the lock")
                    await k.sleep(9)
                    k.say("not reached")

        held, scopes = k.Event(), []
        async with k.group() as group:
            group.start_soon(holder)
            await held.wait()
            group.start_soon(waiter)
            await k.sleep(1)
            if not release_first:
                scopes[0].cancel()
            release.set()
            await k.sleep(1)
            scopes[0].cancel()
        k.say(f"locked: {lock.locked()}")


@same
async def the_waiter_of_a_condition_has_the_lock_when_it_is_told(k):
    async def holder():
        await k.sleep(1)
        async with condition:
            await k.sleep(4)
            k.say("releases")

    condition = k.Condition()
    async with k.group() as group:
        group.start_soon(holder)
        with k.move_on_after(2) as scope:
            async with condition:
                try:
                    await condition.wait()
                finally:
                    k.say(f"told, locked: {condition.locked()}")
        k.say_state("scope", scope)


# Requests, and misuse.

@same
async def cancel_after_the_block(k):
    with k.scope() as scope:
        await k.sleep(1)
    scope.cancel()
    k.say_state("scope", scope)


@same
async def a_request_for_a_task_in_a_shield(k):
    async def child():
        with k.scope() as scope:
            with k.scope(shield=True):
                await k.sleep(3)
                k.say("protected")
            scope.cancel()
            await k.sleep(3)
        k.say("the scope has absorbed it")

    k.later(1, k.child(child).cancel)
    await k.sleep(9)


@same
async def a_scope_serves_one_block(k):
    scope = k.scope()
    with scope:
        try:
            scope.__enter__()
        except RuntimeError:
            k.say("refused inside")
        await k.sleep(1)
    try:
        scope.__enter__()
    except RuntimeError:
        k.say("refused after")


@same
async def arguments_that_are_refused(k):
    for arguments in (dict(timeout=1, deadline=1), dict(timeout=math.nan),
                      dict(deadline=math.nan)):
        try:
            k.scope(**arguments)
        except ValueError:
            k.say("refused")


@same
async def a_scope_left_before_the_inner_one(k):
    outer, inner = k.scope(), k.scope()
    outer.__enter__()
    inner.__enter__()
    try:
        outer.__exit__(None, None, None)
    except RuntimeError:
        k.say("refused")
    outer.cancel()
    await k.sleep(1)
    k.say("not cancelled")
    inner.__exit__(None, None, None)
    await k.sleep(1)
    k.say("goes on")


# Where they differ.

@different(
    why="TimeoutError is raised for the deadline only, not for cancel().",
    trio=["0 raises TooSlow"],
    asyncio=["0 left"])
async def fail_after_that_is_cancelled_before_its_deadline(k):
    with k.fail_after(1) as scope:
        scope.cancel()
        await k.sleep(9)
    k.say("left")


@different(
    why="TimeoutError has the cause that it has after asyncio.timeout().",
    trio=["1 cause: None"],
    asyncio=["1 cause: Cancelled"])
async def the_cause_of_a_timeout(k):
    try:
        with k.fail_after(1):
            await k.sleep(9)
    except k.TooSlow as exc:
        k.say(f"cause: {exc.__cause__ and k.shape(exc.__cause__)}")


@different(
    why="A negative timeout has expired, as for asyncio.timeout().",
    trio=["0 refused"],
    asyncio=["0 scope: called caught"])
async def a_negative_timeout(k):
    try:
        scope = k.scope(timeout=-1)
    except ValueError:
        k.say("refused")
        return
    with scope:
        await k.sleep(1)
    k.say_state("scope", scope)


@different(
    why="There is none yet, and it can be set.",
    trio=["0 refused"],
    asyncio=["0 inf", "3 scope: called caught"])
async def the_deadline_of_a_timeout_before_the_entry(k):
    scope = k.move_on_after(1)
    try:
        k.say(f"{k.deadline_of(scope)}")
    except RuntimeError:
        k.say("refused")
        return
    k.move(scope, 3)
    with scope:
        await k.sleep(9)
    k.say_state("scope", scope)


@different(
    why="asyncio's coroutines do not suspend if they need not, and only a "
        "wait is cancelled; checkpoint() is there for the rest.",
    trio=[
        "0 event is cancelled",
        "0 lock is cancelled",
        "0 queue is cancelled"],
    asyncio=["0 event goes on", "0 lock goes on", "0 queue goes on"])
async def awaits_that_need_not_wait(k):
    event, lock, queue = k.Event(), k.Lock(), k.queue()
    event.set()
    queue.put_nowait("item")
    with k.scope() as scope:
        scope.cancel()
        for name, wait in (("event", event.wait), ("lock", lock.acquire),
                           ("queue", queue.get)):
            try:
                await wait()
                k.say(f"{name} goes on")
            except k.Cancelled:
                k.say(f"{name} is cancelled")


@different(
    why="Here a deadline that has passed while the loop was blocked counts.",
    trio=["2 1", "4 goes on"],
    asyncio=["2 -inf"])
async def a_clock_that_no_one_has_looked_at(k):
    for look in (k.effective_deadline, k.checkpoint_if_cancelled):
        with k.move_on_after(1):
            k.block(2)
            if look is k.effective_deadline:
                k.say(f"{look():g}")
            else:
                await look()
                k.say("goes on")


@different(
    why="Trio's sleep() is a deadline, too, and the outer one wins.  Here it "
        "is a timer of its own; its result has arrived, and is not lost.",
    trio=["2 scope: called caught"],
    asyncio=["2 slept", "2 scope: called"])
async def a_deadline_and_a_sleep_of_the_same_instant(k):
    with k.move_on_after(2) as scope:
        await k.sleep(2)
        k.say("slept")
    k.say_state("scope", scope)


@same
async def a_sleep_of_zero_after_the_deadline(k):
    with k.move_on_after(2) as scope:
        k.block(3)
        await k.sleep(0)
        k.say("slept")
    k.say_state("scope", scope)


@different(
    why="TaskGroup cancels its tasks by Task.cancel(), once.",
    trio=["1 raises Group[ValueError]"],
    asyncio=["2 cleaned up", "2 raises Group[ValueError]"])
async def the_cleanup_of_a_task_whose_group_fails(k):
    async def child():
        try:
            await k.sleep(9)
        finally:
            await k.sleep(1)
            k.say("cleaned up")

    async def failing():
        await k.sleep(1)
        raise ValueError

    async with k.group() as group:
        group.start_soon(child)
        group.start_soon(failing)


@different(
    why="TaskGroup does not collect the CancelledErrors of its tasks, so that "
        "nothing is left for the scope.",
    trio=[
        "1 Group[Cancelled, ValueError]",
        "1 scope: called caught",
        "1 raises Group[ValueError]"],
    asyncio=[
        "1 Group[ValueError]",
        "1 scope: called",
        "1 raises Group[ValueError]"])
async def what_is_caught_of_a_group_with_errors(k):
    async def failing():
        try:
            await k.sleep(9)
        finally:
            raise ValueError

    try:
        with k.move_on_after(1) as scope:
            try:
                async with k.group() as group:
                    group.start_soon(failing)
                    group.start_soon(k.sleep, 9)
            except BaseExceptionGroup as exc:
                k.say(k.shape(exc))
                raise
    finally:
        k.say_state("scope", scope)


@different(
    why="TaskGroup does not collect the CancelledErrors of its tasks.",
    trio=["1 Group[Cancelled, Cancelled, Cancelled]"],
    asyncio=["1 Cancelled"])
async def what_a_cancelled_group_raises(k):
    with k.move_on_after(1):
        try:
            async with k.group() as group:
                group.start_soon(k.sleep, 9)
                group.start_soon(k.sleep, 9)
                await k.sleep(9)
        except BaseException as exc:
            k.say(k.shape(exc))
            raise


@different(
    why="A task has no scope of its own: Task.cancel() is told once.",
    trio=["1 told", "1 told"],
    asyncio=["1 told", "4 slept"])
async def a_request_for_one_task(k):
    async def stubborn():
        for _ in range(2):
            try:
                await k.sleep(3)
                k.say("slept")
            except k.Cancelled:
                k.say("told")

    k.later(1, k.child(stubborn).cancel)
    await k.sleep(9)


@different(
    why="Task.cancel() keeps a task from starting.  An eager one has started.",
    trio=["0 first step"],
    asyncio=[],
    eager=["0 first step"])
async def a_request_before_the_first_step(k):
    async def child():
        k.say("first step")
        await k.sleep(3)

    k.child(child).cancel()
    await k.sleep(1)


@different(
    why="The text is that of the scope at which the CancelledError ends.",
    trio=["0 inner"],
    asyncio=["0 outer"])
async def the_text_of_nested_cancellations(k):
    with k.scope() as outer:
        with k.scope() as inner:
            inner.cancel("inner")
            outer.cancel("outer")
            try:
                await k.sleep(9)
            except k.Cancelled as exc:
                k.say(k.text_of(exc))


@different(
    why="Here the wrong exit closes the scope, and the loop goes on.",
    trio=[
        "0 refused",
        "0 cancelled",
        "0 refused here",
        "the run ends with RuntimeError"],
    asyncio=["0 refused", "1 not cancelled", "1 refused here"])
async def a_scope_left_in_another_task(k):
    async def leave():
        try:
            scope.__exit__(None, None, None)
        except RuntimeError:
            k.say("refused")

    scope = k.scope()
    scope.__enter__()
    async with k.group() as group:
        group.start_soon(leave)
    scope.cancel()
    try:
        await k.sleep(1)
        k.say("not cancelled")
    except k.Cancelled:
        k.say("cancelled")
    try:
        scope.__exit__(None, None, None)
        k.say("left here")
    except RuntimeError:
        k.say("refused here")
