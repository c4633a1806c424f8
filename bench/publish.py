#!/usr/bin/env -S python3 -B
"""publish.py RESULT... [PAGE.md]: makes a run of danaus-bench (its --json) the one that docs/performance.md shows.

Keeps it as bench/results/DRIVER-VERSION.json, draws docs/plots/, and rewrites the marked part of the page, which has no
figure that was typed by hand. For runs on a quiet machine, and without changes that are not committed.
Runs of --suite grid are kept as DRIVER-VERSION-grid.json and have a part of their own. Several results are parts of one
run, of the same build on the same device. Those of danaus-bench-vkfft are kept as DRIVER-VERSION-vkfft.json.
publish.py --check [PAGE.md]: fails unless the page is what would be made of the runs that it names.
"""
import json
import os
import re
import sys

import plot
from runs import Run, median, read, together

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
PEERS = os.path.join(ROOT, "bench", "results", "peers", "ggml-vulkan.json")
PAGE = os.path.join(ROOT, "docs", "performance.md")
# A part of the page: "run", "grid" or "vkfft", and the result that it was made of ("none": nothing was published).
BEGIN = "<!-- begin {part}: made by bench/publish.py of {result}, do not edit -->\n"
END = "<!-- end -->\n"
PLOTS = {"run": ("roofline.svg", "speedup.svg", "growth.svg"), "grid": ("monarch.svg",), "vkfft": ()}
GROUPS = (  # tag, heading, what it shows
    ("square", "Squares", "Products n × n × n."),
    ("gpt2", "GPT-2 small: 768 → 768 and 768 → 3072, 4 blocks of q = 192", "384 tokens, and one."),
    ("vit", "ViT-B: 768 → 768, 4 blocks of q = 128", "197 tokens, and one."),
    ("llama", "Llama-7B: 4096 → 4096, 16 blocks of q = 1024", "1024 tokens, and one."),
    ("sqrt", "√n blocks: n = 1024 with 32 of 32, n = 4096 with 64 of 64",
     "The fewest parameters of two factors with as many blocks."),
    ("ffn", "Feed-forward layers d → 4d", "Those of 2:4 training, d from 768 to 7168."),
    ("decode", "1 to 16 tokens", "Weights are read once or a few times: what counts is of copy."),
    ("copy", "Copies and conversions", "What moves data and computes nothing."),
)


def times(ratio):
    return "–" if ratio is None else f"{ratio:.2f}"


def time_of(case):
    nanoseconds = median(case)
    return f"{nanoseconds / 1e6:.2f} ms" if nanoseconds >= 1e6 else f"{nanoseconds / 1e3:.0f} µs"


def row(run, case):
    dense = run.dense_beside(case) if case["operation"] in ("monarch", "sparse24", "block_diagonal") else None
    multiplies = case["multiply_adds"] > 0
    cells = [f"`{case['name']}`", time_of(case), f"{case['gflops']:.1f}" if multiplies else "–",
             f"{case['of_peak']:.2f}" if multiplies else "–", f"{case['gb_per_s']:.2f}", f"{case['of_copy']:.2f}",
             case["regime"], times(median(dense) / median(case) if dense else None),
             times(case["openblas"]["ratio"] if case["openblas"] else None)]
    return "| " + " | ".join(cells) + " |\n"


def origin(run):
    head = run.json
    parts = head["options"].get("parts")
    return (f"{head['device']} ({head['driver']}), on {head['cpu']['threads']} threads of {head['cpu']['name']}, "
            f"{head['date'][:10]}, revision {head['git']}, load {head['cpu']['load_average']:.1f} at the start; "
            f"{head['openblas'] or 'no OpenBLAS'}.\n\n"
            f"Roofs of {f'the first of its {parts} parts' if parts else 'that run'}: "
            f"{run.rates['copy_gb_per_s']:.1f} GB/s by our own copy, "
            f"{run.rates['driver_copy_gb_per_s']:.1f} GB/s by the driver's, {run.peak:.1f} GFLOP/s of multiply-adds, "
            f"{run.rates['launch_ns'] / 1e3:.0f} µs for a dispatch that does nothing.\n\n")


def pictures(names):
    return "".join(f"![{name.removesuffix('.svg')}](plots/{name})\n\n" for name in names)


def grid_tables(run, plots):
    """By dtype and tokens: features down, blocks across."""
    text = origin(run) + pictures(plots)
    cases = run.grid()
    for dtype, tokens in sorted({(case["dtype"], case["shape"]["tokens"]) for case in cases},
                                key=lambda kind: (kind[0] != "f32", kind)):
        some = {(case["shape"]["in"], case["shape"]["blocks"]): case for case in cases
                if (case["dtype"], case["shape"]["tokens"]) == (dtype, tokens)}
        sizes, counts = sorted({n for n, _ in some}), sorted({blocks for _, blocks in some})
        text += (f"### {dtype}, {tokens} token{'s' if tokens > 1 else ''}\n\n"
                 f"| n | dense | {' | '.join(f'{blocks} blocks' for blocks in counts)} |\n"
                 f"| --: | --: |{' --: |' * len(counts)}\n")
        for n in sizes:
            dense = run.find("matmul", dtype, tokens, n, n)
            cells = [cell(run, some[n, blocks]) if (n, blocks) in some else "" for blocks in counts]
            text += f"| {n} | {time_of(dense) if dense else '–'} | {' | '.join(cells)} |\n"
        text += "\n"
    return text


def cell(run, case):
    return f"{times(run.over_dense(case))} · {times(case['rival']['ratio'])} {case['regime'][0]}"


def tables(run, plots):
    text = origin(run) + pictures(plots)
    for tag, heading, what in GROUPS:
        cases = run.tagged(tag)
        if not cases:
            continue
        text += (f"### {heading}\n\n{what}\n\n"
                 "| case | time | GFLOP/s | of peak | GB/s | of copy | regime | × own dense | × OpenBLAS |\n"
                 "| --- | --: | --: | --: | --: | --: | --- | --: | --: |\n")
        text += "".join(row(run, case) for case in cases) + "\n"
    return text + peers(run)


def peers(run):
    """What bench/peers/compare.py found on the same device, if it was kept."""
    if not os.path.exists(PEERS):
        return ""
    with open(PEERS, encoding="utf-8") as file:
        found = json.load(file)
    if found["device"] != run.json["device"]:
        return ""
    text = (f"### Beside {found['peer']} {found['version']}\n\nSeparate processes on the same device, in turns, "
            f"{found['rounds']} rounds, host time of batches, f32; {found['date'][:10]}, revision {found['git']}.\n\n"
            f"| case | Danaus GFLOP/s | {found['peer']} GFLOP/s | × {found['peer']} |\n| --- | --: | --: | --: |\n")
    return text + "".join(f"| `{case['name']}` | {case['danaus']['gflops']:.1f} | {case['ggml']['gflops']:.1f} | "
                          f"{case['ratio']:.1f} |\n" for case in found["cases"]) + "\n"


def transforms(found):
    """What danaus-bench-vkfft found."""
    text = (f"{found['device']} ({found['driver']}), {found['cpu']['threads']} threads of {found['cpu']['name']}, "
            f"{found['date'][:10]}, revision {found['git']}, load {found['cpu']['load_average']:.1f} at the start; "
            f"VkFFT {found['version']}, sines {found['sines']}.\n\n"
            "| transforms × points | Danaus | VkFFT | FFTW, one thread | × VkFFT | × FFTW | error | its error |\n"
            "| --- | --: | --: | --: | --: | --: | --: | --: |\n")
    for case in found["cases"]:
        own, peer, fftw = case["danaus"], case["vkfft"], case["fftw"]
        cells = [f"{case['shape']['tokens']} × {case['shape']['n']}", time_of(own), time_of(peer),
                 time_of(fftw) if fftw else "–", f"{case['ratio']:.3f}", f"{fftw['ratio']:.4f}" if fftw else "–",
                 f"{own['error']:.0e}", f"{peer['error']:.0e}"]
        text += "| " + " | ".join(cells) + " |\n"
    return text + "\n"


def load(path):
    """A result of danaus-bench or of danaus-bench-vkfft."""
    with open(path, encoding="utf-8") as file:
        found = json.load(file)
    return found if found.get("peer") == "VkFFT" else read(path)


def split(page, part):
    """The page around a marked part, and the result that this names."""
    with open(page, encoding="utf-8") as file:
        text = file.read()
    begin = re.search(re.escape(BEGIN).replace(r"\{part\}", part).replace(r"\{result\}", r"(\S+)"), text)
    if not begin or END not in text[begin.end():]:
        raise ValueError(f"{page} has no marked part '{part}'")
    end = text.index(END, begin.end())
    return text[:begin.start()], begin.group(1), text[begin.end():end], text[end:]


def made(result, part, folder):
    if part == "vkfft":
        return "\n" + transforms(result)
    plots = [name for name in PLOTS[part] if os.path.exists(os.path.join(folder, name))]
    return "\n" + (grid_tables if part == "grid" else tables)(Run(result), plots)


def publish(results, page):
    result = load(results[0]) if len(results) == 1 else together(results)
    part = "vkfft" if result.get("peer") == "VkFFT" else "grid" if result["options"]["suite"] == "grid" else "run"
    words = result["driver"].split()
    version = next((found.group() for word in words if (found := re.match(r"\d+(\.\d+)+", word))), "")
    name = re.sub(r"[^\w.]+", "-", f"{words[0]}-{version}" if version else result["driver"]).strip("-")
    kept = os.path.join("bench", "results", f"{name}{'' if part == 'run' else '-' + part}.json")
    with open(os.path.join(ROOT, kept), "w", encoding="utf-8") as target:
        json.dump(result, target, ensure_ascii=False, indent=2)
        target.write("\n")
    folder = os.path.join(os.path.dirname(page), "plots")
    if PLOTS[part]:
        for problem in plot.draw(Run(result), folder, PLOTS[part]):
            print(f"publish: {problem}")
    before, _, _, after = split(page, part)
    with open(page, "w", encoding="utf-8") as file:
        file.write(before + BEGIN.format(part=part, result=kept) + made(result, part, folder) + after)
    print(f"published: {kept}, {folder}, {page}")


def check(page):
    for part in PLOTS:
        _, name, text, _ = split(page, part)
        if name == "none":
            continue
        if text != made(load(os.path.join(ROOT, name)), part, os.path.join(os.path.dirname(page), "plots")):
            raise ValueError(f"{page} is not what bench/publish.py makes of {name}: run it again")


def main():
    arguments = sys.argv[1:]
    page = arguments.pop() if arguments and arguments[-1].endswith(".md") else PAGE
    if not arguments:
        sys.exit(__doc__.strip())
    try:
        if arguments == ["--check"]:
            check(page)
        else:
            publish(arguments, page)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        sys.exit(f"publish: {error}")


if __name__ == "__main__":
    main()
