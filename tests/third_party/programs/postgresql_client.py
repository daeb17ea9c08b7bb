"""asyncpg against a PostgreSQL on a unix socket: … LOOP FOLDER."""

import asyncio
import sys

import asyncpg
import uvloop

COUNT = 500


async def main(folder):
    async with asyncpg.create_pool(
            host=folder, user="overlay", database="postgres", min_size=2,
            max_size=5) as pool:
        await _table(pool)
        await _many_at_once(pool)
        await _transactions(pool)
        await _cancelled_query(pool)
        await _notifications(pool)
        print(await pool.fetchval("SHOW server_version_num"))


async def _table(pool):
    await pool.execute("DROP TABLE IF EXISTS line")
    await pool.execute("CREATE TABLE line (number int, text text)")
    rows = [(number, f"text {number}") for number in range(COUNT)]
    await pool.copy_records_to_table("line", records=rows)
    async with pool.acquire() as connection, connection.transaction():
        seen = [tuple(row) async for row in connection.cursor(
            "SELECT * FROM line ORDER BY number", prefetch=20)]
    assert seen == rows


async def _many_at_once(pool):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(pool.fetchval(
            "SELECT text FROM line WHERE number = $1", number))
            for number in range(100)]
    assert [task.result() for task in tasks] == [
        f"text {number}" for number in range(100)]


async def _transactions(pool):
    async with pool.acquire() as connection:
        try:
            async with connection.transaction():
                await connection.execute("DELETE FROM line")
                await connection.execute("SELECT 1 / 0")
        except asyncpg.DivisionByZeroError:
            pass
        else:
            raise AssertionError("PostgreSQL divided by zero")
    assert await pool.fetchval("SELECT count(*) FROM line") == COUNT


async def _cancelled_query(pool):
    """A timeout around a query stops it in the server, too."""
    async with pool.acquire() as connection:
        try:
            async with asyncio.timeout(0.2):
                await connection.execute("SELECT pg_sleep(3600)")
        except TimeoutError:
            pass
        else:
            raise AssertionError("the timeout did not come")
        assert await connection.fetchval("SELECT 1") == 1
    assert await pool.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' "
        "AND query LIKE '%3600%' AND pid <> pg_backend_pid()") == 0


async def _notifications(pool):
    told = asyncio.Queue()
    async with pool.acquire() as listener:
        def tell(connection, pid, channel, payload):
            told.put_nowait(payload)

        await listener.add_listener("news", tell)
        for word in ("one", "two"):
            await pool.execute("SELECT pg_notify('news', $1)", word)
        async with asyncio.timeout(60):
            assert [await told.get(), await told.get()] == ["one", "two"]
        await listener.remove_listener("news", tell)


if __name__ == "__main__":
    loop, folder = sys.argv[1:]
    factory = {"asyncio": None, "uvloop": uvloop.new_event_loop}[loop]
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main(folder))
