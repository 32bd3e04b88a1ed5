#!/usr/bin/python3
"""The systemd unit: what lives on the disks of a pool starts behind it and stops before it."""
import configparser
import os
import shutil
import subprocess
import tempfile
import unittest

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../dist/coffer@.service.in")
GUESTS = ("libvirt-guests.service", "libvirtd.service", "virtqemud.service")
MOUNT = """[Unit]
After=remote-fs-pre.target network-online.target
Before=remote-fs.target
[Mount]
What=server:/pools
Where=/srv/pool
Type=nfs
"""


class Service(unittest.TestCase):
    def setUp(self):
        with open(SOURCE) as file:
            self.text = file.read()

    def test_guests_start_behind_the_pool_and_stop_before_it(self):
        unit = configparser.RawConfigParser(strict=False)
        unit.optionxform = str
        unit.read_string(self.text)
        before = unit["Unit"].get("Before", "").split()
        for guest in GUESTS:
            self.assertIn(guest, before)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
    def test_a_pool_on_a_network_file_system_closes_no_circle(self):
        with tempfile.TemporaryDirectory() as directory:
            with open(os.path.join(directory, "coffer@srv-pool.service"), "w") as file:
                file.write(self.text.replace("@CMAKE_INSTALL_FULL_SBINDIR@/cofferd", "/bin/true"))
            with open(os.path.join(directory, "srv-pool.mount"), "w") as file:
                file.write(MOUNT)
            environment = dict(os.environ, SYSTEMD_UNIT_PATH=directory + ":")
            said = subprocess.run(["systemd-analyze", "verify", "--man=no", "coffer@srv-pool.service"], cwd=directory,
                                  capture_output=True, text=True, env=environment, timeout=60)
        self.assertNotIn("cycle", said.stderr)


if __name__ == "__main__":
    unittest.main()
