"""The page of devices: which rows stay, which go, and that what was only compiled or converted is never in the first table.

Usage: devices_test.py LAB_FOLDER
"""
import json
import os
import sys
import tempfile
import unittest

sys.path.insert(0, sys.argv[1])
import devices  # noqa: E402


def row(identity, table="executed", result="passed", job=None, **more):
    return {"id": identity, "job": job or identity, "table": table, "name": "name of " + identity, "driver": "d",
            "ran": "r", "result": result, "date": "2026-01-01", "revision": "abc", **more}


class Page(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        for name, value in (("ROWS", "docs/devices.json"), ("PAGE", "docs/devices.md"), ("RESULTS", "results")):
            self.addCleanup(setattr, devices, name, getattr(devices, name))
            setattr(devices, name, os.path.join(self.folder, value))

    def record(self, rows, jobs, **more):
        devices.record(rows, jobs, os.path.join(self.folder, "matrix"), **more)

    def ids(self):
        return [entry["id"] for entry in devices.load()]

    def test_a_jobs_rows_replace_all_that_it_recorded_before(self):
        self.record([row("simulated", result="failed: x"), row("swiftshader")], ["simulated", "swiftshader"])
        self.record([row("simulated-a", job="simulated"), row("simulated-b", job="simulated")],
                    ["simulated", "swiftshader"])
        self.assertEqual(self.ids(), ["simulated-a", "simulated-b", "swiftshader"])

    def test_rows_of_jobs_that_are_no_more_are_forgotten(self):
        self.record([row("lavapipe"), row("old")], ["lavapipe", "old"])
        self.record([row("swiftshader")], ["lavapipe", "swiftshader"])
        self.assertEqual(self.ids(), ["lavapipe", "swiftshader"])

    def test_ci_leaves_the_page_alone(self):
        self.record([row("lavapipe")], ["lavapipe"])
        self.record([row("lavapipe", result="failed: here")], ["lavapipe"], docs=False)
        self.assertEqual(devices.load()[0]["result"], "passed")
        with open(os.path.join(self.folder, "matrix", "matrix.json"), encoding="utf-8") as file:
            self.assertEqual(json.load(file)["rows"][0]["result"], "failed: here")

    def test_every_row_is_in_the_table_of_what_was_done_to_it(self):
        self.record([row("lavapipe"), row("radv-navi31", "compiled", "compiled"), row("msl", "converted", "a | b")],
                    ["lavapipe", "radv-navi31", "msl"])
        with open(devices.PAGE, encoding="utf-8") as file:
            text = file.read()
        self.assertEqual(text, devices.page(devices.load()))
        parts = text.split("\n## ")
        for title, identity in (("Executed", "lavapipe"), ("Compiled only", "radv-navi31"), ("Converted", "msl")):
            for part in parts:
                self.assertEqual("name of " + identity in part, part.startswith(title), (title, part[:30]))
        self.assertIn("a \\| b", text)

    def test_real_devices_come_first_and_say_what_failed(self):
        os.makedirs(devices.RESULTS)
        result = {"date": "2026-02-03T00:00:00Z",
                  "tests": [{"failed": 0, "status": 0}, {"failed": 2, "status": 1}],
                  "info": {"chosen": 0, "devices": [{"name": "A GPU", "driver": {"name": "D", "info": "1"},
                                                     "limits": {"subgroup_size": 32}}]}}
        for name, value in (("a.json", result), ("bench-only.json", {"cases": []})):
            with open(os.path.join(devices.RESULTS, name), "w", encoding="utf-8") as file:
                json.dump(value, file)
        found, = devices.real_devices()
        self.assertEqual((found["name"], found["result"], found["date"]), ("A GPU", "failed: 1 programs", "2026-02-03"))
        self.assertIn("without validation layers", found["ran"])


unittest.main(argv=sys.argv[:1])
