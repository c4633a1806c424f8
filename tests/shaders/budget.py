"""The budgets of the kernel table: how many modules, how large, every file and every slot in use.

Usage: budget.py SHADERS_FOLDER KERNELS_TABLE
"""

import json
import os
import pathlib
import sys

MAX_MODULES, MAX_PUSH_BYTES, MAX_SLOTS, MAX_LINES = 150, 128, 8, 200


def main():
    root = sys.argv[1]
    with open(os.path.join(root, "kernels.json"), encoding="utf-8") as file:
        entries = {entry["name"]: entry for entry in json.load(file)["modules"]}
    with open(sys.argv[2], encoding="utf-8") as file:
        modules = json.load(file)["modules"]
    wrong = []
    if len(modules) > MAX_MODULES:
        wrong.append("%d modules, allowed are %d" % (len(modules), MAX_MODULES))

    used = {}
    for module in modules:
        name = module["name"]
        if not module["spv"] and not module["absent"]:
            wrong.append("%s: neither code nor a reason" % name)
        if not module["spv"]:
            continue
        if module["push_bytes"] > MAX_PUSH_BYTES or module["slots"] > MAX_SLOTS:
            wrong.append("%s: %d push bytes, %d slots, allowed are %d and %d"
                         % (name, module["push_bytes"], module["slots"], MAX_PUSH_BYTES, MAX_SLOTS))
        if not module["writes"]:
            wrong.append("%s: writes nothing" % name)
        used[module["entry"]] = used.get(module["entry"], 0) | module["reads"] | module["writes"]
    for name, slots in used.items():
        for slot in range(entries[name]["slots"]):
            if not slots >> slot & 1:
                wrong.append("%s: no variant uses slot %d" % (name, slot))

    sources = {os.path.normpath(entry["source"]) for entry in entries.values()}
    for path in pathlib.Path(root).glob("*/kernels.json"):  # guests of this table
        sources |= {os.path.join(path.parent.name, entry["source"])
                    for entry in json.loads(path.read_text(encoding="utf-8"))["modules"]}
    for folder, _, files in os.walk(root):
        for file_name in files:
            path = os.path.join(folder, file_name)
            relative = os.path.relpath(path, root)
            if not file_name.endswith((".comp", ".glsl")):
                continue
            with open(path, encoding="utf-8") as file:
                lines = file.read().splitlines()
            if len(lines) > MAX_LINES:
                wrong.append("%s: %d lines, allowed are %d" % (relative, len(lines), MAX_LINES))
            if not lines or not lines[0].startswith("//"):
                wrong.append("%s: does not open with its contract, a comment" % relative)
            if file_name.endswith(".comp") and relative not in sources:
                wrong.append("%s: no module is built from it" % relative)

    size = sum(code["bytes"] for module in modules for code in module["spv"].values())
    print("%d modules of %d entries, %.1f KiB of SPIR-V" % (len(modules), len(entries), size / 1024))
    sys.exit("\n".join(wrong) if wrong else 0)


main()
