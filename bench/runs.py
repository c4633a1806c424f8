"""One run of danaus-bench, as bench/plot.py and bench/publish.py read it."""
import json

SCHEMA = 2


class Run:
    """A results file of schema 2; of several ways of reaching memory the first one."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.json = json.load(file)
        if self.json.get("schema") != SCHEMA:
            raise ValueError(f"{path} has schema {self.json.get('schema')}, not {SCHEMA}: run danaus-bench again")
        if not self.json.get("cases"):
            raise ValueError(f"{path} has no timed cases")
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


def median(case):
    return case["ns"]["median"]
