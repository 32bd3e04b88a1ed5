#!/usr/bin/python3
"""scripts/soak is trusted because it stops at what fails here: its programs are replaced by ones that do as they are told."""
import os
import subprocess
import sys
import tempfile
import unittest

SOAK = sys.argv.pop(1)
ROOT = os.path.dirname(os.path.dirname(SOAK))
SAYS = {
    "tests/sim/coffer-sim": "3 seeds, 0 failed; 30 lives, crashes: 3 working; 2 checks, 100 requests, 70 operations of devices",
    "tests/crash/crash": "",
    "tests/stress/threads_stress": "seed 1: 20 connections, 640 requests of 9 MiB, 4 flushes",
    "tools/coffer": "",
    "server/cofferd": "",
}


class Soak(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        for path, says in SAYS.items():
            self.plant(path, f"echo '{says}'")
        for target in os.listdir(os.path.join(ROOT, "tests/fuzz/corpus")):
            self.plant("tests/fuzz/" + target, "echo '3 files'")

    def plant(self, path, script):
        path = os.path.join(self.directory.name, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii") as file:
            file.write("#!/bin/sh\n" + script + "\n")
        os.chmod(path, 0o755)

    def soak(self, *options):
        result = subprocess.run([SOAK, "--short", "--seed", "40", "--build", self.directory.name, *options],
                                capture_output=True, text=True, check=False)
        return result.returncode, result.stdout + result.stderr

    def test_the_first_failure_ends_it_and_says_what_to_type(self):
        self.plant("tests/stress/threads_stress", "echo 'it was lost'; exit 1")
        status, said = self.soak()
        self.assertEqual(status, 1)
        self.assertIn("it was lost", said)
        self.assertIn(f"again:\n  {self.directory.name}/tests/stress/threads_stress --seed 42 --steps", said)
        self.assertIn("stopped after 0:00:0", said)
        self.assertNotIn("] daemon", said)

    def test_a_program_that_is_not_there_is_a_failure(self):
        os.remove(os.path.join(self.directory.name, "tests/sim/coffer-sim"))
        status, said = self.soak()
        self.assertEqual(status, 1)
        self.assertIn("simulator failed", said)

    def test_what_was_done_is_counted_and_seeds_do_not_come_twice(self):
        self.plant("tests/stress/threads_stress", "echo 'seed 42: 640 requests of 9 MiB' && exec rm -f \"$0\"")
        status, said = self.soak("--rotations", "2")
        self.assertEqual(status, 1)  # of the daemon, which says nothing and is no daemon
        self.assertIn("--seeds 40..40", said)
        self.assertIn("crash --seed 41 --rounds", said)
        self.assertIn("3 seeds, 70 operations of devices, 2 crashes, 640 requests by threads, 0 kills", said)
        self.assertIn("first seed 40", said)

    def test_no_time_is_no_stage(self):
        status, said = self.soak("--hours", "0")
        self.assertEqual(status, 0)
        self.assertIn("nothing was found after 0:00:0", said)
        self.assertIn(": 0 stages", said)

    def test_what_is_no_number_is_refused(self):
        for option in ("--hours", "--seed", "--rotations"):
            status, said = self.soak(option, "many")
            self.assertEqual(status, 2)
            self.assertIn(option + " needs a number", said)


if __name__ == "__main__":
    unittest.main()
