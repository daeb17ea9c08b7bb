"""The tests of what supervisors keep, with a million of each thing."""

import sys
import unittest

from test.test_asyncio import test_supervisor_counts

tests = test_supervisor_counts.FlatTests
tests.count = 1_000_000
tests.io_count = 20_000
# A part is a tenth: what is kept of one in a thousand would be seen.
tests.limit = 0.001

names = sys.argv[1:]
suite = unittest.TestSuite(map(tests, names))
result = unittest.TextTestRunner(stream=sys.stdout).run(suite)
assert result.testsRun == len(names)
sys.exit(not result.wasSuccessful())
