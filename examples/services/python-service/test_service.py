import unittest

import service


class AnswerTest(unittest.TestCase):
    def test_length(self):
        self.assertEqual(service.answer("/abc"), b"4\n")
