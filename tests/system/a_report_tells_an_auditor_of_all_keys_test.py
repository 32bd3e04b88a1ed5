#!/usr/bin/python3
"""`key report` tells of every key that there is, of backups, changes and findings, as text and as JSON, without any secret; it
overwrites nothing and is its owner's alone. `key status` tells ages, and they outlive a restart."""
import json
import os
import re
import socket
import threading
import time

from coffer import COFFER, Pool

Pool.learns = True


def set_periods(pool, period):
    conf = os.path.join(pool.directory, "coffer.conf")
    with open(conf) as file:
        text = file.read()
    with open(conf, "w") as file:
        file.write(re.sub(r"(?m)^#?(key-period|cryptoperiod|rekey-every) = .*$", rf"\1 = {period}", text))


def forged(pool):
    """Lines that anybody can add push no change out of the report; they are counted, and stand apart."""
    pool.stop()
    password = os.path.join(pool.base, "password")
    with open(os.open(password, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
        file.write("horse\n")
    pool.coffer("backup", os.path.join(pool.base, "whole.backup"), "--passphrase-file", password)
    pending = os.path.join(pool.directory, "audit-pending")
    with open(pending) as file:
        line = file.read()
    assert "pool.backup" in line, line
    with open(pending, "a") as file:
        file.write(line * 40)
    pool.start()
    audit = json.loads(pool.coffer("--json", "key", "report", "-"))["audit"]
    assert [entry["operation"] for entry in audit["changes"]].count("key.rekey") == 1, audit
    assert all(entry["proved"] for entry in audit["changes"]), audit["changes"]
    assert audit["unproven_entries"] == 41 and len(audit["unproven"]) == 20, audit
    assert {entry["operation"] for entry in audit["unproven"]} == {"pool.backup"}, audit["unproven"]
    text = pool.coffer("key", "report", "-")
    assert "Unproven changes         41," in text and "pool.backup" in text, text


def of_an_older_daemon(pool):
    """One that says of no entry whether it is proved: nothing is called unproven then."""
    path = os.path.join(pool.base, "older.sock")

    def relay():
        with listener.accept()[0] as client, socket.socket(socket.AF_UNIX) as daemon:
            daemon.connect(os.path.join(pool.directory, "control.sock"))
            asked, answers = client.makefile("rb"), daemon.makefile("rb")
            for line in asked:
                daemon.sendall(line)
                answer = json.loads(answers.readline())
                for entry in answer["result"].get("list", []) if isinstance(answer["result"], dict) else []:
                    for name in ("offline", "proved", "made"):
                        entry.pop(name, None)
                client.sendall(json.dumps(answer).encode() + b"\n")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        thread = threading.Thread(target=relay, daemon=True)
        thread.start()
        audit = json.loads(pool.run(COFFER, "-C", path, "--json", "key", "report", "-"))["audit"]
        thread.join(60)
    assert "key.rekey" in [entry["operation"] for entry in audit["changes"]] and audit["unproven_entries"] == 0, audit


def main():
    pool = Pool("1G", "--recovery", "print").start()
    started = time.time()
    pool.create_object("disk", 1 << 26)
    pool.coffer("key", "rekey", "--shallow")
    time.sleep(1.1)  # what comes now is younger than the pool by its seconds, too
    pool.coffer("key", "rekey", "--deep", "--watch")
    status = pool.json("key", "status")
    for made in (status["kek_made"], status["root_made"], status["key_since"], *(row["made"] for row in status["data_keys"])):
        assert started - 600 < made < time.time() + 600, (made, status)
    assert status["cryptoperiod"] == 730 * 86400 and status["rekey_every"] == 0, status
    add = ("key", "provider", "add", "kms", "--type", "kmip", "--servers", "127.0.0.1", "--tpm-cache")
    assert "no unit" in pool.refused(*add, "7") and "366d" in pool.refused(*add, "5m")
    assert "needs --servers" in pool.refused(*add, "off")  # which is fine; files are missing
    assert "Root key made" in pool.coffer("key", "status") and "; made " in pool.coffer("key", "status")
    pool.stop()
    set_periods(pool, "off")
    pool.start()
    again = pool.json("key", "status")
    assert [again[name] for name in ("kek_made", "root_made")] == [status[name] for name in ("kek_made", "root_made")], again
    assert again["data_keys"][0]["made"] == status["data_keys"][0]["made"], again

    text_file, json_file = (os.path.join(pool.base, name) for name in ("report.txt", "report.json"))
    said = pool.coffer("key", "report", text_file)
    assert text_file in said and "no secret" in said, said
    assert os.stat(text_file).st_mode & 0o777 == 0o600
    assert "nothing is overwritten" in pool.refused("key", "report", text_file)
    assert pool.json("key", "report", json_file)["findings"] >= 1  # it was never backed up
    with open(text_file) as file:
        text = file.read()
    with open(json_file) as file:
        report = json.load(file)
    keys = report["keys"]
    assert report["pool"] == pool.status()["uuid"] and report["audit"]["faults"] == 0, report
    assert keys["kek_number"] == 2 and [row["name"] for row in keys["providers"]] == ["native"], keys
    device = keys["devices"][0]
    assert device["wrapped_under"]["kek_number"] == 2 and device["wrapped_under"]["provider"] == "native", device
    assert sorted((key["kind"], key["slot"]) for key in device["keys"]) == [("data", 2), ("pool", 1), ("pool", 2), ("tags", 1),
                                                                             ("tags", 2)], device
    for kind in ("pool", "tags"):
        first, second = (key for key in device["keys"] if key["kind"] == kind)
        assert second["current"] and not first["current"] and first["made"] < second["made"] < time.time() + 600, device
    assert re.search(r"^ *tags +1 +old +.* segments, ", text, re.MULTILINE), text
    assert any(entry["operation"] == "key.rekey" for entry in report["audit"]["changes"]), report["audit"]
    findings = {row["id"]: row["severity"] for row in report["findings"]}
    assert findings["BACKUP_MISSING"] == "warning" and findings["KEY_CRYPTOPERIOD"] == "ok" and "SPACE" not in findings, findings
    assert any("SP 800-38F" in row["publication"] or "RFC" in row["publication"] for row in report["algorithms"]["algorithms"])
    for words in (keys["root_kcv"], keys["kek_kcv"], device["id"], *(key["kcv"] for key in device["keys"]), "BACKUP_MISSING",
                  "Findings", "never made", "FIPS", "key.rekey"):
        assert words in text, words
    with open(next(path for path in pool.files() if path.endswith(".key"))) as file:
        secret = json.load(file)["kdk"]
    assert secret not in text and secret not in json.dumps(report)
    assert "rekey-every              off\n" in text, text
    set_periods(pool, "36h")
    again = pool.coffer("key", "report", "-")
    assert again.splitlines()[0] == text.splitlines()[0]
    assert again.count(" 36 hours\n") == 3, again
    of_an_older_daemon(pool)
    forged(pool)
    pool.coffer("lock")
    assert "locked" in pool.refused("key", "report", os.path.join(pool.base, "none"), status=3)
    assert not os.path.exists(os.path.join(pool.base, "none"))
    pool.stop()


if __name__ == "__main__":
    main()
