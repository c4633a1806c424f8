"""Writes the C++ side of the kernel table: a header with one struct per entry, the table, the embedded words."""

import re
import struct

# The namespace of the library's own table, which has the types; tables of other namespaces are its guests.
LIBRARY = "danaus::kernels"
RESERVED = {"Module", "Kernel", "ModuleInfo", "ConstantInfo", "ConstantType"}

CODE_HEADER = """// Generated: one embedded SPIR-V module. No heavy header here: it is compiled once per module.
#pragma once

#include <cstddef>
#include <cstdint>

namespace %s::detail {

struct Code {
    const std::uint32_t* words;
    std::size_t count;
    std::uint32_t reads, writes;
    std::uint32_t (*shared_bytes)(const std::uint32_t* constants);
};

}  // namespace %s::detail
"""

HEADER_TYPES = """
inline constexpr std::size_t max_constants = %(max_constants)d;

enum class ConstantType : std::uint32_t { uint_type, bool_type, float_type };

struct ConstantInfo {
    std::string_view name;
    std::uint32_t id;
    std::span<const std::uint32_t> values;  ///< admissible words; empty = any
    ConstantType type;
};

/// What is known of a module without compiling it. `code` and `absent` are indexed by danaus::Access;
/// where the build has no code, `absent` says why. `reads` and `writes` have one bit per slot. `joined` is the descriptor
/// build with all operands in one binding, for devices that bind fewer buffers than `slots`; empty where none is needed.
struct ModuleInfo {
    std::string_view name, source, summary;
    std::uint32_t slots, push_bytes, reads, writes;
    std::span<const ConstantInfo> constants;
    std::span<const std::string_view> requirements;
    std::array<std::span<const std::uint32_t>, 2> code;
    std::array<std::string_view, 2> absent;
    std::span<const std::uint32_t> joined;
    std::uint32_t (*shared_bytes)(const std::uint32_t* constants);  ///< null: no code
    std::string (*condition)(const std::uint32_t* constants, std::uint32_t subgroup_size);  ///< null: none
};

[[nodiscard]] const ModuleInfo& info(Module module_index);

/// A module with its constants as words, in the order of ModuleInfo::constants; the rest of the array is zero.
struct Kernel {
    Module module;
    std::uint32_t count;
    std::array<std::uint32_t, max_constants> constants;
    /// A module of another table than the library's, which outlives the device; `module` is not looked at then.
    const ModuleInfo* guest = nullptr;
    bool operator==(const Kernel&) const = default;
    [[nodiscard]] std::size_t hash() const noexcept;
};

/// Whether the kernel's module exists, and the module; throws std::invalid_argument when it does not.
[[nodiscard]] bool exists(const Kernel& kernel) noexcept;
[[nodiscard]] const ModuleInfo& info(const Kernel& kernel);

/// Empty, or a sentence that names the constant, the value it has and the values allowed, or the condition among several
/// constants (and the device's subgroup size, where one is given) that does not hold.
[[nodiscard]] std::string check(const Kernel& kernel, std::uint32_t subgroup_size = 0);

/// Invocations of a workgroup along x, y and z: the constants local_size[_x], local_size_y and local_size_z.
[[nodiscard]] std::array<std::uint32_t, 3> workgroup_size(const Kernel& kernel);

/// The value of a constant, null where the kernel's module has none of that name.
[[nodiscard]] const std::uint32_t* find_constant(const Kernel& kernel, std::string_view name);

/// Bytes of shared memory of a workgroup, by the formula that the shader's own declarations are. 0 without code.
[[nodiscard]] std::uint32_t shared_bytes(const Kernel& kernel);
"""

SOURCE_HEAD = """// Generated from kernels.json.
#include <%(header)s>

#include <algorithm>
#include <bit>
#include <iterator>
#include <stdexcept>

#include "code.hpp"

namespace %(namespace)s {

static_assert(static_cast<int>(Access::address) == 0 && static_cast<int>(Access::descriptor) == 1);
"""

SOURCE_ROW = """
// One module, as far as it is a constant; the sizes of the binaries are known to the linker only.
struct Row {
    std::string_view name, source, summary;
    std::uint32_t slots, push_bytes, reads, writes;
    std::span<const ConstantInfo> constants;
    std::span<const std::string_view> requirements;
    std::array<const detail::Code*, 2> code;
    std::array<std::string_view, 2> absent;
    const detail::Code* joined;
    std::string (*condition)(const std::uint32_t* constants, std::uint32_t subgroup_size);
};
"""

SOURCE_TABLE = """
static_assert(std::size(rows) == module_count);

ModuleInfo module_of(const Row& row) {
    ModuleInfo module_info{row.name,  row.source, row.summary,   row.slots,        row.push_bytes, row.reads,
                           row.writes, row.constants, row.requirements, {}, row.absent, {}, nullptr, row.condition};
    // The descriptor build, the last one, shows which slots are used; the address build repeats what it was told.
    for (std::size_t access = 0; access < row.code.size(); ++access) {
        if (const detail::Code* const code = row.code[access]; code != nullptr) {
            module_info.code[access] = {code->words, code->count};
            module_info.reads = code->reads;
            module_info.writes = code->writes;
            module_info.shared_bytes = code->shared_bytes;
        }
    }
    if (row.joined != nullptr) module_info.joined = {row.joined->words, row.joined->count};
    return module_info;
}

const std::array<ModuleInfo, module_count>& table() {
    static const std::array<ModuleInfo, module_count> modules = [] {
        std::array<ModuleInfo, module_count> all{};
        std::ranges::transform(rows, all.begin(), module_of);
        return all;
    }();
    return modules;
}

}  // namespace
"""

SOURCE_FUNCTIONS = """
const ModuleInfo& info(Module module_index) {
    const std::size_t index = static_cast<std::size_t>(module_index);
    if (index >= module_count) throw std::invalid_argument("no kernel module " + std::to_string(index));
    return table()[index];
}

bool exists(const Kernel& kernel) noexcept {
    return kernel.guest != nullptr || static_cast<std::size_t>(kernel.module) < module_count;
}

const ModuleInfo& info(const Kernel& kernel) {
    return kernel.guest != nullptr ? *kernel.guest : info(kernel.module);
}

std::size_t Kernel::hash() const noexcept {
    std::uint64_t state = 14695981039346656037ULL;  // FNV-1a
    const auto mix = [&state](std::uint64_t word) { state = (state ^ word) * 1099511628211ULL; };
    mix(static_cast<std::uint64_t>(module));
    mix(reinterpret_cast<std::uintptr_t>(guest));
    mix(count);
    for (const std::uint32_t word : constants) mix(word);
    return static_cast<std::size_t>(state ^ (state >> 32));
}

namespace {

std::string text(std::uint32_t word, ConstantType type) {
    if (type == ConstantType::float_type) return std::to_string(std::bit_cast<float>(word));
    if (type == ConstantType::bool_type && word < 2) return word != 0 ? "true" : "false";
    return std::to_string(word);
}

}  // namespace

std::string check(const Kernel& kernel, std::uint32_t subgroup_size) {
    if (!exists(kernel)) {
        return "no kernel module " + std::to_string(static_cast<std::size_t>(kernel.module));
    }
    const ModuleInfo& module_info = info(kernel);
    const std::string name(module_info.name);
    if (kernel.count != module_info.constants.size()) {
        return name + " has " + std::to_string(kernel.count) + " constants, it takes " +
               std::to_string(module_info.constants.size());
    }
    for (std::size_t i = 0; i < module_info.constants.size(); ++i) {
        const ConstantInfo& constant = module_info.constants[i];
        const std::uint32_t word = kernel.constants[i];
        if (constant.values.empty() || std::ranges::find(constant.values, word) != constant.values.end()) {
            continue;
        }
        std::string allowed;
        for (const std::uint32_t value : constant.values) {
            allowed += (allowed.empty() ? "" : ", ") + text(value, constant.type);
        }
        return name + ": " + std::string(constant.name) + " is " + text(word, constant.type) + ", allowed are " +
               allowed;
    }
    return module_info.condition != nullptr ? module_info.condition(kernel.constants.data(), subgroup_size)
                                            : std::string();
}

std::array<std::uint32_t, 3> workgroup_size(const Kernel& kernel) {
    std::array<std::uint32_t, 3> size{1, 1, 1};
    const std::span<const ConstantInfo> constants = info(kernel).constants;
    for (std::size_t i = 0; i < constants.size(); ++i) {
        if (constants[i].name == "local_size" || constants[i].name == "local_size_x") size[0] = kernel.constants[i];
        if (constants[i].name == "local_size_y") size[1] = kernel.constants[i];
        if (constants[i].name == "local_size_z") size[2] = kernel.constants[i];
    }
    return size;
}

const std::uint32_t* find_constant(const Kernel& kernel, std::string_view name) {
    const std::span<const ConstantInfo> constants = info(kernel).constants;
    const auto found = std::ranges::find(constants, name, &ConstantInfo::name);
    return found == constants.end() ? nullptr
                                    : &kernel.constants[static_cast<std::size_t>(found - constants.begin())];
}

std::uint32_t shared_bytes(const Kernel& kernel) {
    const ModuleInfo& module_info = info(kernel);
    return module_info.shared_bytes != nullptr ? module_info.shared_bytes(kernel.constants.data()) : 0;
}
"""


def camel(name):
    return "".join(part.capitalize() for part in name.split("_"))


def quoted(text):
    return '"%s"' % text.replace("\\", "\\\\").replace('"', '\\"')


def word_of(value, kind):
    return struct.unpack("<I", struct.pack("<f", value))[0] if kind == "float" else int(value)


def literal(value, kind):
    if kind == "bool":
        return "true" if value else "false"
    return repr(float(value)) + "F" if kind == "float" else "%d" % value + ("U" if value >= 2 ** 31 else "")


def comment_list(constant):
    return "any value" if not constant["values"] else ", ".join(
        literal(value, constant["type"]).rstrip("FU") for value in constant["values"])


def entry_struct(module):
    yield "/// %s" % module["summary"]
    yield "struct %s {" % camel(module["name"])
    for axis, values in module["axes"].items():
        yield "    enum class %s : std::uint32_t { %s };" % (camel(axis), ", ".join(values))
    for axis, values in module["axes"].items():
        yield "    %s %s = %s::%s;" % (camel(axis), axis, camel(axis), values[0])
    for constant in module["constants"]:
        kind = {"uint": "std::uint32_t"}.get(constant["type"], constant["type"])
        yield "    %s %s = %s;  ///< %s" % (kind, constant["name"], literal(constant["default"], constant["type"]),
                                            comment_list(constant))
    yield "    [[nodiscard]] Kernel kernel() const;%s" % (
        "  ///< throws std::invalid_argument for excluded combinations" if module["exclude"] else "")
    yield "};"
    yield ""


def header_of(namespace):
    """The generated header's path as it is included."""
    return namespace.replace("::", "/") + ".hpp"


def header(modules, variants, max_constants, namespace=LIBRARY):
    names = ["    %s," % variant["name"] for variant in variants]
    table = ["enum class Module : std::uint16_t {", *names, "};", "",
             "inline constexpr std::size_t module_count = %d;" % len(variants)]
    lines = ["// Generated from kernels.json.", "#pragma once", ""]
    if namespace != LIBRARY:
        lines += ["#include <%s>" % header_of(LIBRARY), "", "namespace %s {" % namespace, ""]
        lines += ["using %s::%s;" % (LIBRARY, name)
                  for name in ("ConstantInfo", "ConstantType", "Kernel", "ModuleInfo")]
        lines += ["", *table, ""]
    else:
        lines += ["#include <%s>" % name for name in ("array", "cstddef", "cstdint", "functional", "span", "string",
                                                      "string_view")]
        lines += ["", "#include <danaus/runtime/access.hpp>", "", "namespace %s {" % namespace, "", *table]
        lines += (HEADER_TYPES % {"max_constants": max_constants}).splitlines() + [""]
    for module in modules:
        lines += entry_struct(module)
    lines += ["}  // namespace %s" % namespace]
    if namespace == LIBRARY:
        lines += ["", "template <>", "struct std::hash<danaus::kernels::Kernel> {",
                  "    std::size_t operator()(const danaus::kernels::Kernel& kernel) const noexcept {",
                  "        return kernel.hash();", "    }", "};"]
    return "\n".join(lines) + "\n"


def constant_arrays(module):
    name, rows = module["name"], []
    for constant in module["constants"]:
        values = "{}"
        if constant["values"]:
            values = "%s_%s" % (name, constant["name"])
            words = ", ".join("%dU" % word_of(value, constant["type"]) for value in constant["values"])
            yield "constexpr std::uint32_t %s[] = {%s};" % (values, words)
        rows.append('    {"%s", %dU, %s, ConstantType::%s_type},'
                    % (constant["name"], constant["id"], values, constant["type"]))
    if rows:
        yield "constexpr ConstantInfo %s_constants[] = {" % name
        yield from rows
        yield "};"


def requirement_arrays(variants):
    for variant in variants:
        if variant["requires"]:
            yield "constexpr std::string_view %s_requirements[] = {%s};" % (
                variant["name"], ", ".join(map(quoted, variant["requires"])))


def condition_function(module):
    """The conditions among an entry's constants; those that ask for the subgroup size hold where it is not given."""
    if not module["where"]:
        return
    yield "std::string %s_condition([[maybe_unused]] const std::uint32_t* constants," % module["name"]
    yield "                        [[maybe_unused]] std::uint32_t subgroup_size) {"
    for index, constant in enumerate(module["constants"]):
        if any(re.search(r"\b%s\b" % constant["name"], condition) for condition in module["where"]):
            yield "    const std::uint32_t %s = constants[%d];" % (constant["name"], index)
    for condition, cpp in zip(module["where"], module["conditions"]):
        asks = re.search(r"\bsubgroup_size\b", condition)
        yield "    if (%s!%s) {" % ("subgroup_size != 0 && " if asks else "", cpp)
        shown = [c["name"] for c in module["constants"] if re.search(r"\b%s\b" % c["name"], condition)]
        shown += ["subgroup_size"] if asks else []
        values = ' + ", '.join('%s = " + std::to_string(%s)' % (name, name) for name in shown)
        yield '        return "%s: %s does not hold: %s;' % (module["name"], condition, values)
        yield "    }"
    yield "    return {};"
    yield "}"


def table_row(variant):
    module = variant["module"]
    codes = ["nullptr" if absent else "&detail::%s_%s" % (variant["name"], access)
             for access, absent in zip(("address", "descriptor"), variant["absent"])]
    return "    {%s, %s, %s,\n     %dU, %dU, %dU, %dU, %s, %s,\n     {%s},\n     {%s},\n     %s, %s}," % (
        quoted(variant["name"]), quoted(module["source"]), quoted(module["summary"]), module["slots"],
        module["push_bytes"], variant["reads"], variant["writes"],
        "values_of::%s_constants" % module["name"] if module["constants"] else "{}",
        "values_of::%s_requirements" % variant["name"] if variant["requires"] else "{}",
        ", ".join(codes), ", ".join(map(quoted, variant["absent"])),
        "&detail::%s_joined" % variant["name"] if variant["joined"] else "nullptr",
        "values_of::%s_condition" % module["name"] if module["where"] else "nullptr")


def kernel_function(module, names, guest):
    struct_name = camel(module["name"])
    yield "Kernel %s::kernel() const {" % struct_name
    if module["axes"]:
        index = "std::size_t{0}"
        for axis, values in module["axes"].items():
            yield "    if (static_cast<std::size_t>(%s) >= %d) {" % (axis, len(values))
            yield "        throw std::invalid_argument(\"%s: %s has no value \" +" % (module["name"], axis)
            yield "                                    std::to_string(static_cast<std::size_t>(%s)));" % axis
            yield "    }"
            yield "    constexpr std::string_view names_of_%s[] = {%s};" % (axis, ", ".join(map(quoted, values))) \
                if None in names else ""
            index = "(%s) * %d + static_cast<std::size_t>(%s)" % (index, len(values), axis)
        yield "    constexpr std::uint32_t none = 0xFFFFFFFFU;"
        yield "    constexpr std::uint32_t modules[] = {%s};" % ", ".join(
            "static_cast<std::uint32_t>(Module::%s)" % name if name else "none" for name in names)
        yield "    const std::uint32_t chosen = modules[%s];" % index
        if None in names:
            described = ' + ", " + '.join('"%s = " + std::string(names_of_%s[static_cast<std::size_t>(%s)])'
                                          % (axis, axis, axis) for axis in module["axes"])
            yield "    if (chosen == none) {"
            yield "        throw std::invalid_argument(std::string(\"%s has no kernel for \") + %s);" % (
                module["name"], described)
            yield "    }"
        else:
            yield "    static_assert(std::ranges::find(modules, none) == std::ranges::end(modules));"
        first = "static_cast<Module>(chosen)"
    else:
        first = "Module::" + names[0]
    words = []
    for constant in module["constants"]:
        words.append({"uint": "%s", "bool": "std::uint32_t{%s}",
                      "float": "std::bit_cast<std::uint32_t>(%s)"}[constant["type"]] % constant["name"])
    if guest:
        yield "    return {%s::Module{}, %dU, {%s}, &table()[static_cast<std::size_t>(%s)]};" % (
            LIBRARY, len(words), ", ".join(words), first)
    else:
        yield "    return {%s, %dU, {%s}};" % (first, len(words), ", ".join(words))
    yield "}"
    yield ""


def source(modules, variants, variants_of, namespace=LIBRARY):
    guest = namespace != LIBRARY
    head = SOURCE_HEAD % {"namespace": namespace, "header": header_of(namespace)}
    lines = head.splitlines() + ["", "namespace detail {", ""]
    for variant in variants:
        for access, absent in zip(("address", "descriptor"), variant["absent"]):
            if not absent:
                lines.append("extern const Code %s_%s;" % (variant["name"], access))
        if variant["joined"]:
            lines.append("extern const Code %s_joined;" % variant["name"])
    lines += ["", "}  // namespace detail", "", "namespace {", "", "namespace values_of {", ""]
    for module in modules:
        lines += constant_arrays(module)
        lines += condition_function(module)
    lines += requirement_arrays(variants)
    lines += ["", "}  // namespace values_of"] + SOURCE_ROW.splitlines() + ["constexpr Row rows[] = {"]
    lines += [table_row(variant) for variant in variants]
    lines += ["};"] + SOURCE_TABLE.splitlines() + [""]
    lines += [] if guest else SOURCE_FUNCTIONS.splitlines() + [""]
    for module in modules:
        lines += kernel_function(module, [name for name, _ in variants_of(module)], guest)
    lines += ["}  // namespace %s" % namespace]
    return "\n".join(lines) + "\n"


def code(symbol, words, reads, writes, shared_bytes, namespace=LIBRARY):
    lines = ["// Generated: embedded SPIR-V.", '#include "code.hpp"', "", "namespace %s::detail {" % namespace, "",
             "namespace {", "constexpr std::uint32_t words[] = {"]
    for at in range(0, len(words), 12):
        lines.append("    " + ", ".join("%#x" % word for word in words[at:at + 12]) + ",")
    lines += ["};", "", "std::uint32_t shared_bytes([[maybe_unused]] const std::uint32_t* constants) {",
              "    return %s;" % shared_bytes, "}", "}  // namespace", "", "extern const Code %s;" % symbol,
              "const Code %s{words, %dU, %#xU, %#xU, shared_bytes};" % (symbol, len(words), reads, writes), "",
              "}  // namespace %s::detail" % namespace]
    return "\n".join(lines) + "\n"
