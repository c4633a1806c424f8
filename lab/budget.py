"""What drivers say of compiled kernels, under one set of names, and its comparison with what was accepted before.

A budget, lab/budget/ID.json, has one line per kernel: short name -> [registers, spills, shared bytes, instructions].
"""
import fnmatch
import json
import os

FOLDER = os.path.join(os.path.dirname(os.path.realpath(__file__)), "budget")
COLUMNS = ("registers", "spills", "shared_bytes", "instructions")
DRIFT = 0.10
# A driver's name -> its name of a statistic -> ours. spills and scratch_bytes have to be 0. `spills` counts registers
# or instructions, as the driver does; scalar_spills are added to it. Registers are in the driver's own unit: of one
# lane, on Adreno vectors of four.
NAMES = {
    "radv": {"VGPRs": "registers", "SGPRs": "scalar_registers", "Spilled VGPRs": "spills",
             "Spilled SGPRs": "scalar_spills", "Scratch size": "scratch_bytes", "LDS size": "shared_bytes",
             "Instructions": "instructions", "Subgroups per SIMD": "occupancy"},
    # A spill to a register keeps a uniform register or predicate in an ordinary one: no memory, no fault.
    "NVK": {"Number of GPRs": "registers", "Spills to memory": "spills", "Spills to reg": "spills_to_registers",
            "SLM size": "scratch_bytes", "Instruction count": "instructions", "Max warps/SM": "occupancy"},
    "Honeykrisp": {"GPRs": "registers", "Uniforms": "scalar_registers", "Spills": "spills",
                   "Scratch": "scratch_bytes", "Instructions": "instructions", "Threads": "occupancy"},
    "turnip Mesa driver": {"Registers used": "registers", "Half-registers used": "half_registers",
                           "STP Count": "spills", "LDP Count": "fills", "Instruction Count": "instructions",
                           "Max Waves Per Core": "occupancy"},
    # A compute pipeline is one executable: of the SIMD widths that were compiled, the one the driver runs. Registers are
    # an estimate, of 32 bytes, of those alive at once at that width: a thread has 128, from Xe2 on 256, and more by a few
    # may still fit. The driver tells no occupancy.
    "Intel open-source Mesa driver": {"Max live registers": "registers", "Spills": "spills", "Fills": "fills",
                                      "Scratch Memory Size": "scratch_bytes", "Instructions": "instructions",
                                      "Workgroup Memory Size": "shared_bytes", "Max dispatch width": "simd_width"},
}


def normalise(driver, results):
    """({kernel: {our name: value}}, what is missing) of danaus-compile's lines of one run."""
    names = NAMES.get(driver)
    if names is None:
        unknown = "no names are known for the statistics of driver '%s'; see lab/budget.py" % driver
        return {}, [unknown] if results else []
    table, missing = {}, set()
    for line in results:
        values = {}
        for executable in line.get("executables", []):
            for name, value in executable["statistics"].items():
                if name in names:
                    values[names[name]] = max(value, values.get(names[name], value))
        missing |= {name for name, ours in names.items() if ours not in values}
        if "scalar_spills" in values:
            values["spills"] = values.get("spills", 0) + values["scalar_spills"]
        table[line["kernel"]] = values
    return table, ["the driver tells no '%s'" % name for name in sorted(missing)]


def exceptions(folder=FOLDER):
    path = os.path.join(folder, "exceptions.json")
    if not os.path.isfile(path):
        return []
    with open(path, encoding="utf-8") as file:
        entries = json.load(file)
    for entry in entries:
        if not all(entry.get(key) for key in ("implementations", "module", "reason")):
            raise ValueError("%s: an exception needs implementations, module and reason: %r" % (path, entry))
    return entries


def optional(why):
    """Why a module that cannot run is no fault: it is written for matrix units, and every product has other kernels, or
    for f64, which decompositions take only when they are asked to."""
    lacking = ("the device lacks cooperative_matrix_", "the device lacks workgroup_matrix_",
               "no plan chooses its matrix units")
    if why.startswith(lacking):
        return "matrix units are optional"
    return "f64 is optional" if why.startswith("the device lacks shader_float64") else None


def excuse(identity, module, folder=FOLDER):
    """Why `module` may spill, or be unable to run, on the implementation; None: it may not."""
    return next((entry["reason"] for entry in exceptions(folder) if fnmatch.fnmatch(identity, entry["implementations"])
                 and fnmatch.fnmatch(module, entry["module"])), None)


def spills(identity, table, folder=FOLDER):
    """(kernels that spill or use scratch memory, those of them that an exception covers)"""
    bad, excepted = [], []
    for kernel, values in table.items():
        entry = {"kernel": kernel, "spills": values.get("spills", 0), "scratch_bytes": values.get("scratch_bytes", 0)}
        if not entry["spills"] and not entry["scratch_bytes"]:
            continue
        reason = excuse(identity, kernel.split(" ")[0], folder)
        if reason is None:
            bad.append(entry)
        else:
            excepted.append(dict(entry, reason=reason))
    return bad, excepted


def of_run(driver, device, compiler, table):
    return {"driver": driver, "device": device, "compiler": compiler, "columns": list(COLUMNS),
            "kernels": {kernel: [values.get(column) for column in COLUMNS] for kernel, values in table.items()}}


def load(identity, folder=FOLDER):
    path = os.path.join(folder, identity + ".json")
    if not os.path.isfile(path):
        return None
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def save(identity, run, folder=FOLDER):
    os.makedirs(folder, exist_ok=True)
    head = [" %s: %s" % (json.dumps(key), json.dumps(run[key])) for key in ("driver", "device", "compiler", "columns")]
    lines = ["  %s: %s" % (json.dumps(kernel), json.dumps(values)) for kernel, values in run["kernels"].items()]
    with open(os.path.join(folder, identity + ".json"), "w", encoding="utf-8") as file:
        file.write("{\n%s,\n \"kernels\": {\n%s\n }\n}\n" % (",\n".join(head), ",\n".join(lines)))


def between(old, new):
    """"Mesa 1 → 2" of "NVK, Mesa 1" and "NVK, Mesa 2"."""
    a, b = old.split(), new.split()
    same = 0
    while same < min(len(a), len(b)) - 1 and a[same] == b[same]:
        same += 1
    return "%s → %s" % (" ".join(a[max(0, same - 1):]), " ".join(b[same:]))


def compare(old, new):
    """(how the two stand to each other in a few words, changes)"""
    if old is None:
        return "none accepted yet", []
    if old["device"] != new["device"]:
        return "of another chip (%s, now %s), not compared" % (old["device"], new["device"]), []
    if old["columns"] != new["columns"]:
        return "of other columns, not compared", []
    # An update of the driver is when drift is to be seen.
    across = [between(old[key], new[key]) for key in ("driver", "compiler") if old[key] != new[key]]
    changes, fresh = [], 0
    for kernel, values in new["kernels"].items():
        before = old["kernels"].get(kernel)
        if before is None:
            fresh += 1
            continue
        for column in ("registers", "instructions"):
            a, b = (dict(zip(new["columns"], row)).get(column) for row in (before, values))
            if a is not None and b is not None and abs(b - a) > DRIFT * a:
                changes.append({"kernel": kernel, "what": column, "before": a, "now": b})
    gone = sum(1 for kernel in old["kernels"] if kernel not in new["kernels"])
    # A changed plan brings other combinations of constants: no drift, but a budget to accept again.
    text = "compared" + (" across " + ", ".join(across) if across else "")
    return text + (", %d kernels new, %d gone" % (fresh, gone) if fresh or gone else ""), changes


def sentence(change):
    return "%s: %s %s -> %s (%+.0f %%)" % (change["kernel"], change["what"], change["before"], change["now"],
                                          100.0 * (change["now"] - change["before"]) / max(1, change["before"]))
