#!/usr/bin/python3
"""tidy is trusted because it finds what is planted here."""
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tidy

HEAD = "/* What it is for. */\n"


class Tidy(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)

    def plant(self, path, text):
        path = os.path.join(self.directory.name, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def faults(self):
        return list(tidy.faults_of(self.directory.name))

    def expect(self, *parts):
        faults = self.faults()
        self.assertEqual(len(faults), len(parts), faults)
        for fault, part in zip(faults, parts):
            self.assertIn(part, fault)

    def test_an_empty_tree_is_tidy(self):
        self.expect()

    def test_an_include_that_points_up_is_found(self):
        self.plant("base/a.h", '#include "crypto/b.h"\n')
        self.plant("crypto/b.h", '#include "base/a.h"\n#include "dedup/c.h"\n')
        self.plant("dedup/c.h", "")
        self.plant("engine/device/d.h", '  #  include "crypto/b.h"\n')
        self.plant("engine/group/e.h", '#include "engine/device/d.h"\n#include "engine/coffer.h"\n')
        self.plant("engine/coffer.h", '#include "base/a.h"\n')
        self.plant("server/f.h", '#include "engine/coffer.h"\n#include "tools/g.h"\n')
        self.plant("tools/g.h", '#include "engine/group/e.h"\n')
        self.expect("base/a.h:1: base must not include crypto/b.h", "crypto/b.h:2: crypto must not include dedup/c.h",
                    "engine/device/d.h:1: engine/device must not include crypto/b.h",
                    "engine/group/e.h:2: engine/group must not include engine/coffer.h",
                    "server/f.h:2: server must not include tools/g.h")

    def test_an_include_of_nothing_is_found(self):
        self.plant("base/a.h", '#include "b.h"\n')
        self.plant("base/b.h", "")
        self.expect("base/a.h:1: include of b.h: there is no such file")

    def test_banned_calls_are_found_and_words_in_comments_and_strings_are_not(self):
        self.plant("base/a.c", HEAD + "void f(void)\n{\n    strcpy(a, b);\n    x = rand ();\n}\n")
        self.plant("base/b.c", HEAD + '/* strcpy(a, b) */ const char *s = "gets(\\"x\\")"; // atoi(a)\n'
                   "int n = my_rand(), m = object.system(1), k = strtok_r(a), l = snprintf(a);\n")
        self.expect("base/a.c:4: strcpy() is banned", "base/a.c:5: rand() is banned")

    def test_a_long_file_is_found(self):
        self.plant("base/a.h", "\n" * 700)
        self.plant("base/b.h", "\n" * 701)
        self.expect("base/b.h: 701 lines")

    def test_a_wide_line_of_help_is_found(self):
        lines = "x" * 121 + "\\n", '\\"' * 120 + "\\n", "y" * 122
        self.plant("tools/a.c", HEAD + "    .text = " + "".join(f'"{line}"\n' for line in lines)[:-1] + ",\n")
        self.plant("base/b.c", HEAD + '    "' + "x" * 121 + '"\n')
        self.expect("tools/a.c:2: a line of help has 121 columns", "tools/a.c:4: a line of help has 122 columns")

    def test_a_long_function_is_found(self):
        def function(name, lines):
            return f"static int {name}(int a,\n        int b)\n" + "{\n" + "    a++;\n" * (lines - 2) + "}\n"
        self.plant("base/a.c", HEAD + function("short_enough", 80) + "struct s {\n    int a;\n};\n" + function("far", 81))
        self.expect("far() has 81 lines")

    def test_an_exception_that_is_needed_no_more_is_found(self):
        tidy.LONG_FUNCTIONS["base/a.c:gone"] = "was a table"
        self.addCleanup(tidy.LONG_FUNCTIONS.clear)
        self.expect("base/a.c:gone is needed no more")

    def test_leftovers_are_found_in_every_text_and_in_scripts(self):
        word = "TO" + "DO"
        self.plant("docs/a.md", f"text\n{word}: write\n")
        self.plant("scripts/run", f"#!/bin/sh\n# {word}\n")
        self.plant("tests/a.bin", word)
        self.plant("build/a.c", word)
        self.plant("docs/b.md", f"{word}S are many\n")
        self.expect("docs/a.md:2: work left undone", "scripts/run:2: work left undone")

    def test_a_path_of_one_machine_is_found(self):
        self.plant("docs/a.md", "see /ho" + "me/somebody/x\n")
        self.expect("docs/a.md:1: a path of one machine")

    def test_a_source_file_without_a_head_is_found(self):
        self.plant("base/a.c", "int a;\n")
        self.plant("tests/unit/a_test.c", "int a;\n")
        self.expect("base/a.c:1: no head comment")


if __name__ == "__main__":
    unittest.main()
