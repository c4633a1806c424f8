#!/usr/bin/env -S python3 -B
"""compare.py [--build FOLDER] [--rounds N] [--seconds S] [--json FILE]: times Danaus beside ggml's Vulkan backend.

Each is a process of its own on the same device: danaus-bench, ggml, danaus-bench, ggml, … Both report host time of a
batch of equal f32 multiplies, divided by their number, after a warm-up; the ratio is the median of the rounds' ratios.
ggml is Debian's package, fetched into .deps/lab/ggml, with its version in the result; where it cannot be had, nothing is
compared (exit status 3). Not part of the build: needs g++ and a built danaus-bench.
"""
import argparse
import glob
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
DEPS = os.path.join(ROOT, ".deps")
GGML = os.path.join(DEPS, "lab", "ggml")
SUITES = ("sid", "forky")
# Danaus's case, and the same product as ggml's program takes it: out x in x tokens (x batch).
CASES = {"matmul/f32/1024x1024x1024": "1024x1024x1024", "block_diagonal/f32/1024x1024x1024b16": "64x64x1024x16"}
LARGEST_ERROR = 1e-3  # relative to the sum of absolute values; what f16 sums would still reach


class NotToBeHad(Exception):
    """ggml is not here and cannot be fetched."""


def only(pattern):
    found = sorted(glob.glob(pattern))
    if not found:
        raise NotToBeHad(f"there is no {pattern}")
    return found[0]


def fetch():
    """The version of ggml, which is fetched when it is not there yet."""
    packages = os.path.join(GGML, "packages")
    for suite in SUITES:
        if os.path.isfile(packages):
            break
        print(f"compare: fetching ggml of {suite}", file=sys.stderr)
        subprocess.run([os.path.join(ROOT, "tools", "fetch-packages"), suite, GGML, "libggml-dev",
                        "libggml0-backend-vulkan"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    if not os.path.isfile(packages):
        raise NotToBeHad(f"ggml could not be fetched from {' or '.join(SUITES)}")
    with open(packages, encoding="utf-8") as file:
        versions = dict(line.split() for line in file)
    return versions["libggml0-backend-vulkan"]


def build(folder):
    library = os.path.dirname(only(f"{GGML}/usr/lib/*/libggml.so"))
    program = os.path.join(folder, "ggml_vulkan")
    # Debian's newest libraries want a newer C library than the host's: it comes with them, and runs the program.
    subprocess.run([os.environ.get("CXX", "g++"), "-std=c++20", "-O2", f"-I{GGML}/usr/include",
                    os.path.join(HERE, "ggml_vulkan.cpp"), "-o", program, f"-L{library}", "-lggml", "-lggml-base",
                    "-Wl,--allow-shlib-undefined"], check=True)
    return program, library


def ggml_command(program, library, device_index, seconds):
    """Command and environment: ggml's own dynamic loader, and the driver that tools/with-vulkan would take."""
    environment = dict(os.environ, GGML_VK_VISIBLE_DEVICES=str(device_index))
    folders = [library]
    stack = glob.glob(f"{DEPS}/vulkan/usr/share/vulkan/icd.d/lvp_icd*.json")
    if stack and not environment.get("VK_DRIVER_FILES"):
        environment["VK_DRIVER_FILES"] = stack[0]
        folders += glob.glob(f"{DEPS}/vulkan/usr/lib/*-linux-gnu")
    return [only(f"{library}/ld-linux*.so.*"), "--library-path", ":".join(folders), program,
            only(f"{library}/ggml/backends*/libggml-vulkan.so"), str(seconds), *CASES.values()], environment


def run_json(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise RuntimeError(f"{os.path.basename(command[0])} failed ({done.returncode}): {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout) if done.stdout.startswith("{") else None


def danaus_round(arguments, folder):
    path = os.path.join(folder, "danaus.json")
    pattern = "^(%s)$" % "|".join(CASES)
    run_json([os.path.join(ROOT, "tools", "with-vulkan"), os.path.join(arguments.build, "bin", "danaus-bench"),
              "--filter", pattern, "--timing", "dispatch", "--min-time", str(arguments.seconds), "--json", path])
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def compare(arguments):
    version = fetch()
    info = run_json([os.path.join(ROOT, "tools", "with-vulkan"), os.path.join(arguments.build, "bin", "danaus-info"),
                     "--json"])
    with tempfile.TemporaryDirectory() as folder:
        program, library = build(folder)
        command, environment = ggml_command(program, library, info["chosen"], arguments.seconds)
        times = {name: ([], []) for name in CASES}
        errors = {}
        for number in range(arguments.rounds):
            print(f"compare: round {number + 1} of {arguments.rounds}", file=sys.stderr)
            own, peer = danaus_round(arguments, folder), run_json(command, env=environment)
            if own["device"] != peer["device"]:
                raise RuntimeError(f"not the same device: {own['device']}, ggml: {peer['device']}")
            for (name, shape), other in zip(CASES.items(), peer["cases"]):
                case = next(case for case in own["cases"] if case["name"] == name)
                if other["shape"] != shape or other["error"] > LARGEST_ERROR:
                    raise RuntimeError(f"ggml: {other['shape']} has an error of {other['error']}")
                times[name][0].append(case["ns"]["median"])
                times[name][1].append(statistics.median(other["ns"]))
                errors[name] = other["error"]
    cases = []
    for name, (own_ns, peer_ns) in times.items():
        operations = 2.0 * next(case["multiply_adds"] for case in own["cases"] if case["name"] == name)
        cases.append({"name": name,
                      "danaus": {"ns": own_ns, "gflops": operations / statistics.median(own_ns)},
                      "ggml": {"ns": peer_ns, "gflops": operations / statistics.median(peer_ns),
                               "error": errors[name]},
                      "ratio": statistics.median(b / a for a, b in zip(own_ns, peer_ns))})
    return {"schema": 1, "peer": "ggml-vulkan", "version": version, "device": own["device"], "driver": own["driver"],
            "date": own["date"], "git": own["git"], "rounds": arguments.rounds, "cases": cases}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help="build folder with danaus-bench")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.3, help="device seconds a case and round")
    parser.add_argument("--json", help="write the result here too")
    arguments = parser.parse_args()
    try:
        result = compare(arguments)
    except NotToBeHad as error:
        print(f"compare: {error}; nothing is compared", file=sys.stderr)
        sys.exit(3)
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"compare: {error}")
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.json:
        os.makedirs(os.path.dirname(os.path.abspath(arguments.json)), exist_ok=True)
        with open(arguments.json, "w", encoding="utf-8") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
