#!/usr/bin/python3
"""scripts/plants is trusted because it refuses what fits nowhere, and applies what fits as it stands."""
import importlib.machinery
import importlib.util
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts", "plants")
loader = importlib.machinery.SourceFileLoader("plants", os.path.normpath(SCRIPT))
plants = importlib.util.module_from_spec(importlib.util.spec_from_loader("plants", loader))
loader.exec_module(plants)

HEAD = "It forgets something.\n\nfile: a.c\n"
SOURCE = "int f(void)\n{\n    lock();\n    g();\n    g();\n    unlock();\n}\n"


class Plants(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.put("a.c", SOURCE)

    def put(self, path, text):
        path = os.path.join(self.directory.name, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def get(self, path):
        with open(os.path.join(self.directory.name, path), encoding="utf-8") as file:
            return file.read()

    def apply(self, text):
        return plants.Plant("bug", text).apply(self.directory.name)

    def refuse(self, text, words):
        with self.assertRaises(plants.Fault) as caught:
            self.apply(text)
        self.assertIn(words, str(caught.exception))

    def test_what_fits_nowhere_is_refused(self):
        self.refuse(HEAD + "-    h();\n", "a.c has 0 places that begin with: h();")

    def test_what_fits_twice_is_refused(self):
        self.refuse(HEAD + "-    g();\n", "a.c has 2 places")

    def test_a_part_of_a_line_does_not_fit(self):
        self.refuse(HEAD + "-    lock(\n+    lick(\n", "0 places")
        self.refuse(HEAD + "-lock();\n", "0 places")

    def test_a_file_that_is_not_there_is_refused(self):
        self.refuse("It forgets.\n\nfile: b.c\n-    g();\n", "there is no b.c")

    def test_a_change_of_nothing_is_refused(self):
        self.refuse(HEAD + "     lock();\n", "changes nothing")
        self.refuse(HEAD + "+    more();\n", "changes nothing, or nothing that is there")

    def test_what_is_no_description_is_refused(self):
        self.refuse("file: a.c\n-    lock();\n", "a sentence and a change")
        self.refuse("A sentence alone.\n", "a sentence and a change")
        self.refuse(HEAD + "*    lock();\n", "neither blank, minus nor plus")
        self.refuse("It forgets.\ncaught: sim\n\nfile: a.c\n-    lock();\n", "caught: HARNESS SEED")
        self.refuse("It forgets.\ncaught: luck 4, 3 s\n\nfile: a.c\n-    lock();\n", "there is no harness luck")

    def test_a_change_is_applied_where_its_lines_stand(self):
        self.assertEqual(self.apply(HEAD + "     g();\n-    unlock();\n"), {"a.c": SOURCE.replace("    unlock();\n", "")})
        self.assertEqual(self.apply(HEAD + "-    lock();\n     g();\n+    lock();\n"),
                         {"a.c": "int f(void)\n{\n    g();\n    lock();\n    g();\n    unlock();\n}\n"})

    def test_a_bug_may_change_several_places_and_files(self):
        self.put("b.c", "x\n")
        texts = self.apply(HEAD + "-    lock();\n@@\n-    unlock();\n\nfile: b.c\n-x\n+y\n")
        self.assertEqual(texts, {"a.c": "int f(void)\n{\n    g();\n    g();\n}\n", "b.c": "y\n"})

    def test_what_caught_it_is_recorded_in_description_and_document(self):
        self.put("tests/plants/bug.plant", HEAD + "-    lock();\n")
        self.put("docs/reliability.md", "# Head\n\n" + "\n".join(plants.TABLE_HEAD) + "\n| old |\n\nEnd.\n")
        self.assertEqual(len(list(plants.check(self.directory.name))), 1)
        plant = plants.plants_read(self.directory.name)[0]
        for seed in (4, 5):
            plant.harness, plant.seed, plant.seconds = "sim", seed, 3
            plants.record(self.directory.name, plant)
            self.assertEqual(self.get("tests/plants/bug.plant"),
                             f"It forgets something.\ncaught: sim {seed}, 3 s\n\nfile: a.c\n-    lock();\n")
        row = "| bug | a.c | It forgets something. | sim 5 | 3 |"
        self.assertEqual(self.get("docs/reliability.md"),
                         "# Head\n\n" + "\n".join(plants.TABLE_HEAD) + f"\n{row}\n\nEnd.\n")
        self.assertEqual(list(plants.check(self.directory.name)), [])
        plant.harness = None
        plants.record(self.directory.name, plant)
        self.assertEqual(self.get("tests/plants/bug.plant"), HEAD + "-    lock();\n")

    def test_a_unit_test_may_have_caught_it(self):
        plant = plants.Plant("bug", "It forgets.\nunit: log_test\ncaught: unit log_test, 3 s\n\nfile: a.c\n-    lock();\n")
        self.assertEqual((plant.sentence, plant.unit, plant.harness, plant.seed), ("It forgets.", "log_test", "unit", "log_test"))
        self.assertIn("| unit log_test | 3 |", plant.row())

    def test_a_fuzz_target_may_have_caught_it(self):
        plant = plants.Plant("bug", "It forgets.\nunit: log_fuzz\ncaught: unit log_fuzz, 3 s\n\nfile: a.c\n-    lock();\n")
        self.assertEqual((plant.unit, plant.harness, plant.seed), ("log_fuzz", "unit", "log_fuzz"))

    def test_seeds_in_haste_are_every_second_sixteen(self):
        haste = next(harness for harness in plants.HARNESSES if harness[0] == "haste")
        self.assertEqual([plants.seed_of(haste, number) for number in (1, 16, 17)], [16, 31, 48])

    def test_a_check_names_each_bug_that_does_not_fit(self):
        self.put("tests/plants/one.plant", HEAD + "-    h();\n")
        self.put("tests/plants/two.plant", HEAD + "-    g();\n")
        self.put("docs/reliability.md", "\n".join(plants.table_of(plants.plants_read(self.directory.name))) + "\n")
        faults = list(plants.check(self.directory.name))
        self.assertEqual(len(faults), 2, faults)
        self.assertTrue(faults[0].startswith("one: ") and faults[1].startswith("two: "), faults)


if __name__ == "__main__":
    unittest.main()
