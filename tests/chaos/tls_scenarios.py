"""What the fuzzer of TLS can do: scenarios, drawn from seeds."""

import dataclasses
import random

__all__ = ("DAMAGE", "INTERRUPTIONS", "OTHER", "Scenario", "scenario_of")

# What each kind of trouble weighs.
TROUBLES = {"none": 58, "corrupt": 8, "inject": 6, "truncate": 8, "reset": 6,
            "stall": 4, "cancel": 4, "close": 3, "abort": 3}
DAMAGE = ("corrupt", "inject", "truncate", "reset", "stall")
INTERRUPTIONS = ("cancel", "close", "abort")
# Timeouts in seconds: of a run that should need none of them, and of one in
# which bytes can fail to come.
LONG, SHORT = 2, 0.05
# What a guard gives at least: a busy machine can be slow.
LEAST_GUARD = 5
OTHER = {"a": "b", "b": "a"}


@dataclasses.dataclass
class Layer:
    """One layer of TLS, and what goes before it on the layer below."""

    version: str
    keys: str
    client: str
    # direct: TLS from the first byte; bare: start_tls() at once; line: the
    # client asks and waits for the answer; pipelined: it does not wait.
    start: str
    # Bytes behind the client's line and the server's.
    preambles: dict

    def line(self, end):
        """What *end* sends before this layer, without what is behind it."""
        if end == self.client and self.start in ("line", "pipelined"):
            return b"UP %d\n" % self.preambles[end]
        if end != self.client and self.start == "line":
            return b"GO %d\n" % self.preambles[end]
        return b""

    def clear_size(self, end):
        line = self.line(end)
        return len(line) + self.preambles[end] if line else 0


@dataclasses.dataclass
class EndPlan:
    """How one end behaves."""

    api: str
    # Of a BufferedProtocol.
    buffer: str
    buffer_size: int
    # Of a StreamReader.
    limit: int
    sends: int
    chunk: int
    write_high: int | None
    obeys_flow_control: bool
    # How often, from 0 to 1, and for how many passes it does not read.
    pauses: float
    pause_passes: int
    pauses_before_upgrade: bool
    handshake_timeout: float
    shutdown_timeout: float


@dataclasses.dataclass
class Mangling:
    """What one direction of the network does."""

    cut: str
    delay: int
    merge: int


@dataclasses.dataclass
class Trouble:
    """kind is a key of TROUBLES; the other fields are those of its kind."""

    kind: str
    # Whose bytes are damaged, or whose upgrade is interrupted.
    end: str
    # Damage: place in that end's bytes on the wire.
    place: int = 0
    # Interruption: which layer, and after how many passes.
    layer: int = 0
    passes: int = 0
    # corrupt: what the byte is changed by; inject: the text.
    change: int = 1
    text: str = ""


@dataclasses.dataclass
class Scenario:
    seed: int
    network: str
    send_buffer: int | None
    debug: bool
    layers: list
    ends: dict
    manglings: dict
    trouble: Trouble
    # all: the closer has read all of the peer's data; early: it has only
    # written its own; abort: it aborts in the middle of that.
    closing: str
    closers: str
    # When an end loses its patience with a silent peer, and what it does.
    patience: float | None
    impatience: str

    def guard(self):
        timeouts = [timeout for end in self.ends.values() for timeout in
                    (end.handshake_timeout, end.shutdown_timeout)]
        return max(LEAST_GUARD, 10 * max(timeouts))

    def silence(self):
        """How long TLS 1.3 waits for a peer that need not answer."""
        rng = random.Random(f"{self.seed} silence")
        least = min(end.shutdown_timeout for end in self.ends.values())
        # At 2 ms it is over while the layers below are being closed.
        return rng.choice((least / 2, least / 2, 0.002))

    def describe(self):
        lines = [f"seed {self.seed}: {self.network}, send buffer "
                 f"{self.send_buffer}, debug {self.debug}"]
        lines += [f"  layer {number}: {layer}"
                  for number, layer in enumerate(self.layers)]
        for name, end in self.ends.items():
            lines.append(f"  end {name}: {end}")
            lines.append(f"    its bytes: {self.manglings[name]}")
        lines.append(f"  closing: {self.closing} by {self.closers}; patience "
                     f"{self.patience}, then {self.impatience}")
        lines.append(f"  {self.trouble}")
        return "\n".join(lines)


def _draw(seed):
    rng = random.Random(seed)
    kind = rng.choices(list(TROUBLES), TROUBLES.values())[0]
    layers = [_draw_layer(rng, number)
              for number in range(rng.choices((1, 2, 3), (4, 4, 2))[0])]
    ends = {name: _draw_end(rng, kind) for name in "ab"}
    # Only TCP knows resets.
    network = "tcp" if kind == "reset" else rng.choice(("tcp", "unix"))
    patient = kind not in ("stall", "corrupt", "inject")
    return Scenario(
        seed, network, rng.choice((None, None, 2048, 16384)),
        rng.random() < 0.05, layers, ends,
        {name: _draw_mangling(rng) for name in "ab"},
        _draw_trouble(rng, kind, layers, ends),
        rng.choices(("all", "early", "abort"), (5, 4, 2))[0],
        rng.choice(("a", "b", "a", "b", "ab")),
        None if patient else SHORT if kind == "stall" else 10 * SHORT,
        rng.choice(("close", "abort")))


def _draw_layer(rng, number):
    starts = ("bare", "line", "pipelined") + ("direct",) * 3 * (not number)
    return Layer(rng.choice(("1.2", "1.3")),
                 rng.choices(("psk", "certificate"), (3, 1))[0],
                 rng.choice("ab"), rng.choice(starts),
                 {name: _draw_preamble(rng) for name in "ab"})


def _draw_preamble(rng):
    return rng.choices((0, rng.randrange(1, 300), rng.randrange(200_000)),
                       (6, 3, 1))[0]


def _draw_end(rng, kind):
    sends = rng.choices((0, rng.randrange(1, 200), rng.randrange(20_000),
                         rng.randrange(200_000)), (1, 3, 4, 3))[0]
    timeout = SHORT if kind in ("stall", "corrupt", "inject") else LONG
    return EndPlan(
        api=rng.choice(("streams", "protocol", "buffered")),
        buffer=rng.choice(("bytearray", "memoryview")),
        buffer_size=0, limit=rng.choice((64, 1000, 2 ** 16)), sends=sends,
        chunk=max(rng.choice((1, 100, 5_000, 70_000)), sends // 100),
        write_high=rng.choice((None, None, 0, 1, 5_000)),
        obeys_flow_control=rng.random() < 0.8,
        pauses=rng.choice((0, 0, 0.1, 0.5)), pause_passes=rng.randrange(12),
        pauses_before_upgrade=rng.random() < 0.3,
        handshake_timeout=timeout, shutdown_timeout=timeout)


def _draw_mangling(rng):
    return Mangling(rng.choice(("whole", "coarse", "fine", "tiny")),
                    rng.choice((0, 0, 3, 10)), rng.choice((0, 0, 5)))


def _draw_trouble(rng, kind, layers, ends):
    # The order of draws is one for all kinds, whatever is used of them.
    end = rng.choice("ab")
    clear = layers[0].clear_size(end)
    flights = 2500 * len(layers)
    place = clear + rng.choice((
        0, rng.randrange(600), rng.randrange(flights),
        rng.randrange(flights + ends[end].sends + 1)))
    if kind in ("truncate", "reset") and rng.random() < 0.1:
        place = rng.randrange(place + 1)
    layer = rng.randrange(len(layers))
    # From the first pass on the call has its socket.
    passes = rng.choice((1, 1, 2, 3, rng.randrange(1, 40),
                         rng.randrange(1, 200)))
    text = rng.choice(("injected\r\n", "\x15\x03\x01\x00\x02\x02\x28", "\0",
                       "HTTP/1.1 400 Bad Request\r\n\r\n"))
    change = rng.randrange(1, 256)
    if kind in DAMAGE:
        return Trouble(kind, end, place=place, change=change, text=text)
    if kind in INTERRUPTIONS:
        if layers[layer].start == "direct":
            kind = "cancel"
        return Trouble(kind, end, layer=layer, passes=passes)
    return Trouble(kind, end)


def _complete(scenario):
    """Sizes that depend on the other end: a small buffer, few passes."""
    for name, end in scenario.ends.items():
        rng = random.Random(f"{scenario.seed} {name}")
        expected = scenario.ends[OTHER[name]].sends
        for layer in scenario.layers:
            expected = max(expected, layer.preambles[OTHER[name]])
        least = max(1, expected // 300)
        end.buffer_size = rng.choice(
            (least, least + rng.randrange(100), least + rng.randrange(5000),
             70_000))
    return scenario


def scenario_of(seed):
    return _complete(_draw(seed))
