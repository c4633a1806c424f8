"""The shader build itself: reading SPIR-V, and every wrong table entry turning the build red.

Usage: test_kernels.py SCRIPTS GLSLC [SPIRV_VAL]   (SCRIPTS holds kernels.py)
"""

import copy
import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
SCRIPTS, GLSLC, SPIRV_VAL = sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ""
sys.path.insert(0, SCRIPTS)
import kernels  # noqa: E402  (its folder is an argument)
import kernels_spirv  # noqa: E402

SHADER = """#version 460
layout(push_constant) uniform Push { uvec2 ref[2]; uint count; uvec2 pair; mat2x3 matrix; } push;
layout(set = 0, binding = 0) readonly buffer A { uint words[]; } a;
layout(set = 0, binding = 1) buffer B { uint words[]; } b;
layout(local_size_x_id = 0) in;
layout(constant_id = 3) const float factor = 2.0;
void main() {
    BODY
}
"""
BODY = "b.words[push.pair.x] = a.words[push.count] + uint(factor * push.matrix[1].z);"
SPEC = {"module": "m", "entry": "m", "namespace": "a::b", "axes": {}, "access": "descriptor", "slots": 2, "push_bytes": 64,
        "reads": None, "writes": None, "extensions": [], "requires": [], "includes": [], "macros": [], "optimize": True,
        "target": "vulkan1.1",
        "constants": [{"name": "local_size", "id": 0, "type": "uint"}, {"name": "factor", "id": 3, "type": "float"}]}
ENTRY = {"name": "m", "source": "m.comp", "summary": "a module", "slots": 2, "push_bytes": 64,
         "axes": {"weight": ["dense", "sparse24"]},
         "constants": [{"name": "local_size", "id": 0, "type": "uint", "values": [32, 64]}]}


class Scratch(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name, text=None):
        path = os.path.join(self.folder, name)
        if text is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        return path


class Spirv(Scratch):
    def words(self, source=SHADER, body=BODY, flags=("-g", "-O")):
        binary = self.path("m.spv")
        subprocess.run([GLSLC, "--target-env=vulkan1.1", "-fshader-stage=compute", *flags, "-o", binary,
                        self.path("m.comp", source.replace("BODY", body))], check=True)
        with open(binary, "rb") as file:
            return kernels_spirv.words_of(file.read())

    def check(self, words, **changes):
        return kernels_spirv.check(words, dict(SPEC, **changes))

    def refuses(self, words, message, **changes):
        with self.assertRaisesRegex(kernels_spirv.SpirvError, message):
            self.check(words, **changes)

    def test_a_right_entry_passes(self):
        for flags in (("-g", "-O"), ("-g",), ()):
            reads, writes, members = self.check(self.words(flags=flags))
            self.assertEqual((reads, writes), (0b01, 0b10))
            self.assertEqual([m["offset"] for m in members], [0, 16, 24, 32])
            self.assertEqual([m["bytes"] for m in members], [16, 4, 8, 32])

    def test_the_push_block(self):
        words = self.words()
        self.refuses(words, "push_bytes is 60, the shader's push block has 64", push_bytes=60)
        self.refuses(words, "does not begin with uvec2 ref.3.", slots=3)
        self.refuses(self.words(SHADER.replace("uvec2 ref[2]", "uvec4 ref")), "does not begin with uvec2 ref")
        bare = "#version 460\nvoid main() {}\n"
        self.refuses(self.words(bare), "push block has 0 bytes", constants=[])

    def test_the_constants(self):
        words, first, second = self.words(), *SPEC["constants"]
        self.refuses(words, "constant 3 .factor. is missing in the table", constants=[first])
        self.refuses(words, "constant 0 .local_size.* is missing in the table", constants=[second])
        self.refuses(words, "constant 3 is factor in the shader, scale in the table",
                     constants=[first, dict(second, name="scale")])
        self.refuses(words, "constant 0 is local_size.* in the shader, threads in the table",
                     constants=[dict(first, name="threads"), second])
        self.refuses(words, "is a float in the shader, a uint in the table",
                     constants=[first, dict(second, type="uint")])
        self.refuses(words, "constant 3 .factor. is missing", constants=[first, dict(second, id=4)])
        self.check(self.words(SHADER.replace("factor", "FACTOR"), BODY.replace("factor", "FACTOR")))
        self.check(words, constants=[first, second, {"name": "optimised_away", "id": 9, "type": "bool"}])

    def test_the_bindings(self):
        self.refuses(self.words(SHADER.replace("binding = 1", "binding = 2")), "set 0, binding 2 lies outside")
        self.refuses(self.words(SHADER.replace("set = 0, binding = 1", "set = 1, binding = 1")),
                     "set 1, binding 1 lies")
        self.refuses(self.words(), "binding 0 is used, though", access="address")
        self.refuses(self.words(), "reads is 0x3 in the table, the shader reads 0x1", reads=3)
        self.refuses(self.words(), "writes is 0x1 in the table, the shader writes 0x2", writes=1)

    def test_reads_and_writes_are_what_the_code_does(self):
        tail = " b.words[1] = uint(factor) + push.count;"
        for body, expected in ((tail, (0b00, 0b10)), ("b.words[0] += a.words[0];" + tail, (0b11, 0b10)),
                               ("atomicAdd(b.words[0], a.words[0]);" + tail, (0b11, 0b10)),
                               ("if (factor > 3.0) b.words[0] = b.words[2];" + tail, (0b10, 0b10)),
                               ("b.words[0] = a.words.length();" + tail, (0b00, 0b10))):
            for flags in (("-g", "-O"), ()):
                with self.subTest(body=body, flags=flags):
                    self.assertEqual(self.check(self.words(body=body, flags=flags))[:2], expected)
        self.assertEqual(self.check(self.words(SHADER.replace("buffer B", "writeonly buffer B")))[:2], (0b01, 0b10))

    def test_shared_memory_is_a_formula_of_the_constants(self):
        def formula(declaration, value="1.0", member=""):
            body = "values[gl_LocalInvocationID.x] = %s; barrier(); %s b.words[1] = uint(values[0]%s);" % (
                value, BODY, member)
            words = self.words(SHADER.replace("void main", "%s %s;\nvoid main" % ("struct" if "{" in declaration else "shared", declaration)), body)
            return kernels_spirv.shared_bytes(words, SPEC["constants"])

        def bytes_of(*declaration):
            return eval(formula(*declaration).replace("U", "").replace("/", "//"), {"constants": [64, 0]})  # C++ of numbers is Python here

        self.assertEqual(kernels_spirv.shared_bytes(self.words(), SPEC["constants"]), "0")
        self.assertEqual(bytes_of("float values[96]"), 96 * 4)
        self.assertEqual(bytes_of("float values[gl_WorkGroupSize.x]"), 64 * 4)
        self.assertEqual(bytes_of("float values[3 * (gl_WorkGroupSize.x + 1) - 5]"), 768)  # 760, in units of 16
        self.assertEqual(bytes_of("vec3 values[gl_WorkGroupSize.x]", "vec3(1.0)", ".x"), 64 * 16)
        pair = "P { float a; vec2 b; }; shared P values[gl_WorkGroupSize.x]"
        self.assertEqual(bytes_of(pair, "P(1.0, vec2(2.0))", ".a"), 64 * 16)
        self.assertEqual(bytes_of("double values[gl_WorkGroupSize.x << 1]"), 128 * 8)
        with self.assertRaisesRegex(kernels_spirv.SpirvError, "computed by opcode"):
            formula("float values[gl_WorkGroupSize.x ^ 5]")

    def test_stripping(self):
        words = self.words()
        stripped = kernels_spirv.strip(words)
        self.assertLess(len(stripped), len(words))
        self.assertEqual(kernels_spirv.strip(stripped), stripped)
        reflection = kernels_spirv.Reflection(stripped)
        self.assertEqual((reflection.names, reflection.member_names), ({}, {}))
        if SPIRV_VAL:
            binary = self.path("stripped.spv")
            with open(binary, "wb") as file:
                file.write(b"".join(word.to_bytes(4, "little") for word in stripped))
            subprocess.run([SPIRV_VAL, "--target-env", "vulkan1.1", binary], check=True)

    def test_broken_binaries(self):
        for data in (b"", b"\x03\x02\x23\x07", bytes(20), bytes(21)):
            with self.assertRaises(kernels_spirv.SpirvError):
                kernels_spirv.words_of(data)
        words = self.words()
        with self.assertRaisesRegex(kernels_spirv.SpirvError, "malformed"):
            kernels_spirv.Reflection(words[:6])
        with self.assertRaisesRegex(kernels_spirv.SpirvError, "malformed"):
            kernels_spirv.Reflection((*words[:5], 0))


class Table(Scratch):
    def read(self, *entries):
        self.path("m.comp", SHADER.replace("BODY", BODY))
        return kernels.read_table(self.path("kernels.json", json.dumps({"modules": entries})))

    def refuses(self, message, constant=None, **changes):
        entry = copy.deepcopy(ENTRY)
        entry.update(changes)
        entry["constants"][0].update(constant or {})
        with self.assertRaisesRegex(kernels.TableError, message):
            self.read(entry)

    def test_a_right_entry_passes(self):
        module = self.read(copy.deepcopy(ENTRY))[0]
        self.assertEqual([name for name, _ in kernels.variants_of(module)], ["m_dense", "m_sparse24"])
        self.assertEqual(module["constants"][0]["default"], 32)

    def test_wrong_entries_are_refused(self):
        self.refuses("not a usable name", name="union")
        self.refuses("not a usable name", name="Matmul")
        self.refuses("no file", source="n.comp")
        self.refuses("summary must be", summary="two\nlines")
        self.refuses("slots is 9", slots=9)
        self.refuses("push_bytes is 132", push_bytes=132)
        self.refuses("push_bytes is 12", push_bytes=12)
        self.refuses("unknown keys .'slot'", slot=1)
        self.refuses("exclude .* names no axis value", exclude=[{"weight": "csr"}])
        self.refuses("values must be distinct", axes={"weight": ["dense", "dense"]})
        self.refuses("may not be called access", axes={"access": ["address"]})
        self.refuses("named twice", axes={"local_size": ["small"]})
        self.refuses("access must be of", access=["pointer"])
        self.refuses("reads must list the slots", access=["address"])
        self.refuses("outside 0 to 1", reads=[2])
        self.refuses("struct ModuleInfo", name="module_info")
        self.refuses("not a usable name", name="m_")
        self.refuses("empty", exclude=[{"weight": "dense"}, {"weight": "sparse24"}])

    def test_wrong_constants_are_refused(self):
        self.refuses("type must be", {"type": "int"})
        self.refuses("-1 is not a uint", {"values": [-1]})
        self.refuses("True is not a uint", {"values": [True]})
        self.refuses("4294967296 is not a uint", {"values": [2 ** 32]})
        self.refuses("default 7 is not admitted", {"default": 7})
        self.refuses("a default is needed", {"values": []})
        self.refuses("listed twice", {"values": [1, 1]})
        self.refuses("id must be", {"id": "0"})
        self.refuses("unknown keys", {"value": 1})
        constants = [{"name": "c%d" % i, "id": i, "type": "bool"} for i in range(25)]
        self.refuses("25 constants, allowed are 24", constants=constants)
        self.refuses("share an id", constants=[dict(constants[0]), dict(constants[1], id=0)])

    def test_conditions(self):
        for good in ("local_size > 32 or subgroup_size == 8", "(local_size & 1) == 0", "not local_size"):
            self.read(dict(copy.deepcopy(ENTRY), where=[good]))
        for condition, cpp in (("local_size & 1 == 0", "((local_size & 1U) == 0U)"),
                               ("not local_size > 3 and 1 < 2", "((!(local_size > 3U)) && (1U < 2U))"),
                               ("local_size // 2 - 1 * 2 > 0", "(((local_size / 2U) - (1U * 2U)) > 0U)")):
            self.assertEqual(kernels.condition_to_cpp(condition, {"local_size"}, "m"), cpp)
        self.refuses("names no uint or bool constant: lanes", where=["lanes > 3"])
        self.refuses("names no uint or bool constant: local_size",
                     {"type": "float", "values": [], "default": 1.5}, where=["local_size > 3"])
        for bad in ("local_size ; 1", "(local_size > 1", "local_size == 010", "local_size || 1"):
            self.refuses("is not an expression", where=[bad])
        for bad in ('"text"', "1 < local_size < 3", "local_size / 2", "-local_size", "local_size > 1.5", "f(1)", "True"):
            self.refuses("something else than names", where=[bad])
        self.refuses("must be text", where=[""])
        self.refuses("where must be a list", where="local_size > 1")
        self.refuses("subgroup_size is the device's", {"name": "subgroup_size"})

    def test_needs_of_axis_values(self):
        needs = {"weight": {"sparse24": {"requires": ["shuffle"], "extensions": ["GL_A"]}}}
        module = self.read(dict(copy.deepcopy(ENTRY), requires=["basic"], axis_needs=needs))[0]
        self.assertEqual(kernels.needs_of(module, {"weight": "dense"}, "requires"), ["basic"])
        self.assertEqual(kernels.needs_of(module, {"weight": "sparse24"}, "requires"), ["basic", "shuffle"])
        self.assertEqual(kernels.needs_of(module, {"weight": "sparse24"}, "extensions"), ["GL_A"])
        self.refuses("names weight csr, no axis value", axis_needs={"weight": {"csr": {}}})
        self.refuses("lists called requires and extensions", axis_needs={"weight": {"dense": {"needs": []}}})

    def test_names_are_unique(self):
        plain = dict(copy.deepcopy(ENTRY), axes={})
        with self.assertRaisesRegex(kernels.TableError, "name of another"):
            self.read(dict(plain, name="m_1"), dict(plain, name="m1"))
        with self.assertRaisesRegex(kernels.TableError, "m is already a module"):
            self.read(plain, copy.deepcopy(plain))
        with self.assertRaisesRegex(kernels.TableError, "m_dense is already a module"):
            self.read(copy.deepcopy(ENTRY), dict(plain, name="m_dense"))


class Compile(Scratch):
    def compile(self, body=BODY, **changes):
        spec = dict(SPEC, source=self.path("m.comp", SHADER.replace("BODY", body)), glslc=GLSLC, validator=SPIRV_VAL)
        spec.update(changes)
        done = subprocess.run([sys.executable, "-B", os.path.join(SCRIPTS, "kernels.py"), "compile",
                               self.path("m.json.spec", json.dumps(spec)), "--out", self.path("out")],
                              capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    def test_a_failure_leaves_no_binary(self):
        self.assertEqual(self.compile(), (0, ""))
        self.assertTrue(os.path.exists(self.path("out.spv")))
        with open(self.path("out.cpp"), encoding="utf-8") as file:
            self.assertIn("0x7230203, 0x10300", file.read())
        for message, changes in (("push_bytes is 32", {"push_bytes": 32}),
                                 ("missing in the table", {"constants": []}),
                                 ("binding 1 lies outside set 0, bindings 0 to 0", {"access": "joined"}),
                                 ("does not compile", {"body": "oops"}),
                                 ("does not compile", {"source": self.path("nowhere.comp")})):
            self.assertEqual(self.compile()[0], 0)
            code, text = self.compile(**changes)
            self.assertNotEqual(code, 0)
            self.assertIn(message, text)
            self.assertFalse(os.path.exists(self.path("out.spv")))


class Compilers(Scratch):
    """Which compiler builds what; and the library's own table where none knows cooperative matrices."""

    @staticmethod
    def toolchain(version, **knows):
        chain = object.__new__(kernels.kernels_tools.Toolchain)
        chain.version, chain.probes = version, {(name, "vulkan1.1"): answer for name, answer in knows.items()}
        return chain

    def test_the_first_that_builds_and_validates(self):
        old = self.toolchain("1", GL_A=(True, True), GL_B=(True, False), GL_C=(False, False), GL_D=(False, False))
        new = self.toolchain("2", GL_A=(True, True), GL_B=(True, True), GL_C=(True, False), GL_D=(False, False))
        for names, expected in (((), old), (("GL_A",), old), (("GL_B",), new), (("GL_C",), new), (("GL_D",), None)):
            self.assertIs(kernels.kernels_tools.choose([old, new], [(name, "vulkan1.1") for name in names]), expected)

    def test_a_table_without_cooperative_matrices(self):
        script = self.path("old.sh", "#!/bin/sh\n[ \"$1\" = --version ] || exit 1\necho shaderc v2020.1\n")
        os.chmod(script, 0o755)
        table = os.path.join(SCRIPTS, "..", "shaders", "kernels.json")
        done = subprocess.run([sys.executable, "-B", os.path.join(SCRIPTS, "kernels.py"), "plan", "--json", table,
                               "--out", self.path("out"), "--glslc", script],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("GL_KHR_cooperative_matrix: glslc 2020.1 lacks it", done.stdout)
        self.assertIn("8 modules stay without code", done.stdout)
        with open(self.path("out/shaders/absent.json"), encoding="utf-8") as file:
            absent = json.load(file)
        self.assertEqual(absent["matmul_direct_dense"], {"address": "", "descriptor": ""})
        for access in ("address", "descriptor"):
            self.assertEqual(absent["matmul_coopmat_dense_f16"][access],
                             "glslc 2020.1 lacks GL_KHR_cooperative_matrix")
        with open(self.path("out/danaus/kernels.hpp"), encoding="utf-8") as file:
            self.assertIn("struct MatmulCoopmat {", file.read())


unittest.main(argv=sys.argv[:1])
