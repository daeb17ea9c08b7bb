"""Random programs on supervisors: how they are made, and shrunk."""

__all__ = ("Program", "generate", "shrink")

import dataclasses
import pprint
import random


# How it works
#
# A program is plain data.  The host runs a block, a list of statements; a
# statement is a tuple of its name and its arguments, and each list among these
# is a block, or actions, again.  An *action* is such a tuple that waits for
# nothing: callbacks, protocols and the timers of the program do these.  What
# one is about is there by name, and can be missing: then it does nothing, so
# that each part of a program can be left out.

# Names are few, so that they meet.
NAMES = tuple("abcdef")
SIGNALS = (0, 1)

ERRORS = ("error", "oserror", "base", "same", "cancelled")
EXITS = ("interrupt", "exit")

METHODS = {
    "stream": ("connection_made", "data_received", "eof_received",
               "connection_lost", "pause_writing", "resume_writing"),
    "datagram": ("connection_made", "datagram_received", "error_received",
                 "connection_lost"),
    "read": ("connection_made", "data_received", "eof_received",
             "connection_lost"),
    "write": ("connection_made", "connection_lost", "pause_writing",
              "resume_writing"),
    "process": ("connection_made", "pipe_data_received",
                "pipe_connection_lost", "process_exited", "connection_lost"),
}

# Kind of a connection: the family of its protocol, and how often it is drawn.
CONNECTIONS = {
    "accepted": ("stream", 5), "connection": ("stream", 5),
    "unix": ("stream", 2), "datagram": ("datagram", 3),
    "read pipe": ("read", 3), "write pipe": ("write", 3),
    "server": ("stream", 3), "unix server": ("stream", 2),
    "dial": ("stream", 1), "tls": ("stream", 1),
}


@dataclasses.dataclass
class Program:
    seed: int
    # "eager", "debug": whether they are set.
    options: frozenset
    host: list
    # (when, action) of the loop's own.
    timers: list

    def __str__(self):
        return "\n".join((
            f"# seed {self.seed}", f"options = {sorted(self.options)}",
            f"host = {pprint.pformat(self.host, width=78)}",
            f"timers = {pprint.pformat(self.timers, width=78)}"))


def generate(seed):
    """Return the program of that seed."""
    return _Generator(seed).make()


class _Generator:

    def __init__(self, seed):
        self.seed = seed
        self.random = random.Random(f"supervisors {seed}")
        # How much there can still be.
        self.left = self.random.choice((8, 20, 40, 80))
        # Supervisors whose blocks are around; all of them.
        self.around = []
        self.count = 0
        # Kind: names.
        self.used = {}
        # How likely in this program a statement is an error or an end of it,
        # and how likely a callback fails.
        self.rate = self.random.choice((0, 0, 0.03, 0.1, 0.25))
        self.failing = self.random.choice((0, 0.05, 0.2, 0.5))
        self.handled = self.random.choice((0.1, 0.1, 0.9))

    def chance(self, probability):
        return self.random.random() < probability

    def make(self):
        options = frozenset(name for name, likely in
                            (("eager", 0.25), ("debug", 0.06))
                            if self.chance(likely))
        host = self.wrapped_supervisor()
        while self.chance(0.1):
            host += self.wrapped_supervisor()
        timers = [(self.time(), self.action(2))
                  for _ in range(self.random.randrange(10))]
        if self.chance(0.4):
            timers.append((self.time(), self.ending()))
        return Program(self.seed, options, host, sorted(
            timers, key=lambda timer: timer[0]))

    def time(self):
        return self.random.choice((0, 0, 0, 1, 1, 2, 3, 5, 8))

    def some(self, make, most, *args):
        return [made for _ in range(self.random.randrange(most + 1))
                if self.left > 0 for made in [make(*args)]]

    def draw(self, table):
        names, weights = zip(*table.items())
        return self.random.choices(names, weights)[0]

    def name(self, kind):
        """Return a name for a new thing of a kind."""
        name = self.random.choice(NAMES)
        self.used.setdefault(kind, []).append(name)
        return name

    def used_name(self, kind):
        """Return the name of a thing of a kind, that mostly is there."""
        return self.random.choice(self.used.get(kind, NAMES))

    def supervisor_name(self):
        # Mostly the innermost.
        if self.chance(0.8):
            return self.around[-1]
        return f"s{self.random.randrange(self.count)}"

    # Statements.

    def wrapped_supervisor(self):
        block = [self.make_sup(3)]
        if self.chance(0.3):
            wrapper = self.draw({"scope": 3, "timeout": 2, "shield": 2,
                                 "group": 1, "swallow": 1})
            block = [self.wrap(wrapper, block)]
        return block

    def wrap(self, name, block, depth=1):
        match name:
            case "scope":
                return ("scope", self.random.choice((None, 0, 1, 2, 4)),
                        self.chance(0.15), block)
            case "timeout":
                return ("timeout", self.random.choice((0, 1, 2, 4)), block)
            case "group":
                return ("group", block, self.block(depth, 2))
            case "finally":
                return ("finally", block, self.block(depth, 2))
        return (name, block)

    def block(self, depth, most=5):
        return self.some(self.statement, most, depth)

    def statement(self, depth):
        self.left -= 1
        if self.chance(self.rate):
            kinds = ERRORS + (EXITS if self.chance(0.2) else ())
            return ("raise", self.random.choice(kinds))
        table = {"do": 12, "sleep": 5, "open": 6, "wait": 2, "join": 1,
                 "checkpoint": 1}
        if depth > 0:
            table |= {"sup": 1.5, "wrap": 3}
        return getattr(self, f"make_{self.draw(table)}")(depth)

    def make_do(self, depth):
        return ("do", self.action(depth))

    def make_sleep(self, depth):
        return ("sleep", self.time())

    def make_checkpoint(self, depth):
        return ("checkpoint",)

    def make_wait(self, depth):
        return ("wait", self.used_name("future"))

    def make_join(self, depth):
        return ("join", self.used_name("task"))

    def make_sup(self, depth):
        name = f"s{self.count}"
        self.count += 1
        self.around.append(name)
        block = self.block(depth - 1, 10)
        handler = None
        if self.chance(self.handled):
            mode = self.random.choice(
                ("handles", "handles", "some", "declines", "raises"))
            handler = (mode, self.some(self.action, 1, 0))
        self.around.pop()
        if not self.around:
            self.around = [name]
        return ("sup", name, handler, block)

    def make_wrap(self, depth):
        name = self.draw({"scope": 3, "timeout": 2, "shield": 2, "group": 1,
                          "swallow": 1, "catch": 1, "finally": 2})
        return self.wrap(name, self.block(depth - 1, 3), depth - 1)

    def make_open(self, depth):
        kind = self.draw({k: likely for k, (_, likely) in
                          CONNECTIONS.items()})
        if self.chance(0.004):
            return ("open", self.supervisor_name(), "process",
                    self.name("link"), self.protocol("process", depth))
        name = (self.used_name("server") if kind == "dial" else
                self.name("server" if "server" in kind else "link"))
        return ("open", self.supervisor_name(), kind, name,
                self.protocol(CONNECTIONS[kind][0], depth))

    def protocol(self, family, depth):
        """Return what the methods of a protocol do."""
        methods = [name for name in METHODS[family] if self.chance(0.3)]
        does = {name: self.actions(min(depth, 1), 2) for name in methods}
        if family == "stream" and self.chance(0.2):
            does["buffered"] = []
        if self.chance(0.1 * self.failing):
            does["factory"] = [("raise", "error")]
        return {name: what for name, what in does.items()
                if what or name == "buffered"}

    # Actions.

    def actions(self, depth, most=2):
        """What a callback does."""
        actions = self.some(self.action, most, depth)
        if self.chance(self.failing):
            actions.append(("raise", self.random.choice(ERRORS)))
        return actions

    def ending(self):
        return self.random.choice((
            ("cancel_host",), ("cancel_sup", f"s{0}"),
            ("cancel_sup", self.supervisor_name())))

    def action(self, depth):
        self.left -= 1
        table = {"callback": 7, "future": 3, "resolve": 3, "stream": 8,
                 "peer": 8, "registration": 4, "cancel": 3, "look": 1}
        if depth > 0:
            table |= {"task": 8, "job": 2, "foreign": 1.5}
        if self.chance(self.rate * 0.5):
            return self.ending()
        action = getattr(self, f"act_{self.draw(table)}")(depth - 1)
        return ("bold", action) if self.chance(0.05) else action

    def act_callback(self, depth):
        sup, actions = self.supervisor_name(), self.actions(depth)
        match self.random.randrange(8):
            case 0 | 1 | 2:
                return ("call_soon", sup, actions)
            case 3:
                return ("threadsafe", sup, actions, self.chance(0.2))
            case 4 | 5:
                return ("call_at", sup, self.name("timer"), self.time(),
                        actions)
        return ("call_later", sup, self.name("timer"), self.time(), actions)

    def act_future(self, depth):
        return ("future", self.supervisor_name(), self.name("future"),
                self.actions(depth) if self.chance(0.5) else [])

    def act_task(self, depth):
        return ("task", self.supervisor_name(), self.name("task"),
                self.block(depth, 4),
                self.actions(depth) if self.chance(0.2) else [])

    def act_foreign(self, depth):
        return ("foreign", self.name("task"), self.block(depth, 3))

    def act_job(self, depth):
        actions = [("threadsafe", self.supervisor_name(), self.actions(0),
                    False)] if self.chance(0.3) else []
        if self.chance(0.2):
            actions.append(("raise", "error"))
        return ("job", self.supervisor_name(), self.name("future"), actions,
                self.random.choice((None, None, 0, 1, 3)), self.chance(0.3))

    def act_resolve(self, depth):
        return ("resolve", self.used_name("future"),
                self.random.choice(("value", "value", "cancel")))

    def act_stream(self, depth):
        name = self.random.choice(("write", "write", "close", "abort", "eof",
                                   "pause", "resume", "close_server"))
        if name == "write":
            return (name, self.used_name("link"), self.random.choice(
                (1, 10, 1000, 70_000, 300_000)))
        return (name, self.used_name(
            "server" if name == "close_server" else "link"))

    def act_peer(self, depth):
        name = self.random.choice(("peer_send", "peer_send", "peer_read",
                                   "peer_close", "peer_eof", "connect",
                                   "connect"))
        return (name, self.used_name(
            "server" if name == "connect" else "link"))

    def act_registration(self, depth):
        kind = self.random.choice(("reader", "writer", "signal", "kill",
                                   "unregister"))
        match kind:
            case "kill":
                return (kind, self.random.choice(SIGNALS))
            case "unregister":
                return (kind, self.used_name("registration"))
            case "signal":
                return (kind, self.supervisor_name(),
                        self.random.choice(SIGNALS), self.actions(depth))
        return (kind, self.supervisor_name(), self.name("registration"),
                self.actions(depth))

    def act_cancel(self, depth):
        kind = self.random.choice(("task", "timer"))
        return (f"cancel_{kind}", self.used_name(kind))

    def act_look(self, depth):
        return ("look", self.supervisor_name())


# Shrinking.

def shrink(program, fails, most=600):
    """Return a smaller program of which *fails* is true as well."""
    tried, progress = 0, True
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
    """Iterate over programs with something left out or made plain."""
    for option in sorted(program.options):
        yield dataclasses.replace(program, options=program.options - {option})
    for host in _smaller_values(program.host):
        yield dataclasses.replace(program, host=host)
    for timers in _smaller_values(program.timers):
        yield dataclasses.replace(program, timers=timers)


def _smaller_values(value):
    if isinstance(value, dict):
        for key, part in value.items():
            rest = {k: v for k, v in value.items() if k != key}
            yield rest
            for smaller in _smaller_values(part):
                yield rest | {key: smaller}
    elif isinstance(value, list):
        for index, part in enumerate(value):
            before, after = value[:index], value[index + 1:]
            yield before + after
            for block in _blocks_of(part):
                yield before + block + after
            for smaller in _smaller_values(part):
                yield [*before, smaller, *after]
    elif isinstance(value, tuple):
        for index, part in enumerate(value):
            before, after = value[:index], value[index + 1:]
            for smaller in _smaller_values(part):
                yield (*before, smaller, *after)
            if isinstance(part, tuple) and value[0] == "sup":
                yield (*before, None, *after)


def _blocks_of(statement):
    """The blocks that can stand in the place of a wrapper."""
    if (isinstance(statement, tuple) and statement[0] in
            ("scope", "timeout", "shield", "group", "swallow", "catch",
             "finally", "sup")):
        for part in statement:
            if isinstance(part, list):
                yield part
