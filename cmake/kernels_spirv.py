"""Reads SPIR-V binaries: what the kernel table claims is checked against what the compiler produced."""

import struct

MAGIC = 0x07230203

# Opcodes and enumerants of the SPIR-V specification, only those that are read here.
OP_SOURCE_CONTINUED, OP_SOURCE, OP_SOURCE_EXTENSION, OP_NAME, OP_MEMBER_NAME, OP_STRING, OP_LINE = range(2, 9)
OP_EXTENSION, OP_EXT_INST_IMPORT, OP_EXT_INST = 10, 11, 12
OP_TYPE_BOOL, OP_TYPE_INT, OP_TYPE_FLOAT, OP_TYPE_VECTOR, OP_TYPE_MATRIX = 20, 21, 22, 23, 24
OP_TYPE_ARRAY, OP_TYPE_RUNTIME_ARRAY, OP_TYPE_STRUCT, OP_TYPE_POINTER = 28, 29, 30, 32
OP_CONSTANT, OP_SPEC_TRUE, OP_SPEC_FALSE, OP_SPEC_CONSTANT, OP_SPEC_COMPOSITE, OP_SPEC_OP = 43, 48, 49, 50, 51, 52
OP_VARIABLE, OP_DECORATE, OP_MEMBER_DECORATE, OP_NO_LINE, OP_MODULE_PROCESSED = 59, 71, 72, 317, 330
DECORATION_SPEC_ID, DECORATION_ARRAY_STRIDE, DECORATION_MATRIX_STRIDE, DECORATION_BUILT_IN = 1, 6, 7, 11
DECORATION_NON_WRITABLE, DECORATION_NON_READABLE = 24, 25
DECORATION_BINDING, DECORATION_SET, DECORATION_OFFSET = 33, 34, 35
BUILT_IN_WORKGROUP_SIZE = 25
STORAGE_WORKGROUP, STORAGE_PUSH_CONSTANT = 4, 9
# What a specialization constant may be computed with, as C++.
SPEC_OPERATORS = {128: "+", 130: "-", 132: "*", 134: "/", 137: "%", 194: ">>", 196: "<<", 197: "|", 199: "&"}
OP_SELECT, OP_COMPOSITE_EXTRACT = 169, 81

# Instructions that derive a pointer, and those that read or write through one: opcode -> operand that is the pointer.
DERIVES = {65: 2, 66: 2, 67: 2, 70: 2, 83: 2}
READS = {61: 2, 227: 2, 4457: 2, 5359: 2, 5367: 2}
WRITES = {62: 0, 228: 0, 4458: 0, 5360: 0, 5368: 0}
UPDATES = {op: 2 for op in [*range(229, 243), 318, 5614, 5615, 6035]}
# A pointer that goes through one of these is not followed: it counts as every access its declaration allows.
ESCAPES = {57, 60, 63, 64, 169, 245}

DEBUG = {OP_SOURCE_CONTINUED, OP_SOURCE, OP_SOURCE_EXTENSION, OP_NAME, OP_MEMBER_NAME, OP_STRING, OP_LINE, OP_NO_LINE,
         OP_MODULE_PROCESSED}


class SpirvError(Exception):
    """The binary is malformed, or is not what the kernel table says."""


def words_of(data):
    if len(data) < 20 or len(data) % 4:
        raise SpirvError("not a SPIR-V binary: its length is %d bytes" % len(data))
    words = struct.unpack("<%dI" % (len(data) // 4), data)
    if words[0] != MAGIC:
        raise SpirvError("not a SPIR-V binary: it starts with 0x%08x" % words[0])
    return words


def instructions(words):
    at = 5
    while at < len(words):
        count, opcode = words[at] >> 16, words[at] & 0xFFFF
        if count == 0 or at + count > len(words):
            raise SpirvError("malformed SPIR-V: an instruction of %d words at word %d" % (count, at))
        yield opcode, words[at + 1:at + count]
        at += count


def text_of(operands):
    return struct.pack("<%dI" % len(operands), *operands).split(b"\0", 1)[0].decode("utf-8", "replace")


def strip(words):
    """Removes names, lines, sources and non-semantic instructions: what is embedded carries no debug information."""
    kept, non_semantic = list(words[:5]), set()
    for opcode, operands in instructions(words):
        if opcode in DEBUG:
            continue
        if opcode == OP_EXTENSION and text_of(operands) == "SPV_KHR_non_semantic_info":
            continue
        if opcode == OP_EXT_INST_IMPORT and text_of(operands[1:]).startswith("NonSemantic."):
            non_semantic.add(operands[0])
            continue
        if opcode == OP_EXT_INST and operands[2] in non_semantic:
            continue
        kept.append((len(operands) + 1) << 16 | opcode)
        kept.extend(operands)
    return kept


class Reflection:
    """The interface of one compute module: push constants, specialization constants, bindings."""

    def __init__(self, words):
        self.names, self.member_names = {}, {}
        self.decorations, self.member_decorations = {}, {}
        self.types, self.values, self.spec_types, self.composites = {}, {}, {}, {}
        self.spec_operations = {}
        self.variables = []
        self.accesses = {}  # pointer id -> [reads, writes, escapes], shared by all pointers into one variable
        for opcode, operands in instructions(words):
            self._declaration(opcode, operands) or self._access(opcode, operands)

    def _declaration(self, opcode, operands):
        if opcode == OP_NAME:
            self.names[operands[0]] = text_of(operands[1:])
        elif opcode == OP_MEMBER_NAME:
            self.member_names[operands[0], operands[1]] = text_of(operands[2:])
        elif opcode == OP_DECORATE:
            self.decorations.setdefault(operands[0], {})[operands[1]] = operands[2] if len(operands) > 2 else True
        elif opcode == OP_MEMBER_DECORATE:
            member = self.member_decorations.setdefault((operands[0], operands[1]), {})
            member[operands[2]] = operands[3] if len(operands) > 3 else True
        elif OP_TYPE_BOOL <= opcode <= OP_TYPE_POINTER:
            self.types[operands[0]] = (opcode, operands[1:])
        elif opcode == OP_CONSTANT:
            self.values[operands[1]] = operands[2]
        elif opcode in (OP_SPEC_TRUE, OP_SPEC_FALSE, OP_SPEC_CONSTANT):
            self.spec_types[operands[1]] = operands[0]
        elif opcode == OP_SPEC_COMPOSITE:
            self.composites[operands[1]] = operands[2:]
        elif opcode == OP_SPEC_OP:
            self.spec_operations[operands[1]] = operands[2:]
        elif opcode == OP_VARIABLE:
            self.variables.append((operands[1], operands[2], operands[0]))
            self.accesses[operands[1]] = [False, False, False]
        else:
            return False
        return True

    def _access(self, opcode, operands):
        for table, effect in ((READS, (0,)), (WRITES, (1,)), (UPDATES, (0, 1))):
            if opcode in table and operands[table[opcode]] in self.accesses:
                for index in effect:
                    self.accesses[operands[table[opcode]]][index] = True
        if opcode in DERIVES and operands[DERIVES[opcode]] in self.accesses:
            self.accesses[operands[1]] = self.accesses[operands[DERIVES[opcode]]]
        elif opcode in ESCAPES:
            for operand in operands:
                if operand in self.accesses:
                    self.accesses[operand][2] = True

    def _pointee(self, pointer):
        return self.types[pointer][1][1]

    def size_of(self, type_id, member=None):
        """Bytes from the first to the last byte used: the stride of the last element is not padded."""
        opcode, operands = self.types[type_id]
        if opcode in (OP_TYPE_INT, OP_TYPE_FLOAT):
            return operands[0] // 8
        if opcode == OP_TYPE_VECTOR:
            return self.size_of(operands[0]) * operands[1]
        if opcode == OP_TYPE_MATRIX:
            return (member or {}).get(DECORATION_MATRIX_STRIDE, 0) * operands[1]
        if opcode == OP_TYPE_ARRAY:
            return self.decorations[type_id][DECORATION_ARRAY_STRIDE] * self.values[operands[1]]
        if opcode == OP_TYPE_STRUCT:
            return max((m["offset"] + m["bytes"] for m in self._members(type_id)), default=0)
        if opcode == OP_TYPE_POINTER:
            return 8
        raise SpirvError("the push constants hold a type whose size is unknown (opcode %d)" % opcode)

    def _members(self, struct_id):
        for index, type_id in enumerate(self.types[struct_id][1]):
            decorations = self.member_decorations.get((struct_id, index), {})
            yield {"name": self.member_names.get((struct_id, index), ""), "offset": decorations[DECORATION_OFFSET],
                   "bytes": self.size_of(type_id, decorations), "type": type_id}

    def push_members(self):
        for _, storage, pointer in self.variables:
            if storage == STORAGE_PUSH_CONSTANT:
                return list(self._members(self._pointee(pointer)))
        return []

    def _is_refs(self, type_id, slots):
        opcode, operands = self.types[type_id]
        if opcode != OP_TYPE_ARRAY or self.values.get(operands[1]) != slots:
            return False
        vector, parts = self.types[operands[0]]
        return (vector == OP_TYPE_VECTOR and parts[1] == 2 and self.types[parts[0]] == (OP_TYPE_INT, (32, 0))
                and self.decorations[type_id][DECORATION_ARRAY_STRIDE] == 8)

    def constants(self):
        """(id, names, type) of each specialization constant; the workgroup size is one without a name of its own."""
        sizes = {}
        for composite, parts in self.composites.items():
            if self.decorations.get(composite, {}).get(DECORATION_BUILT_IN) == BUILT_IN_WORKGROUP_SIZE:
                sizes.update(zip(parts, ("x", "y", "z")))
        for result, type_id in self.spec_types.items():
            spec_id = self.decorations.get(result, {}).get(DECORATION_SPEC_ID)
            if spec_id is None:
                continue
            opcode, operands = self.types[type_id]
            kind = {OP_TYPE_BOOL: "bool", OP_TYPE_FLOAT: "float"}.get(opcode) or ("int" if operands[1] else "uint")
            names = {self.names[result].lower()} if self.names.get(result) else set()  # GLSL may use capitals
            if not names and result in sizes:
                names = {"local_size_" + sizes[result]} | ({"local_size"} if sizes[result] == "x" else set())
            yield spec_id, names, kind

    def _expression(self, result, words):
        """A constant as C++; `words` maps a specialization constant's id to the C++ that holds its value."""
        if result in self.values:
            return "%dU" % self.values[result]
        spec_id = self.decorations.get(result, {}).get(DECORATION_SPEC_ID)
        if spec_id is not None:
            return words[spec_id]
        if result not in self.spec_operations:
            raise SpirvError("an array in shared memory has a length of an unknown kind")
        opcode, *operands = self.spec_operations[result]
        if opcode == OP_COMPOSITE_EXTRACT:
            return self._expression(self.composites[operands[0]][operands[1]], words)
        parts = [self._expression(operand, words) for operand in operands]
        if opcode == OP_SELECT:
            return "(%s != 0 ? %s : %s)" % tuple(parts)
        if opcode not in SPEC_OPERATORS:
            raise SpirvError("an array in shared memory has a length computed by opcode %d" % opcode)
        return "(%s %s %s)" % (parts[0], SPEC_OPERATORS[opcode], parts[1])

    def _shared_layout(self, type_id, words):
        """(alignment, size as C++) by the rules of std430, which is how Vulkan counts shared memory."""
        opcode, operands = self.types[type_id]
        if opcode == OP_TYPE_BOOL:
            return 4, "4U"
        if opcode == OP_TYPE_VECTOR:
            element = self.size_of(operands[0])
            return element * (2 if operands[1] == 2 else 4), "%dU" % (element * operands[1])
        if opcode == OP_TYPE_ARRAY:
            alignment, element = self._shared_layout(operands[0], words)
            return alignment, "%s * %s" % (self._expression(operands[1], words), self._padded(element, alignment))
        if opcode == OP_TYPE_STRUCT:
            members = [self._shared_layout(member, words) for member in operands]
            alignment = max(alignment for alignment, _ in members)
            # Every member as if the next one were the most aligned: never less than its place.
            return alignment, "(%s)" % " + ".join(self._padded(size, alignment) for _, size in members)
        size = self.size_of(type_id)
        return size, "%dU" % size

    @staticmethod
    def _padded(size, alignment):
        if size.endswith("U") and size[:-1].isdigit():
            return "%dU" % -(-int(size[:-1]) // alignment * alignment)
        return "((%s + %dU) / %dU * %dU)" % (size, alignment - 1, alignment, alignment)

    def shared_size(self, words):
        """Bytes of the variables in shared memory as C++, which is the shader's own formula, each in units of 16."""
        return " + ".join(self._padded(self._shared_layout(self._pointee(pointer), words)[1], 16)
                          for _, storage, pointer in self.variables if storage == STORAGE_WORKGROUP) or "0"

    def bindings(self):
        """(set, binding, reads, writes) of each variable that a descriptor reaches."""
        for variable, _, pointer in self.variables:
            decorations = self.decorations.get(variable, {})
            if DECORATION_BINDING not in decorations and DECORATION_SET not in decorations:
                continue
            block = self._pointee(pointer)
            while self.types[block][0] in (OP_TYPE_ARRAY, OP_TYPE_RUNTIME_ARRAY):
                block = self.types[block][1][0]
            members = [self.member_decorations.get((block, i), {}) for i in range(len(self.types[block][1]))]
            allowed = [key not in decorations and not (members and all(key in m for m in members))
                       for key in (DECORATION_NON_READABLE, DECORATION_NON_WRITABLE)]
            reads, writes, escapes = self.accesses[variable]
            yield (decorations.get(DECORATION_SET, 0), decorations.get(DECORATION_BINDING, 0),
                   allowed[0] and (reads or escapes), allowed[1] and (writes or escapes))


def shared_bytes(words, constants):
    """Bytes of shared memory of a module as C++, given `constants[i]`, the words of the table's constants."""
    return Reflection(words).shared_size({constant["id"]: "constants[%d]" % index
                                          for index, constant in enumerate(constants)})


def check(words, spec):
    """Compares a module with its entry in the table. Returns (reads, writes, push members); throws what is wrong."""
    reflection, wrong = Reflection(words), []
    members = reflection.push_members()
    size = max((m["offset"] + m["bytes"] for m in members), default=0)
    if size != spec["push_bytes"]:
        wrong.append("push_bytes is %d, the shader's push block has %d bytes" % (spec["push_bytes"], size))
    if not members or members[0]["offset"] != 0 or not reflection._is_refs(members[0]["type"], spec["slots"]):
        wrong.append("the push block does not begin with uvec2 ref[%d]" % spec["slots"])

    table = {constant["id"]: constant for constant in spec["constants"]}
    for spec_id, names, kind in reflection.constants():
        label = "/".join(sorted(names)) or "without a name"
        entry = table.get(spec_id)
        if entry is None:
            wrong.append("specialization constant %d (%s) is missing in the table" % (spec_id, label))
        elif names and entry["name"] not in names:
            wrong.append("specialization constant %d is %s in the shader, %s in the table"
                         % (spec_id, label, entry["name"]))
        elif kind != entry["type"]:
            wrong.append("specialization constant %d (%s) is a %s in the shader, a %s in the table"
                         % (spec_id, label, kind, entry["type"]))

    masks = [0, 0]
    for descriptor_set, binding, *accesses in reflection.bindings():
        if spec["access"] == "address":
            wrong.append("binding %d is used, though this build reaches memory by address" % binding)
        elif descriptor_set != 0 or binding >= (1 if spec["access"] == "joined" else spec["slots"]):
            wrong.append("set %d, binding %d lies outside set 0, bindings 0 to %d"
                         % (descriptor_set, binding, 0 if spec["access"] == "joined" else spec["slots"] - 1))
        else:
            masks = [mask | int(used) << binding for mask, used in zip(masks, accesses)]
    declared = [spec["reads"], spec["writes"]]
    if spec["access"] == "descriptor":
        for verb, mask, claim in zip(("reads", "writes"), masks, declared):
            if claim is not None and claim != mask:
                wrong.append("%s is %#x in the table, the shader %s %#x" % (verb, claim, verb, mask))
    else:
        masks = [claim or 0 for claim in declared]
    if wrong:
        raise SpirvError("\n".join(wrong))
    for member in members:
        del member["type"]
    return masks[0], masks[1], members
