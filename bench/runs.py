"""One run of danaus-bench, as bench/plot.py and bench/publish.py read it."""
import json

SCHEMA = 2


def read(path):
    with open(path, encoding="utf-8") as file:
        result = json.load(file)
    if result.get("schema") != SCHEMA:
        raise ValueError(f"{path} has schema {result.get('schema')}, not {SCHEMA}: run danaus-bench again")
    if not result.get("cases"):
        raise ValueError(f"{path} has no timed cases")
    return result


def together(paths):
    """Runs of one build on one device as one: the head and the rates of the first, the cases of all. Each case has been
    held against the rates of its own part."""
    first, *others = [read(path) for path in paths]
    for path, other in zip(paths[1:], others):
        for key in ("device", "driver", "git", "access"):
            if other[key] != first[key]:
                raise ValueError(f"{path} has {key} {other[key]}, {paths[0]} {first[key]}: not parts of one run")
        known = {(case["name"], case["access"]) for case in first["cases"]}
        first["cases"] += [case for case in other["cases"] if (case["name"], case["access"]) not in known]
        first["skipped"] += other["skipped"]
    if others:
        first["options"] = {**first["options"], "filter": "", "parts": len(paths)}
    return first


class Run:
    """A result of schema 2; of several ways of reaching memory the first one."""

    def __init__(self, result):
        self.json = result
        self.access = next(iter(self.json["rates"]))
        self.rates = self.json["rates"][self.access]
        self.memory = max(self.rates["copy_gb_per_s"], self.rates["driver_copy_gb_per_s"])
        self.peak = self.rates["peak_gflops"]
        self.cases = [case for case in self.json["cases"] if case["access"] == self.access]

    @property
    def title(self):
        return f"{self.json['device']}, {self.json['driver']}"

    def tagged(self, tag):
        return [case for case in self.cases if tag in case["tags"]]

    def find(self, operation, dtype, tokens, out, features, **others):
        """The case of exactly this shape, or None."""
        shape = {"tokens": tokens, "out": out, "in": features, **others}
        return next((case for case in self.cases
                     if (case["operation"], case["dtype"], case["shape"]) == (operation, dtype, shape)), None)

    def dense_beside(self, case):
        """The dense multiply of the case's tokens and features, or None."""
        shape = case["shape"]
        return self.find("matmul", case["dtype"], shape["tokens"], shape["out"], shape["in"])

    def over_dense(self, case):
        """How many times faster than our own dense multiply, or None."""
        dense = self.dense_beside(case)
        return median(dense) / median(case) if dense else None

    def over_openblas(self, case):
        """How many times faster than OpenBLAS's dense multiply, beside this case or beside the dense one, or None."""
        if case["openblas"]:
            return case["openblas"]["ratio"]
        dense = self.dense_beside(case)
        return dense["openblas"]["ns"]["median"] / median(case) if dense and dense["openblas"] else None

    def grid(self):
        """Monarch multiplies of many sizes and blocks beside separate permutation passes."""
        return [case for case in self.tagged("grid") if "rival" in case]


def median(case):
    return case["ns"]["median"]
