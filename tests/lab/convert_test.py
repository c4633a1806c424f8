#!/usr/bin/env python3
"""convert_test.py logic|tools LAB TABLE: what lab/convert.py accepts and refuses. `logic` needs no tool; `tools` uses
those that are installed on three modules of the built table, one with a joined build, and is skipped (77) without
spirv-opt or SPIRV-Cross."""
import json
import os
import shutil
import sys
import tempfile

PART, LAB, TABLE = sys.argv[1:]
sys.path.insert(0, LAB)
import convert  # noqa: E402

SIZES = [{"name": "local_size_x", "id": 0, "type": "uint", "value": 8},
         {"name": "local_size_y", "id": 1, "type": "uint", "value": 4},
         {"name": "fast", "id": 2, "type": "bool", "value": True}]
GOOD = """constant uint3 gl_WorkGroupSize [[maybe_unused]] = uint3(8u, 4u, 1u);
kernel void main0(constant _2& _4 [[buffer(0)]], uint3 gl_WorkGroupID [[threadgroup_position_in_grid]])
{
    (reinterpret_cast<device _5*>(as_type<ulong>(_6)))->_m0[_7] = 1u;
}
"""
JOINED = """struct spvDescriptorSetBuffer0
{
    device Joined* joined [[id(0)]];
};
constant uint3 gl_WorkGroupSize [[maybe_unused]] = uint3(8u, 4u, 1u);
kernel void main0(constant spvDescriptorSetBuffer0& _3 [[buffer(0)]], constant _2& _4 [[buffer(1)]])
{
}
"""
VARIANT = convert.Variant("column_sum 8,4,true", "address", "", SIZES)


def refused(action, *words):
    try:
        action()
    except convert.ConvertError as error:
        assert all(word in str(error) for word in words), "%r lacks one of %r" % (str(error), words)
        return
    raise AssertionError("not refused: %r" % (words,))


def test_text():
    convert.check_msl(GOOD, VARIANT)
    for old, new, word in (
            ("kernel void", "static void", "0 kernel entries"),
            ("}\n", "}\n" + GOOD, "2 kernel entries"),
            ("uint3(8u, 4u, 1u)", "uint3(8u)", "workgroup size"),
            ("uint3(8u, 4u, 1u)", "uint3(_9, 4u, 1u)", "workgroup size"),
            ("uint3 gl_WorkGroupID [[threadgroup_position_in_grid]]", "uint3 gl_WorkGroupID", "neither a buffer"),
            ("{\n", "{\n#extension GL_EXT_x : require\n", "#extension"),
            ("{\n", "{\nconstant uint _9_tmp [[function_constant(0)]];\n", "is open"),
            ("reinterpret_cast<device _5*>", "(thread _5*)", "no device address"),
            ("constant _2&", "constant spvDescriptorSetBuffer0&", "not reached by address")):
        refused(lambda text=GOOD.replace(old, new, 1): convert.check_msl(text, VARIANT), word)
    refused(lambda: convert.check_msl(GOOD, VARIANT._replace(access="descriptor")), "not reached by descriptor")
    refused(lambda: convert.check_msl(GOOD, VARIANT._replace(access="joined")), "not reached by joined")
    convert.check_msl(JOINED, VARIANT._replace(access="joined"))
    line = "    device Joined* joined [[id(0)]];\n"
    refused(lambda: convert.check_msl(JOINED.replace(line, 2 * line), VARIANT._replace(access="joined")), "2 buffers")
    convert.check_msl(GOOD.replace("8u,", "_9,", 1) + "[[function_constant(0)]]", VARIANT._replace(constants=None))


def test_pieces():
    assert convert.upstream("2021.01.15+1.3.239.0-1") == (1, 3, 239, 0) < convert.BEFORE_ADDRESS_ATOMICS
    assert convert.upstream("2021.01.15+1.4.357.0-1") > convert.BEFORE_ADDRESS_ATOMICS
    assert convert.local_size(SIZES) == (8, 4, 1)
    assert convert.local_size([{"name": "local_size", "value": 64}]) == (64, 1, 1)
    assert [convert.spelled(constant) for constant in SIZES] == ["8", "4", "true"]
    table = {"modules": [{"name": "m", "spv": {"address": {"path": "a"}, "descriptor": {"path": "d"}}, "constants": [
        {"name": "local_size", "id": 0, "type": "uint", "values": [32, 64], "default": 64},
        {"name": "fast", "id": 1, "type": "bool", "values": [False, True], "default": False}]}]}
    found = list(convert.default_variants(table))
    assert [v.name for v in found if v.access == "address"] == ["m 64,false", "m 32,false", "m 64,true"]
    assert len(convert.distinct(found + found)) == len(found) == 6
    listing = {"kernels": [{"name": "m 64,0", "module": "m", "access": "descriptor", "constants": SIZES}]}
    assert list(convert.listed_variants(table, listing)) == [convert.Variant("m 64,0", "descriptor", "d", SIZES)]


def test_rows():
    """Stand-ins for SPIRV-Cross: an old one that fails, one that answers well, one that answers nonsense."""
    def tool(name, version, program):
        return convert.Tool(name, [sys.executable, "-c", program], version, (3, 0))
    atomic = "import sys; sys.exit('SPIRV-Cross threw an exception: %s')" % convert.ADDRESS_ATOMIC
    tools = [tool("old", (1, 3, 239, 0), atomic), tool("new", (1, 4, 0, 0), "print(%r)" % GOOD),
             tool("broken", (1, 4, 0, 0), atomic)]
    with tempfile.NamedTemporaryFile() as spv:
        variants = [convert.Variant("column_sum", "address", spv.name, None)]
        old, new, broken = convert.convert(tools, variants, "test")
        missing, = convert.convert([tools[1]], [variants[0]._replace(spv=spv.name + ".none")], "test")
        wrong, = convert.convert([tools[0]], [variants[0]._replace(access="descriptor")], "test")
    assert old["not_offered"] == {"column_sum.address": 1} and not old["failed"] and "1.2.8" in old["result"]
    assert not new["failed"] and not new["not_offered"] and new["result"].startswith("converted only")
    for row in (broken, missing, wrong):
        assert len(row["failed"]) == 1 and row["result"] == "failed: 1 of 1", row
    refused(lambda: convert.convert(tools, [], "test"), "no variant")
    refused(lambda: convert.convert([], variants, "test"), "no SPIRV-Cross")


def test_tools():
    tools = [tool for tool in (convert.current_tool(), convert.host_tool()) if tool]
    if not tools or not shutil.which("spirv-opt"):
        print("skipped: no spirv-opt or no SPIRV-Cross; lab/fetch msl installs them")
        sys.exit(77)
    with open(TABLE, encoding="utf-8") as file:
        table = json.load(file)
    table["modules"] = [module for module in table["modules"] if module["name"] in ("copy", "column_sum", "adamw")]
    variants = list(convert.default_variants(table)) + list(convert.open_variants(table))
    assert len(table["modules"]) == 3 and len(variants) > 20
    joined = [v for v in variants if v.access == "joined"]
    assert len(joined) > 5 and all(v.name.startswith("adamw") for v in joined), joined
    with tempfile.TemporaryDirectory() as folder:
        rows = convert.convert(tools, variants, "test", keep=folder)
        for tool, row in zip(tools, rows):
            assert not row["failed"], row["failed"]
            assert row["variants"] + row["open_modules"] == len(variants), row
            assert bool(row["not_offered"]) == (tool.version < convert.BEFORE_ADDRESS_ATOMICS), row["not_offered"]
        kept = sum(len(variants) - sum(row["not_offered"].values()) for row in rows)
        assert len(os.listdir(folder)) == kept, (len(os.listdir(folder)), kept)
    # A wrong value must be seen in what the tools make of it.
    chosen = next(v for v in variants if v.constants and v.name.startswith("column_sum") and v.access == "descriptor")
    text = convert.to_msl(tools[0], convert.freeze(chosen.spv, chosen.constants))
    convert.check_msl(text, chosen)
    other = [{**constant, "value": 7} if constant["id"] == 0 else constant for constant in chosen.constants]
    refused(lambda: convert.check_msl(text, chosen._replace(constants=other)), "workgroup size")
    # So must a build that binds one buffer a slot.
    many = next(v for v in variants if v.constants and v.name.startswith("adamw") and v.access == "descriptor")
    text = convert.to_msl(tools[0], convert.freeze(many.spv, many.constants))
    convert.check_msl(text, many)
    refused(lambda: convert.check_msl(text, many._replace(access="joined")), "6 buffers")


if PART == "logic":
    test_text()
    test_pieces()
    test_rows()
else:
    test_tools()
print("passed")
