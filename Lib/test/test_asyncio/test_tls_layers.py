"""TLS over TLS to any depth, between all kinds of ends, on real sockets."""

import asyncio
import contextlib
import gc
import itertools
import random
import socket
import ssl
import struct
import unittest
from asyncio import constants
from unittest import mock

from test import support
from test.test_asyncio import utils as test_utils
from test.test_asyncio.tls_layers import (
    APIS, TLS_1_2, TLS_1_3, Gauge, LayersTestCase, add_tests, close_in_order,
    losses_of_layers, outcome, pairwise, passes, socket_pair, upgrade)
from test.test_asyncio.tls_support import (
    GUARD, client_context, server_context)

# How it works.  Each class has a table: its rows are sentences, which become
# the names of tests, and what the test is about.  Layers of TLS are counted
# from the outermost: number 1 is next to the socket, which is number 0.

DEPTHS = (1, 2, 3, 5)
VERSIONS = {"1.2": TLS_1_2, "1.3": TLS_1_3}
# Who is the client of a layer of TLS: the end that connected, the one that
# accepted, or each in turn.
CLIENTS = {"connecting": lambda number: 0, "accepting": lambda number: 1,
           "alternating": lambda number: number % 2}


def tearDownModule():
    asyncio.set_event_loop_policy(None)


def layers(depth):
    return f"{depth} layer" + "s" * (depth > 1)


def other_api(api, shift):
    """An API for the other end, so that all pairs of them occur."""
    names = list(APIS)
    return names[(names.index(api) + shift) % len(names)]


async def send(end, data, chunk, seed, gauge=None):
    """Write *data* in pieces of random sizes, heeding flow control."""
    rng = random.Random(seed)
    start = 0
    while start < len(data):
        size = rng.randint(1, chunk)
        end.write(data[start:start + size])
        start += size
        if gauge is not None:
            gauge.measure()
        await end.drain()


async def receive(end, data, chunk, seed, gauge=None):
    """Read slowly, in pieces of random sizes, what must be *data*."""
    rng = random.Random(seed)
    start = 0
    while start < len(data):
        piece = await end.read(rng.randint(1, chunk))
        assert piece and piece == data[start:start + len(piece)], start
        start += len(piece)
        if gauge is not None:
            gauge.measure()
        await passes(rng.randint(0, 2))


async def exchange(ends, size, chunk=2 ** 14):
    """Let both ends send *size* bytes at once; fail unless both get them."""
    data = [memoryview(random.Random(seed).randbytes(size)) for seed in (0, 1)]
    gauges = [Gauge(end, chunk) for end in ends]
    async with asyncio.TaskGroup() as group:
        for number, end in enumerate(ends):
            group.create_task(send(
                end, data[number], chunk, number, gauges[number]))
            group.create_task(receive(
                end, data[1 - number], chunk, number, gauges[number]))
    return gauges


def told_of(end):
    """What an end's protocol was told, but for the data's flow."""
    return [call for call in end.record.calls
            if call not in ("pause", "resume")]


def every_combination():
    product = itertools.product(DEPTHS, CLIENTS, APIS, VERSIONS)
    for number, (depth, client, api, version) in enumerate(product):
        yield (f"{layers(depth)} of TLS {version} from {api} with the "
               f"{client} end as client",
               dict(depth=depth, client=client, version=version,
                    apis=(api, other_api(api, number // len(VERSIONS))),
                    tcp=number % 2 == 0))


@add_tests("check", every_combination())
class CombinationTests(LayersTestCase):
    """The full product of depth, role, API and version."""

    async def check(self, *, depth, client, version, apis, tcp):
        ends = await self.connect_ends(apis, tcp=tcp)
        for number in range(depth):
            await upgrade(ends, version=VERSIONS[version],
                          client=CLIENTS[client](number))
        self.check_layers(ends, depth, CLIENTS[client], VERSIONS[version])
        await exchange(ends, 40_000)
        told = await close_in_order(*ends[::-1 if depth % 2 else 1])
        self.assertEqual(told, (None, None))
        self.check_calls(*ends[::-1 if depth % 2 else 1])

    def check_layers(self, ends, depth, client, version):
        for number in range(depth):
            for index, end in enumerate(ends):
                self.assertEqual(len(end.transports), depth + 1)
                tls = end.transports[number + 1].get_extra_info("ssl_object")
                self.assertEqual(tls.version(), version.name.replace("_", "."))
                self.assertEqual(tls.server_side, client(number) != index)

    def check_calls(self, closing, other):
        self.assertEqual(told_of(other), ["made", "eof", "lost"])
        # It may have waited for the other's answer, or not.
        self.assertIn(told_of(closing),
                      (["made", "lost"], ["made", "eof", "lost"]))
        for end in closing, other:
            self.check_flow_control(end)


def rows_of_features():
    rows = pairwise(
        depth=DEPTHS, client=tuple(CLIENTS), api=tuple(APIS),
        shift=(0, 1, 2), version=tuple(VERSIONS), mutual=(False, True),
        alpn=("none", "agreed", "no match"), sni=("none", "seen", "switched"))
    for number, row in enumerate(rows):
        row["apis"] = (row["api"], other_api(row["api"], row.pop("shift")))
        sentence = (
            "mutual authentication" if row["mutual"] else "a server's "
            "certificate") + (
            f" and ALPN {row['alpn']} and SNI {row['sni']} in "
            f"{layers(row['depth'])} of TLS {row['version']} from "
            f"{row.pop('api')} with the {row['client']} end as client {number}")
        yield sentence, row


@add_tests("check", rows_of_features())
class FeatureTests(LayersTestCase):
    """What is agreed on in the handshake is each layer's own."""

    async def check(self, *, depth, client, version, apis, **features):
        ends = await self.connect_ends(apis)
        for number in range(depth):
            await self.check_layer(ends, number, CLIENTS[client](number),
                                   VERSIONS[version], **features)
        # What one layer agreed on is not changed by the next.
        for end in ends:
            for number, transport in enumerate(end.transports[1:]):
                self.check_alpn(transport, number, features["alpn"])
        self.assertEqual(await close_in_order(*ends), (None, None))

    async def check_layer(self, ends, number, client, version, *,
                          mutual, alpn, sni):
        names = []
        trusting, trusted = contexts = authenticated(version, mutual)
        offers = {"none": (), "agreed": ([f"layer-{number}", "x"], ) * 2,
                  "no match": (["x"], ["y"])}[alpn]
        for context, protocols in zip(contexts, offers):
            context.set_alpn_protocols(protocols)
        if sni != "none":
            serve_names(trusted, names, trusted if sni == "seen" else
                        with_alpn_of(trusted, number, version, mutual, alpn))
        await upgrade(ends, contexts=contexts, client=client)
        self.assertEqual(names, [] if sni == "none" else ["localhost"])
        self.check_certificates(ends, client, mutual)

    def check_certificates(self, ends, client, mutual):
        for end, seen in (ends[client], True), (ends[1 - client], mutual):
            certificate = end.transport.get_extra_info("peercert")
            self.assertEqual(bool(certificate), seen)
            if seen:
                self.assertEqual(certificate["serialNumber"],
                                 test_utils.PEERCERT["serialNumber"])

    def check_alpn(self, transport, number, alpn):
        tls = transport.get_extra_info("ssl_object")
        self.assertEqual(tls.selected_alpn_protocol(),
                         f"layer-{number}" if alpn == "agreed" else None)


def authenticated(version, mutual):
    """Contexts whose certificates are signed by the suite's authority."""
    client, server = client_context(version), server_context(version)
    client.load_verify_locations(test_utils.SIGNING_CA)
    client.check_hostname = True
    client.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(test_utils.SIGNED_CERTFILE)
    if mutual:
        client.load_cert_chain(test_utils.SIGNED_CERTFILE)
        server.load_verify_locations(test_utils.SIGNING_CA)
        server.verify_mode = ssl.CERT_REQUIRED
    return client, server


def with_alpn_of(context, number, version, mutual, alpn):
    """Another server's context that answers as *context* does."""
    other = authenticated(version, mutual)[1]
    if alpn == "agreed":
        other.set_alpn_protocols([f"layer-{number}"])
    return other


def serve_names(context, names, chosen):
    """Let *context* note the names it is asked for, and switch to *chosen*."""
    def called(tls, name, _):
        names.append(name)
        tls.context = chosen
    context.sni_callback = called


def rows_of_bulk():
    for row in pairwise(depth=DEPTHS, client=tuple(CLIENTS), api=tuple(APIS),
                        shift=(0, 1, 2), version=tuple(VERSIONS)):
        api = row.pop("api")
        row["apis"] = (api, other_api(api, row.pop("shift")))
        yield (f"{layers(row['depth'])} of TLS {row['version']} between "
               f"{' and '.join(row['apis'])} with the {row['client']} end as "
               "client", row)


class BulkTestCase(LayersTestCase):
    """Much data in both directions at once, between slow readers."""

    async def check(self, *, depth, client, version, apis, size, small):
        ends = await self.connect_ends(apis)
        for number in range(depth):
            await upgrade(ends, version=VERSIONS[version],
                          client=CLIENTS[client](number))
        if small:
            self.lower_limits(ends)
        gauges = await exchange(ends, size, 2 ** 14 if small else 2 ** 18)
        for end, gauge in zip(ends, gauges):
            self.check_bounds(gauge)
            self.check_flow_control(end)
        # All was sent, so nobody is left paused.
        for end in ends:
            self.assertEqual(end.record.flow_control()[-1:], ["resume"])
        self.assertEqual(await close_in_order(*ends), (None, None))

    def lower_limits(self, ends):
        """Make the bounds small beside 1 MiB, and so worth something."""
        for end in ends:
            end.transports[0].get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDBUF, 2 ** 14)
            for transport in end.transports:
                transport.set_write_buffer_limits(2 ** 14)
            for transport in end.transports[1:]:
                transport.set_read_buffer_limits(2 ** 14)

    def check_bounds(self, gauge):
        for number, bound in enumerate(gauge.write_bounds()):
            self.assertLessEqual(gauge.written[number], bound, number)
        for number, bound in enumerate(gauge.read_bounds()):
            self.assertLessEqual(gauge.read[number], bound, number)


@add_tests("check", ((f"1 MiB in {sentence}",
                     dict(row, size=2 ** 20, small=True))
                    for sentence, row in rows_of_bulk()))
class BulkTests(BulkTestCase):
    """With limits that are small beside the data."""


@support.requires_resource("cpu")
@add_tests("check", ((f"64 MiB in {sentence}",
                     dict(row, size=2 ** 26, small=False))
                    for sentence, row in rows_of_bulk()))
class LargeBulkTests(BulkTestCase):
    """With the default limits."""

    guard = 30 * GUARD


# Faults of the peer.  They come in a layer, sealed by those outside of it.

HANDSHAKE, APPLICATION_DATA = 22, 23
FATAL_ALERT = bytes([21, 3, 3, 0, 2, 2, 40])
GARBAGE = b"this is no record of TLS"
UNSENT = 2 ** 20  # Far more than there is room for between end and peer.
SHORT = 0.05  # A timeout that is to come, in seconds.


def shutdown_timeout(fault):
    """The time for a shutdown that the *fault* ends: before, or by, its end."""
    return SHORT if fault == "stall" else GUARD


async def commit(fault, peer, layer, record_type=APPLICATION_DATA):
    """Let the *peer* commit a fault in the *layer*.

    *record_type* is that of the record which is cut off.
    """
    outer = layer - 1
    match fault:
        case "reset":
            reset(peer.sock)
        case "stall":
            pass
        case "garbage":
            await peer.send(peer.seal(GARBAGE, depth=outer))
        case "alert":
            await peer.send(peer.seal(FATAL_ALERT, depth=outer))
        case "truncation":
            part = bytes([record_type, 3, 3, 1, 0, 1, 2, 3])
            await peer.send(peer.seal(part, depth=outer))
            if outer:
                await peer.send(peer.close_notify(depth=outer))
            peer.shutdown()


def reset(sock):
    """Close the socket, and let the other end know by an RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                    struct.pack("ii", 1, 0))
    sock.close()


HANDSHAKE_ERRORS = {
    "reset": ConnectionResetError, "stall": ConnectionAbortedError,
    "truncation": ConnectionResetError, "garbage": ssl.SSLError,
    "alert": ssl.SSLError}
TRANSFER_ERRORS = {
    "reset": ConnectionResetError, "truncation": type(None),
    "garbage": ssl.SSLError, "alert": ssl.SSLError}
SHUTDOWN_ERRORS = TRANSFER_ERRORS | {"stall": TimeoutError}


class FaultTestCase(LayersTestCase):

    async def connect_layers(self, depth, api, version, client,
                             timeouts=lambda number: {}, tcp=True):
        """Return an end, and the peer, with some layers between them.

        Layer *number* of the end gets the options *timeouts(number)*.
        """
        end, peer = await self.connect_peer(
            api, accepted=client == "peer", tcp=tcp)
        for number in range(1, depth + 1):
            await self.add_layer(end, peer, version, client,
                                 **timeouts(number))
        return end, peer

    async def add_layer(self, end, peer, version, client, **options):
        server = server_context(VERSIONS[version])
        contexts = client_context(VERSIONS[version]), server
        ours, theirs = contexts if client == "end" else contexts[::-1]
        async with asyncio.TaskGroup() as group:
            group.create_task(end.start_tls(
                ours, server_side=client == "peer", **options))
            await passes(2)
            group.create_task(peer.start_tls(
                theirs, server_side=client == "end"))

    async def check_lost(self, end, kind, losses):
        """Assert that an exception of *kind* ended all of the end's layers."""
        exc = await asyncio.shield(end.record.lost)
        self.assertIsInstance(exc, kind)
        self.assertEqual(end.record.calls.count("lost"), 1)
        self.assertEqual(end.record.calls[-1], "lost")
        for loss in losses:
            self.assertIs(loss, exc)


def rows_of_faults(errors, **others):
    """A row for each fault in each of three layers; pairs of the others."""
    others = pairwise(api=tuple(APIS), client=("end", "peer"), **others)
    rows = ((fault, layer) for fault in errors for layer in (1, 2, 3)
            if (fault, layer) not in (("reset", 2), ("reset", 3)))
    for (fault, layer), other in itertools.product(rows, others):
        words = (f"{fault} in layer {layer} to {other['api']} as "
                 f"{'client' if other['client'] == 'end' else 'server'} of "
                 f"TLS {other['version']}")
        yield words, dict(other, fault=fault, layer=layer)


def rows_of_handshake_faults():
    versions = tuple(VERSIONS)
    for words, row in rows_of_faults(HANDSHAKE_ERRORS, version=versions):
        # A stall is in no layer but the one that waits.
        innermost = row["layer"] if row["fault"] == "stall" else 3
        for shaking in {row["layer"], innermost}:
            where = f"{words} in the handshake of layer {shaking}"
            yield where, dict(row, shaking=shaking, late=False)
            # A client of TLS 1.3 waits for one flight only.
            if (row["client"], row["version"]) != ("end", "1.3"):
                yield (f"{where} after a flight of the peer",
                       dict(row, shaking=shaking, late=True))


@add_tests("check", rows_of_handshake_faults())
class HandshakeFaultTests(FaultTestCase):
    """start_tls() raises what connection_lost() gets."""

    async def check(self, *, fault, layer, shaking, api, client, version,
                    late):
        end, peer = await self.connect_layers(
            shaking - 1, api, version, client)
        with losses_of_layers() as losses:
            error = await self.fail_handshake(end, peer, fault, layer, shaking,
                                              client, VERSIONS[version], late)
            await self.check_lost(end, HANDSHAKE_ERRORS[fault], losses)
        self.assertIs(error, end.record.lost.result())
        self.assertEqual(len(losses), shaking)
        self.assertNotIn("eof", end.record.calls)

    async def fail_handshake(self, end, peer, fault, layer, shaking, client,
                             version, late):
        """Return what start_tls() raises."""
        options = {"ssl_handshake_timeout": SHORT} if fault == "stall" else {}
        contexts = client_context(version), server_context(version)
        task = asyncio.create_task(outcome(end.start_tls(
            contexts[client == "peer"], server_side=client == "peer",
            **options)))
        await passes(3)
        if late:
            await self.send_first_flight(
                peer, contexts[client == "end"], client == "end")
        is_clear = layer == shaking and not (late and version == TLS_1_3)
        await commit(fault, peer, layer,
                     HANDSHAKE if is_clear else APPLICATION_DATA)
        return await task

    async def send_first_flight(self, peer, context, is_server):
        hello = await peer.read() if is_server else b""
        flight = peer.add_layer(context, server_side=is_server)
        if is_server:
            peer.feed(hello)
            with self.assertRaises(ssl.SSLWantReadError):
                peer.layers[-1].tls.do_handshake()
            flight = peer.seal()
        await peer.send(flight)
        await passes(3)


@add_tests("check", rows_of_faults(TRANSFER_ERRORS, version=tuple(VERSIONS),
                                   sending=(False, True)))
class TransferFaultTests(FaultTestCase):
    """A fault in any layer ends them all, with its exception."""

    async def check(self, *, fault, layer, api, client, version, sending):
        end, peer = await self.connect_layers(
            3, api, version, client, tcp=fault != "truncation")
        await peer.write(b"before")
        self.assertEqual(await end.read(100), b"before")
        with losses_of_layers() as losses:
            if sending:
                end.write(bytes(UNSENT))
            await commit(fault, peer, layer)
            if fault == "truncation":
                await drain(peer)
            await self.check_lost(end, TRANSFER_ERRORS[fault], losses)
        self.assertEqual(len(losses), 3)
        self.check_flow_control(end)
        self.assertEqual("eof" in end.record.calls, fault == "truncation")


@add_tests("check", rows_of_faults(SHUTDOWN_ERRORS, version=("1.2", )))
class ShutdownFaultTests(FaultTestCase):
    """The peer fails instead of sending a layer's close_notify.

    In TLS 1.2 only: in 1.3 nobody waits for it.
    """

    async def check(self, *, fault, layer, api, client, version):
        end, peer = await self.connect_layers(
            3, api, version, client, lambda number: {
                "ssl_shutdown_timeout": shutdown_timeout(fault)
                if number == layer else GUARD})
        closing = asyncio.create_task(end.close())
        with losses_of_layers() as losses:
            for number in range(3, layer, -1):
                await self.answer_close(peer)
            self.assertEqual(await peer.read(), b"")
            await commit(fault, peer, layer)
            await self.check_lost(end, SHUTDOWN_ERRORS[fault], losses)
        self.assertEqual(len(losses), 3)
        await closing

    async def answer_close(self, peer):
        self.assertEqual(await peer.read(), b"")
        await peer.send(peer.close_notify())
        peer.layers.pop()


@add_tests("check", rows_of_faults(SHUTDOWN_ERRORS, version=tuple(VERSIONS),
                                   much=(False, True)))
class FlushFaultTests(FaultTestCase):
    """The peer fails while the end flushes what it wrote before it closed.

    That is so much that the socket's transport has paused, or too little.
    """

    async def check(self, *, fault, layer, api, client, version, much):
        end, peer = await self.connect_layers(
            3, api, version, client, lambda number: {
                "ssl_shutdown_timeout": shutdown_timeout(fault)},
            tcp=fault == "reset")
        with losses_of_layers() as losses:
            self.fill(end, much)
            closing = asyncio.create_task(end.close())
            await passes(2)
            await commit(fault, peer, layer)
            if fault == "truncation":
                await drain(peer)
            await self.check_lost(end, SHUTDOWN_ERRORS[fault], losses)
        self.assertEqual(len(losses), 3)
        await closing

    def fill(self, end, much):
        """Write until the socket takes no more, or far beyond that."""
        while not end.transports[0].get_write_buffer_size():
            end.write(bytes(2 ** 12))
        if much:
            end.write(bytes(UNSENT))
        bottom = end.transports[0]
        self.assertEqual(bottom.get_write_buffer_size()
                         > bottom.get_write_buffer_limits()[1], much)


def rows_of_silence():
    for row in pairwise(depth=DEPTHS, api=tuple(APIS), client=("end", "peer"),
                        version=("1.2", "1.3", "1.3 with data unsent")):
        yield (f"{row['api']} in {layers(row['depth'])} as "
               f"{'client' if row['client'] == 'end' else 'server'} of TLS "
               f"{row['version']}", row)


@add_tests("check", rows_of_silence())
class SilentPeerTests(FaultTestCase):
    """The peer reads all, and never answers a close_notify.

    In TLS 1.2 that is an error; in 1.3 it need not.
    """

    async def check(self, *, depth, api, client, version):
        version, *unsent = version.split(" with ")
        timeout = SHORT if version == "1.2" else GUARD
        end, peer = await self.connect_layers(
            depth, api, version, client, lambda number: {
                "ssl_shutdown_timeout": timeout}, tcp=False)
        data = LAST_WORDS * 50 if unsent else b""
        with losses_of_layers() as losses:
            await self.close_and_listen(end, peer, data)
            await self.check_lost(
                end, TimeoutError if version == "1.2" else type(None), losses)
        self.assertEqual(len(losses), depth)

    async def close_and_listen(self, end, peer, data):
        """Close the end, and let the peer receive until EOF."""
        with mock.patch.object(constants, "SSL_SILENCE_TIMEOUT", SHORT):
            end.write(data)
            closing = asyncio.create_task(end.close())
            self.assertEqual(await peer.read_all(), data)
            await drain(peer)
            await closing


async def drain(peer):
    """Receive what comes until the end."""
    while await peer.recv():
        pass


def rows_of_closing():
    for row in pairwise(layer=(0, 1, 2, 3), api=tuple(APIS),
                        version=tuple(VERSIONS), client=("end", "peer"),
                        paused=(False, True), late=(False, True)):
        sign = f"close_notify in layer {row['layer']}"
        yield (f"{sign if row['layer'] else 'FIN'} "
               f"{'after' if row['late'] else 'with'} the last data to "
               f"{row['api']} {'paused ' * row['paused']}as {row['client']} "
               f"of TLS {row['version']}", row)


@add_tests("check", rows_of_closing())
class ClosedByPeerTests(FaultTestCase):
    """The peer's close_notify in any layer, or FIN, ends the connection."""

    async def check(self, *, layer, api, version, client, paused, late):
        end, peer = await self.connect_layers(3, api, version, client)
        if paused:
            end.transport.pause_reading()
        await self.say_goodbye(peer, layer, late)
        if paused:
            await passes(5)
            self.assertEqual(end.record.calls, ["made"])
            end.transport.resume_reading()
        await self.close_outer(peer, layer)
        self.assertEqual(await read_all(end), LAST_WORDS)
        await self.check_lost(end, type(None), [])
        self.assertEqual(end.record.calls, ["made", "eof", "lost"])

    async def say_goodbye(self, peer, layer, late):
        data = peer.seal(LAST_WORDS)
        goodbye = peer.close_notify(depth=layer) if layer else b""
        if late:
            await peer.send(data)
            await passes(2)
            await peer.send(goodbye)
        else:
            await peer.send(data + goodbye)
        if not layer:
            peer.shutdown()

    async def close_outer(self, peer, layer):
        """Answer the end when it closes the layers outside of this one."""
        if layer:
            del peer.layers[layer:]
            await peer.read_all()
        for number in range(layer - 1, 0, -1):
            peer.layers.pop()
            await peer.read_all()
            # In TLS 1.3 it does not wait for an answer.
            with contextlib.suppress(ConnectionError):
                await peer.send(peer.close_notify())


LAST_WORDS = random.Random(0).randbytes(20_000)


async def read_all(end):
    data = bytearray()
    while piece := await end.read(2 ** 12):
        data += piece
    return data


def rows_of_certificates():
    product = itertools.product((1, 2, 3), APIS, VERSIONS, ("end", "peer"))
    for layer, api, version, client in product:
        whose = "server" if client == "end" else "client"
        yield (f"the {whose}s certificate in layer {layer} to {api} in TLS "
               f"{version}", dict(layer=layer, api=api, version=version,
                                  client=client))


@add_tests("check", rows_of_certificates())
class BadCertificateTests(FaultTestCase):
    """Nobody is told but start_tls() and connection_lost(), and at once."""

    async def check(self, *, layer, api, version, client):
        end, peer = await self.connect_layers(
            layer - 1, api, version, client, tcp=False)
        ours, theirs = contexts_of_mistrust(VERSIONS[version], client)
        with losses_of_layers() as losses:
            upgrade = asyncio.create_task(outcome(
                end.start_tls(ours, **names(client))))
            talk = asyncio.create_task(outcome(self.talk(
                peer, theirs, server_side=client == "end")))
            # No timer is due in so few passes.
            await passes(40)
            self.assertTrue(upgrade.done())
            self.assertIsInstance(await upgrade, ssl.SSLCertVerificationError)
            await self.check_lost(end, ssl.SSLCertVerificationError, losses)
        self.assertEqual(len(losses), layer)
        await talk
        await self.check_silence(peer)

    async def talk(self, peer, context, server_side):
        await peer.start_tls(context, server_side=server_side)
        await peer.read_all()

    async def check_silence(self, peer):
        """Assert that nothing came after the alert, if there was one."""
        self.assertEqual(await peer.recv(), b"")
        for layer in peer.layers:
            self.assertEqual(layer.incoming.pending, 0)


def names(client):
    if client == "peer":
        return {"server_side": True}
    return {"server_side": False, "server_hostname": "localhost"}


def contexts_of_mistrust(version, client):
    """The end's context, and the peer's, whose certificate it does not trust."""
    contexts = authenticated(version, client == "peer")
    if client == "end":
        contexts[1].load_cert_chain(test_utils.ONLYCERT, test_utils.ONLYKEY)
        return contexts
    contexts[0].load_cert_chain(test_utils.ONLYCERT, test_utils.ONLYKEY)
    return contexts[::-1]


# What may happen to an end in the middle of what it does.
INTERRUPTIONS = {
    "cancelled": lambda end, task: task.cancel(),
    "closed": lambda end, task: end.transport.close(),
    "aborted": lambda end, task: end.transport.abort(),
    "closed below": lambda end, task: end.transports[0].close(),
    "aborted below": lambda end, task: end.transports[0].abort()}


async def program(end, sock, contexts, depth):
    """What one of two ends does: connect, upgrade, say a word, hear one, close."""
    await end.connect(sock)
    for _ in range(depth):
        await end.start_tls(contexts[end.accepted], server_side=end.accepted)
    try:
        end.write(b"word")
        await end.drain()
        if await end.read(4) != b"word":
            raise EOFError
        await end.close()
    finally:
        end.transport.abort()


def rows_of_interruptions():
    for row in pairwise(how=tuple(INTERRUPTIONS), api=tuple(APIS),
                        depth=(1, 2, 3), accepted=(False, True),
                        version=tuple(VERSIONS)):
        yield (f"{row['api']} as {'server' if row['accepted'] else 'client'} "
               f"of {layers(row['depth'])} of TLS {row['version']} "
               f"{row['how']}", row)


@add_tests("check", rows_of_interruptions())
class InterruptedTests(LayersTestCase):
    """Whatever happens after any number of passes, all comes to an end."""

    async def check(self, *, how, api, depth, accepted, version):
        contexts = (client_context(VERSIONS[version]),
                    server_context(VERSIONS[version]))
        for number in itertools.count(1):
            apis = (api, other_api(api, number))
            if await self.check_after(
                    number, apis, depth, contexts, how, accepted):
                break
        self.assertGreater(number, 5)

    async def check_after(self, number, apis, depth, contexts, how, accepted):
        """Return whether all was over before it happened."""
        ends, tasks = self.start(apis[::-1 if accepted else 1], contexts, depth)
        end, task = ends[accepted], tasks[accepted]
        await passes(number)
        over = task.done()
        if how == "cancelled" or end.transports:
            INTERRUPTIONS[how](end, task)
        await asyncio.wait(tasks)
        for task in tasks:
            self.assertIsInstance(failure(task), (
                type(None), ConnectionError, EOFError, asyncio.CancelledError))
        for each in ends:
            await self.check_calls(each)
        if "made" in end.record.calls and "closed" not in how and not over:
            # What this side does to itself at once is no error.
            self.assertIsNone(end.record.lost.result())
        return over

    def start(self, apis, contexts, depth):
        ends = [self.make_end(api, accepted=accepted)
                for api, accepted in zip(apis, (False, True))]
        return ends, [
            asyncio.create_task(program(end, sock, contexts, depth))
            for end, sock in zip(ends, socket_pair(tcp=False))]

    async def check_calls(self, end):
        if "made" in end.record.calls:
            await asyncio.shield(end.record.lost)
        self.assertEqual(end.record.calls.count("lost"),
                         end.record.calls.count("made"))
        self.assertNotIn(None, end.transports)


def failure(task):
    """The exception that the task ended with, or None."""
    if task.cancelled():
        return asyncio.CancelledError()
    return task.exception()


class LoopClosedTests(LayersTestCase):
    """A loop that is closed in the middle leaves what it must, and no more."""

    def test_loop_closed_after_any_number_of_passes(self):
        for row in pairwise(api=tuple(APIS), depth=(1, 2, 3),
                            version=tuple(VERSIONS), cancelled=(False, True)):
            with self.subTest(**row):
                self.check(**row)
        self.passed = True

    def check(self, *, api, depth, version, cancelled):
        contexts = (client_context(VERSIONS[version]),
                    server_context(VERSIONS[version]))
        number = 0
        over = False
        while not over:
            number += 1
            apis = (api, other_api(api, number))
            with support.catch_unraisable_exception() as caught:
                over = self.check_after(
                    number, apis, depth, contexts, cancelled)
                # What waited is a cycle: a task, and the future it awaits.
                gc.collect(0)
                self.assertIn(repr(caught.unraisable and
                                   caught.unraisable.exc_value),
                              ("None", "RuntimeError('Event loop is closed')"))
        self.assertGreater(number, 5)
        gc.collect()
        # Sockets that nobody closed are due.
        self.forget_warnings("unclosed transport", "unclosed <socket",
                             "loop is closed")

    def check_after(self, number, apis, depth, contexts, cancelled):
        """Return whether all was over before the loop was closed."""
        loop = asyncio.SelectorEventLoop()
        loop.set_exception_handler(
            lambda loop, context: self.reports.append(context))
        tasks = loop.run_until_complete(
            self.start(apis, depth, contexts))
        run_passes(loop, number)
        over = all(task.done() for task in tasks)
        if cancelled:
            cancel_all(loop, tasks)
        for task in tasks:
            # It was destroyed while it was pending: by the test.
            task._log_destroy_pending = False
            failure(task) if task.done() else None
        loop.close()
        return over

    async def start(self, apis, depth, contexts):
        ends = [self.make_end(api, accepted=accepted)
                for api, accepted in zip(apis, (False, True))]
        return [asyncio.create_task(program(end, sock, contexts, depth))
                for end, sock in zip(ends, socket_pair(tcp=False))]


def run_passes(loop, number):
    for _ in range(number):
        loop.call_soon(loop.stop)
        loop.run_forever()


def cancel_all(loop, tasks):
    """As asyncio.run() does before it closes the loop."""
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


@add_tests("check", ((f"{layers(depth)} over a server of TLS", {"depth": depth})
                     for depth in DEPTHS))
class ServerTests(LayersTestCase):
    """The first layer is start_server()'s and open_connection()'s."""

    async def check(self, *, depth):
        contexts = client_context(), server_context()
        self.ended = []
        server = await asyncio.start_server(
            lambda *streams: self.serve(*streams, depth, contexts[1]),
            "127.0.0.1", 0, ssl=contexts[1])
        async with server:
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(self.use(
                        server.sockets[0].getsockname(), depth, contexts[0]))
        await server.wait_closed()
        self.assertEqual(self.ended, [True] * 3)

    async def serve(self, reader, writer, depth, context):
        self.watch(reader)
        for number in range(depth):
            await writer.start_tls(context)
        while data := await reader.read(1000):
            writer.write(data)
            await writer.drain()
        self.ended.append(reader.at_eof())
        writer.close()
        await writer.wait_closed()

    async def use(self, address, depth, context):
        reader, writer = await asyncio.open_connection(
            *address, ssl=context, server_hostname="localhost")
        self.watch(reader)
        for number in range(depth):
            await writer.start_tls(context, server_hostname="localhost")
        writer.write(LAST_WORDS)
        self.assertEqual(await reader.readexactly(len(LAST_WORDS)), LAST_WORDS)
        writer.close()
        await writer.wait_closed()


if __name__ == "__main__":
    unittest.main()
