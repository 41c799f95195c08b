#!/usr/bin/env python3
"""Fits the constants of the cost model to this machine.

Makes forests of many shapes, has `treenail opt --tune` measure every strategy on
each, and writes to passes/costs.def the nanoseconds that explain the times best:
for each strategy the non-negative ones with the least squares of relative errors.
Then it says how often the model's choice is within 15% of the fastest, also for
forests that were left out of the fit.

    fit_costs.py TREENAIL [--measured FILE] [--write] [--report FILE]

--measured keeps what was measured and goes on from there; without --write
nothing is changed. Takes ten minutes on an idle machine.
"""
import argparse
import json
import math
import pathlib
import random
import re
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
COSTS = ROOT / "passes/costs.def"
CLOSE = 1.15
FOLDS = 5
CHOSEN = ["batch", "one"]  # a strategy is chosen for these; few are told by both


# ----------------------------------------------------------------- forests --
# trees, leaves, depth at most, features, distinct thresholds a feature, and:
# the share of set tests, whether missing goes both ways, the shape.

def shape(trees, leaves, depth, features, cuts, sets=0.0, both=False,
          form="leafwise"):
    return dict(trees=trees, leaves=leaves, depth=depth, features=features,
                cuts=cuts, sets=sets, both=both, form=form)


SHAPES = [
    shape(1, 2, 1, 4, 10), shape(1, 31, 10, 10, 50), shape(1, 10000, 40, 20, 250),
    shape(3, 500, 20, 30, 200), shape(10, 8, 3, 5, 20), shape(10, 31, 12, 5, 100),
    shape(10, 255, 16, 28, 200), shape(20, 2000, 30, 50, 1000),
    shape(30, 4, 2, 100, 5), shape(50, 8, 3, 30, 30), shape(50, 64, 6, 12, 200),
    shape(50, 31, 10, 2000, 20), shape(50, 1000, 25, 64, 500, both=True),
    shape(100, 2, 1, 20, 50), shape(100, 4, 2, 8, 30), shape(100, 8, 3, 200, 20),
    shape(100, 16, 4, 10, 100), shape(100, 31, 14, 5, 60),
    shape(100, 31, 12, 40, 100), shape(100, 31, 10, 8, 60, sets=0.5),
    shape(100, 31, 10, 8, 60, sets=0.9), shape(100, 63, 12, 500, 30),
    shape(100, 1100, 25, 28, 2000, both=True), shape(100, 400, 20, 64, 17),
    shape(200, 15, 6, 12, 60, sets=0.3), shape(200, 16, 4, 9, 60),
    shape(200, 8, 3, 751, 4), shape(200, 64, 6, 28, 200, form="level"),
    shape(300, 31, 10, 9, 60, sets=0.4), shape(300, 64, 6, 28, 200, form="level"),
    shape(300, 63, 14, 10, 150, sets=0.3), shape(500, 31, 12, 28, 200),
    shape(500, 63, 14, 28, 200, both=True), shape(500, 31, 12, 40, 100),
    shape(500, 255, 8, 10, 200, form="level"),
    shape(500, 64, 6, 28, 128, form="symmetric"),
    shape(1000, 64, 6, 10, 128, form="symmetric"),
    shape(100, 16, 4, 50, 60, form="symmetric"),
    shape(300, 256, 8, 20, 200, form="symmetric"),
    shape(1000, 4, 2, 30, 60), shape(1000, 8, 3, 30, 60),
    shape(1000, 31, 12, 50, 200), shape(1000, 255, 16, 10, 250),
    shape(2000, 31, 10, 20, 250), shape(2000, 8, 3, 100, 100),
    shape(5000, 2, 1, 50, 250), shape(5000, 31, 10, 30, 250),
    shape(1500, 16, 4, 300, 40, both=True), shape(400, 127, 14, 1000, 30),
]


class Tree:
    """A tree as LightGBM's text has it, grown by one leaf at a time."""

    def __init__(self, rng, s):
        self.rng, self.s = rng, s
        self.nodes, self.sets = [], []
        self.leaves = [(0, None)]  # depth, (node, side)
        if s["form"] == "leafwise":
            self.grow_leafwise()
        else:
            self.grow_levels(s["form"] == "symmetric")

    def test(self):
        rng, s = self.rng, self.s
        feature = min(int(rng.random() ** 1.5 * s["features"]),
                      s["features"] - 1)
        default = 2 if rng.random() < 0.5 or not s["both"] else 0
        if feature < s["features"] * s["sets"]:
            bits = [rng.getrandbits(32) for _ in range(2)]
            return feature, 1 | 8, bits
        cut = (rng.randrange(s["cuts"]) + 0.5) / s["cuts"] * 100 - 50
        return feature, 8 | default, cut + feature

    def split(self, leaf, test):
        depth, at = self.leaves[leaf]
        node, new = len(self.nodes), len(self.leaves)
        feature, kind, what = test
        if kind & 1:
            self.sets.append(what)
            what = len(self.sets) - 1
        self.nodes.append([feature, kind, what, ~leaf, ~new])
        if at:
            self.nodes[at[0]][3 + at[1]] = node
        self.leaves[leaf] = depth + 1, (node, 0)
        self.leaves.append((depth + 1, (node, 1)))

    def grow_leafwise(self):
        while len(self.leaves) < self.s["leaves"]:
            some = [i for i in (self.rng.randrange(len(self.leaves))
                                for _ in range(4))
                    if self.leaves[i][0] < self.s["depth"]]
            if not some:
                break
            # as learners do: rather a shallow leaf than a deep one
            self.split(min(some, key=lambda i: self.leaves[i][0]
                           if self.rng.random() < 0.7 else 0), self.test())

    def grow_levels(self, symmetric):
        for _ in range(self.s["depth"]):
            test = self.test()
            for leaf in range(len(self.leaves)):
                if symmetric or len(self.leaves) < self.s["leaves"]:
                    self.split(leaf, test if symmetric else self.test())

    def text(self, number):
        def join(values):
            return " ".join(str(v) for v in values)
        columns = list(zip(*self.nodes)) or [[]] * 5
        value = [repr(self.rng.gauss(0, 1)) for _ in self.leaves]
        lines = [f"Tree={number}", f"num_leaves={len(self.leaves)}",
                 f"num_cat={len(self.sets)}"]
        if self.nodes:
            lines += ["split_feature=" + join(columns[0]),
                      "threshold=" + join(columns[2]),
                      "decision_type=" + join(columns[1]),
                      "left_child=" + join(columns[3]),
                      "right_child=" + join(columns[4])]
        if self.sets:
            lines += ["cat_boundaries=" + join(range(0, 2 * len(self.sets) + 1,
                                                     2)),
                      "cat_threshold=" + join(w for s in self.sets for w in s)]
        return "\n".join(lines + ["leaf_value=" + join(value),
                                  "is_linear=0", "shrinkage=1", "", ""])


def forest_text(number, s):
    rng = random.Random(number)
    names = " ".join(f"f{i}" for i in range(s["features"]))
    infos = " ".join(":".join(str(k) for k in range(64))
                     if i < s["features"] * s["sets"] else "[-1e3:1e3]"
                     for i in range(s["features"]))
    trees = [Tree(rng, s).text(t) for t in range(s["trees"])]
    head = ["tree", "version=v4", "num_class=1", "num_tree_per_iteration=1",
            "label_index=0", f"max_feature_idx={s['features'] - 1}",
            "objective=regression", f"feature_names={names}",
            f"feature_infos={infos}", "", ""]
    return "\n".join(head) + "\n".join(trees) + "end of trees\n"


# --------------------------------------------------------------- measuring --

def name_of(s):
    kinds = [s["form"]] if s["form"] != "leafwise" else []
    kinds += ["missing"] if s["both"] else []
    kinds += [f"{s['sets']:.0%} sets"] if s["sets"] else []
    return " ".join([f"{s['trees']} x {s['leaves']}", f"on {s['features']}",
                     *kinds])


def opt(treenail, model, *options):
    return subprocess.run([treenail, "opt", model, "--outputs", "value",
                           *options], check=True, capture_output=True,
                          text=True)


def measure(treenail, model):
    """{rows: {strategy: ns}}"""
    table = opt(treenail, model, "--tune", "-o",
                model.with_suffix(".tn")).stderr
    times = {"batch": {}, "one": {}, "few": {}}
    for rows, strategy, ns in re.findall(
            r"^(batch|one|few) +(\w+) +([\d.]+) ", table, re.M):
        times[rows][strategy] = float(ns)
    return times


def look_at(treenail, number, s, times):
    """A forest's terms as the cost model has them now, and its times, which are
    measured if there are none."""
    with tempfile.TemporaryDirectory() as folder:
        model = pathlib.Path(folder) / "model.txt"
        model.write_text(forest_text(number, s))
        costs = opt(treenail, model, "--passes", "all", "--costs").stdout
        return {"name": name_of(s), "terms": json.loads(costs)[0]["terms"],
                "ns": times or measure(treenail, model)}


# ----------------------------------------------------------------- fitting --

def read_lines():
    """(rows, strategy, term, ns) of each line of costs.def."""
    return [(rows.lower(), strategy.lower(), term, float(ns))
            for rows, strategy, term, ns in re.findall(
                r"^COST\((\w+), (\w+), (\w+), ([\d.e+-]+)\)",
                COSTS.read_text(), re.M)]


def fit_one(samples, terms):
    """The x >= 0 with the least sum of (x . a / ns - 1)^2."""
    a = [[terms_of[t] / ns for t in terms] for terms_of, ns in samples]
    x = [0.0] * len(terms)
    left = [1.0] * len(a)  # 1 - x . a
    for _ in range(3000):
        for j in range(len(terms)):
            square = sum(row[j] ** 2 for row in a)
            if square == 0:
                continue
            step = sum(row[j] * r for row, r in zip(a, left)) / square
            new = max(0.0, x[j] + step)
            if new != x[j]:
                left = [r - (new - x[j]) * row[j] for row, r in zip(a, left)]
                x[j] = new
    return x


def fit(forests):
    """{(rows, strategy): {term: ns}}"""
    wanted = {}
    for rows, strategy, term, _ in read_lines():
        wanted.setdefault((rows, strategy), []).append(term)
    constants = {}
    for (rows, strategy), terms in wanted.items():
        samples = [(f["terms"][strategy], f["ns"][rows][strategy])
                   for f in forests if strategy in f["ns"][rows]]
        constants[rows, strategy] = dict(zip(terms, fit_one(samples, terms)))
    return constants


def predict(constants, forest, rows, strategy):
    terms = forest["terms"][strategy]
    return sum(ns * terms[t]
               for t, ns in constants[rows, strategy].items())


def choose(constants, forest, rows):
    return min(forest["ns"][rows],
               key=lambda s: predict(constants, forest, rows, s))


def judge(constants, forests, rows):
    """What the choice takes, as a multiple of the fastest, of each forest."""
    found = []
    for f in forests:
        times = f["ns"][rows]
        found.append(times[choose(constants, f, rows)] / min(times.values()))
    return found


def held_out(forests, rows):
    found = []
    for k in range(FOLDS):
        rest = [f for i, f in enumerate(forests) if i % FOLDS != k]
        found += judge(fit(rest), forests[k::FOLDS], rows)
    return found


def share(found):
    return sum(r <= CLOSE for r in found) / len(found)


def write_constants(constants):
    def line(match):
        rows, strategy, term = match.group(1, 2, 3)
        ns = constants[rows.lower(), strategy.lower()][term]
        return f"COST({rows}, {strategy}, {term}, {ns:.4g})"
    COSTS.write_text(re.sub(r"^COST\((\w+), (\w+), (\w+), [\d.e+-]+\)", line,
                            COSTS.read_text(), flags=re.M))


def report(constants, forests):
    out = ["| forest | rows | chosen | ns | estimate | fastest | ns | ratio |",
           "|---|---|---|---:|---:|---|---:|---:|"]
    for f in forests:
        for rows in CHOSEN:
            times = f["ns"][rows]
            best, mine = min(times, key=times.get), choose(constants, f, rows)
            out.append(
                f"| {f['name']} | {rows} | {mine} | {times[mine]:.0f} | "
                f"{predict(constants, f, rows, mine):.0f} | {best} | "
                f"{times[best]:.0f} | {times[mine] / times[best]:.2f} |")
    for rows in CHOSEN:
        inside, outside = judge(constants, forests, rows), held_out(forests,
                                                                    rows)
        out.append(f"\n{rows}: within {CLOSE - 1:.0%} of the fastest on "
                   f"{share(inside):.0%} of {len(forests)} forests "
                   f"({share(outside):.0%} when left out of the fit); "
                   f"geometric mean {geometric(inside):.3f}, worst "
                   f"{max(inside):.2f}")
    return "\n".join(out) + "\n"


def geometric(found):
    return math.exp(sum(map(math.log, found)) / len(found))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("treenail")
    parser.add_argument("--measured", type=pathlib.Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--report", type=pathlib.Path)
    args = parser.parse_args()
    times, forests = {}, []
    if args.measured and args.measured.exists():
        times = json.loads(args.measured.read_text())
    for number, s in enumerate(SHAPES):
        name = name_of(s)
        forests.append(look_at(args.treenail, number, s, times.get(name)))
        if name not in times:
            print(name, forests[-1]["ns"], flush=True)
        times[name] = forests[-1]["ns"]
        if args.measured:
            args.measured.write_text(json.dumps(times, indent=1))
    constants = fit(forests)
    text = report(constants, forests)
    print(text)
    if args.report:
        args.report.write_text(text)
    if args.write:
        write_constants(constants)


if __name__ == "__main__":
    main()
