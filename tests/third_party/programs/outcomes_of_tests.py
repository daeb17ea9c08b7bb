"""What became of each test."""

import unittest


class Outcomes(unittest.TestResult):
    """The outcome of every test by its name; text, if it failed."""

    def __init__(self):
        super().__init__()
        self.by_test = {}

    def addSuccess(self, test):
        self._add(test, "passed")

    def addSkip(self, test, reason):
        self._add(test, f"skipped: {reason}")

    def addFailure(self, test, error):
        self._add(test, self._exc_info_to_string(error, test))

    addError = addFailure

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self._add(test, self._exc_info_to_string(error, subtest))

    def _add(self, test, outcome):
        # What failed in a subtest has not passed.
        self.by_test.setdefault(test.id(), outcome)
