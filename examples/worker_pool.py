"""Keep copies of a command running; start one anew when it fails or falls silent.

The supervisor of a worker ends with that worker, and the pool's with an error in here.
"""

import argparse
import asyncio
import contextlib
import sys

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30        # seconds before a new start


class WorkerFailed(Exception):
    """A worker is to be started anew."""


class Worker(asyncio.SubprocessProtocol):
    """Passes on what a process prints, and watches that it does."""

    def __init__(self, sup, silence):
        self.sup, self.silence = sup, silence
        self.status = sup.create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.timer = self.sup.call_later(self.silence, self.fall_silent)

    def pipe_data_received(self, fd, data):
        self.timer.cancel()
        self.timer = self.sup.call_later(self.silence, self.fall_silent)
        sys.stdout.buffer.write(data)
        sys.stdout.flush()

    def fall_silent(self):
        raise WorkerFailed(f"silent for {self.silence} s")

    def connection_lost(self, exc):
        if not self.status.done():
            self.status.set_result(self.transport.get_returncode())


async def run_once(command, silence):
    async with asyncio.get_running_loop().create_supervisor() as sup:
        _, worker = await sup.subprocess_exec(
            lambda: Worker(sup, silence), *command, stderr=None,
            stdin=asyncio.subprocess.DEVNULL)
        if status := await worker.status:
            raise WorkerFailed(f"exit status {status}")


async def keep_running(name, command, silence):
    loop, pause = asyncio.get_running_loop(), FIRST_PAUSE
    while True:
        started = loop.time()
        try:
            return await run_once(command, silence)
        except* WorkerFailed as group:
            reason = group.exceptions[0]
        pause = FIRST_PAUSE if loop.time() - started > LONGEST_PAUSE else pause
        print(f"{name}: {reason}, starts again in {pause} s", file=sys.stderr)
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


async def keep_pool(workers, command, silence):
    async with asyncio.get_running_loop().create_supervisor() as sup:
        for number in range(workers):
            sup.create_task(keep_running(f"worker {number}", command, silence))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, default=2, help="how many (default: 2)")
    parser.add_argument("--silence", type=float, default=60, help="seconds without output")
    parser.add_argument("command", nargs="+", help="put -- before it if it has options")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(keep_pool(options.workers, options.command, options.silence))
