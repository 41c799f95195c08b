#!/usr/bin/env python3
"""`treenail train` against LightGBM's trainer: same rows, one run.

Both learn from the same file with the same rounds, leaves, learning rate, bins
and rows in a leaf, on the same number of threads, one after the other in turn;
each one's own model scores the test rows. Seconds are medians:

  fit       wall, from rows in memory to the fitted model
    bin     the part of it that cuts features into bins
  file      wall, from the file to the fitted model; CPU of all threads. For
            treenail this is the whole command, which writes the model as well;
            for LightGBM loading Python and the library is left out

Have as many idle cores as threads: OpenMP's threads wait for each other by
spinning, and LightGBM's times on a busy machine say nothing.

    train_vs_lightgbm.py TREENAIL [--data FOLDER] [--set NAME]... [--rounds N]
                         [--threads T]... [--repeat R] [--json]

FOLDER has {higgs,multiclass}.{train,test}.tsv, the label first and no header:
LightGBM's own example data. `masses` is higgs with its last column, a mass, to
learn from the others. `credit` is this repository's examples/data.
"""
import argparse
import csv
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

try:
    import lightgbm
    import numpy as np
except ImportError as error:
    sys.exit(f"{error}: pip install -r "
             f"{pathlib.Path(__file__).with_name('requirements.txt')}")

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


# ------------------------------------------------------------------- data --
# A set is {"train": rows, "test": rows}, the target first, and the columns
# that are categories; a missing value is a NaN.

def read_tsv(args, name):
    parts = {}
    for part in ("train", "test"):
        path = args.data / f"{name}.{part}.tsv"
        if not path.exists():
            sys.exit(f"{path} is missing: name its folder with --data")
        parts[part] = np.loadtxt(path, delimiter="\t")
    return parts, []


def read_masses(args):
    parts, _ = read_tsv(args, "higgs")
    return {k: np.roll(v[:, 1:], 1, axis=1) for k, v in parts.items()}, []


def read_credit(args):
    """Categories as codes; each fifth row is tested on."""
    with open(ROOT / "examples/data/credit.csv", newline="") as file:
        header, *lines = csv.reader(file)
    columns, categories = [], []
    for i, texts in enumerate(zip(*lines)):
        known = sorted(set(texts) - {""})
        try:
            columns.append([float(t) if t else np.nan for t in texts])
        except ValueError:
            columns.append([float(known.index(t)) if t else np.nan
                            for t in texts])
            categories.append(i)
    target = header.index("default")
    rows = np.array(columns).T
    rows = np.roll(rows, len(header) - target, axis=1)
    categories = [(i - target) % len(header) for i in categories]
    tested = np.arange(len(rows)) % 5 == 4
    return ({"train": rows[~tested], "test": rows[tested]},
            sorted(set(categories) - {0}))


SETS = {
    # reader, objective, metric
    "higgs": (lambda args: read_tsv(args, "higgs"), "binary", "auc"),
    "credit": (read_credit, "binary", "auc"),
    "multiclass": (lambda args: read_tsv(args, "multiclass"), "multiclass",
                   "logloss"),
    "masses": (read_masses, "regression", "rmse"),
}


def write_tsv(path, rows):
    with open(path, "w") as file:
        for row in rows.tolist():
            file.write("\t".join("" if v != v else f"{v:.10g}" for v in row)
                       + "\n")


# ----------------------------------------------------------------- metrics --

def auc(y, p):
    order = np.argsort(p, kind="stable")
    ranks = np.empty(len(p))
    ranks[order] = np.arange(1, len(p) + 1)
    for value in np.unique(p):  # ties share their mean rank
        same = p == value
        if same.sum() > 1:
            ranks[same] = ranks[same].mean()
    ones = y == 1
    n1, n0 = ones.sum(), (~ones).sum()
    return (ranks[ones].sum() - n1 * (n1 + 1) / 2) / (n1 * n0)


def logloss(y, p):
    return -np.mean(np.log(p[np.arange(len(y)), y.astype(int)]))


def rmse(y, p):
    return np.sqrt(np.mean((y - p) ** 2))


METRIC = {"auc": auc, "logloss": logloss, "rmse": rmse}


# -------------------------------------------------------------------- fits --

def lightgbm_params(args, objective, threads, n_classes):
    params = {"objective": objective, "num_leaves": args.leaves,
              "learning_rate": args.learning_rate, "max_bin": args.max_bin,
              "min_data_in_leaf": args.min_child_rows,
              "num_threads": threads, "verbosity": -1, "seed": 1}
    if objective == "multiclass":
        params["num_class"] = n_classes
    return params


def fit_lightgbm(args, params, rows, categories):
    """The booster, and seconds from rows in memory."""
    start = time.perf_counter()
    data = lightgbm.Dataset(rows[:, 1:], rows[:, 0], params=params,
                            categorical_feature=[c - 1 for c in categories])
    data.construct()
    binned = time.perf_counter()
    booster = lightgbm.train(params, data, args.rounds)
    return booster, {"fit": time.perf_counter() - start,
                     "bin": binned - start}


def fit_lightgbm_file(args, params, path, categories):
    """Wall and CPU seconds from the file."""
    wall, cpu = time.perf_counter(), time.process_time()
    data = lightgbm.Dataset(
        str(path), params={**params, "header": False, "label_column": 0},
        categorical_feature=[c - 1 for c in categories])
    lightgbm.train(params, data, args.rounds)
    return {"file": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu}


def fit_treenail(args, path, categories, model, objective, threads):
    """All seconds, of one run of the command."""
    command = [args.treenail, "train", path, "--no-header",
               "--target", "c1", "--objective", objective,
               "--test-fraction", "0", "--json", "-o", model,
               "--rounds", str(args.rounds), "--num-leaves", str(args.leaves),
               "--learning-rate", str(args.learning_rate),
               "--max-bin", str(args.max_bin),
               "--min-child-rows", str(args.min_child_rows),
               "--threads", str(threads)]
    if categories:
        command += ["--category", ",".join(f"c{c + 1}" for c in categories)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = time.perf_counter()
    report = json.loads(subprocess.run(command, check=True, text=True,
                                       stdout=subprocess.PIPE).stdout)
    wall = time.perf_counter() - wall
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"fit": report["seconds_fit"], "bin": report["seconds_bin"],
            "file": wall,
            "cpu": after.ru_utime + after.ru_stime -
                   before.ru_utime - before.ru_stime}


def predict_treenail(args, model, path, folder, objective):
    out = folder / "out.csv"
    subprocess.run([args.treenail, "predict", model, path, "--no-header",
                    "--ignore", "c1", "-o", out, "--output",
                    "value" if objective == "regression" else "probability"],
                   check=True)
    p = np.loadtxt(out, delimiter=",", skiprows=1, ndmin=2)
    return p[:, 0] if p.shape[1] == 1 else p


# --------------------------------------------------------------------- run --

def medians(times):
    return {key: statistics.median(t[key] for t in times)
            for key in times[0]}


def run(args, name, threads, folder):
    read, objective, metric = SETS[name]
    parts, categories = read(args)
    path = {part: folder / f"{part}.tsv" for part in parts}
    for part, rows in parts.items():
        write_tsv(path[part], rows)
    train, test = parts["train"], parts["test"]
    params = lightgbm_params(args, objective, threads,
                             len(np.unique(train[:, 0])))
    model, theirs, ours = folder / "m.tn", [], []
    for _ in range(args.repeat):
        booster, seconds = fit_lightgbm(args, params, train, categories)
        ours.append(fit_treenail(args, path["train"], categories, model,
                                 objective, threads))
        theirs.append({**seconds, **fit_lightgbm_file(
            args, params, path["train"], categories)})
    score = METRIC[metric]
    return {
        "set": name, "rows": len(train), "threads": threads,
        "metric": metric,
        "lightgbm": {"metric": score(test[:, 0],
                                     booster.predict(test[:, 1:])),
                     **medians(theirs)},
        "treenail": {"metric": score(test[:, 0], predict_treenail(
                         args, model, path["test"], folder, objective)),
                     **medians(ours)}}


def print_table(args, results):
    print(f"LightGBM {lightgbm.__version__}; {args.rounds} rounds, "
          f"{args.leaves} leaves, learning rate {args.learning_rate}, "
          f"{args.max_bin} bins, {args.min_child_rows} rows in a leaf; "
          f"medians of {args.repeat}")
    print(f"{'':25}{'LightGBM':>10}{'treenail':>10}{'difference':>12}"
          f"{'ratio':>8}")
    for r in results:
        a, b = r["lightgbm"], r["treenail"]
        print(f"{r['set']}, {r['rows']} rows, {r['threads']} thread"
              f"{'s' if r['threads'] > 1 else ''}")
        print(f"  {'test ' + r['metric']:23}{a['metric']:10.4f}"
              f"{b['metric']:10.4f}{b['metric'] - a['metric']:+12.4f}")
        for key, what in (("fit", "fit, wall s"), ("bin", "  bin, wall s"),
                          ("file", "file, wall s"), ("cpu", "file, CPU s")):
            print(f"  {what:23}{a[key]:10.4f}{b[key]:10.4f}"
                  f"{b[key] - a[key]:+12.4f}{b[key] / a[key]:8.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("treenail", type=pathlib.Path)
    parser.add_argument("--data", type=pathlib.Path,
                        default=ROOT.parent / "shared/data/tabular")
    parser.add_argument("--set", action="append", choices=sorted(SETS))
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--leaves", type=int, default=31)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--max-bin", type=int, default=255)
    parser.add_argument("--min-child-rows", type=int, default=20)
    parser.add_argument("--threads", type=int, action="append")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    args.treenail = args.treenail.resolve()
    if not os.access(args.treenail, os.X_OK):
        sys.exit(f"{args.treenail} is no program: build treenail first")
    results = []
    for name in args.set or SETS:
        for threads in args.threads or (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                results.append(run(args, name, threads,
                                   pathlib.Path(folder)))
    if args.json:
        print(json.dumps(results, indent=2))
    else:
        print_table(args, results)


if __name__ == "__main__":
    main()
