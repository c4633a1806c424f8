"""The shader build: reads kernels.json, compiles and checks each module, generates the typed kernel table.

    kernels.py plan     reads the table, asks the compiler what it supports, writes the C++ table and one
                        specification file per SPIR-V module (when configuring)
    kernels.py compile  SPEC: one module: compile, check against the table, validate, embed (when building)
    kernels.py list     writes kernels_table.json for other tools from what was compiled (when building)

kernels.json: {"modules": [entry...], "probes": {...}}. An entry has
    name, source, summary   lower_case; path from the JSON's folder; one line
    slots, push_bytes       buffer operands (1 to 8); bytes of the push block, which begins with uvec2 ref[slots]
    axes                    {"weight": ["dense", "sparse24"]}: one module per combination, named name_value_value,
                            compiled with -DWEIGHT_DENSE; exclude lists combinations that do not exist
    constants               {"name", "id", "type": uint | bool | float, "values": [...] (none: any), "default"};
                            the name is the shader's in lower case, the local size is local_size[_x|_y|_z]
    access                  ["address", "descriptor"]: compiled once for each, with -DACCESS_... and -DSLOTS=...; with
                            more than 4 slots, which is all that Vulkan promises to bind, a third time ("joined") with
                            all operands in one binding
    where                   conditions on the constants beyond their lists, as Python writes them with names, whole numbers,
                            and, or, not, comparisons and + - * // % & |; subgroup_size is that of the device
    reads, writes           slot lists; needed without a descriptor build, which otherwise shows them; checked if given
    requires, extensions    what the device must have, for the runtime; GLSL extensions the compiler must know
    axis_needs              {"element": {"bf16": {"requires": [...], "extensions": [...]}}}: those of one axis value
    optimize                false turns the SPIR-V optimizer off
    target                  the Vulkan version whose SPIR-V it is written in; "vulkan1.1"
"probes" gives, for an extension, the lines of a tiny shader that uses it, to ask compilers and validators with. Each
module is built by the first compiler that knows its extensions; without any it stays in the table, without code.

A table of another namespace than the library's is its guest: it has kernels, and the library's types and functions.

Only the python standard library is used. Configuring rewrites a file only when its content changed.
"""

import argparse
import ast
import collections
import itertools
import json
import os
import re
import subprocess
import sys

import kernels_cpp
import kernels_spirv
import kernels_tools

ACCESSES = ("address", "descriptor")
MAX_SLOTS, MAX_PUSH_BYTES, MAX_CONSTANTS = 8, 128, 24
GUARANTEED_SLOTS = 4  # maxPerStageDescriptorStorageBuffers is at least this
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*\Z")
CPP_WORDS = set("""alignas alignof and asm auto bitand bitor bool break case catch char class compl concept const
    continue decltype default delete do double else enum explicit export extern false float for friend goto if inline
    int long mutable namespace new noexcept not nullptr operator or private protected public register requires return
    short signed sizeof static struct switch template this throw true try typedef typeid typename union unsigned using
    virtual void volatile while xor module import kernel
    std modules chosen none""".split())  # the last lines: names the generated functions use themselves
MODULE_KEYS = {"name", "source", "summary", "slots", "push_bytes", "axes", "axis_needs", "exclude", "requires",
               "extensions", "constants", "access", "optimize", "reads", "writes", "where", "target"}
CONDITION_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "/", ast.Mod: "%", ast.BitAnd: "&",
                       ast.BitOr: "|", ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">",
                       ast.GtE: ">="}
CONSTANT_KEYS = {"name", "id", "type", "values", "default"}


class TableError(Exception):
    """kernels.json says something it may not say."""


def need(condition, message):
    if not condition:
        raise TableError(message)


def check_name(name, where):
    need(isinstance(name, str) and NAME.match(name) and name not in CPP_WORDS,
         "%s: %r is not a usable name (lower case, digits, single underscores, no C++ keyword)" % (where, name))


def is_admissible(value, kind):
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "uint":
        return type(value) is int and 0 <= value < 2 ** 32
    return type(value) in (int, float)


def check_constant(constant, where):
    need(set(constant) <= CONSTANT_KEYS, "%s: unknown keys %s" % (where, sorted(set(constant) - CONSTANT_KEYS)))
    check_name(constant.get("name"), where)
    where += "." + constant["name"]
    need(type(constant.get("id")) is int and constant["id"] >= 0, where + ": id must be a number from 0")
    need(constant.get("type") in ("uint", "bool", "float"), where + ": type must be uint, bool or float")
    values = constant.setdefault("values", [])
    if constant["type"] == "bool" and not values:
        values += [False, True]
    need("default" in constant or values, where + ": any value is admitted, so a default is needed")
    constant.setdefault("default", values[0] if values else None)
    for value in [*values, constant["default"]]:
        need(is_admissible(value, constant["type"]), "%s: %r is not a %s" % (where, value, constant["type"]))
    need(len(set(values)) == len(values), where + ": a value is listed twice")
    need(not values or constant["default"] in values,
         "%s: the default %r is not admitted" % (where, constant["default"]))


def condition_to_cpp(condition, names, where):
    """A condition of kernels.json as C++ with every operation in parentheses."""
    def translate(node):
        if isinstance(node, ast.BoolOp):
            return "(%s)" % ((" && " if isinstance(node.op, ast.And) else " || ").join(map(translate, node.values)))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return "(!%s)" % translate(node.operand)
        if isinstance(node, ast.BinOp) and type(node.op) in CONDITION_OPERATORS:
            return "(%s %s %s)" % (translate(node.left), CONDITION_OPERATORS[type(node.op)], translate(node.right))
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in CONDITION_OPERATORS:
            return "(%s %s %s)" % (translate(node.left), CONDITION_OPERATORS[type(node.ops[0])],
                                   translate(node.comparators[0]))
        if isinstance(node, ast.Name):
            need(node.id in names, "%s: %r names no uint or bool constant: %s" % (where, condition, node.id))
            return node.id
        if isinstance(node, ast.Constant) and type(node.value) is int and 0 <= node.value < 2 ** 32:
            return "%dU" % node.value
        raise TableError("%s: %r has something else than names, whole numbers, and, or, not, comparisons of two and "
                         "+ - * // %% & |" % (where, condition))

    need(isinstance(condition, str) and condition.strip(), where + ": a condition must be text")
    try:
        return translate(ast.parse(condition.strip(), mode="eval").body)
    except SyntaxError as error:
        raise TableError("%s: %r is not an expression: %s" % (where, condition, error.msg)) from error


def check_module(module, root):
    check_name(module.get("name"), "modules")
    where = module["name"]
    need(set(module) <= MODULE_KEYS, "%s: unknown keys %s" % (where, sorted(set(module) - MODULE_KEYS)))
    for key in ("source", "summary"):
        need(isinstance(module.get(key), str) and module[key] and "\n" not in module[key],
             "%s: %s must be one line of text" % (where, key))
    need(os.path.isfile(os.path.join(root, module["source"])), "%s: no file %s" % (where, module["source"]))
    slots, push = module.get("slots"), module.get("push_bytes")
    need(type(slots) is int and 1 <= slots <= MAX_SLOTS,
         "%s: slots is %r, allowed are 1 to %d" % (where, slots, MAX_SLOTS))
    need(type(push) is int and push % 4 == 0 and 8 * slots <= push <= MAX_PUSH_BYTES,
         "%s: push_bytes is %r, allowed are %d to %d in steps of 4" % (where, push, 8 * slots, MAX_PUSH_BYTES))
    for key, default in (("axes", {}), ("axis_needs", {}), ("exclude", []), ("requires", []), ("extensions", []),
                         ("constants", []), ("access", list(ACCESSES)), ("optimize", True), ("where", []),
                         ("target", "vulkan1.1")):
        need(isinstance(module.setdefault(key, default), type(default)),
             "%s: %s must be a %s" % (where, key, type(default).__name__))
    need(module["access"] and set(module["access"]) <= set(ACCESSES),
         "%s: access must be of %s" % (where, list(ACCESSES)))
    for axis, needs in module["axis_needs"].items():
        for value, lists in needs.items():
            need(value in module["axes"].get(axis, ()),
                 "%s: axis_needs names %s %s, no axis value" % (where, axis, value))
            need(set(lists) <= {"requires", "extensions"} and all(type(some) is list for some in lists.values()),
                 "%s: axis_needs has lists called requires and extensions" % where)
    for _, axes in variants_of(module):
        for requirement in needs_of(module, axes, "requires"):
            check_name(requirement, where + ".requires")
    for key in ("reads", "writes"):
        if key in module:
            need(set(module[key]) <= set(range(slots)), "%s: %s names a slot outside 0 to %d" % (where, key, slots - 1))
        need(key in module or "descriptor" in module["access"],
             "%s: %s must list the slots, since no descriptor build shows them" % (where, key))

    members = [*module["axes"]]
    for axis, values in module["axes"].items():
        check_name(axis, where + ".axes")
        need(axis not in (where, "access"), "%s: an axis may not be called %s" % (where, axis))
        need(values and len(set(values)) == len(values), "%s.%s: values must be distinct" % (where, axis))
        for value in values:
            check_name(value, "%s.%s" % (where, axis))
    for rule in module["exclude"]:
        need(rule and all(value in module["axes"].get(axis, ()) for axis, value in rule.items()),
             "%s: exclude %r names no axis value" % (where, rule))
    for constant in module["constants"]:
        check_constant(constant, where)
        members.append(constant["name"])
    need(len(set(members)) == len(members), "%s: a constant or axis is named twice" % where)
    ids = [constant["id"] for constant in module["constants"]]
    need(len(set(ids)) == len(ids), "%s: two constants share an id" % where)
    need("subgroup_size" not in members, "%s: subgroup_size is the device's, not a constant" % where)
    known = {"subgroup_size", *(c["name"] for c in module["constants"] if c["type"] != "float")}
    module["conditions"] = [condition_to_cpp(condition, known, where + ".where") for condition in module["where"]]
    need(len(ids) <= MAX_CONSTANTS, "%s: %d constants, allowed are %d" % (where, len(ids), MAX_CONSTANTS))


def variants_of(module):
    """(full name, axis values) of each combination of axis values; None as a name where it is excluded."""
    for values in itertools.product(*module["axes"].values()):
        chosen = dict(zip(module["axes"], values))
        excluded = any(all(chosen[axis] == value for axis, value in rule.items()) for rule in module["exclude"])
        yield (None if excluded else "_".join([module["name"], *values])), chosen


def needs_of(module, axes, key):
    """What the combination of axis values requires, or its extensions."""
    return module[key] + [some for axis, value in axes.items()
                          for some in module["axis_needs"].get(axis, {}).get(value, {}).get(key, [])]


def read_table(path):
    with open(path, encoding="utf-8") as file:
        try:
            modules = json.load(file)["modules"]
        except (ValueError, KeyError, TypeError) as error:
            raise TableError("not a kernel table: %s" % error) from error
    seen, structs = {}, {}
    for module in modules:
        check_module(module, os.path.dirname(path))
        struct = kernels_cpp.camel(module["name"])
        need(struct not in kernels_cpp.RESERVED and structs.setdefault(struct, module["name"]) == module["name"],
             "%s: its struct %s has the name of another one" % (module["name"], struct))
        for name, _ in variants_of(module):
            need(name is None or name not in seen, "%s: %s is already a module" % (module["name"], name))
            seen[name] = module
    need(modules and any(seen), "the table is empty")
    return modules


def write_if_changed(path, text):
    if os.path.isfile(path):
        with open(path, encoding="utf-8") as file:
            if file.read() == text:
                return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def toolchains_of(arguments, modules, bodies):
    extensions = sorted({(some, module["target"]) for module in modules for _, axes in variants_of(module)
                         for some in needs_of(module, axes, "extensions")})
    validators = [*arguments.spirv_val, *[""] * len(arguments.glslc)]
    return extensions, [kernels_tools.Toolchain(glslc, validator, extensions, bodies)
                        for glslc, validator in zip(arguments.glslc, validators)]


def mask(slots):
    return None if slots is None else sum(1 << slot for slot in slots)


def plan(arguments):
    path, out = os.path.abspath(arguments.json), arguments.out
    modules = read_table(path)
    with open(path, encoding="utf-8") as file:
        bodies = json.load(file).get("probes", {})
    extensions, toolchains = toolchains_of(arguments, modules, bodies)

    specs, variants, lacking = {}, [], 0
    for module in modules:
        for name, axes in variants_of(module):
            if name is None:
                continue
            absent, needed = [], [(some, module["target"]) for some in needs_of(module, axes, "extensions")]
            chain = kernels_tools.choose(toolchains, needed)
            missing = "" if chain else "; ".join("glslc %s lacks %s" % (one.version, ", ".join(one.lacks(needed)))
                                                 for one in toolchains)
            joined = not missing and "descriptor" in module["access"] and module["slots"] > GUARANTEED_SLOTS
            for access in [*ACCESSES, *(["joined"] if joined else [])]:
                reason = missing
                if access in ACCESSES:
                    if access not in module["access"]:
                        reason = "the module reaches memory by %s only" % module["access"][0]
                    absent.append(reason)
                if reason:
                    continue
                macros = ["ACCESS_DESCRIPTOR", "JOINED"] if access == "joined" else ["ACCESS_" + access.upper()]
                macros.append("SLOTS=%d" % module["slots"])
                macros += ["%s_%s" % (axis.upper(), value.upper()) for axis, value in axes.items()]
                specs[name + "." + access] = {
                    "module": name, "entry": module["name"], "axes": axes, "access": access,
                    "source": os.path.join(os.path.dirname(path), module["source"]),
                    "includes": arguments.include, "macros": macros, "optimize": module["optimize"],
                    "target": module["target"], "extensions": [extension for extension, _ in needed],
                    "requires": needs_of(module, axes, "requires"),
                    "slots": module["slots"], "push_bytes": module["push_bytes"], "constants": module["constants"],
                    "namespace": arguments.namespace,
                    "reads": mask(module.get("reads")), "writes": mask(module.get("writes")),
                    "glslc": chain.glslc, "glslc_version": chain.version,
                    "validator": chain.spirv_val if chain.validates(needed) else "",
                }
            lacking += bool(missing)
            variants.append({"name": name, "module": module, "requires": needs_of(module, axes, "requires"),
                             "absent": absent, "joined": joined,
                             "reads": mask(module.get("reads")) or 0, "writes": mask(module.get("writes")) or 0})

    folder = os.path.join(out, "shaders", "spec")
    for stem, spec in specs.items():
        write_if_changed(os.path.join(folder, stem + ".json"), json.dumps(spec, indent=1) + "\n")
    for file in os.listdir(folder) if os.path.isdir(folder) else []:
        if file[:-len(".json")] not in specs:
            os.remove(os.path.join(folder, file))
    space = arguments.namespace
    write_if_changed(os.path.join(out, kernels_cpp.header_of(space)),
                     kernels_cpp.header(modules, variants, MAX_CONSTANTS, space))
    write_if_changed(os.path.join(out, "shaders", "code.hpp"), kernels_cpp.CODE_HEADER % (space, space))
    write_if_changed(os.path.join(out, "shaders", "kernels.cpp"),
                     kernels_cpp.source(modules, variants, variants_of, space))
    write_if_changed(os.path.join(out, "shaders", "absent.json"), json.dumps(
        {v["name"]: dict(zip(ACCESSES, v["absent"])) for v in variants}, indent=1) + "\n")
    write_if_changed(os.path.join(out, "shaders", "plan.cmake"), "set(danaus_kernel_stems\n%s)\n"
                     % "".join("    %s\n" % stem for stem in specs))

    used = collections.Counter(spec["glslc_version"] for spec in specs.values())
    print("kernels: %d entries, %d modules, %d SPIR-V binaries with %s" % (
        len(modules), len(variants), len(specs),
        ", ".join("glslc %s%s" % (version, " (%d)" % count if len(used) > 1 else "")
                  for version, count in used.items())))
    lines = {}
    for extension, target in extensions:
        chain = kernels_tools.choose(toolchains, [(extension, target)])
        versions = ", ".join(one.version for one in toolchains)
        line = ("glslc %s lacks it" % versions if not chain else
                "supported by glslc " + chain.version if chain.validates([(extension, target)]) else
                "supported, but spirv-val rejects it: modules that use it are not validated")
        lines["kernels: %s: %s" % (extension, line)] = None
    print("".join(line + "\n" for line in lines), end="")
    if lacking:
        print("kernels: %d modules stay without code" % lacking)


def compile_module(arguments):
    with open(arguments.spec, encoding="utf-8") as file:
        spec = json.load(file)
    stem = arguments.out
    spv, debug = stem + ".spv", stem + ".debug.spv"
    for old in (spv, debug):
        if os.path.exists(old):
            os.remove(old)  # so that a failure can never leave a binary that looks up to date
    # -g keeps the names that the checks need; they are stripped before the module is embedded.
    command = [spec["glslc"], "--target-env=" + spec["target"], "-fshader-stage=compute", "-Werror", "-g",
               *(["-O"] if spec["optimize"] else []), *("-D" + macro for macro in spec["macros"]),
               *itertools.chain(*(("-I", folder) for folder in spec["includes"])),
               "-MD", "-MF", stem + ".d", "-MT", spv, "-o", debug, spec["source"]]
    if subprocess.run(command, check=False).returncode:
        sys.exit("%s (%s): does not compile: %s" % (spec["module"], spec["access"], " ".join(command)))
    with open(debug, "rb") as file:
        words = kernels_spirv.words_of(file.read())
    try:
        reads, writes, members = kernels_spirv.check(words, spec)
    except kernels_spirv.SpirvError as error:
        sys.exit("\n".join("%s (%s): %s" % (spec["module"], spec["access"], line) for line in str(error).splitlines()))
    stripped = kernels_spirv.strip(words)
    with open(debug, "wb") as file:
        file.write(b"".join(word.to_bytes(4, "little") for word in stripped))
    validate = [spec["validator"], "--target-env", spec["target"], debug]
    if spec["validator"] and subprocess.run(validate, check=False).returncode:
        sys.exit("%s (%s): spirv-val rejects it" % (spec["module"], spec["access"]))
    report = {key: spec[key] for key in ("module", "entry", "axes", "access", "extensions", "requires", "slots",
                                         "push_bytes", "constants")}
    report.update(spv=os.path.abspath(spv), bytes=4 * len(stripped), reads=reads, writes=writes, push=members)
    with open(stem + ".json", "w", encoding="utf-8") as file:
        json.dump(report, file)
    with open(stem + ".cpp", "w", encoding="utf-8") as file:
        file.write(kernels_cpp.code(spec["module"] + "_" + spec["access"], stripped, reads, writes,
                                    kernels_spirv.shared_bytes(words, spec["constants"]), spec["namespace"]))
    os.replace(debug, spv)


def list_modules(arguments):
    with open(arguments.absent, encoding="utf-8") as file:
        absent = json.load(file)
    table = {}
    for name in absent:
        table[name] = {"name": name, "absent": {access: why for access, why in absent[name].items() if why}, "spv": {}}
    for path in arguments.reports:
        with open(path, encoding="utf-8") as file:
            report = json.load(file)
        entry = table[report.pop("module")]
        entry["spv"][report.pop("access")] = {"path": report.pop("spv"), "bytes": report.pop("bytes")}
        # Only the descriptor build, which is the second, can show which slots are used.
        if "entry" not in entry or list(entry["spv"])[-1] == "descriptor":
            entry.update(report)
    with open(arguments.out, "w", encoding="utf-8") as file:
        json.dump({"modules": list(table.values())}, file, indent=1)
        file.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("plan")
    verb.add_argument("--json", required=True)
    verb.add_argument("--out", required=True)
    verb.add_argument("--glslc", action="append", required=True, help="the first that knows a module builds it")
    verb.add_argument("--spirv-val", action="append", default=[], help="the validator of each compiler, or nothing")
    verb.add_argument("--include", action="append", default=[])
    verb.add_argument("--namespace", default=kernels_cpp.LIBRARY)
    verb.set_defaults(run=plan)
    verb = verbs.add_parser("compile")
    verb.add_argument("spec")
    verb.add_argument("--out", required=True, help="the path of the outputs without their endings")
    verb.set_defaults(run=compile_module)
    verb = verbs.add_parser("list")
    verb.add_argument("--absent", required=True)
    verb.add_argument("--out", required=True)
    verb.add_argument("reports", nargs="*")
    verb.set_defaults(run=list_modules)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except TableError as error:
        sys.exit("%s: %s" % (getattr(arguments, "json", "kernels"), error))


if __name__ == "__main__":
    main()
