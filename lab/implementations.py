"""The implementations of lab/implementations.json, and the environment in which programs run on one."""
import json
import os

LAB = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(LAB)
RUNNER = os.path.join(ROOT, "tools", "with-vulkan")
# What would choose another driver or device than the implementation's.
FOREIGN = ("VK_DRIVER_FILES", "VK_ICD_FILENAMES", "DANAUS_VULKAN_DRIVER", "DANAUS_VULKAN_PRELOAD", "DANAUS_DEVICE",
           "DANAUS_DISABLE", "LP_NATIVE_VECTOR_WIDTH")


def load():
    """Every entry by its id, in the file's order."""
    with open(os.path.join(LAB, "implementations.json"), encoding="utf-8") as file:
        return {entry["id"]: entry for entry in json.load(file)["implementations"]}


def current_prefix():
    """Where the current stack lies: ./dev setup's, or, on a machine with a GPU or from before there were shims, the
    laboratory's own (lab/fetch has the same rule)."""
    prefix = os.path.join(ROOT, ".deps", "vulkan")
    try:
        with open(os.path.join(prefix, "packages"), encoding="utf-8") as file:
            if any(line.startswith("mesa-drm-shim ") for line in file) and os.path.isfile(prefix + "/suite"):
                return prefix
    except OSError:
        pass
    return os.path.join(ROOT, ".deps", "lab", "current")


def environment(entry):
    """This process's environment, in which RUNNER runs programs on the implementation."""
    result = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    result.update(entry.get("environment", {}), DANAUS_VULKAN_PREFIX="")
    if entry["stack"] in ("current", "intel-shim"):
        result["DANAUS_VULKAN_PREFIX"] = current_prefix()
    elif entry["stack"] == "backports":
        result["DANAUS_VULKAN_PREFIX"] = os.path.join(ROOT, ".deps", "lab", "backports")
    elif entry["stack"] == "swiftshader":
        result["VK_DRIVER_FILES"] = os.path.join(ROOT, ".deps", "lab", "swiftshader", "vk_swiftshader_icd.json")
    if "driver" in entry:
        result["DANAUS_VULKAN_DRIVER"] = entry["driver"]
        shim = "lib%s_noop_drm_shim.so" % entry["shim"]
        if entry["stack"] == "intel-shim":
            shim = os.path.join(ROOT, ".deps", "lab", "intel-shim", shim)
        result["DANAUS_VULKAN_PRELOAD"] = shim
    return result
