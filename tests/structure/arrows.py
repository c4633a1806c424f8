#!/usr/bin/env python3
"""Holds the tree against docs/architecture.md: which folder may include which, where Vulkan may be named, how long a
file may be. Run on the source tree; `arrows.py --self-test` proves that each rule can fail."""
import pathlib
import re
import sys

SUFFIXES = {".cpp", ".hpp", ".h"}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)
# A Vulkan type or entry point: VkBuffer, vkCmdDispatch, VK_SUCCESS, VmaAllocator.
VULKAN = re.compile(r"\b(?:Vk[A-Z]\w*|vk[A-Z]\w*|VK_[A-Z]\w*|Vma\w+)\b")
LONGEST = 500
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)


def room_of_include(name):
    """The room an included header lives in, or None for the standard library, Vulkan and other libraries."""
    if name == "danaus/kernels.hpp":
        return "table"
    if name.startswith(("danaus/runtime/", "danaus/bench/")):
        return name.split("/")[1]
    if name.startswith("danaus/"):
        return "api"
    if name.startswith(("reference/", "support/")):
        return "tests"
    return None


# room -> rooms it may include from
ALLOWED = {
    "runtime": {"runtime", "table"},
    "api": {"api", "runtime", "table"},
    "samples": {"samples", "api", "runtime"},
    "bench": {"bench", "api", "runtime", "table"},
    "lab": {"lab", "api", "runtime", "table"},
    "tests": {"tests", "api", "runtime", "table"},
    "tests/reference": {"tests"},
}


def room_of_file(path):
    if path.parts[:2] == ("tests", "reference"):
        return "tests/reference"
    return path.parts[0]


def problems(path, text):
    """What is wrong with one file; path is relative to the root."""
    room = room_of_file(path)
    found = []
    if room not in ALLOWED:
        return found
    for name in INCLUDE.findall(text):
        target = room_of_include(name)
        if target and target not in ALLOWED[room]:
            found.append(f"{path}: includes <{name}> of {target}; {room} may use {', '.join(sorted(ALLOWED[room]))}")
        if room == "api" and name.startswith("vulkan/") and path.name != "embedding.hpp":
            found.append(f"{path}: includes <{name}>; in api only embedding.hpp may")
    if room == "api" and not path.name.startswith("embedding"):
        named = VULKAN.search(COMMENT.sub("", text))
        if named:
            found.append(f"{path}: names {named.group()}; in api only embedding.* may name a Vulkan type")
    if room == "runtime" and re.search(r"\b(Tensor|Monarch|Sparse24|Epilogue)\b", COMMENT.sub("", text)):
        found.append(f"{path}: the runtime knows bytes, never tensors")
    lines = text.count("\n")
    if lines > LONGEST:
        found.append(f"{path}: {lines} lines, at most {LONGEST}")
    return found


def check_tree(root):
    found = []
    for room in ("runtime", "api", "samples", "bench", "lab", "tests"):
        for path in sorted((root / room).rglob("*")):
            if path.suffix in SUFFIXES:
                found += problems(path.relative_to(root), path.read_text())
    return found


def self_test():
    cases = [
        ("runtime/src/x.cpp", '#include <danaus/tensor.hpp>\n'),
        ("runtime/src/x.cpp", "void f(Tensor);\n"),
        ("api/src/x.cpp", "VkBuffer buffer;\n"),
        ("api/include/danaus/x.hpp", "#include <vulkan/vulkan.h>\n"),
        ("samples/a/main.cpp", "#include <danaus/kernels.hpp>\n"),
        ("tests/reference/x.cpp", "#include <danaus/tensor.hpp>\n"),
        ("bench/x.cpp", "\n" * 501),
        ("lab/x.cpp", '#include "support/device.hpp"\n'),
    ]
    for name, text in cases:
        assert problems(pathlib.Path(name), text), f"not noticed: {name}: {text!r}"
    for name, text in [("api/src/x.cpp", "// VkBuffer\n"), ("api/include/danaus/embedding.hpp", "VkBuffer b;\n")]:
        assert not problems(pathlib.Path(name), text), f"wrongly refused: {name}: {text!r}"
    print("every rule can fail")


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        sys.exit(0)
    wrong = check_tree(pathlib.Path(sys.argv[1]))
    print("\n".join(wrong) if wrong else "every include points the right way")
    sys.exit(1 if wrong else 0)
