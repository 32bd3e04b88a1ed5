#!/usr/bin/python3
"""With tpm-cache the TPM opens the pool while no key server can be reached, for as long as the conf says; a key that came to its
end on the servers, a cache that is too old, of another TPM or damaged opens nothing."""
import json
import os
import re
import socket
import time
import unittest

from coffer import COFFER, need
from kmip_servers import KmipPool
from tpm import Tpm

KmipPool.learns = True

need("swtpm")
DAY = 86400


def read(path):
    with open(path) as file:
        return file.read()


class CachedPool(KmipPool):
    def __init__(self, life="7d"):
        super().__init__()
        self.tpm = Tpm()
        self.kms = self.server().start()
        self.create(self.kms)
        text = read(self.conf)
        text = re.sub("^#tpm-cache = .*$", f"tpm-cache = {life}", text, flags=re.MULTILINE)
        self.conf_write(re.sub("^#tcti = .*$", f"tcti = {self.tpm.tcti}", text, flags=re.MULTILINE))

    def conf_write(self, text):
        with open(self.conf, "w") as file:
            file.write(text)

    @property
    def cache(self):
        return os.path.join(self.directory, "kmip.cache")

    def cached(self):
        return os.path.exists(self.cache)

    def fill_and_stop(self):
        """With a cache, and without a server."""
        self.start()
        self.fill()
        self.until(self.cached)
        self.stop()
        self.kms.stop()

    def aged(self, seconds):
        """A cache of a key that was fetched so long ago."""
        self.kms.start()
        self.run(os.environ["CACHE_AGED"], self.directory, str(int(time.time()) - seconds))
        self.kms.stop()


class CachedKeyOpens(unittest.TestCase):
    def test_the_server_is_away_at_the_start_and_comes_back(self):
        pool = CachedPool()
        pool.fill_and_stop()
        self.assertEqual(os.stat(pool.cache).st_mode & 0o7777, 0o600)
        before = json.loads(read(pool.cache))
        pool.start()
        self.assertFalse(pool.status()["locked"])
        pool.serves()
        self.assertIn("the key is the one that is cached in the TPM, which opens the pool until", pool.last_messages())
        health = pool.health()
        self.assertEqual(health["KEY_FROM_CACHE"]["severity"], "warning")
        self.assertIn("it opens the pool until", health["KEY_FROM_CACHE"]["evidence"])
        self.assertEqual(health["KEY_STATE"]["severity"], "note")
        cache = pool.json("key", "status")["cache"]
        self.assertTrue(cache["in_use"] and cache["present"])
        self.assertEqual(cache["until"] - cache["fetched"], 7 * DAY)
        self.assertIn("no key server could be reached", pool.coffer("key", "status"))
        pool.until(lambda: "only the cache in the TPM" in pool.health()["UNLOCK_READY"]["evidence"])
        self.assertEqual(pool.health()["UNLOCK_READY"]["severity"], "warning")
        self.assertIn("cannot connect", pool.refused("key", "rekey", "--shallow"))  # no proof, and no new key
        pool.kms.start()
        pool.look()
        pool.until(lambda: pool.health()["KEY_FROM_CACHE"]["severity"] == "ok")
        self.assertEqual(pool.health()["KEY_STATE"]["severity"], "ok")
        self.assertFalse(pool.json("key", "status")["cache"]["in_use"])
        self.assertIn("gives the key that was cached in the TPM", pool.last_messages())
        pool.until(lambda: json.loads(read(pool.cache))["fetched"] > before["fetched"])  # the TPM seals after that was told
        after = json.loads(read(pool.cache))
        self.assertEqual((after["kcv"], after["kek_number"]), (before["kcv"], before["kek_number"]))
        pool.coffer("key", "rekey", "--shallow")
        pool.until(lambda: int(json.loads(read(pool.cache))["kek_number"], 16) == 2)  # the old one is there no more
        pool.stop()
        pool.kms.stop()
        pool.check()  # by the cache, too
        pool.start()
        pool.serves()
        pool.stop()
        os.remove(pool.cache)  # without it, it waits for its server
        pool.start_locked(pool.kms.address, "no key is cached in the TPM")
        pool.kms.start()
        pool.until(lambda: not pool.status()["locked"])
        pool.serves()
        pool.until(pool.cached)
        pool.conf_write(re.sub("^tpm-cache", "#tpm-cache", re.sub("^tcti.*$", "", read(pool.conf), flags=re.MULTILINE),
                               flags=re.MULTILINE))
        pool.look()
        pool.until(lambda: not pool.cached())
        self.assertIsNone(pool.json("key", "status")["cache"])
        pool.stop()

    def test_a_key_that_came_to_its_end_is_cached_no_more(self):
        pool = CachedPool()
        pool.start()
        pool.fill()
        pool.until(pool.cached)
        pool.kms.revoke(pool.kms.ids()[0])
        pool.look()
        pool.until(lambda: not pool.cached())
        self.assertIn("calls it Deactivated", pool.last_messages())
        pool.look()  # and is not cached anew
        pool.until(lambda: "Deactivated" in pool.health()["UNLOCK_READY"]["evidence"])
        self.assertFalse(pool.cached())
        self.assertIn("or it was destroyed since", pool.json("key", "status")["cache"]["why_not"])
        pool.coffer("key", "rekey", "--shallow")
        pool.until(pool.cached)
        pool.stop()
        pool.kms.stop()
        pool.start()  # by the new one
        pool.serves()
        pool.stop()
        pool.kms.start()
        pool.kms.destroy_all()
        pool.start_locked("there is no key")
        self.assertFalse(pool.cached())
        self.assertIn("is destroyed, since its servers", pool.last_messages())
        pool.kms.stop()
        self.assertIn("no key is cached in the TPM", pool.refused("unlock"))
        pool.stop()

    def test_what_is_too_old_of_another_tpm_or_damaged_opens_nothing(self):
        pool = CachedPool("2d")
        pool.fill_and_stop()
        whole = read(pool.cache)
        with open(pool.cache, "w") as file:
            file.write(whole[:len(whole) // 2])
        pool.start_locked("cannot connect", "kmip.cache is damaged")
        younger = json.loads(whole)
        younger["fetched"] = f"{int(younger['fetched'], 16) + 60:016x}"
        with open(pool.cache, "w") as file:
            file.write(whole.replace(json.loads(whole)["fetched"], younger["fetched"]))
        self.assertIn("the checksum does not fit", pool.refused("unlock"))
        pool.tpm.stop()
        with open(pool.cache, "w") as file:
            file.write(whole)
        self.assertIn("the key that is cached in the TPM does not open it", pool.refused("unlock"))
        other = Tpm()
        text = read(pool.conf)
        pool.conf_write(text.replace(pool.tpm.tcti, other.tcti))
        self.assertIn("is not the one that sealed", pool.refused("unlock"))
        self.assertEqual(read(pool.cache), whole)
        pool.conf_write(text)
        pool.tpm.start()
        pool.coffer("unlock")
        pool.serves()
        pool.stop()
        pool.aged(2 * DAY)
        pool.start_locked("the key in", "was fetched 2 days ago", "tpm-cache allows 2 days")
        self.assertTrue(pool.cached())  # the clock may be wrong, and right at the next attempt
        text = read(pool.conf)
        pool.conf_write(text.replace("tpm-cache = 2d", "tpm-cache = 3d"))
        pool.coffer("unlock")
        pool.conf_write(text)
        pool.stop()
        pool.aged(-3600)
        pool.start_locked("the clock stands before the time")
        self.assertTrue(pool.cached())
        pool.stop()
        pool.aged(2 * DAY - 3600)
        pool.start()
        pool.serves()
        pool.stop()

    def test_a_tpm_that_fails_is_told_and_harms_nothing(self):
        pool = CachedPool()
        pool.tpm.stop()
        pool.start()
        pool.fill()
        pool.until(lambda: pool.health()["KEY_FROM_CACHE"]["severity"] == "warning")
        self.assertIn("cannot be cached in the TPM", pool.health()["KEY_FROM_CACHE"]["evidence"])
        self.assertIn("cannot be cached in the TPM", pool.last_messages())
        pool.serves()
        pool.stop()

    def test_an_erase_destroys_the_cache_and_names_it(self):
        pool = CachedPool()
        pool.fill_and_stop()
        certificate = os.path.join(pool.base, "certificate.json")
        pool.run(COFFER, "erase", pool.directory, "--accept-data-loss", "--certificate", certificate)
        told = json.loads(read(certificate))
        self.assertFalse(pool.cached())
        self.assertTrue(any(key.get("cached") == "tpm" and key["destroyed"] for key in told["keys"]), told)
        self.assertTrue(any("kmip.cache" in line for line in told["could_open_what_is_left"]), told)

    def test_a_swap_to_another_provider_destroys_the_cache(self):
        pool = CachedPool()
        pool.start()
        pool.fill()
        pool.until(pool.cached)
        pool.coffer("key", "provider", "add", "native", "--type", "native", "--seal", "file")
        pool.coffer("key", "provider", "use", "native")
        pool.until(lambda: not pool.cached())
        with open(pool.cache, "w") as file:  # what has this name now is no cache
            file.write("somebody's own")
        pool.look()
        pool.until(lambda: f"{pool.cache} is left alone: it is no cached key of this pool" in pool.last_messages())
        pool.serves()
        pool.stop()
        self.assertEqual(read(pool.cache), "somebody's own")
        text = read(pool.conf)
        pool.conf_write(text.replace("path = native.key", "path = kmip.cache"))
        self.assertIn("is the file in which the key of provider kmip is cached", pool.refused("key", "provider", "list"))

    def test_a_provider_is_added_with_a_cache_and_removed_with_it(self):
        pool = CachedPool()
        files = pool.certificates
        words = ("key", "provider", "add", "second", "--type", "kmip", "--servers", pool.kms.address, "--ca", files.path("ca.pem"),
                 "--certificate", files.path("client.pem"), "--key", files.path("client.key"))
        self.assertIn("from 1h to 366d", pool.refused(*words, "--tpm-cache", "5m"))
        self.assertIn("--tpm-cache", pool.refused(*words, "--tcti", pool.tpm.tcti))
        pool.coffer(*words, "--tpm-cache", "2d", "--tcti", pool.tpm.tcti)
        self.assertIn(f"tpm-cache = {2 * DAY}s", read(pool.conf))
        left = os.path.join(pool.directory, "second.cache")
        uuid = re.search("^uuid = (.*)$", read(pool.conf), flags=re.MULTILINE).group(1)
        with open(left, "w") as file:
            file.write(f'{{\n  "version": 1,\n  "pool": "{uuid}",\n  "provi')  # cut
        pool.coffer("key", "provider", "remove", "second")
        self.assertFalse(os.path.exists(left))
        self.assertNotIn("second", read(pool.conf))
        pool.coffer(*words)
        with open(left, "w") as file:
            file.write("somebody's own")
        pool.coffer("key", "provider", "remove", "second")
        self.assertEqual(read(left), "somebody's own")
        self.assertNotIn("second", read(pool.conf))


if __name__ == "__main__":
    unittest.main()
