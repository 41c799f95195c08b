#!/usr/bin/env python3
"""`treenail train` against LightGBM's trainer: same rows, one run.

Both fit the same number of rounds, leaves and threads on the training file,
interleaved; test rows are scored by each one's own model. Times are CPU seconds
(of all threads) and wall seconds, medians: LightGBM's from arrays in memory to
the fitted model, binning included; treenail's for the whole command, reading
the file included, and beside it the part that LightGBM's time is to be compared
with.

    train_vs_lightgbm.py TREENAIL [--data FOLDER] [--rounds N] [--repeat R]

FOLDER has higgs.train.tsv, higgs.test.tsv and multiclass.{train,test}.tsv, the
label first, without a header: LightGBM's own example data.
"""
import argparse
import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import lightgbm
import numpy as np

SETS = [
    # name, objective, metric
    ("higgs", "binary", "auc"),
    ("multiclass", "multiclass", "logloss"),
]


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


METRIC = {"auc": auc, "logloss": logloss}


def fit_lightgbm(train, args, objective, threads):
    """The booster, CPU seconds and wall seconds."""
    params = {"objective": objective, "num_leaves": args.leaves,
              "learning_rate": args.learning_rate, "num_threads": threads,
              "verbosity": -1, "seed": 1}
    if objective == "multiclass":
        params["num_class"] = len(np.unique(train[:, 0]))
    wall, cpu = time.perf_counter(), time.process_time()
    data = lightgbm.Dataset(train[:, 1:], train[:, 0])
    booster = lightgbm.train(params, data, args.rounds)
    return (booster, time.process_time() - cpu, time.perf_counter() - wall)


def fit_treenail(args, path, model, objective, threads):
    """The report, CPU seconds and wall seconds of the command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = time.perf_counter()
    report = subprocess.run(
        [args.treenail, "train", path, "--no-header", "--target", "c1",
         "--objective", objective, "--test-fraction", "0", "--json",
         "--rounds", str(args.rounds), "--num-leaves", str(args.leaves),
         "--learning-rate", str(args.learning_rate),
         "--threads", str(threads), "-o", model],
        check=True, capture_output=True, text=True).stdout
    wall = time.perf_counter() - wall
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = (after.ru_utime - before.ru_utime +
           after.ru_stime - before.ru_stime)
    return json.loads(report), cpu, wall


def predict_treenail(args, model, path, folder):
    out = os.path.join(folder, "out.csv")
    subprocess.run([args.treenail, "predict", model, path, "--no-header",
                    "--ignore", "c1", "--output", "probability", "-o", out],
                   check=True)
    with open(out, newline="") as file:
        rows = list(csv.reader(file))[1:]
    p = np.array(rows, dtype=float)
    return p[:, 0] if p.shape[1] == 1 else p


def run(args, name, objective, metric, threads, folder):
    path = {part: os.path.join(args.data, f"{name}.{part}.tsv")
            for part in ("train", "test")}
    train = np.loadtxt(path["train"], delimiter="\t")
    test = np.loadtxt(path["test"], delimiter="\t")
    model = os.path.join(folder, "m.tn")
    times = {key: [] for key in ("lgb_cpu", "lgb", "tn_cpu", "tn", "tn_fit")}
    for _ in range(args.repeat):
        booster, cpu, wall = fit_lightgbm(train, args, objective, threads)
        times["lgb_cpu"].append(cpu)
        times["lgb"].append(wall)
        report, cpu, wall = fit_treenail(args, path["train"], model,
                                         objective, threads)
        times["tn_cpu"].append(cpu)
        times["tn"].append(wall)
        times["tn_fit"].append(report["seconds_fit"])
    result = {key: statistics.median(v) for key, v in times.items()}
    score = METRIC[metric]
    result["lgb_metric"] = score(test[:, 0], booster.predict(test[:, 1:]))
    result["tn_metric"] = score(
        test[:, 0], predict_treenail(args, model, path["test"], folder))
    return {"data": name, "metric": metric, "threads": threads,
            "rounds": args.rounds, "leaves": args.leaves, **result}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("treenail")
    parser.add_argument("--data", default=os.path.join(
        os.path.dirname(__file__), "../../../shared/data/tabular"))
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--leaves", type=int, default=31)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if not os.path.isdir(args.data):
        sys.exit(f"there is no folder {args.data}: name one with --data")
    results = []
    for name, objective, metric in SETS:
        for threads in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                results.append(run(args, name, objective, metric, threads,
                                   folder))
    if args.json:
        print(json.dumps(results, indent=2))
        return
    print(f"LightGBM {lightgbm.__version__}, {args.rounds} rounds of "
          f"{args.leaves} leaves; seconds are medians of {args.repeat}")
    for r in results:
        print(f"{r['data']:11} {r['threads']} thread(s)"
              f"  test {r['metric']} LightGBM {r['lgb_metric']:.4f}"
              f" treenail {r['tn_metric']:.4f}"
              f"  fit LightGBM {r['lgb']:.3f} s treenail {r['tn_fit']:.3f} s"
              f" ({r['tn_fit'] / r['lgb']:.2f}x)"
              f"  CPU {r['lgb_cpu']:.3f} s, whole command {r['tn_cpu']:.3f} s"
              f" ({r['tn_cpu'] / r['lgb_cpu']:.2f}x)")


if __name__ == "__main__":
    main()
