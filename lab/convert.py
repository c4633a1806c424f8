#!/usr/bin/env python3
"""Converts every kernel variant to the Metal Shading Language with SPIRV-Cross, as MoltenVK would on macOS.

A variant is a SPIR-V module of the kernel table with frozen specialization constants: the kernels that the library's
plans choose on the implementations --on (danaus-compile --list names them), or, with --defaults, each module with its
default constants and with every admissible value of each constant once. Each module is converted with its constants
left open too, which is what MoltenVK itself does. The text is looked at; there is no Metal compiler here, so nothing
is compiled. One row of JSON per SPIRV-Cross: that of today (lab/fetch msl), whose source MoltenVK of today carries, and
the host's, Debian 12's. Exit status 1 if a variant fails that the library would offer.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import time

LAB = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(LAB)
sys.path.insert(0, os.path.join(ROOT, "cmake"))
import kernels_spirv  # noqa: E402  (the shader build's reader of SPIR-V)

# MoltenVK 1.2.8 brought SPIRV-Cross 1.3.280, the first one that converts atomics through a device address; a 16-bit
# store is two of them. Before that the quirk moltenvk-address-atomics of runtime/src/quirks.cpp offers no addresses.
BEFORE_ADDRESS_ATOMICS = (1, 3, 280)
ADDRESS_ATOMIC = "No backing variable for atomic operation."
NOT_OFFERED = "not offered where MoltenVK is the driver: before 1.2.8 it has no atomics through device addresses"

FREEZE = ["--freeze-spec-const", "--fold-spec-const-op-composite", "--ccp", "--eliminate-dead-branches",
          "--merge-blocks", "--eliminate-dead-code-aggressive"]
ACCESSES = ("address", "descriptor", "joined")
OPEN_OPCODES = {kernels_spirv.OP_SPEC_TRUE, kernels_spirv.OP_SPEC_FALSE, kernels_spirv.OP_SPEC_CONSTANT,
                kernels_spirv.OP_SPEC_COMPOSITE, 52}

Variant = collections.namedtuple("Variant", "name access spv constants")  # constants is None: left open
Tool = collections.namedtuple("Tool", "id command version msl")


class ConvertError(Exception):
    """A variant cannot be converted, or what came out is not what Metal wants."""


def run(command, data, environment=None):
    done = subprocess.run(command, input=data, capture_output=True, check=False, env=environment)
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").split("\n")
        raise ConvertError("%s: %s" % (os.path.basename(command[0]), lines[0].split("exception: ")[-1]))
    return done.stdout


def upstream(package_version):
    """(1, 3, 239, 0) of Debian's 2021.01.15+1.3.239.0-1."""
    return tuple(int(part) for part in re.split(r"[+-]", package_version)[1].split("."))


def host_tool():
    program = shutil.which("spirv-cross")
    if not program:
        return None
    version = run(["dpkg-query", "--show", "--showformat", "${Version}", "spirv-cross"], b"").decode()
    return Tool("msl-stock", [program], upstream(version), (3, 0))  # the highest that it distinguishes


def current_tool(prefix=os.path.join(ROOT, ".deps", "lab", "spirv-cross")):
    """It is built for a newer C library than the host's, so its own dynamic loader starts it."""
    try:
        with open(os.path.join(prefix, "packages"), encoding="utf-8") as file:
            version = dict(line.split() for line in file)["spirv-cross"]
    except OSError:
        return None
    libraries = [os.path.join(prefix, "usr", "lib", name) for name in os.listdir(os.path.join(prefix, "usr", "lib"))]
    folder, = [name for name in libraries if os.path.isfile(os.path.join(name, "libstdc++.so.6"))]
    loader, = [name for name in os.listdir(folder) if name.startswith("ld-linux")]
    program = os.path.join(prefix, "usr", "bin", "spirv-cross")
    command = [os.path.join(folder, loader), "--library-path", folder, program]
    return Tool("msl", command, upstream(version), (4, 0))  # macOS 26


def spelled(constant):
    if constant["type"] == "bool":
        return "true" if constant["value"] else "false"
    return repr(constant["value"])


def freeze(spv, constants):
    """The module with its constants in place, as bytes."""
    values = " ".join("%d:%s" % (constant["id"], spelled(constant)) for constant in constants)
    command = ["spirv-opt", *(["--set-spec-const-default-value", values] if values else []), *FREEZE, spv, "-o", "-"]
    frozen = run(command, b"")
    left = {opcode for opcode, _ in kernels_spirv.instructions(kernels_spirv.words_of(frozen))} & OPEN_OPCODES
    if left:
        raise ConvertError("spirv-opt left specialization constants open (opcodes %s)" % sorted(left))
    return frozen


def to_msl(tool, spirv):
    """What MoltenVK sets and the command line has: Metal's argument buffers of tier 2."""
    return run([*tool.command, "--msl", "--msl-version", "%d%02d00" % tool.msl, "--msl-argument-buffers",
                "--msl-argument-buffer-tier", "1", "-"], spirv).decode()


def local_size(constants):
    values = {constant["name"]: constant["value"] for constant in constants}
    return tuple(values.get("local_size_" + axis, values.get("local_size", 1) if axis == "x" else 1) for axis in "xyz")


PARAMETER = re.compile(r"(?:constant \w+& |constant spvDescriptorSetBuffer0& )\w+ \[\[buffer\(\d+\)\]\]|"
                       r"u?int3? \w+ \[\[(?:thread|threads|threadgroup)_\w+\]\]|"
                       r"u?int3? \w+ \[\[threadgroups_per_grid\]\]")


def check_msl(text, variant):
    """Throws what the text lacks of being one Metal kernel."""
    kernels = re.findall(r"^kernel \w+ \w+\((.*)\)$", text, re.M)
    if len(kernels) != 1:
        raise ConvertError("%d kernel entries" % len(kernels))
    for parameter in kernels[0].split(", "):
        if not PARAMETER.fullmatch(parameter):
            raise ConvertError("a parameter that is neither a buffer nor an index: " + parameter)
    for stranger in ("#extension", "#version", "OpExt", "unsupported", "unimplemented"):
        if stranger in text:
            raise ConvertError("%r in the text" % stranger)
    if (variant.access != "address") != ("spvDescriptorSetBuffer0" in text):
        raise ConvertError("the operands are not reached by " + variant.access)
    buffers = len(re.findall(r"^    \w.* \[\[id\(\d+\)\]\];$", text, re.M))
    if variant.access == "joined" and buffers != 1:
        raise ConvertError("%d buffers in the argument buffer, joined operands lie in one" % buffers)
    if variant.access == "address" and "reinterpret_cast<device " not in text:
        raise ConvertError("no device address becomes a pointer")
    if variant.constants is None:
        return
    if "function_constant" in text or "SPIRV_CROSS_CONSTANT_ID" in text:
        raise ConvertError("a specialization constant is open")
    size = re.search(r"^constant uint3 gl_WorkGroupSize .*= uint3\(([\du, ]+)\);$", text, re.M)
    found = tuple(int(part.strip().rstrip("u")) for part in size.group(1).split(",")) if size else ()
    if (found * 3 if len(found) == 1 else found) != local_size(variant.constants):
        raise ConvertError("the workgroup size is %s, it should be %s" % (found, local_size(variant.constants)))


def default_variants(table):
    """Each module with its defaults, and with every admissible value of each constant once."""
    for module in table["modules"]:
        defaults = [{**constant, "value": constant["default"]} for constant in module.get("constants", [])]
        choices = [defaults]
        for at, constant in enumerate(defaults):
            choices += [[*defaults[:at], {**constant, "value": value}, *defaults[at + 1:]]
                        for value in constant["values"] if value != constant["default"]]
        for access, code in module["spv"].items():
            for chosen in choices:
                values = ",".join(spelled(constant) for constant in chosen)
                yield Variant("%s %s" % (module["name"], values), access, code["path"], chosen)


def open_variants(table):
    for module in table["modules"]:
        for access, code in module["spv"].items():
            yield Variant(module["name"], access, code["path"], None)


def listed_variants(table, listing):
    """The kernels of one output of `danaus-compile --list`."""
    paths = {(module["name"], access): code["path"]
             for module in table["modules"] for access, code in module["spv"].items()}
    for kernel in listing["kernels"]:
        yield Variant(kernel["name"], kernel["access"], paths[kernel["module"], kernel["access"]], kernel["constants"])


def listing_of(implementation, access, program):
    command = [os.path.join(LAB, "on"), implementation, program, "--list", "--access", access]
    try:
        return json.loads(run(command, b""))
    except (ValueError, OSError, ConvertError) as error:
        sys.exit("convert: no list of kernels from %s on %s: %s" % (program, implementation, error))


def convert_one(tools, variant, keep=None):
    """{tool's id: why it failed, or None}."""
    try:
        if variant.constants is None:
            with open(variant.spv, "rb") as file:
                spirv = file.read()
        else:
            spirv = freeze(variant.spv, variant.constants)
    except (OSError, ConvertError, kernels_spirv.SpirvError) as error:
        return {tool.id: str(error) for tool in tools}
    result = {}
    for tool in tools:
        try:
            text = to_msl(tool, spirv)
            if keep:
                name = re.sub(r"\W+", "-", variant.name) + ("" if variant.constants is not None else "-open")
                with open(os.path.join(keep, "%s.%s.%s.metal" % (name, variant.access, tool.id)), "w",
                          encoding="utf-8") as file:
                    file.write(text)
            check_msl(text, variant)
            result[tool.id] = None
        except ConvertError as error:
            result[tool.id] = str(error)
    return result


def row_of(tool, variants, problems, kernels_of, seconds):
    """The row of one tool; problems[i] is why variants[i] failed, or None."""
    failed, not_offered = [], collections.Counter()
    for variant, why in zip(variants, problems):
        if why:
            known = tool.version < BEFORE_ADDRESS_ATOMICS and variant.access == "address" and ADDRESS_ATOMIC in why
            if known:
                not_offered["%s.%s" % (variant.name.split()[0], variant.access)] += 1
            else:
                name = variant.name + (", constants open" if variant.constants is None else "")
                failed.append({"variant": name, "access": variant.access, "why": why})
    frozen = sum(variant.constants is not None for variant in variants)
    result = "converted only, not compiled: no Metal compiler here"
    if failed:
        result = "failed: %d of %d" % (len(failed), len(variants))
    elif not_offered:
        result += "; %d %s" % (sum(not_offered.values()), NOT_OFFERED)
    return {"id": tool.id, "table": "converted", "tool": "SPIRV-Cross " + ".".join(map(str, tool.version)),
            "msl": "%d.%d" % tool.msl, "kernels_of": kernels_of, "variants": frozen,
            "open_modules": len(variants) - frozen, "failed": failed, "not_offered": not_offered,
            "compiled": False, "result": result, "seconds": seconds}


def convert(tools, variants, kernels_of, jobs=2, keep=None):
    """One row per tool. Converting nothing is a fault, not a success."""
    if not tools or not variants:
        raise ConvertError("no SPIRV-Cross is here (lab/fetch msl)" if not tools else "no variant to convert")
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(lambda variant: convert_one(tools, variant, keep), variants))
    seconds = round(time.monotonic() - started, 1)
    return [row_of(tool, variants, [result[tool.id] for result in results], kernels_of, seconds) for tool in tools]


def distinct(variants):
    return list({(variant.spv, json.dumps(variant.constants)): variant for variant in variants}.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", action="append", metavar="ID", help="whose kernels (lavapipe and honeykrisp-m1)")
    parser.add_argument("--defaults", action="store_true", help="need no danaus-compile")
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help="the build folder")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", metavar="FOLDER", help="leave the Metal texts there")
    arguments = parser.parse_args()
    with open(os.path.join(arguments.build, "generated", "kernels_table.json"), encoding="utf-8") as file:
        table = json.load(file)
    if arguments.keep:
        os.makedirs(arguments.keep, exist_ok=True)
    if arguments.defaults:
        variants, kernels_of = list(default_variants(table)), "the table's constants, one at a time"
    else:
        implementations = arguments.on or ["lavapipe", "honeykrisp-m1"]
        program = os.path.join(arguments.build, "bin", "danaus-compile")
        variants, kernels_of = [], ", ".join(implementations)
        for implementation in implementations:
            for access in ACCESSES:
                variants += listed_variants(table, listing_of(implementation, access, program))
    tools = [tool for tool in (current_tool(), host_tool()) if tool]
    try:
        variants = distinct(variants) + list(open_variants(table))
        rows = convert(tools, variants, kernels_of, arguments.jobs, arguments.keep)
    except ConvertError as error:
        sys.exit("convert: %s" % error)
    for row in rows:
        print(json.dumps(row))
    return 1 if any(row["failed"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
