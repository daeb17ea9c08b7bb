"""run_coroutine_threadsafe() hands a coroutine's exception over as it is."""

import asyncio
import concurrent.futures
import unittest


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class ThreadsafeErrorTests(unittest.IsolatedAsyncioTestCase):

    async def outcome(self, error):
        """Return what a thread gets from a coroutine that raises *error*."""
        async def fail():
            raise error

        loop = asyncio.get_running_loop()

        def call():
            future = asyncio.run_coroutine_threadsafe(fail(), loop)
            try:
                future.result()
            except BaseException as exc:
                return future, exc

        return await asyncio.to_thread(call)

    async def check_same(self, error):
        future, raised = await self.outcome(error)
        self.assertIs(raised, error)
        self.assertFalse(future.cancelled())

    async def test_concurrent_cancelled_error_stays_an_exception(self):
        # Say, of a future of the executor that the coroutine asked.
        await self.check_same(concurrent.futures.CancelledError('gone'))

    async def test_concurrent_invalid_state_error_stays_itself(self):
        await self.check_same(concurrent.futures.InvalidStateError('done'))

    async def test_asyncio_invalid_state_error_stays_itself(self):
        await self.check_same(asyncio.InvalidStateError('done'))

    async def test_other_exception_stays_itself(self):
        await self.check_same(ValueError('bad'))

    async def test_cancellation_becomes_the_one_of_the_thread(self):
        future, raised = await self.outcome(asyncio.CancelledError('stop'))
        self.assertIs(type(raised), concurrent.futures.CancelledError)
        self.assertTrue(future.cancelled())


if __name__ == '__main__':
    unittest.main()
