"""GLSL compilers and SPIR-V validators: which of them builds which module."""

import os
import re
import subprocess
import tempfile


def compiler_version(glslc):
    """The year.number of "shaderc v2026.4 ...": the last one of the first line is the release itself."""
    line = subprocess.run([glslc, "--version"], check=True, capture_output=True, text=True).stdout.splitlines()[0]
    return (re.findall(r"\d{4}\.\d+", line) or [line])[-1]


def probe(extension, target, lines, glslc, spirv_val):
    """(compiles, validates) for a tiny shader that requires the extension; its lines may use what that declares."""
    with tempfile.TemporaryDirectory() as folder:
        source, binary = os.path.join(folder, "probe.comp"), os.path.join(folder, "probe.spv")
        with open(source, "w", encoding="utf-8") as file:
            body = "\n".join(lines or ["void main() {}"])
            file.write("#version 460\n#extension %s : require\n%s\n" % (extension, body))
        compiles = subprocess.run([glslc, "--target-env=" + target, "-Werror", "-o", binary, source],
                                  capture_output=True, check=False).returncode == 0
        validates = compiles and (not spirv_val or subprocess.run(
            [spirv_val, "--target-env", target, binary], capture_output=True, check=False).returncode == 0)
        return compiles, validates


class Toolchain:
    """A compiler with its validator, and what they know of (extension, target)s."""

    def __init__(self, glslc, spirv_val, extensions, bodies):
        self.glslc, self.spirv_val, self.version = glslc, spirv_val, compiler_version(glslc)
        self.probes = {(extension, target): probe(extension, target, bodies.get(extension), glslc, spirv_val)
                       for extension, target in extensions}

    def lacks(self, extensions):
        return [extension for extension, target in extensions if not self.probes[extension, target][0]]

    def validates(self, extensions):
        return all(self.probes[one][1] for one in extensions)


def choose(toolchains, extensions):
    """The first toolchain that builds and validates a module with these extensions, else that builds it, else None."""
    able = [chain for chain in toolchains if not chain.lacks(extensions)]
    return next((chain for chain in able if chain.validates(extensions)), able[0] if able else None)
