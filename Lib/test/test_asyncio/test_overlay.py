"""Tests for what the interpreter says of the series it was built with."""

import asyncio
import platform
import re
import subprocess
import sys
import unittest


class OverlayIdentityTests(unittest.TestCase):

    def test_overlay_names_its_version_and_topics(self):
        overlay = asyncio.__overlay__
        self.assertRegex(overlay.version, r'\A\d+\.\d+\.\d+\Z')
        self.assertEqual(overlay.topics[0], 'overlay-identity')
        self.assertEqual(len(set(overlay.topics)), len(overlay.topics))

    def test_repr_can_be_pasted_in_a_bug_report(self):
        version, topics = asyncio.__overlay__
        self.assertEqual(repr(asyncio.__overlay__),
                         f'Overlay(version={version!r}, topics={topics!r})')

    def test_overlay_cannot_be_changed(self):
        with self.assertRaises(AttributeError):
            asyncio.__overlay__.version = '9.9.9'

    def test_overlay_is_not_exported_by_a_star_import(self):
        self.assertNotIn('__overlay__', asyncio.__all__)

    def test_full_version_names_the_series(self):
        tag = f'asyncio-overlay-{asyncio.__overlay__.version}'
        self.assertIn(f'({tag}', sys.version)
        shown = subprocess.run([sys.executable, '-VV'], check=True,
                               capture_output=True, text=True).stdout
        self.assertIn(f'({tag}', shown)

    def test_platform_parses_the_full_version(self):
        self.assertEqual(platform.python_version(),
                         '%d.%d.%d' % sys.version_info[:3])
        build, date = platform.python_build()
        self.assertRegex(build, r'\Aasyncio-overlay-[\w.+-]+\Z')
        self.assertTrue(re.match(r'\w{3} ', date), date)


if __name__ == '__main__':
    unittest.main()
