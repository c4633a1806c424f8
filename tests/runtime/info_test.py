"""danaus-info as a user meets it: output, choice, exit status, one line per error.

usage: info_test.py RUNNER DANAUS_INFO KERNELS_TABLE      RUNNER may be empty
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

RUNNER, PROGRAM, TABLE = sys.argv[1:4]


def info(*args, stdout=subprocess.PIPE, **variables):
    environment = {name: value for name, value in os.environ.items() if name != "DANAUS_DEVICE"}
    environment.update(variables)
    command = ([RUNNER] if RUNNER else []) + [PROGRAM, *args]
    return subprocess.run(command, env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=120)


class Info(unittest.TestCase):
    def report(self, *args, **variables):
        done = info("--json", *args, **variables)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return json.loads(done.stdout)

    def refused(self, done, status, *parts):
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertEqual(done.stdout or "", "")
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertTrue(done.stderr.startswith("danaus-info: "), done.stderr)
        for part in parts:
            self.assertIn(part, done.stderr)

    def test_json_is_complete(self):
        report = self.report()
        self.assertIn(report["access"], ("address", "descriptor"))
        self.assertTrue(report["choice"])
        self.assertLess(report["chosen"], len(report["devices"]))
        names = {module["name"] for module in json.loads(pathlib.Path(TABLE).read_text())["modules"]}
        for index, device in enumerate(report["devices"]):
            self.assertEqual(device["index"], index)
            self.assertRegex(device["uuid"], r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
            self.assertRegex(device["vulkan"], r"^1\.\d+\.\d+$")
            self.assertEqual(device["usable"], device["reason"] == "")
            self.assertGreaterEqual(device["limits"]["max_workgroup_invocations"], 128)
            self.assertEqual(len(device["limits"]["max_workgroup_size"]), 3)
            self.assertTrue(all(isinstance(value, bool) for value in device["features"].values()))
            for access in ("address", "descriptor"):
                kernels = device["access"][access]["kernels"]
                self.assertEqual({kernel["name"] for kernel in kernels}, names)
                families = device["access"][access]["families"]
                for family, count in families.items():
                    members = [kernel for kernel in kernels if kernel["family"] == family]
                    self.assertEqual(count["kernels"], len(members))
                    self.assertEqual(count["usable"], sum(kernel["usable"] for kernel in members))
                for kernel in kernels:
                    self.assertEqual(kernel["usable"], kernel["reason"] == "")
                    self.assertNotIn("\n", kernel["reason"])
        chosen = report["devices"][report["chosen"]]
        self.assertTrue(chosen["usable"])
        basic = chosen["access"][report["access"]]["families"]["basic"]
        self.assertEqual(basic["usable"], basic["kernels"])

    def test_text_says_the_same(self):
        report, done = self.report(), info()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for device in report["devices"]:
            for part in (device["name"], device["uuid"], device["vulkan"], device["driver"]["name"]):
                self.assertIn(part, done.stdout)
            for name, value in device["limits"].items():
                self.assertRegex(done.stdout, r"(?m)^ +%s +\S" % name)
        last = done.stdout.splitlines()[-1]
        self.assertTrue(last.startswith("chosen: %d (" % report["chosen"]), last)
        self.assertIn(report["choice"], last)

    def test_a_device_is_selected(self):
        device = self.report()["devices"][0]
        for wanted in ("0", device["uuid"], device["name"][:6].upper()):
            report = self.report("--device", wanted)
            self.assertEqual([one["index"] for one in report["devices"]], [0])
            self.assertEqual(report["choice"], "asked for by select = '%s'" % wanted)
        report = self.report(DANAUS_DEVICE="0")
        self.assertEqual(report["choice"], "asked for by DANAUS_DEVICE = '0'")
        report = self.report("--device", "0", DANAUS_DEVICE="nothing of the kind")
        self.assertEqual(report["choice"], "asked for by select = '0'")

    def test_a_wrong_device_names_what_there_is(self):
        name = self.report()["devices"][0]["name"]
        self.refused(info("--device", "no such device"), 1, "select = 'no such device'", "there are: 0: " + name)
        self.refused(info("--json", "--device", "99"), 1, "'99'", "0: " + name)
        self.refused(info(DANAUS_DEVICE="nope"), 1, "DANAUS_DEVICE = 'nope'", "0: " + name)

    def test_wrong_options(self):
        self.refused(info("--jsno"), 2, "--jsno")
        self.refused(info("--device"), 2, "--device")
        self.refused(info("stray"), 2, "stray")

    def test_help_and_version(self):
        done = info("--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for part in ("--device", "--json", "DANAUS_DEVICE"):
            self.assertIn(part, done.stdout)
        self.assertRegex(info("--version").stdout, r"^\d+\.\d+\.\d+\n$")

    def test_no_driver(self):
        self.refused(info(VK_DRIVER_FILES="/nonexistent.json", VK_ICD_FILENAMES="/nonexistent.json"), 1, "Vulkan")

    @unittest.skipUnless(sys.platform == "linux", "uses the dynamic loader's search path")
    def test_no_loader(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("libvulkan.so.1", "libvulkan.so"):
                pathlib.Path(folder, name).touch()  # not a library
            self.refused(info(DANAUS_VULKAN_PREFIX="", LD_LIBRARY_PATH=folder), 1, "no Vulkan loader", "install")

    @unittest.skipUnless(os.path.exists("/dev/full"), "needs a full device")
    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "w") as full:
            self.refused(info("--json", stdout=full), 1, "cannot")


unittest.main(argv=sys.argv[:1])
