"""Random programs of tasks, scopes and cancellations, from a seed."""

__all__ = ("ELEMENTS", "Program", "generate", "shrink")

import dataclasses
import random


# How it works
#
# A program is plain data.  Its tasks are blocks; a block is a list of
# statements; a statement is a tuple of its name and its arguments, and each
# list among these is a block again.  An *action* is such a tuple, too, but
# waits for nothing: a statement or a callback does it.  What an action is
# about can be missing when it comes, as it is there by name; then it does
# nothing, so that each part of a program can be left out.
#
# A task awaits only tasks of a higher number, so that no two wait for each
# other.  All times are unlike, as the loop's order of timers of the same
# instant is nobody's promise; only deadlines share some instants.


# What programs can be made of, beside scopes and waits.
ELEMENTS = frozenset({
    "groups",       # task groups
    "failures",     # members of groups that fail
    "timeouts",     # asyncio.timeout()
    "shields",
    "edges",        # Task.cancel() and uncancel()
    "tasks",        # tasks that are made by others, and awaited
    "blocking",     # the clock moves while a task runs
    "due",          # deadlines that have passed when they are set
    "storms",       # code that swallows deliveries for long
})


@dataclasses.dataclass
class Program:
    seed: int
    # Name of a task: its block.
    tasks: dict = dataclasses.field(default_factory=dict)
    # Name of a scope: its arguments.
    scopes: dict = dataclasses.field(default_factory=dict)
    # Name of a future: its kind, and when it ends and how.
    futures: dict = dataclasses.field(default_factory=dict)
    # What is done from outside: (time, action).
    timers: list = dataclasses.field(default_factory=list)

    def __str__(self):
        lines = [f"# seed {self.seed}"]
        for name, (kind, when, ending) in self.futures.items():
            lines.append(f"{name} = {kind} future, {ending} at {when}")
        for name, arguments in self.scopes.items():
            lines.append(f"{name} = {_call_text(arguments)}")
        for when, action in self.timers:
            lines.append(f"at {when}: {action_text(action)}")
        for name, block in self.tasks.items():
            lines.append(f"task {name}:")
            lines += _block_lines(block, 1)
        return "\n".join(lines)

    def size(self):
        return (len(self.tasks) + len(self.timers) + len(self.futures)
                + sum(1 + len(arguments) for arguments in self.scopes.values())
                + sum(_block_size(block) for block in self.tasks.values()))


# Text

ACTION_TEXTS = {
    "burst": "{0} then {1}",
    "cancel": "{0}.cancel({1!r})",
    "uncancel": "{0}.uncancel()",
    "cancel_scope": "{0}.cancel({1!r})",
    "set_shield": "{0}.shield = {1}",
    "set_deadline": "{0}.deadline = {1}",
    "resolve": "{0}.set_result(None)",
}

# A statement's lines; those of its blocks come below each that has a colon.
TEXTS = {
    "sleep": ("await sleep({0})",),
    "yield": ("await sleep(0)",),
    "checkpoint": ("await checkpoint()",),
    "checkpoint_if": ("await checkpoint_if_cancelled()",),
    "future": ("await {0}",),
    "join": ("await {0}",),
    "cancel_and_wait": ("await cancel_and_wait({0}, msg={1!r})",),
    "raise": ("raise Error({0!r})",),
    "raise_group": ("raise group {0}",),
    "look": ("look()",),
    "block": ("time.sleep({0})",),
    "with": ("with {0}:",),
    "async_with": ("async with {0}:",),
    "timeout": ("async with timeout({0}):",),
    "group": ("async with TaskGroup() as {0}:",),
    "spawn": ("{0}.create_task({1}):",),
    "swallow": ("try:", "except CancelledError:"),
    "reraise": ("try:", "except CancelledError: … raise:"),
    "finally": ("try:", "finally:"),
    "catch": ("try: … except Exception: pass:",),
    "spin": ("while time() < {0}, try: … except CancelledError: pass:",),
}


def action_text(action):
    if action[0] == "burst":
        return " then ".join(map(action_text, action[1:]))
    return ACTION_TEXTS[action[0]].format(*action[1:])


def _call_text(arguments):
    inside = ", ".join(f"{name}={value}" for name, value in arguments.items())
    return f"CancelScope({inside})"


def _block_lines(block, depth):
    indent = "    " * depth
    if not block:
        yield indent + "pass"
    for name, *arguments in block:
        if name == "do":
            yield indent + action_text(arguments[0])
        elif name == "soon":
            yield f"{indent}call_soon: {action_text(arguments[0])}"
        elif name == "later":
            yield (f"{indent}call_later({arguments[0]}): "
                   f"{action_text(arguments[1])}")
        else:
            blocks = [a for a in arguments if isinstance(a, list)]
            for line in TEXTS[name]:
                yield indent + line.format(*arguments)
                if line.endswith(":"):
                    yield from _block_lines(blocks.pop(0), depth + 1)


# Making them

def generate(seed, elements=ELEMENTS):
    """Return the program of *seed*."""
    return _Generator(seed, elements).make()


# How often each statement is drawn, and the element that it belongs to.
_STATEMENTS = {
    "sleep": (10, None), "yield": (8, None), "future": (12, None),
    "checkpoint": (3, None), "checkpoint_if": (2, None), "look": (2, None),
    "raise": (1, None), "raise_group": (0.5, None),
    "do": (10, None), "soon": (5, None), "later": (5, None),
    "block": (2, "blocking"),
    "join": (4, "tasks"), "cancel_and_wait": (2, "tasks"),
    "with": (14, None), "async_with": (10, None),
    "swallow": (12, None), "reraise": (4, None), "finally": (5, None),
    "catch": (3, None), "spin": (1, "storms"),
    "group": (6, "groups"), "spawn": (4, "tasks"), "timeout": (5, "timeouts"),
}

_ACTIONS = {
    "cancel_scope": (6, None), "set_deadline": (3, None),
    "resolve": (3, None), "set_shield": (4, "shields"),
    "cancel": (6, "edges"), "uncancel": (4, "edges"),
    "burst": (4, None),
}

# Deadlines of the same instant are among these.
_INSTANTS = (1.0, 2.0, 3.0)

_DEEPEST = 5


class _Generator:
    def __init__(self, seed, elements):
        self.random = random.Random(f"scopes {seed}")
        self.elements = elements
        self.program = Program(seed)
        # Statements that may still be made.
        self.left = self.random.choice((8, 16, 30, 50))
        self.tasks = self.texts = self.errors = self.groups = 0
        # How often each statement and action is drawn in this program: some
        # never and some very often, so that programs are not all alike.
        self.weights = {
            name: weight * self.random.choice((0, 1, 1, 4))
            for name, (weight, element) in (_STATEMENTS | _ACTIONS).items()
            if element is None or element in elements}
        # How many actions are about the first task and its first scopes: what
        # needs a few of them in a row is rare otherwise.
        self.focus = self.random.choice((0, 0.4, 0.8))
        # Tasks that the present one has made.
        self.made = []
        # The part of scopes that shield.
        self.shields = self.random.choice((0.1, 0.4, 0.8))
        # The task whose block is made, and what is around the place.
        self.number = 0
        self.open_groups, self.open_scopes = [], []
        self.in_group = False

    def make(self):
        program, rng = self.program, self.random
        for n in range(rng.randint(1, 4)):
            kind = rng.choice(("plain", "plain", "refusing"))
            ending = rng.choice(("value", "value", "value", "error", "cancel"))
            if kind == "refusing" and ending == "cancel":
                ending = "value"
            program.futures[f"f{n}"] = kind, self._time(5), ending
        self.top_tasks = rng.randint(1, 3)
        for _ in range(self.top_tasks):
            name = self._new_task()
            program.tasks[name] = self._task_block()
            self.left += 12
        for _ in range(rng.randint(0, 8)):
            program.timers.append((self._time(rng.choice((1, 2, 4))),
                                   self._action()))
        program.timers.sort(key=lambda timer: timer[0])
        return program

    def _time(self, most):
        return round(self.random.uniform(0.001, most), 9)

    def _new_task(self):
        self.tasks += 1
        return f"t{self.tasks}"

    def _task_block(self, in_group=False):
        outer = (self.number, self.open_groups, self.open_scopes, self.made,
                 self.in_group)
        self.number, self.in_group = self.tasks, in_group
        self.open_groups, self.open_scopes, self.made = [], [], []
        block = self._block(0)
        (self.number, self.open_groups, self.open_scopes, self.made,
         self.in_group) = outer
        return block

    def _block(self, depth, most=5):
        block = []
        for _ in range(self.random.randint(1 + (depth < 2), most)):
            if self.left <= 0:
                break
            self.left -= 1
            block.append(self._statement(depth))
        return block

    def _draw(self, table, exclude=()):
        names = [name for name in table
                 if self.weights.get(name) and name not in exclude]
        if not names:
            return next(name for name in table if name not in exclude)
        weights = [self.weights[name] for name in names]
        [name] = self.random.choices(names, weights)
        return name

    def _statement(self, depth):
        exclude = set()
        if depth >= _DEEPEST:
            exclude |= {"with", "async_with", "swallow", "reraise", "finally",
                        "catch", "spin", "group", "spawn", "timeout"}
        if self.in_group and "failures" not in self.elements:
            exclude |= {"raise", "raise_group"}
        name = self._draw(_STATEMENTS, exclude)
        return (name, *getattr(self, f"_make_{name}", self._make_plain)(depth))

    def _make_plain(self, depth):
        return ()

    def _make_sleep(self, depth):
        return (self._time(2),)

    def _make_block(self, depth):
        return (self._time(1),)

    def _make_future(self, depth):
        return (self.random.choice(list(self.program.futures)),)

    def _make_raise(self, depth):
        self.errors += 1
        return (f"E{self.errors}",)

    def _make_raise_group(self, depth):
        self.errors += 1
        error = f"E{self.errors}"
        return (self.random.choice((
            ("C",), ("C", error), (error, ("C",)), (("C", error), "C"),
            (("C", ("C",)), "C"), (error, (error,)))),)

    def _make_join(self, depth):
        if self.made and self.random.random() < 0.7:
            return (self.random.choice(self.made),)
        return (f"t{self.number + self.random.randint(1, 4)}",)

    def _make_cancel_and_wait(self, depth):
        return (*self._make_join(depth), self._text())

    def _make_do(self, depth):
        return (self._action(),)

    _make_soon = _make_do

    def _make_later(self, depth):
        return self._time(3), self._action()

    def _make_with(self, depth):
        name = self._scope()
        self.open_scopes.append(name)
        body = self._block(depth + 1)
        self.open_scopes.remove(name)
        return name, body

    _make_async_with = _make_with

    def _make_timeout(self, depth):
        delay = self.random.choice((self._time(2), self._time(2), 0))
        return delay, self._block(depth + 1)

    def _make_swallow(self, depth):
        return self._block(depth + 1), self._block(depth + 1, 2)

    _make_reraise = _make_swallow
    _make_finally = _make_swallow

    def _make_catch(self, depth):
        return (self._block(depth + 1),)

    def _make_spin(self, depth):
        return self._time(5), [self.random.choice((
            ("sleep", self._time(2)), ("yield",),
            ("future", self.random.choice(list(self.program.futures)))))]

    def _make_group(self, depth):
        self.groups += 1
        name = f"g{self.groups}"
        self.open_groups.append(name)
        members = []
        for _ in range(self.random.choice((1, 1, 2, 3))):
            task = self._new_task()
            members.append(("spawn", name, task, self._task_block(True)))
            self.made.append(task)
        body = self._block(depth + 1)
        self.open_groups.remove(name)
        for member in members:
            body.insert(self.random.randint(0, len(body)), member)
        return name, body

    def _make_spawn(self, depth):
        group = self.random.choice([None, *self.open_groups])
        name = self._new_task()
        block = self._task_block(group is not None)
        self.made.append(name)
        return group, name, block

    def _scope(self):
        rng, arguments = self.random, {}
        match rng.choice(("none", "timeout", "timeout", "deadline")):
            case "timeout":
                arguments["timeout"] = rng.choice((
                    self._time(1), self._time(2), self._time(3),
                    *((0, -1) if "due" in self.elements else ())))
            case "deadline" if "due" in self.elements:
                arguments["deadline"] = rng.choice((
                    self._time(3), rng.choice(_INSTANTS)))
        if "shields" in self.elements and rng.random() < self.shields:
            arguments["shield"] = True
        if len(arguments) and rng.random() < 0.2:
            arguments["fails"] = True
        name = f"s{len(self.program.scopes) + 1}"
        self.program.scopes[name] = arguments
        return name

    def _text(self):
        self.texts += 1
        return self.random.choice((None, f"m{self.texts}", f"m{self.texts}"))

    def _scope_to_act_on(self):
        rng, made = self.random, len(self.program.scopes)
        if self.open_scopes and rng.random() < 0.5:
            return rng.choice(self.open_scopes)
        if rng.random() < self.focus:
            return f"s{rng.randint(1, 2)}"
        # One that is made later is meant at times, too.
        return f"s{rng.randint(1, made + 1)}"

    def _task_to_act_on(self):
        rng = self.random
        if rng.random() < 0.3:
            return f"t{self.number or 1}"
        if rng.random() < self.focus:
            return "t1"
        return f"t{rng.randint(1, self.tasks + 1)}"

    def _action(self, exclude=()):
        rng, name = self.random, self._draw(_ACTIONS, exclude)
        scope, task = self._scope_to_act_on(), self._task_to_act_on()
        match name:
            case "burst":
                return name, self._action({name}), self._action({name})
            case "cancel_scope":
                return name, scope, self._text()
            case "set_deadline":
                when = rng.choice((None, self._time(4), self._time(4),
                                   rng.choice(_INSTANTS)))
                if when and "due" not in self.elements:
                    when += 10.0
                return name, scope, when
            case "set_shield":
                return name, scope, rng.random() < 0.5
            case "resolve":
                return name, rng.choice(list(self.program.futures))
            case "cancel":
                return name, task, self._text()
            case "uncancel":
                return name, task


# Shrinking

def shrink(program, fails, most=2_000):
    """Return a smaller program of which *fails* is true as well."""
    tried = 0
    progress = True
    while progress:
        progress = False
        for smaller in _smaller(program):
            tried += 1
            if tried > most:
                return program
            if fails(smaller):
                program, progress = smaller, True
                break
    return program


def _smaller(program):
    """Iterate over programs with something left out, biggest parts first."""
    for name in program.tasks:
        yield _without(program, "tasks", name)
    for index, (when, action) in enumerate(program.timers):
        before, after = program.timers[:index], program.timers[index + 1:]
        yield dataclasses.replace(program, timers=before + after)
        for part in action[1:] if action[0] == "burst" else ():
            yield dataclasses.replace(
                program, timers=[*before, (when, part), *after])
    for name, block in program.tasks.items():
        for smaller in _smaller_blocks(block):
            yield dataclasses.replace(
                program, tasks=program.tasks | {name: smaller})
    used = repr((program.tasks, program.timers))
    for what in ("scopes", "futures"):
        for name in getattr(program, what):
            if repr(name) not in used:
                yield _without(program, what, name)
    for name, arguments in program.scopes.items():
        for argument in arguments:
            rest = {a: v for a, v in arguments.items() if a != argument}
            yield dataclasses.replace(
                program, scopes=program.scopes | {name: rest})
    for name, (kind, when, ending) in program.futures.items():
        if (kind, ending) != ("plain", "value"):
            yield dataclasses.replace(program, futures=program.futures | {
                name: ("plain", when, "value")})
    yield from _with_round_times(program)


def _without(program, what, name):
    rest = {n: v for n, v in getattr(program, what).items() if n != name}
    return dataclasses.replace(program, **{what: rest})


def _smaller_blocks(block):
    for index, statement in enumerate(block):
        before, after = block[:index], block[index + 1:]
        yield before + after
        inner = [a for a in statement[1:] if isinstance(a, list)]
        for blocks in (inner, *([b] for b in inner if len(inner) > 1)):
            if blocks:
                yield before + sum(blocks, []) + after
        for position, argument in enumerate(statement):
            if isinstance(argument, tuple) and argument[:1] == ("burst",):
                for action in argument[1:]:
                    yield [*before, (*statement[:position], action,
                                     *statement[position + 1:]), *after]
            if isinstance(argument, list):
                for smaller in _smaller_blocks(argument):
                    changed = (*statement[:position], smaller,
                               *statement[position + 1:])
                    yield [*before, changed, *after]


def _block_size(block):
    return sum(1 + sum(_block_size(a) for a in statement[1:]
                       if isinstance(a, list)) for statement in block)


def _with_round_times(program):
    """Yield the program with shorter numbers for its times."""
    times = {}
    rounded = _map_times(
        program, lambda time: times.setdefault(time, round(time, 3)))
    # Times of the same instant would differ for a reason of their own.
    if len(set(times.values())) == len(times) and rounded != program:
        yield rounded


def _map_times(value, change):
    match value:
        case float():
            return change(value)
        case Program():
            return dataclasses.replace(value, **{
                field.name: _map_times(getattr(value, field.name), change)
                for field in dataclasses.fields(value)})
        case dict():
            return {k: _map_times(v, change) for k, v in value.items()}
        case list():
            return [_map_times(v, change) for v in value]
        case tuple():
            return tuple(_map_times(v, change) for v in value)
    return value
