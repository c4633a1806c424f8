#!/usr/bin/env -S python3 -B
"""matrix.py [--all] [--only ID]... [--skip ID]... [--build DIR]: one row per Vulkan implementation.

Runs the whole test suite or its short form on the drivers that can be had here without their hardware, and on simulated
weaker devices; compiles every kernel with the compilers of chips that are not here; converts every kernel to Metal and
cross-builds for Windows. Without --all it takes the rows that continuous integration takes ("ci" in
lab/implementations.json). Prints the rows, writes build/matrix/matrix.json, in which rows that were not run now stand as
they were recorded last, and makes docs/devices.json and docs/devices.md from it (not with --keep-docs). --list names the
rows. The exit status is 1 if a row of this run is not good.
"""
import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import time

LAB = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, LAB)
import compile as compiling  # noqa: E402
import convert as converting  # noqa: E402
import devices  # noqa: E402
import implementations  # noqa: E402

ROOT = implementations.ROOT
ACCESSES = ("address", "descriptor")
SHORT_SECONDS, WHOLE_SECONDS = 1800, 3600


def revision():
    """What the rows of this run are of."""
    done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty", "--exclude=*"], capture_output=True,
                          check=False)
    return done.stdout.decode().strip() or "unknown"


def run(command, entry, seconds):
    """(exit status, output) of a command on an implementation; a dead or endless one is an ordinary failure."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env=implementations.environment(entry), timeout=seconds, check=False, cwd=ROOT)
        return done.returncode, done.stdout.decode("utf-8", "replace")
    except subprocess.TimeoutExpired as error:
        return 124, (error.stdout or b"").decode("utf-8", "replace") + "\nit ran longer than %d s" % seconds


def identify(entry, build):
    """driver, compiler and subgroup size as danaus-info says them, and the accesses the device has."""
    status, output = run([implementations.RUNNER, os.path.join(build, "bin", "danaus-info"), "--json"], entry, 120)
    if status or "{" not in output:
        return {"driver": "", "compiler": "", "subgroup_size": None}, []
    device = json.JSONDecoder().raw_decode(output[output.index("{\n"):])[0]["devices"][0]
    compiler = re.search(r"LLVM [\d.]+|Subzero", "%s %s" % (device["driver"]["info"], device["name"]))
    info = re.sub(r" *\(LLVM [^)]*\)", "", device["driver"]["info"])
    facts = {"driver": ("%s %s" % (device["driver"]["name"], info)).strip(),
             "compiler": compiler[0] if compiler else "", "subgroup_size": device["limits"]["subgroup_size"],
             "device": device["name"].strip(), "quirks": device["quirks"],
             "cooperative_matrices": len(device["cooperative_matrices"])}
    if entry["stack"] == "swiftshader":
        with open(os.path.join(ROOT, ".deps", "lab", "swiftshader", "version"), encoding="utf-8") as file:
            facts["driver"] = "SwiftShader of Chromium " + file.read().strip()
    return facts, [a for a in ACCESSES if a == "descriptor" or device["features"]["buffer_device_address"]]


def short_suite(entry, build, accesses, simulate=None):
    """(what was run, result) of the short suite through every access."""
    program = os.path.join(build, "bin", "test_short")
    ran = []
    for access in accesses:
        command = [implementations.RUNNER, program, "--access=" + access]
        status, output = run(command + (["--simulate=" + simulate] if simulate else []), entry, SHORT_SECONDS)
        passed = re.search(r"\[  PASSED  \] (\d+) tests?\.", output)
        numbers = re.search(r"short suite: (\d+) kernels of the table, (\d+) pipelines", output)
        if status or not passed or not numbers or "[  FAILED  ]" in output:
            failed = re.findall(r"\[  FAILED  \] (\S+) \(", output) or [output.strip().split("\n")[-1][:200]]
            return ", ".join([*ran, access]), "failed (%s): %s" % (access, ", ".join(failed))
        ran.append("%s (%s kernels, %s pipelines)" % (access, numbers[1], numbers[2]))
    return "short suite by " + " and ".join(ran), "passed" if ran else "failed: nothing was run"


def whole_suite(entry, build):
    # ctest starts programs as the build was configured to.
    with open(os.path.join(build, "CMakeCache.txt"), encoding="utf-8") as file:
        if "DANAUS_RUNNER:" not in (cache := file.read()) or not re.search(r"^DANAUS_RUNNER:\w+=.*with-vulkan$", cache, re.M):
            return "nothing", "failed: this build's tests run on the host's driver (DANAUS_RUNNER is not tools/with-vulkan)"
    status, output = run(["ctest", "--test-dir", build, "--output-on-failure", "-j2"], entry, WHOLE_SECONDS)
    total = re.search(r"(\d+)% tests passed, (\d+) tests failed out of (\d+)", output)
    if status or not total:
        failed = re.findall(r"^\s*\d+ - (\S+) \(", output, re.MULTILINE)
        return "whole suite", "failed: " + (", ".join(failed) or output.strip().split("\n")[-1][:200])
    skipped = len(re.findall(r"\*\*\*Skipped ", output))
    ran = "whole suite by address and descriptor (%d programs)" % (int(total[3]) - skipped)
    return ran, "failed: %d programs skipped" % skipped if skipped else "passed"


def executed(entry, build):
    facts, accesses = identify(entry, build)
    if entry["suite"] == "whole":
        ran, result = whole_suite(entry, build)
    else:
        ran, result = short_suite(entry, build, accesses)
    wanted = entry.get("subgroup_size")
    if not facts["driver"]:
        result = "failed: danaus-info does not run there"
    elif wanted and facts["subgroup_size"] != wanted:
        result = "failed: subgroup size %s, %d was asked for" % (facts["subgroup_size"], wanted)
    return [{"table": "executed", "name": entry["name"], "ran": ran, "result": result, **facts}]


def simulated(entry, build):
    """The short suite on current lavapipe, capped; the program lists what it can simulate."""
    facts, accesses = identify(entry, build)
    _, listing = run([implementations.RUNNER, os.path.join(build, "bin", "test_short"), "--simulate=?"], entry, 60)
    rows = []
    for name, summary in re.findall(r"^  (\w+): (.*)$", listing, re.MULTILINE):
        by = [a for a in accesses if a == "descriptor" or "no device addresses" not in summary and name != "least"]
        ran, result = short_suite(entry, build, by, name)
        rows.append({"id": "simulated-" + name.replace("_", "-"), "table": "executed", "name": "simulated: " + summary,
                     "ran": ran, "result": result, **facts})
    return rows or [{"id": "simulated", "table": "executed", "name": "simulated devices", "ran": "nothing",
                     "result": "failed: the program lists none", **facts}]


def compiled(entry, build, accesses=compiling.ACCESSES):
    program = os.path.join(build, "bin", "danaus-compile")
    row, _ = compiling.row_of(entry["id"], program, accesses=accesses)
    result = "compiled" if compiling.passed(row) else "failed: " + "; ".join(
        ["%s: %s" % (f["kernel"] or "the run", f["reason"]) for f in row["failed"][:3]] +
        ["%s spills" % s["kernel"] for s in row["spilled"][:3]] +
        ([] if row["host_side"] == "ok" else ["host side: %s" % row["host_side"]]))
    compiling.print_row(row)
    facts, _ = identify(entry, build)
    return [{**{key: row[key] for key in ("driver", "device", "kernels", "excepted", "changes", "budget",
                                          "max_registers", "least_occupancy", "host_side", "heaps", "compile_seconds")},
             "table": "compiled", "name": entry["name"], "subgroup_size": facts["subgroup_size"], "result": result,
             "ran": "%d pipelines, %d with stated spills; host side %s" % (row["kernels"], len(row["excepted"]),
                                                                          row["host_side"])}]


def converted_to_metal(build):
    status = subprocess.run([sys.executable, "-B", os.path.join(LAB, "convert.py"), "--build", build],
                            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
    rows = [json.loads(line) for line in status.stdout.decode().splitlines() if line.startswith("{")]
    for row in rows:
        row.update(name="Metal Shading Language %s" % row["msl"], driver=row["tool"],
                   ran="%d variants and %d modules with constants left open" % (row["variants"], row["open_modules"]))
    return rows or [{"id": "msl", "table": "converted", "name": "Metal Shading Language", "driver": "SPIRV-Cross",
                     "ran": "nothing", "result": "failed: exit status %d" % status.returncode}]


def cross_built(_build):
    done = subprocess.run([os.path.join(LAB, "cross-build")], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          check=False)
    lines = [line for line in done.stdout.decode().splitlines() if line.startswith("{")]
    row = json.loads(lines[-1]) if lines else {"id": "mingw-x86_64", "compiler": "", "what": [],
                                               "result": "failed: exit status %d" % done.returncode}
    row.update(table="converted", name="Windows on x86-64", driver=row["compiler"],
               ran=", ".join(os.path.basename(made["file"]) for made in row["what"]) or "nothing")
    if row["result"] == "built":
        row["result"] = "built, not executed"
    return [row]


def plan(accesses=compiling.ACCESSES):
    """(id, what lab/fetch needs, is it of continuous integration, function of the build folder) of every row or group.
    `accesses`: of the chips for which kernels are compiled only."""
    entries = implementations.load()
    kinds = {"executed": executed, "compiled": lambda entry, build: compiled(entry, build, accesses)}
    jobs = [(e["id"], e["stack"], e.get("ci", False), lambda build, e=e: kinds[e["kind"]](e, build))
            for e in entries.values()]
    jobs.append(("simulated", "current", False, lambda build: simulated(entries["lavapipe"], build)))
    jobs.append(("msl", "msl current", False, converted_to_metal))
    jobs.append(("mingw", "mingw", False, cross_built))
    return jobs


def good(row):
    return not row["result"].startswith("failed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every row")
    parser.add_argument("--only", action="append", default=[], metavar="ID", help="these rows")
    parser.add_argument("--skip", action="append", default=[], metavar="ID", help="not these rows")
    parser.add_argument("--access", choices=compiling.ACCESSES,
                        help="compile kernels for this way of reaching memory only, not for all")
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    parser.add_argument("--keep-docs", action="store_true", help="leave docs/ as it is")
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help="the build folder")
    arguments = parser.parse_args()
    jobs = plan((arguments.access,) if arguments.access else compiling.ACCESSES)
    if arguments.list:
        for identity, needs, ci, _ in jobs:
            print("%-20s %-12s %s" % (identity, needs, "ci" if ci else "--all"))
        return 0
    for identity in arguments.only + arguments.skip:
        if identity not in [job[0] for job in jobs]:
            parser.error("no row '%s'; --list names them" % identity)
    chosen = [job for job in jobs if (job[0] in arguments.only if arguments.only else arguments.all or job[2])
              and job[0] not in arguments.skip]
    if not chosen:
        parser.error("no row is left to run")

    build = os.path.realpath(arguments.build)
    rows, failed, made_of = [], [], {"date": datetime.date.today().isoformat(), "revision": revision()}
    for identity, needs, _, job in chosen:
        started = time.monotonic()
        fetched = subprocess.run([os.path.join(LAB, "fetch"), *needs.split()], check=False).returncode == 0
        made = job(build) if fetched else []
        if not fetched:
            print("%-26s failed: %s could not be fetched" % (identity, needs))
            failed.append(identity)
        for row in made:
            row.setdefault("id", identity)
            row.update(made_of, job=identity, seconds=round((time.monotonic() - started) / len(made), 1))
            print("%-26s %s; %s; %s (%s s)" % (row["id"], row["driver"], row["ran"], row["result"], row["seconds"]))
            sys.stdout.flush()
        rows += made
        # After every job: a long run that is interrupted keeps what it has.
        devices.record(rows, [job[0] for job in jobs], os.path.join(build, "matrix"), not arguments.keep_docs)
    bad = [row["id"] for row in rows if not good(row)] + failed
    print("matrix: %d rows run, %d not good%s" % (len(rows) + len(failed), len(bad),
                                                  ": " + ", ".join(bad) if bad else ""))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
