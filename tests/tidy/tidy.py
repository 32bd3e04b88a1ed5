#!/usr/bin/python3
"""Checks the house rules that a compiler does not: who may include whom, calls that are banned, how long files and
functions get, how wide help is, and words of work left undone. Prints one line for each fault; the exit status tells.

Usage: tidy.py ROOT
"""
import os
import re
import sys

FILE_LINES_MAX = 700
FUNCTION_LINES_MAX = 80
HELP_COLUMNS_MAX = 120

# Functions that may be longer, each with its reason. This list only shrinks.
LONG_FUNCTIONS = {}

# Modules, innermost first, and what each may include beside itself. engine/coffer.h is the engine's public face: it
# stands above the modules that it hides.
BELOW_POOL = {"base", "crypto", "dedup", "engine/device", "engine/group"}
ENGINE = BELOW_POOL | {"engine/pool", "engine"}
MAY_INCLUDE = {
    "base": set(),
    "crypto": {"base"},
    "dedup": {"base"},
    "stream": {"base", "crypto"},
    "engine/device": {"base"},
    "engine/group": {"base", "crypto", "dedup", "engine/device"},
    "engine/pool": BELOW_POOL | {"engine"},
    "engine": {"base"},
    "server": ENGINE,
    "tools": ENGINE | {"stream"},
    "bench": ENGINE,
}

BANNED_CALLS = ("strcpy", "strcat", "sprintf", "vsprintf", "gets", "strtok", "rand", "srand", "atoi", "atol", "atoll",
                "atof", "system", "tmpnam", "mktemp", "alloca")

# Put together, so that this file does not find itself.
LEFTOVERS = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]) + r")\b")
MACHINE_PATHS = re.compile("|".join(["/wo" + "rk/", "/ho" + "me/"]))

SOURCE_ENDS = (".c", ".h")
TEXT_ENDS = SOURCE_ENDS + (".py", ".sh", ".md", ".cmake", ".txt", ".json")
SKIPPED_FOLDERS = {"build", "__pycache__"}

TOKEN = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)
BANNED = re.compile(r"(?<![\w.>])(" + "|".join(BANNED_CALLS) + r")[ \t]*\(")
HELP_LINE = re.compile(r'^[ \t]*(?:\.\w+ = )?"((?:\\.|[^"\\\n])*?)(?:\\n)?",?$', re.MULTILINE)
FUNCTION_NAME = re.compile(r"(\w+)\s*\(")


def is_script(path):
    """Scripts have no ending: their first line tells."""
    if "." in os.path.basename(path):
        return False
    with open(path, "rb") as file:
        return file.read(2) == b"#!"


def files_of(root):
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in SKIPPED_FOLDERS and not f.startswith("."))
        for name in sorted(names):
            path = os.path.join(folder, name)
            if not os.path.islink(path) and (name.endswith(TEXT_ENDS) or is_script(path)):
                yield os.path.relpath(path, root)


def module_of(path):
    for module in sorted(MAY_INCLUDE, key=len, reverse=True):
        if path.startswith(module + "/"):
            return module
    return None


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def without_comments_and_strings(text):
    """The same lines, with blanks where comments and strings were."""
    return TOKEN.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def includes(root, path, text):
    module = module_of(path)
    for match in INCLUDE.finditer(text):
        target, where = match.group(1), f"{path}:{line_of(text, match.start())}"
        if not os.path.exists(os.path.join(root, target)):
            yield f"{where}: include of {target}: there is no such file below the root"
            continue
        other = module_of(target)
        if module is not None and other != module and other not in MAY_INCLUDE[module]:
            yield f"{where}: {module} must not include {target}"


def banned_calls(path, code):
    for match in BANNED.finditer(code):
        yield f"{path}:{line_of(code, match.start())}: {match.group(1)}() is banned"


def functions_of(code):
    """Name, first and last line of each function: clang-format puts its braces into the first column."""
    head, start, lines = "", None, code.split("\n")
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            name = FUNCTION_NAME.search(head)
            yield (name.group(1) if name else "?"), start, number
            head, start = "", None
        elif start is None:
            head = line if line[:1].isalpha() else head


def long_functions(path, code):
    for name, first, last in functions_of(code):
        lines = last - first + 1
        if lines > FUNCTION_LINES_MAX and f"{path}:{name}" not in LONG_FUNCTIONS:
            yield f"{path}:{first}: {name}() has {lines} lines, {FUNCTION_LINES_MAX} are allowed"


def stale_exceptions(seen):
    for exception in sorted(set(LONG_FUNCTIONS) - seen):
        yield f"tests/tidy/tidy.py: the exception {exception} is needed no more"


def head_comment(path, text):
    if path.endswith(".c") and module_of(path) is not None and not text.startswith("/*"):
        yield f"{path}:1: no head comment that says what the file is for"


def text_rules(path, text):
    lines = text.count("\n")
    if path.endswith(SOURCE_ENDS + (".py",)) and lines > FILE_LINES_MAX:
        yield f"{path}: {lines} lines, {FILE_LINES_MAX} are allowed"
    for number, line in enumerate(text.split("\n"), 1):
        if LEFTOVERS.search(line):
            yield f"{path}:{number}: work left undone: {line.strip()}"
        if MACHINE_PATHS.search(line):
            yield f"{path}:{number}: a path of one machine: {line.strip()}"


def wide_help(path, text):
    """What a command tells of itself stands in its file line by line as it is printed."""
    for found in HELP_LINE.finditer(text) if path.startswith("tools/") else ():
        columns = len(re.sub(r"\\(.)", r"\1", found[1]))
        if columns > HELP_COLUMNS_MAX:
            yield f"{path}:{line_of(text, found.start())}: a line of help has {columns} columns, {HELP_COLUMNS_MAX} are allowed"


def faults_of(root):
    still_long = set()
    for path in files_of(root):
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            text = file.read()
        yield from text_rules(path, text)
        if not path.endswith(SOURCE_ENDS):
            continue
        code = without_comments_and_strings(text)
        yield from includes(root, path, text)
        yield from banned_calls(path, code)
        yield from head_comment(path, text)
        yield from wide_help(path, text)
        yield from long_functions(path, code)
        still_long |= {f"{path}:{name}" for name, first, last in functions_of(code)
                       if last - first + 1 > FUNCTION_LINES_MAX}
    yield from stale_exceptions(still_long)


def main():
    faults = list(faults_of(sys.argv[1]))
    for fault in faults:
        print(fault)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
