#!/usr/bin/env -S python3 -B
"""plot.py RESULT FOLDER: draws a run of danaus-bench (its --json) with gnuplot, into FOLDER:

    roofline.svg   every multiply between the device's roofs, which the same run measured
    speedup.svg    Monarch and 2:4 multiplies against the dense multiply of the library and that of OpenBLAS
    growth.svg     how time grows with tokens and with features
    monarch.svg    Monarch against dense and against separate permutation passes, by features and blocks (--suite grid)

A plot whose cases the run does not have is left out, and named. Without gnuplot: says so, exit status 0.
"""
import os
import shutil
import subprocess
import sys

from runs import Run, median, read

OPERATIONS = {"matmul": ("dense", "#4c566a"), "block_diagonal": ("block-diagonal", "#d08700"),
              "monarch": ("Monarch", "#0072b2"), "sparse24": ("2:4", "#009e73")}
PLOTS = ("roofline.svg", "speedup.svg", "growth.svg", "monarch.svg")
OPENBLAS = "#cc3311"
BLUES = ("#9ecae1", "#4292c6", "#2171b5", "#08519c", "#08306b")
BY_SIZE = ("#fdbb84", "#fc8d59", "#e34a33", "#b30000", "#41ab5d", "#2171b5", "#08306b")
HEAD = """set terminal svg size {width},{height} font 'sans,12' background '#ffffff'
set output '{name}'
set grid lt 1 lw 1 lc rgb '#dddddd'
set key noenhanced samplen 1.5
set tics nomirror
set border 3
"""


class Plot:
    """A gnuplot script with its data inside."""

    def __init__(self, name, width, panels, title, rows=1):
        self.blocks, self.commands, self.curves = [], [], []
        self.text = HEAD.format(name=name, width=width, height=480 if rows == 1 else 380 * rows)
        self.text += f"set multiplot layout {rows},{panels} title \"{title}\" noenhanced\n"

    def set(self, *lines):
        self.commands += ["set " + line for line in lines]

    def curve(self, points, title, style):
        """points: (x, y) in any order; nothing is drawn without any."""
        if not points:
            return
        name = f"$data{len(self.blocks)}"
        rows = "\n".join(f"{x:.6g} {y:.6g}" for x, y in sorted(points))
        self.blocks.append(f"{name} << EOD\n{rows}\nEOD\n")
        shown = f"title '{title}'" if title else "notitle"
        self.curves.append(f"{name} using 1:2 with {style} {shown}")

    def end_panel(self):
        self.commands.append("plot " + ", \\\n     ".join(self.curves))
        self.curves = []

    def script(self):
        return "".join(self.blocks) + self.text + "\n".join(self.commands) + "\nunset multiplot\n"


def along(values):
    """Range and tics of a logarithmic axis that has exactly these values."""
    return (f"xrange [{values[0] / 1.3:.4g}:{values[-1] * 1.3:.4g}]",
            "xtics (%s) rotate by -30" % ", ".join(f"'{value}' {value}" for value in values))


def family_of(case):
    return next((name for name in OPERATIONS if case["operation"].startswith(name)), None)


def multiplies(run):
    for case in run.cases:
        family = family_of(case)
        if family and case["multiply_adds"]:
            yield family, case


def roofline(run):
    plot = Plot("roofline.svg", 900, 1, run.title)
    points = {}
    for family, case in multiplies(run):
        intensity = 2.0 * case["multiply_adds"] / case["bytes"]
        points.setdefault((family, case["dtype"]), []).append((intensity, case["gflops"]))
    everything = [point for some in points.values() for point in some]
    if not everything:
        return None
    low, high = min(x for x, _ in everything) / 2, max(x for x, _ in everything) * 2
    ridge = run.peak / run.memory
    plot.set("logscale xy", f"xrange [{low:.4g}:{high:.4g}]", "key outside right top",
             "xlabel 'floating-point operations per byte that has to move'", "ylabel 'GFLOP/s'")
    plot.curve([(low, run.memory * low), (min(ridge, high), run.memory * min(ridge, high))],
               f"memory {run.memory:.3g} GB/s", "lines lw 2 lc rgb '#000000'")
    plot.curve([(max(ridge, low), run.peak), (high, run.peak)] if ridge < high else [],
               f"multiply-adds {run.peak:.3g} GFLOP/s", "lines lw 2 dt 2 lc rgb '#000000'")
    for (family, dtype), some in sorted(points.items()):
        name, colour = OPERATIONS[family]
        plot.curve(some, f"{name} {dtype}", f"points pt {7 if dtype == 'f32' else 6} ps 0.6 lc rgb '{colour}'")
    plot.end_panel()
    return plot


def speedup(run):
    cases = [case for case in run.tagged("blocks") if family_of(case) in ("monarch", "sparse24")]
    if not cases:
        return None
    tokens = cases[0]["shape"]["tokens"]
    plot = Plot("speedup.svg", 1100, 2, f"{tokens} tokens, f32. {run.title}")
    counts = sorted({case["shape"]["blocks"] for case in cases if "blocks" in case["shape"]})
    sizes = sorted({case["shape"]["in"] for case in cases})
    plot.set("logscale xy", "xlabel 'features n'", *along(sizes), "key top left")
    for title, ratio in (("times the speed of our own dense multiply", run.over_dense),
                         ("times the speed of OpenBLAS, dense", run.over_openblas)):
        plot.set(f"title '{title}'")
        for i, count in enumerate(counts + [None]):
            some = [case for case in cases if case["shape"].get("blocks") == count]
            points = [(case["shape"]["in"], ratio(case)) for case in some if ratio(case)]
            name, colour = (f"Monarch, {count} blocks", BLUES[(i + 1) % len(BLUES)]) if count else (
                "2:4", OPERATIONS["sparse24"][1])
            plot.curve(points, name, f"linespoints pt 7 ps 0.6 lw 2 lc rgb '{colour}'")
        if not plot.curves:
            continue
        plot.curve([(sizes[0], 1), (sizes[-1], 1)], "", "lines lw 1 dt 2 lc rgb '#000000'")
        plot.end_panel()
    return plot


def growth(run):
    plot = Plot("growth.svg", 1100, 2, f"f32. {run.title}")
    plot.set("logscale xy", "ylabel 'microseconds'", "key top left")
    drawn = False
    for tag, key, title in (("tokens", "tokens", "{n} features"), ("features", "in", "{tokens} tokens")):
        cases = run.tagged(tag)
        if not cases:
            continue
        shape = cases[0]["shape"]
        plot.set("title '%s'" % title.format(n=shape["in"], tokens=shape["tokens"]),
                 f"xlabel '{'tokens' if key == 'tokens' else 'features n'}'",
                 *along(sorted({case["shape"][key] for case in cases})))
        for operation, (name, colour) in OPERATIONS.items():
            some = [case for case in cases if family_of(case) == operation]
            plot.curve([(case["shape"][key], median(case) / 1e3) for case in some], name,
                       f"linespoints pt 7 ps 0.6 lw 2 lc rgb '{colour}'")
            if operation == "matmul":
                plot.curve([(case["shape"][key], case["openblas"]["ns"]["median"] / 1e3) for case in some
                            if case["openblas"]],
                           "OpenBLAS, dense", f"linespoints pt 5 ps 0.5 lw 1 dt 2 lc rgb '{OPENBLAS}'")
        plot.end_panel()
        drawn = True
    return plot if drawn else None


def monarch(run):
    cases = [case for case in run.grid() if case["dtype"] == "f32"]
    tokens = sorted({case["shape"]["tokens"] for case in cases})
    if len(tokens) < 2:  # the quick suite has a few of these cases, which would be no picture
        return None
    plot = Plot("monarch.svg", 1100, 2, f"Monarch multiplies n → n, f32. {run.title}", rows=len(tokens))
    counts, sizes = (sorted({case["shape"][key] for case in cases}) for key in ("blocks", "in"))
    plot.set("logscale xy", "xlabel 'blocks of either factor'", *along(counts), "key top left")
    for count in tokens:
        for title, ratio, *settings in (
                ("times the speed of our own dense multiply", run.over_dense, "yrange [*:*]", "ytics auto"),
                ("separate permutation passes, their time over ours", lambda case: case["rival"]["ratio"],
                 "yrange [0.7:5]", "ytics (0.8, 1, 1.25, 1.5, 2, 3, 4, 5)")):
            plot.set(f"title '{count} token{'s' if count > 1 else ''}: {title}'", *settings)
            for n, colour in zip(sizes, BY_SIZE):
                some = [case for case in cases if (case["shape"]["tokens"], case["shape"]["in"]) == (count, n)]
                plot.curve([(case["shape"]["blocks"], ratio(case)) for case in some if ratio(case)], f"n = {n}",
                           f"linespoints pt 7 ps 0.5 lw 2 lc rgb '{colour}'")
            plot.curve([(counts[0], 1), (counts[-1], 1)], "", "lines lw 1 dt 2 lc rgb '#000000'")
            plot.end_panel()
            plot.set("key off")  # the first panel's stands for all
    return plot


def draw(run, folder, names=PLOTS):
    """Draws these plots; returns what went wrong, one line each."""
    if not shutil.which("gnuplot"):
        return ["gnuplot is not installed (package gnuplot-nox), so nothing is drawn"]
    os.makedirs(folder, exist_ok=True)
    problems = []
    for name, make in zip(PLOTS, (roofline, speedup, growth, monarch)):
        if name not in names:
            continue
        plot = make(run)
        if plot is None:
            problems.append(f"{name}: the run has none of its cases")
            continue
        done = subprocess.run(["gnuplot"], input=plot.script(), cwd=folder, text=True, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"gnuplot failed on {name}: {done.stderr.strip()}")
    return problems


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    for name in PLOTS:  # what is left of an earlier run is not this one's
        if os.path.exists(os.path.join(sys.argv[2], name)):
            os.remove(os.path.join(sys.argv[2], name))
    try:
        problems = draw(Run(read(sys.argv[1])), sys.argv[2])
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        sys.exit(f"plot: {error}")
    for problem in problems:
        print(f"plot: {problem}")
    drawn = [name for name in PLOTS if os.path.exists(os.path.join(sys.argv[2], name))]
    if drawn:
        print(f"plots in {sys.argv[2]}: {', '.join(drawn)}")


if __name__ == "__main__":
    main()
