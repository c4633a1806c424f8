"""What lab/compile.py makes of a run: aborts, refusals, hangs, spills, drift. danaus-compile is a script here.

usage: compile_test.py LAB_FOLDER
"""

import contextlib
import io
import json
import os
import sys
import tempfile
import unittest

LAB = sys.argv[1]
sys.path.insert(0, LAB)
import budget  # noqa: E402
import compile as laboratory  # noqa: E402

# Prints what danaus-compile prints for five kernels of NVK; PLAN says what goes wrong: {number: [what, ...]}.
FAKE = r'''
import json, os, sys, time
plan = {int(n): what for n, what in json.loads(os.environ.get("PLAN", "{}")).items()}
say = lambda line: print(json.dumps(line), flush=True)
options = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
if "host-side" in options:
    if "host" in plan.values():
        sys.exit("danaus-compile: no memory")
    say({"host_side": {"heaps": [{"bytes": 100, "device_local": True}],
                       "types": [{"heap": 0, "flags": ["device_local"], "allocations": 3, "bytes": 30},
                                 {"heap": 0, "flags": [], "allocations": 0, "bytes": 0}]}})
    sys.exit(0)
if -1 in plan:
    sys.exit("danaus-compile: no Vulkan driver")
say({"device": "a chip ", "driver": "NVK", "driver_info": "Mesa 1", "kernels": 5,
     "unusable": ["loss: the device lacks storage_16bit"] if "unusable" in plan.values() else []})
print("a driver's own words", flush=True)
for i in range(int(options["from"]), 5):
    say({"begin": i, "kernel": "copy %d" % i})
    what = plan.get(i)
    if what == "abort":
        print("unsupported intrinsic", file=sys.stderr, flush=True)
        os.abort()
    if what == "hang":
        time.sleep(60)
    if what == "stop":
        sys.exit(0)
    line = {"end": i, "kernel": "copy %d" % i, "module": "copy"}
    if what == "refuse":
        line["error"] = "vkCreateComputePipelines: VkResult -13"
    else:
        names = {"Number of GPRs": 20 + i, "Spills to memory": 4 if what == "spill" else 0, "Spills to reg": 9,
                 "SLM size": 64 if what == "scratch" else 0, "Instruction count": 100, "Max warps/SM": 48 - i}
        if what == "forget":
            del names["SLM size"]
        line["executables"] = [{"name": "compute", "subgroup_size": 32, "statistics": names}]
    say(line)
say({"done": True})
sys.exit(3 if "refuse" in plan.values() else 0)
'''


class Rows(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.program = os.path.join(self.folder, "danaus-compile")
        with open(self.program, "w", encoding="utf-8") as file:
            file.write(FAKE)

    def row(self, plan=None, accesses=("address",)):
        os.environ["PLAN"] = json.dumps(plan or {})
        return laboratory.row_of("nvk-test", self.program, [sys.executable, self.program], accesses, self.folder)

    def test_a_clean_run(self):
        row, accepted = self.row(accesses=laboratory.ACCESSES)
        self.assertTrue(laboratory.passed(row), row)
        self.assertEqual((row["kernels"], row["max_registers"], row["least_occupancy"]), (15, 24, 44))
        self.assertEqual((row["driver"], row["device"]), ("NVK, Mesa 1", "a chip"))
        self.assertEqual((row["budget"], row["host_side"]), ("none accepted yet", "ok"))
        self.assertEqual(row["heaps"], [{"bytes": 100, "device_local": True, "allocations": 3, "bytes_used": 30,
                                         "flags": ["device_local"]}])
        self.assertEqual(accepted["kernels"]["copy 3"], [23, 0, None, 100])
        json.dumps(row)

    def test_an_abort_costs_one_kernel(self):
        row, accepted = self.row({1: "abort", 4: "abort"})
        self.assertEqual([(f["kernel"], f["reason"]) for f in row["failed"]],
                         [("copy 1", "SIGABRT: unsupported intrinsic"), ("copy 4", "SIGABRT: unsupported intrinsic")])
        self.assertEqual(sorted(accepted["kernels"]), ["copy 0", "copy 2", "copy 3"])
        self.assertEqual(row["kernels"], 5)
        self.assertFalse(laboratory.passed(row))

    def test_a_refusal_is_no_abort(self):
        row, _ = self.row({2: "refuse"})
        self.assertEqual([f["reason"] for f in row["failed"]], ["vkCreateComputePipelines: VkResult -13"])
        self.assertEqual(row["kernels"], 5)

    def test_a_hang_ends(self):
        quiet = laboratory.QUIET_S
        self.addCleanup(lambda: setattr(laboratory, "QUIET_S", quiet))
        laboratory.QUIET_S = 6  # starting a script takes a second on a busy machine
        row, _ = self.row({2: "hang"})
        self.assertEqual([(f["kernel"], f["reason"]) for f in row["failed"]], [("copy 2", "no answer for 6 s")])

    def test_a_run_that_never_starts(self):
        row, accepted = self.row({-1: "x"})
        self.assertEqual([(f["kernel"], f["reason"]) for f in row["failed"]],
                         [("", "exit status 1: danaus-compile: no Vulkan driver")])
        self.assertEqual((row["kernels"], accepted), (0, {}))
        self.assertFalse(laboratory.passed(row))

    def test_a_list_that_ends_early(self):
        row, _ = self.row({3: "stop"})
        self.assertEqual(row["failed"][0]["reason"], "it ended before its list did")
        self.assertFalse(laboratory.passed(row))

    def test_the_host_side_counts(self):
        row, _ = self.row({9: "host"})
        self.assertEqual(row["host_side"], "address: exit status 1: danaus-compile: no memory")
        self.assertFalse(laboratory.passed(row))

    def test_spills_and_scratch_fail(self):
        row, _ = self.row({0: "spill", 3: "scratch"})
        self.assertEqual([(s["kernel"], s["spills"], s["scratch_bytes"]) for s in row["spilled"]],
                         [("copy 0", 4, 0), ("copy 3", 0, 64)])
        self.assertFalse(laboratory.passed(row))

    def test_an_exception_names_its_reason(self):
        def allow(entries):
            with open(os.path.join(self.folder, "exceptions.json"), "w", encoding="utf-8") as file:
                json.dump(entries, file)

        allow([{"implementations": "nvk-*", "module": "copy", "reason": "it is small"}])
        row, _ = self.row({0: "spill"})
        self.assertEqual((row["spilled"], row["excepted"][0]["reason"]), ([], "it is small"))
        self.assertTrue(laboratory.passed(row))
        allow([{"implementations": "radv-*", "module": "copy", "reason": "it is small"}])
        self.assertEqual(len(self.row({0: "spill"})[0]["spilled"]), 1)
        allow([{"implementations": "nvk-*", "module": "copy", "reason": ""}])
        with self.assertRaises(ValueError):
            self.row({0: "spill"})

    def test_a_module_that_cannot_run_fails(self):
        row, _ = self.row({9: "unusable"}, ("address", "joined"))
        self.assertEqual(row["failed"], [{"kernel": "loss", "access": access, "reason": "cannot run here: the device "
                                          "lacks storage_16bit"} for access in ("address", "joined")])
        self.assertEqual(row["kernels"], 10)
        self.assertFalse(laboratory.passed(row))
        with open(os.path.join(self.folder, "exceptions.json"), "w", encoding="utf-8") as file:
            json.dump([{"implementations": "nvk-*", "module": "loss", "reason": "it is old"}], file)
        row, _ = self.row({9: "unusable"})
        self.assertEqual(row["unusable"], [{"module": "loss", "access": "address", "excepted": "it is old",
                                            "why": "the device lacks storage_16bit"}])
        self.assertTrue(laboratory.passed(row), row)
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            laboratory.print_row(row)
        self.assertIn("cannot run, excepted: loss (address): the device lacks storage_16bit (it is old)",
                      text.getvalue())

    def test_matrix_units_and_f64_are_optional(self):
        for why, expected in (("the device lacks cooperative_matrix_bf16", True),
                              ("the device lacks shader_float64", True),
                              ("the device lacks storage_16bit", False)):
            self.assertEqual(laboratory.budget.optional(why) is not None, expected)

    def test_a_statistic_that_is_missing_fails(self):
        row, _ = self.row({1: "forget"})
        self.assertEqual([f["reason"] for f in row["failed"]], ["the driver tells no 'SLM size'"])

    def test_a_budget_comes_back(self):
        _, accepted = self.row()
        budget.save("nvk-test", accepted, self.folder)
        self.assertEqual(budget.load("nvk-test", self.folder), accepted)
        row, _ = self.row()
        self.assertEqual((row["budget"], row["changes"]), ("compared", []))


class Budgets(unittest.TestCase):
    def run_of(self, driver="NVK, Mesa 1", compiler="glslc 1", **kernels):
        return {"driver": driver, "compiler": compiler, "device": "", "columns": list(budget.COLUMNS),
                "kernels": kernels}

    def changes(self, before, now):
        return budget.compare(self.run_of(a=before), self.run_of(a=now))[1]

    def test_ten_percent(self):
        self.assertEqual(self.changes([20, 0, 0, 100], [22, 0, 0, 110]), [])
        self.assertEqual(self.changes([20, 0, 0, 100], [18, 0, 64, 90]), [])
        self.assertEqual(self.changes([20, 0, 0, 100], [20, 0, 0, 111]),
                         [{"kernel": "a", "what": "instructions", "before": 100, "now": 111}])
        self.assertEqual(self.changes([20, 0, 0, 100], [17, 0, 0, 89]),
                         [{"kernel": "a", "what": "registers", "before": 20, "now": 17},
                          {"kernel": "a", "what": "instructions", "before": 100, "now": 89}])
        self.assertEqual(self.changes([None, 0, None, 100], [9, 0, 0, 100]), [])

    def test_kernels_come_and_go(self):
        self.assertEqual(budget.compare(self.run_of(a=[1, 0, 0, 1], c=[1, 0, 0, 1]), self.run_of(b=[1, 0, 0, 1])),
                         ("compared, 1 kernels new, 2 gone", []))

    def test_another_version_is_compared_and_said(self):
        old = self.run_of(a=[1, 0, 0, 1])
        for new, words in ((self.run_of(driver="NVK, Mesa 2", a=[9, 0, 0, 9]), "compared across Mesa 1 → 2"),
                           (self.run_of(compiler="glslc 2", a=[9, 0, 0, 9]), "compared across glslc 1 → 2"),
                           (self.run_of("NVK, Mesa 2", "glslc 2", a=[9, 0, 0, 9], b=[1, 0, 0, 1]),
                            "compared across Mesa 1 → 2, glslc 1 → 2, 1 kernels new, 0 gone")):
            text, changes = budget.compare(old, new)
            self.assertEqual((text, len(changes)), (words, 2))

    def test_another_chip_or_other_columns_are_incomparable(self):
        old, new = self.run_of(a=[1, 0, 0, 1]), self.run_of(a=[9, 0, 0, 9])
        self.assertEqual(budget.compare(old, dict(new, device="x")),
                         ("of another chip (, now x), not compared", []))
        self.assertEqual(budget.compare(old, dict(new, columns=["registers"])),
                         ("of other columns, not compared", []))

    def test_an_unknown_driver_is_named(self):
        self.assertIn("'PanVK'", budget.normalise("PanVK", [{"kernel": "a"}])[1][0])

    def test_scalar_spills_are_spills(self):
        values = {name: 0 for name in budget.NAMES["radv"]} | {"Spilled SGPRs": 2, "Spilled VGPRs": 1, "VGPRs": 64}
        table, missing = budget.normalise("radv", [{"kernel": "copy 1", "executables": [{"statistics": values}]}])
        self.assertEqual((missing, table["copy 1"]["spills"], table["copy 1"]["registers"]), ([], 3, 64))

    def test_what_is_committed_is_whole(self):
        with open(os.path.join(LAB, "implementations.json"), encoding="utf-8") as file:
            compiled = {entry["id"] for entry in json.load(file)["implementations"] if entry["kind"] == "compiled"}
        accepted = {name[:-len(".json")] for name in os.listdir(budget.FOLDER)} - {"exceptions"}
        self.assertEqual(accepted, compiled)
        for identity in accepted:
            run = budget.load(identity)
            self.assertEqual(run["columns"], list(budget.COLUMNS))
            table = {kernel: dict(zip(run["columns"], row)) for kernel, row in run["kernels"].items()}
            self.assertEqual(budget.spills(identity, table)[0], [], identity)
        budget.exceptions()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
