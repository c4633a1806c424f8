"""Compiles every module with glslang, the second compiler, checks it against the table and validates it.

Usage: glslang.py SCRIPTS SPEC_FOLDER GLSLANG   (SCRIPTS holds kernels_spirv.py)
"""

import concurrent.futures
import glob
import json
import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout or "exit code %d" % done.returncode


def lacks(glslang, extension, folder):
    path = os.path.join(folder, extension + ".comp")
    with open(path, "w", encoding="utf-8") as file:
        file.write("#version 460\n#extension %s : require\nvoid main() {}\n" % extension)
    return run([glslang, "-V", "--target-env", "vulkan1.1", path, "-o", path + ".spv"]) != ""


def build(path, glslang, folder, lacking):
    """(name, what is wrong, why it was left out)"""
    with open(path, encoding="utf-8") as file:
        spec = json.load(file)
    name = "%s (%s)" % (spec["module"], spec["access"])
    missing = [extension for extension in spec["extensions"] if lacking[extension]]
    if missing:
        return name, "", "glslang lacks " + ", ".join(missing)
    binary = os.path.join(folder, os.path.basename(path) + ".spv")
    wrong = run([glslang, "-V", "--target-env", spec["target"], "-S", "comp", *("-D" + macro for macro in spec["macros"]),
                 *("-I" + include for include in spec["includes"]), "-o", binary, spec["source"]])
    if not wrong:
        with open(binary, "rb") as file:
            try:
                kernels_spirv.check(kernels_spirv.words_of(file.read()), spec)
            except kernels_spirv.SpirvError as error:
                wrong = str(error)
    if not wrong and spec["validator"]:
        wrong = run([spec["validator"], "--target-env", spec["target"], binary])
    return name, wrong, ""


def main():
    specs, glslang = sorted(glob.glob(os.path.join(sys.argv[2], "*.json"))), sys.argv[3]
    if not specs:
        sys.exit("no module specifications in " + sys.argv[2])
    extensions = set()
    for path in specs:
        with open(path, encoding="utf-8") as file:
            extensions.update(json.load(file)["extensions"])
    failed = left_out = 0
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        lacking = {extension: lacks(glslang, extension, folder) for extension in sorted(extensions)}
        for name, wrong, why in pool.map(lambda path: build(path, glslang, folder, lacking), specs):
            if wrong:
                print("FAILED %s\n%s" % (name, wrong))
            elif why:
                print("left out %s: %s" % (name, why))
            failed, left_out = failed + bool(wrong), left_out + bool(why)
    print("%d modules: %d failed, %d left out" % (len(specs), failed, left_out))
    sys.exit(1 if failed else 0)


sys.path.insert(0, sys.argv[1])
import kernels_spirv  # noqa: E402  (its folder is an argument)

main()
