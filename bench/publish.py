#!/usr/bin/env -S python3 -B
"""publish.py RESULT [PAGE]: makes a run of danaus-bench (its --json) the one that docs/performance.md shows.

Keeps it as bench/results/DRIVER-VERSION.json, draws docs/plots/, and rewrites the marked part of the page, which has no
figure that was typed by hand. For runs on a quiet machine, and without changes that are not committed.
publish.py --check [PAGE]: fails unless the page is what would be made of the run that it names.
"""
import json
import os
import re
import sys

import plot
from runs import Run, median

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
PEERS = os.path.join(ROOT, "bench", "results", "peers", "ggml-vulkan.json")
PAGE = os.path.join(ROOT, "docs", "performance.md")
BEGIN = re.compile(r"<!-- begin: made by bench/publish\.py of (\S+), do not edit -->\n")
END = "<!-- end -->\n"
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


def tables(run, plots):
    head = run.json
    text = (f"{head['device']} ({head['driver']}), on {head['cpu']['threads']} threads of {head['cpu']['name']}, "
            f"{head['date'][:10]}, revision {head['git']}, load {head['cpu']['load_average']:.1f} at the start; "
            f"{head['openblas'] or 'no OpenBLAS'}.\n\n"
            f"Roofs of that run: {run.rates['copy_gb_per_s']:.1f} GB/s by our own copy, "
            f"{run.rates['driver_copy_gb_per_s']:.1f} GB/s by the driver's, {run.peak:.1f} GFLOP/s of multiply-adds, "
            f"{run.rates['launch_ns'] / 1e3:.0f} µs for a dispatch that does nothing.\n\n")
    text += "".join(f"![{name.removesuffix('.svg')}](plots/{name})\n\n" for name in plots)
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


def split(page):
    """The page around its marked part, and the run that this names ("none": no run)."""
    with open(page, encoding="utf-8") as file:
        text = file.read()
    begin = BEGIN.search(text)
    if not begin or END not in text[begin.end():]:
        raise ValueError(f"{page} has no marked part")
    end = text.index(END, begin.end())
    return text[:begin.start()], begin.group(1), text[begin.end():end], text[end:]


def plots_of(folder):
    return [name for name in plot.PLOTS if os.path.exists(os.path.join(folder, name))]


def publish(result, page):
    run = Run(result)
    words = run.json["driver"].split()
    version = next((found.group() for word in words if (found := re.match(r"\d+(\.\d+)+", word))), "")
    name = re.sub(r"[^\w.]+", "-", f"{words[0]}-{version}" if version else run.json["driver"]).strip("-")
    kept = os.path.join("bench", "results", name + ".json")
    if os.path.realpath(result) != os.path.realpath(os.path.join(ROOT, kept)):
        with open(result, encoding="utf-8") as source, open(os.path.join(ROOT, kept), "w", encoding="utf-8") as target:
            target.write(source.read())
    folder = os.path.join(os.path.dirname(page), "plots")
    for problem in plot.draw(run, folder):
        print(f"publish: {problem}")
    before, _, _, after = split(page)
    with open(page, "w", encoding="utf-8") as file:
        file.write(f"{before}<!-- begin: made by bench/publish.py of {kept}, do not edit -->\n\n"
                   f"{tables(run, plots_of(folder))}{after}")
    print(f"published: {kept}, {folder}, {page}")


def check(page):
    _, name, text, _ = split(page)
    if name == "none":
        return
    made = "\n" + tables(Run(os.path.join(ROOT, name)), plots_of(os.path.join(os.path.dirname(page), "plots")))
    if made != text:
        raise ValueError(f"{page} is not what bench/publish.py makes of {name}: run it again")


def main():
    arguments = sys.argv[1:]
    if not arguments or len(arguments) > 2:
        sys.exit(__doc__.strip())
    page = arguments[1] if len(arguments) == 2 else PAGE
    try:
        if arguments[0] == "--check":
            check(page)
        else:
            publish(arguments[0], page)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        sys.exit(f"publish: {error}")


if __name__ == "__main__":
    main()
