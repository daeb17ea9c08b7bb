"""The tests of what supervisors keep, with many more of each thing.

    millions.py COUNT TEST …

COUNT is that of callbacks and the like; of connections it is a fiftieth.
"""

import sys
import unittest

from test.test_asyncio import test_supervisor_counts

tests = test_supervisor_counts.FlatTests
count, *names = sys.argv[1:]
tests.count = int(count)
tests.io_count = tests.count // 50
# Of a million a part is a tenth: what is kept of one in a thousand would be
# seen.
tests.limit = 1000 / tests.count

suite = unittest.TestSuite(map(tests, names))
result = unittest.TextTestRunner(stream=sys.stdout).run(suite)
assert result.testsRun == len(names)
sys.exit(not result.wasSuccessful())
