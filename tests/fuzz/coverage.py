#!/usr/bin/python3
"""Line coverage of what each fuzz target parses (tests/fuzz/parsers), reached from the corpus in the repository.

Usage: coverage.py [--missed] BUILD [TARGET...]

Prints a row for each target: lines of its parsers, how many of them ran, percent; with --missed also those that did not.
The exit status is 1 where a target reaches less than LEAST percent.
"""
import collections
import json
import os
import subprocess
import sys
import tempfile

LEAST = 90
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def parsers_read():
    """By target: a list of source file, functions to take (None: all), functions to leave out."""
    parsers = collections.defaultdict(list)
    with open(os.path.join(HERE, "parsers"), encoding="ascii") as file:
        for line in file:
            words = line.split("#")[0].split()
            if not words:
                continue
            functions = words[2:]
            left_out = {name[1:] for name in functions if name.startswith("-")}
            taken = {name for name in functions if not name.startswith("-")}
            parsers[words[0]].append((words[1], taken or None, left_out))
    return parsers


def profile_of(build, target, folder):
    """Runs a target on its corpus, unchanged; returns the merged profile."""
    raw, merged = os.path.join(folder, "raw"), os.path.join(folder, target)
    subprocess.run([os.path.join(build, "tests/fuzz", target), os.path.join(HERE, "corpus", target), "0"], check=True,
                   stdout=subprocess.DEVNULL, env=dict(os.environ, LLVM_PROFILE_FILE=raw))
    subprocess.run(["llvm-profdata", "merge", "--sparse", "--output", merged, raw], check=True)
    return merged


def export(build, target, profile, form):
    return subprocess.run(["llvm-cov", "export", f"--format={form}", f"--instr-profile={profile}",
                           os.path.join(build, "tests/fuzz", target)], check=True, capture_output=True, text=True).stdout


def counts_of(build, target, profile):
    """By source file below the root: how often each line ran."""
    counts, lines = {}, None
    for line in export(build, target, profile, "lcov").splitlines():
        if line.startswith("SF:"):
            lines = counts.setdefault(relative(build, line[3:]), {})
        elif line.startswith("DA:"):
            number, count = line[3:].split(",")[:2]
            lines[int(number)] = int(count)
    return counts


def functions_of(build, target, profile):
    """By source file below the root: name, first and last line of each function."""
    functions = collections.defaultdict(dict)
    for function in json.loads(export(build, target, profile, "text"))["data"][0]["functions"]:
        first = function["regions"][0]
        functions[relative(build, function["filenames"][first[5]])][function["name"].split(":")[-1]] = (first[0], first[2])
    return functions


def relative(build, path):
    """What is compiled has names that begin at the root (-ffile-prefix-map), with the way from the build in them; or, as it was
    called by its whole name, with that of the build before it."""
    below = os.path.relpath(os.path.join(ROOT, path), ROOT)
    prefix = os.path.relpath(build, ROOT) + os.sep
    return below[len(prefix):] if below.startswith(prefix) else below


def wanted_lines(rule, counts, functions):
    source, taken, left_out = rule
    known = functions[source]
    for name in (taken or set()) | left_out:
        if name not in known:
            sys.exit(f"tests/fuzz/parsers: {source} has no {name}()")
    for name, (first, last) in known.items():
        if name in left_out or (taken is not None and name not in taken):
            continue
        for line in range(first, last + 1):
            if line in counts[source]:
                yield source, line


def ranges(numbers):
    """1, 2, 3, 7 as "1-3 7"."""
    said, numbers = [], sorted(numbers)
    for i, number in enumerate(numbers):
        if i > 0 and number == numbers[i - 1] + 1:
            said[-1][1] = number
        else:
            said.append([number, number])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in said)


def measure(build, target, rules, missed, folder):
    profile = profile_of(build, target, folder)
    counts, functions = counts_of(build, target, profile), functions_of(build, target, profile)
    lines = {where for rule in rules for where in wanted_lines(rule, counts, functions)}
    ran = {(source, line) for source, line in lines if counts[source][line] > 0}
    percent = 100 * len(ran) / len(lines)
    files = len(os.listdir(os.path.join(HERE, "corpus", target)))
    print(f"{target:20} {files:5} {len(lines):6} {len(ran):6} {percent:6.1f}")
    for source in sorted({source for source, _ in lines - ran}) if missed else []:
        print(f"    {source}: {ranges(line for of, line in lines - ran if of == source)}")
    return percent >= LEAST


def main():
    arguments = sys.argv[1:]
    missed = "--missed" in arguments
    arguments = [word for word in arguments if word != "--missed"]
    build, parsers = arguments[0], parsers_read()
    print(f"{'target':20} {'files':>5} {'lines':>6} {'ran':>6} {'%':>6}")
    with tempfile.TemporaryDirectory() as folder:
        enough = [measure(build, target, parsers[target], missed, folder) for target in arguments[1:] or sorted(parsers)]
    sys.exit(0 if all(enough) else 1)


if __name__ == "__main__":
    main()
