#!/usr/bin/env -S python3 -B
"""devices.py [--check]: makes docs/devices.md from docs/devices.json, the rows that lab/matrix.py recorded last, and the
results of real devices in bench/results. --check fails if the page is not what would be made."""
import json
import os
import sys

LAB = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(LAB)
ROWS = os.path.join(ROOT, "docs", "devices.json")
PAGE = os.path.join(ROOT, "docs", "devices.md")
RESULTS = os.path.join(ROOT, "bench", "results")
KEYS = ("id", "job", "table", "name", "driver", "compiler", "subgroup_size", "ran", "result", "date", "revision", "max_registers",
        "least_occupancy", "budget", "quirks")

HEAD = """# Devices

What the library was tried on, made by `./dev matrix --all` from `docs/devices.json`: do not edit. The drivers run or
compile on a machine without a GPU. A row says what was done on that date with that version, and nothing more: what was
never executed is in a table of its own and is not known to work.
"""
EXECUTED = """
## Executed

Kernels ran and their results were held against the oracle in double precision, under core and synchronization validation
unless the row says otherwise. The whole suite is everything `./dev test` runs; the short suite runs every kernel of the
table in few shapes. Simulated devices are lavapipe with capabilities withheld when the device is made and limits lowered for every plan.
"""
COMPILED = """
## Compiled only

The vendors' own compilers made pipelines of the kernels that the plans choose on that chip, for every pair of constant
values that occurs, through a driver whose kernel side is a stub that executes nothing. Registers, spills and instructions
are held against `lab/budget`. The host side allocated, recorded and submitted on the driver's own memory layout. Whether
the results are right there is not known.
"""
CONVERTED = """
## Converted or built only

Nothing here ran on its target. Metal was not compiled either: there is no Metal compiler here.
"""
TAIL = """
## Not tried

Arm Mali (PanVK): there is no package of a stub for its kernel driver, and it was not built. No GPU has run the library unless the
first table names one; `bench/on_gpu.sh` runs everything on a machine that has nothing but a driver and a carried build,
and its file goes into `bench/results`.

## When a driver misbehaves

`DANAUS_DISABLE=fp16,fp64,storage16,bda,subgroup,subgroup_size,coopmat,timestamps` (any of them, separated by commas) does
without features when a device is opened by default rules; `DeviceOptions::disable` is the same in code. What is known of
drivers is turned off without being asked, in `runtime/src/quirks.cpp`, and `danaus-info` shows it.
"""


def load():
    if not os.path.isfile(ROWS):
        return []
    with open(ROWS, encoding="utf-8") as file:
        return json.load(file)["rows"]


def real_devices():
    """Rows of what bench/on_gpu.sh left."""
    rows = []
    for name in sorted(os.listdir(RESULTS)) if os.path.isdir(RESULTS) else []:
        if not name.endswith(".json"):
            continue
        with open(os.path.join(RESULTS, name), encoding="utf-8") as file:
            result = json.load(file)
        if "tests" not in result or not result.get("info"):
            continue
        device = result["info"]["devices"][result["info"]["chosen"]]
        failed = sum(bool(test["failed"] or test["status"]) for test in result["tests"])
        rows.append({"name": device["name"], "driver": "%(name)s %(info)s" % device["driver"], "compiler": "",
                     "subgroup_size": device["limits"]["subgroup_size"],
                     "ran": "whole suite without validation layers (%d programs)" % len(result["tests"]),
                     "result": "failed: %d programs" % failed if failed else "passed", "date": result["date"][:10]})
    return rows


def cell(value):
    return "" if value is None else str(value).replace("|", "\\|")


def table(columns, rows):
    lines = ["| " + " | ".join(title for title, _ in columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(cell(row.get(key)) for _, key in columns) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def page(rows):
    of = {name: [row for row in rows if row["table"] == name] for name in ("executed", "compiled", "converted")}
    return "".join([
        HEAD, EXECUTED, "\n",
        table([("implementation", "name"), ("driver", "driver"), ("compiler", "compiler"), ("subgroup", "subgroup_size"),
               ("what was run", "ran"), ("result", "result"), ("date", "date"), ("revision", "revision")],
              real_devices() + of["executed"]),
        COMPILED, "\n",
        table([("chip", "name"), ("driver", "driver"), ("subgroup", "subgroup_size"), ("what was compiled", "ran"),
               ("most registers", "max_registers"), ("budget", "budget"), ("result", "result"), ("date", "date"),
               ("revision", "revision")], of["compiled"]),
        CONVERTED, "\n",
        table([("target", "name"), ("tool", "driver"), ("what was made", "ran"), ("result", "result"),
               ("date", "date"), ("revision", "revision")], of["converted"]),
        TAIL])


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def record(rows, jobs, folder, docs=True):
    """Puts the rows of a run in place of all that the same jobs recorded before, and forgets rows of jobs that are no
    more; writes folder/matrix.json and, unless told otherwise, docs/devices.json and the page."""
    ran = {row["job"] for row in rows}
    kept = [row for row in load() if row["job"] in jobs and row["job"] not in ran]
    ordered = sorted(kept + rows, key=lambda row: jobs.index(row["job"]))
    write(os.path.join(folder, "matrix.json"), json.dumps({"schema": 1, "rows": ordered}, indent=1) + "\n")
    if not docs:
        return
    slim = [{key: row[key] for key in KEYS if row.get(key) not in (None, "", [])} for row in ordered]
    write(ROWS, json.dumps({"schema": 1, "rows": slim}, indent=1) + "\n")
    write(PAGE, page(slim))


def main():
    text = page(load())
    if "--check" in sys.argv[1:]:
        if not os.path.isfile(PAGE):
            sys.exit("docs/devices.md is missing: lab/devices.py makes it")
        with open(PAGE, encoding="utf-8") as file:
            if file.read() != text:
                sys.exit("docs/devices.md is not what lab/devices.py makes of docs/devices.json: run it")
    else:
        write(PAGE, text)


if __name__ == "__main__":
    main()
