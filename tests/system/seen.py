"""What `ps` shows of every process that a test starts, and of those that they start: arguments and environment are looked at
while they run. At the end of the test none of them may have had a key or a secret that the test told here.
"""
import atexit
import base64
import os
import sys
import threading

LOOKS = 0.004, 0.1  # seconds to the second look after a start of a process, and at most between two
PART = 16  # bytes of a key that tell it
SECRET_MIN = 8  # characters: a shorter one may stand in a path by chance

texts, secrets, keys = set(), {}, {}
started = threading.Event()
expects_keys = excused = False


def children(pid):
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                yield from file.read().split()
    except OSError:
        pass  # it has just ended


def look(pid):
    for name in ("cmdline", "environ"):
        try:
            with open(f"/proc/{pid}/{name}", "rb") as file:
                texts.add(file.read())
        except OSError:
            pass
    look_below(pid)


def look_below(pid):
    for child in children(pid):
        look(child)


def look_on():
    """Often behind each start, since a command may end soon, then more and more seldom."""
    pause = LOOKS[0]
    while True:
        pause = LOOKS[0] if started.wait(pause) else min(2 * pause, LOOKS[1])
        started.clear()
        look_below(os.getpid())


def on_event(event, words):
    """Python tells of each start; the process is there a moment later, and looked at once more."""
    if event == "subprocess.Popen":
        started.set()


def spellings(needle):
    """As it is, and as text might have it; base64 has three phases."""
    yield needle
    yield needle.hex().encode()
    yield needle.hex().upper().encode()
    for phase in range(3):
        whole = needle[phase:phase + (len(needle) - phase) // 3 * 3]
        yield base64.b64encode(whole)


def parts(values):
    return {(name, key[at:at + PART]) for name, some in values.items() for key in some for at in range(0, len(key), PART)}


def learn_secret(name, text):
    """A passphrase, a PIN or the like, which no process may show."""
    if len(text) >= SECRET_MIN:
        secrets.setdefault(text, name)


def learn_keys(more):
    for name, values in more.items():
        keys.setdefault(name, set()).update(values)


def shown(data):
    """The names of what is in it."""
    found = {name for text, name in secrets.items() if text.encode() in data}
    return found | {name for name, part in parts(keys) for spelling in spellings(part) if spelling in data}


def check():
    found = shown(b"\n".join(texts))
    why = f"arguments or environment of a process showed {sorted(found)}" if found else ""
    if not excused and ((expects_keys and not keys) or ((expects_keys or secrets) and not texts)):
        why = "no keys were learned, or no process looked at"
    if why:
        print(why, file=sys.stderr, flush=True)
        os._exit(1)  # nothing else makes a failure of what happens here


atexit.register(check)
sys.addaudithook(on_event)
threading.Thread(target=look_on, daemon=True).start()
