#!/usr/bin/env python3
"""compile.py [--accept] [--access A] [--json FILE] [ID...]: compiles the library's kernels on drivers of chips that are
not here.

Every ID of lab/implementations.json of the kind "compiled" (all of them unless some are named) runs danaus-compile on
its driver: each kernel that the plans choose there becomes a real pipeline, and the library's host side is exercised.
A driver that ends the program costs one kernel: the run goes on behind it. Spilled registers, scratch memory and
modules that the chip cannot run, but for those written for matrix units, fail unless lab/budget/exceptions.json names
implementation and module with a reason;
registers or instructions that changed by more than 10 % since the budget was accepted (lab/budget/ID.json) are listed,
across versions of driver and compiler too. The exit status is 1 when a kernel failed or spilled, a module cannot run,
or the host side failed.

  --accept       writes the budgets of the given IDs from this run, of those that pass
  --access A     address, descriptor or joined (the modules that have that build); all unless given (budgets are of
                 address)
  --strength N   constants combined in all ways that occur; other than 2 compiles more kernels and compares no budget
  --json FILE    the rows, for other programs
  --program P    danaus-compile; default build/bin/danaus-compile
"""
import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import budget  # noqa: E402

LAB = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(LAB)
ACCESSES = ("address", "descriptor", "joined")
REFUSED = 3  # danaus-compile's exit status when its list ended and the driver refused pipelines of it
STRENGTH = 2  # of the kernels that budgets are about
QUIET_S = 180  # a kernel that takes longer is taken for hung
SHOWN = 20  # changes that are printed
MOST_ABORTS = 40  # of one run; a driver that refuses everything need not be asked about everything


class Died(Exception):
    """danaus-compile ended on its own account; the text says how."""


def last_line(file):
    file.seek(0)
    lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "no message"


def how_it_ended(status, quiet, stderr):
    if quiet:
        return "no answer for %d s" % QUIET_S
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = "signal %d" % -status
        return "%s: %s" % (name, last_line(stderr))
    return "exit status %d: %s" % (status, last_line(stderr))


def lines_of(command, quiet_s=None):
    """Objects that one process printed, as they come; raises Died in the end unless it ended well."""
    quiet_s = quiet_s or QUIET_S
    # Mesa would answer from what it compiled on an earlier day.
    environment = dict(os.environ, MESA_SHADER_CACHE_DISABLE="true")
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
                                   env=environment)
        quiet = threading.Event()

        def give_up():
            quiet.set()
            process.kill()

        timer = threading.Timer(quiet_s, give_up)
        timer.start()
        try:
            for text in process.stdout:
                timer.cancel()
                try:
                    line = json.loads(text)
                except ValueError:
                    line = None  # a driver's own chatter
                if isinstance(line, dict):
                    yield line
                timer = threading.Timer(quiet_s, give_up)
                timer.start()
            status = process.wait()
        finally:
            timer.cancel()
            process.kill()
            process.wait()
            process.stdout.close()
        if status not in (0, REFUSED) or quiet.is_set():
            raise Died(how_it_ended(status, quiet.is_set(), stderr))


def compile_all(command, access, options=()):
    """(head, results, failures) of one access; command is danaus-compile with what runs it in front of it."""
    head, results, failed, start = {}, [], [], 0
    while True:
        open_kernel = None
        try:
            done = False
            for line in lines_of([*command, *options, "--access=" + access, "--from=%d" % start]):
                if "begin" in line:
                    open_kernel = line
                elif "end" in line:
                    open_kernel = None
                    start = line["end"] + 1
                    if "error" in line:
                        failed.append({"kernel": line["kernel"], "access": access, "reason": line["error"]})
                    else:
                        results.append(line)
                elif "done" in line:
                    done = True
                elif "kernels" in line:
                    head = line
            if not done:
                raise Died("it ended before its list did")
            return head, results, failed
        except Died as death:
            if open_kernel is None:
                failed.append({"kernel": "", "access": access, "reason": str(death)})
                return head, results, failed
            failed.append({"kernel": open_kernel["kernel"], "access": access, "reason": str(death)})
            start = open_kernel["begin"] + 1
            if len(failed) >= MOST_ABORTS:
                failed.append({"kernel": "", "access": access, "reason": "given up after %d failures" % len(failed)})
                return head, results, failed


def heaps_of(host_side):
    """Per heap its size and what the allocator took from it, with the flags of the memory types that it chose."""
    heaps = [dict(heap, allocations=0, bytes_used=0, flags=[]) for heap in host_side["heaps"]]
    for kind in host_side["types"]:
        if kind["allocations"]:
            heap = heaps[kind["heap"]]
            heap["allocations"] += kind["allocations"]
            heap["bytes_used"] += kind["bytes"]
            heap["flags"].append("+".join(kind["flags"]) or "none")
    return heaps


def exercise_host(command, accesses):
    """("ok" or the reason, heaps)"""
    heaps = []
    for access in accesses:
        try:
            for line in lines_of([*command, "--host-side", "--access=" + access]):
                if "host_side" in line:
                    heaps = heaps_of(line["host_side"])
        except Died as death:
            return "%s: %s" % (access, death), heaps
        if not heaps:
            return "%s: it printed no result" % access, heaps
    return "ok", heaps


def compiler_of(program):
    """The version of the compiler that made the SPIR-V inside `program`, from the build it lies in."""
    folder = os.path.join(os.path.dirname(program), os.pardir, "generated", "shaders", "spec")
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            return "glslc " + json.load(file)["glslc_version"]
    return "unknown"


def row_of(identity, program, command=None, accesses=ACCESSES, folder=budget.FOLDER, strength=STRENGTH):
    """(row, budget of this run). The row is plain data; see the keys below. `command` stands in front of the program's
    arguments; default: the program through lab/on."""
    started = time.monotonic()
    command = command or [os.path.join(LAB, "on"), identity, program]
    row = {"id": identity, "driver": "", "device": "", "kernels": 0, "failed": [], "spilled": [], "excepted": [],
           "changes": [], "budget": "not compared", "max_registers": None, "least_occupancy": None, "unusable": []}
    accepted = {}
    for access in accesses:
        head, results, failed = compile_all(command, access, ["--strength=%d" % strength])
        if head:
            row["driver"], row["device"] = "%s, %s" % (head["driver"], head["driver_info"]), head["device"].strip()
        row["kernels"] += len(results) + sum(1 for failure in failed if failure["kernel"])
        row["failed"] += failed
        for text in head.get("unusable", []):
            module, _, why = text.partition(": ")
            reason = budget.optional(why) or budget.excuse(identity, module, folder)
            if reason is None:
                row["failed"].append({"kernel": module, "access": access, "reason": "cannot run here: " + why})
            row["unusable"].append({"module": module, "access": access, "why": why, "excepted": reason})
        table, missing = budget.normalise(head.get("driver", ""), results)
        row["failed"] += [{"kernel": "", "access": access, "reason": reason} for reason in missing]
        spilled, excepted = budget.spills(identity, table, folder)
        row["spilled"] += [dict(entry, access=access) for entry in spilled]
        row["excepted"] += [dict(entry, access=access) for entry in excepted]
        for key, choose in (("registers", max), ("occupancy", min)):
            values = [values[key] for values in table.values() if values.get(key) is not None]
            name = "max_registers" if key == "registers" else "least_occupancy"
            row[name] = choose([*values, *([row[name]] if row[name] is not None else [])], default=None)
        if access == "address" and table and strength == STRENGTH:
            accepted = budget.of_run(row["driver"], row["device"], compiler_of(program), table)
            row["budget"], row["changes"] = budget.compare(budget.load(identity, folder), accepted)
    row["compile_seconds"] = round(time.monotonic() - started, 1)
    row["host_side"], row["heaps"] = exercise_host(command, accesses)
    row["seconds"] = round(time.monotonic() - started, 1)
    return row, accepted


def passed(row):
    return not row["failed"] and not row["spilled"] and row["host_side"] == "ok" and row["kernels"] > 0


def print_row(row):
    print("%-15s %s  %d kernels, %d failed, %d spilled (%d excepted), %d changes, host side %s, %s s" % (
        row["id"], "ok  " if passed(row) else "FAIL", row["kernels"], len(row["failed"]), len(row["spilled"]),
        len(row["excepted"]), len(row["changes"]), row["host_side"], row["seconds"]))
    print("  %s on %s; at most %s registers, occupancy at least %s; budget: %s" % (
        row["device"], row["driver"], row["max_registers"], row["least_occupancy"], row["budget"]))
    for entry in row["failed"]:
        print("  failed: %s (%s): %s" % (entry["kernel"] or "the run", entry["access"], entry["reason"]))
    for entry in row["spilled"]:
        print("  spilled: %s (%s): %s spills, %s bytes of scratch" % (
            entry["kernel"], entry["access"], entry["spills"], entry["scratch_bytes"]))
    for entry in row["unusable"]:
        if entry["excepted"] is not None:
            print("  cannot run, excepted: %s (%s): %s (%s)" % (
                entry["module"], entry["access"], entry["why"], entry["excepted"]))
    for change in row["changes"][:SHOWN]:
        print("  changed: %s" % budget.sentence(change))
    if len(row["changes"]) > SHOWN:
        print("  changed: %d more (--json has all)" % (len(row["changes"]) - SHOWN))
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(usage=__doc__.replace("%", "%%"))
    parser.add_argument("ids", nargs="*")
    parser.add_argument("--accept", action="store_true")
    parser.add_argument("--access", choices=ACCESSES)
    parser.add_argument("--strength", type=int, default=STRENGTH)
    parser.add_argument("--json")
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "bin", "danaus-compile"))
    arguments = parser.parse_args()
    with open(os.path.join(LAB, "implementations.json"), encoding="utf-8") as file:
        known = [entry["id"] for entry in json.load(file)["implementations"] if entry["kind"] == "compiled"]
    for identity in arguments.ids:
        if identity not in known:
            parser.error("unknown implementation '%s'; the compiled ones are %s" % (identity, ", ".join(known)))
    if arguments.accept and (arguments.access not in (None, "address") or arguments.strength != STRENGTH):
        parser.error("budgets are of the address access and strength %d" % STRENGTH)
    accesses = (arguments.access,) if arguments.access else ACCESSES
    rows = []
    for identity in arguments.ids or known:
        row, accepted = row_of(identity, os.path.realpath(arguments.program), accesses=accesses,
                               strength=arguments.strength)
        rows.append(row)
        print_row(row)
        if arguments.accept and passed(row):
            budget.save(identity, accepted)
        elif arguments.accept:
            print("  not accepted")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)
            file.write("\n")
    return 0 if all(map(passed, rows)) else 1


if __name__ == "__main__":
    sys.exit(main())
