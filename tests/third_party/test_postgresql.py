"""asyncpg against Debian's PostgreSQL, on a unix socket of its own."""

import re

import pytest
from surroundings import PROGRAMS


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_asyncpg_queries_transactions_cancellation_and_notifications(
        run, postgresql, loop):
    version = run(PROGRAMS / "postgresql_client.py", loop, postgresql)
    assert re.fullmatch(r"\d{6}\n", version)
