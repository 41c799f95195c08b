#!/usr/bin/env python3
"""The tables and the plot of the benchmark of nets, from the harness's JSON
files of a folder: nets.md, nets.svg, and nets.json, all results in one file.

    net_report.py RESULTS FOLDER
"""
import pathlib
import statistics
import sys

from net_models import CASES
from net_peers import PEERS
from report import OURS, best_peer, counted, notes_table_of, pyplot, ratio, \
    read_results, size, table, write_page

STYLE = {"treenail": ("#000000", "D"), "onnxruntime": ("#1f78b4", "s"),
         "openvino": ("#6a3d9a", "s"), "litert": ("#e6ab02", "s"),
         "torch": ("#d95f02", "o"), "torch-compile": ("#e31a1c", "v"),
         "emx": ("#66a61e", "^"), "emx-fast": ("#1b9e77", "^"),
         "tvm": ("#a6761d", "v"), "iree": ("#e7298a", "v")}

# The goals, each of one or more nets: what is compared, with whom, how much.
GOALS = [
    ("MLP of a few thousand parameters, batch 1, of ONNX Runtime's", 20,
     ("mlp-10-32-32-1", "mlp-16-64-32-4"), 1, "onnxruntime"),
    ("CNN of MNIST's size, batch 1, of the best", 2,
     ("mnist-cnn", "lenet-5", "mnist-wide"), 1, None),
    ("LSTM, batch 1, of the best", 1.5, ("lstm-64", "lstm-128"), 1, None),
    ("GEMM-bound batches, of the best", 1, ("gemm-1024",), 64, None),
    ("GEMM-bound batches, of the best", 1, ("gemm-1024",), 256, None),
    ("net of MobileNet's size, batch 1, of the best", 1,
     ("mobilenet-v1", "mobilenet-v2"), 1, None),
    ("net of MobileNet's size, batch 64, of the best", 1,
     ("mobilenet-v1", "mobilenet-v2"), 64, None),
]


def cells_of(results, batch):
    return [(r["case"], cell) for r in results for cell in r["cells"]
            if cell["batch"] == batch]


def batches(results):
    return sorted({c["batch"] for r in results for c in r["cells"]})


# ------------------------------------------------------------------- times --

def micros(ns):
    us = ns / 1000
    return f"{us:,.0f}" if us >= 99.5 else f"{us:.3g}"


def times_table(results, batch):
    """Microseconds a call, so that batches compare with what one row takes."""
    cells = cells_of(results, batch)
    names = [n for n in PEERS if any(n in c["peers"] for _, c in cells)]
    lines = []
    for case, cell in cells:
        best, gain = best_peer(cell), ratio(cell)
        line = [case["name"], f"{gain:.2f}x" if gain else "-"]
        for name in names:
            text = time_text(cell["peers"].get(name), batch)
            line.append(f"**{text}**" if name == best else text)
        lines.append(line)
    return table(["µs a call", "best peer"] + [PEERS[n].label for n in names],
                 lines)


def time_text(p, batch):
    if p is None:
        return "-"
    if "ns" not in p:
        return "failed"
    text = micros(p["ns"] * batch)
    return f"~~{text}~~ ✗" if p["verdict"] == "wrong" else text


def efficiency(case, cell, name):
    """The share of the core's peak, or None."""
    times = counted(cell)
    if name not in times or not cell.get("peaks"):
        return None
    return case["flops"] / times[name] * 1e9 / \
        statistics.median(cell["peaks"])


def peak_table(results):
    lines = []
    for case, cell in ((r["case"], c) for r in results for c in r["cells"]):
        ours = efficiency(case, cell, OURS)
        best = best_peer(cell)
        theirs = efficiency(case, cell, best) if best else None
        if ours is None:
            continue
        lines.append([f"{case['name']}, batch {cell['batch']}",
                      f"{case['flops'] / 1e6:,.3g}",
                      f"{statistics.median(cell['peaks']) / 1e9:.0f}",
                      f"{ours:.0%}", f"{theirs:.0%}" if theirs else "-"])
    return table(["", "MFLOP a row", "peak, GFLOP/s", "treenail's share",
                  "the best peer's"], lines)


# ------------------------------------------------------------------- goals --

def goal_lines(results):
    for text, least, names, batch, peer in GOALS:
        for case, cell in cells_of(results, batch):
            if case["name"] in names:
                times = counted(cell)
                other = peer or best_peer(cell)
                if other in times and OURS in times:
                    got = times[other] / times[OURS]
                    yield (text, f"{case['name']}, {batch}", f"{least}x",
                           f"{got:.2f}x", PEERS[other].label, got >= least)
    for case, cell in cells_of(results, 64) + cells_of(results, 256):
        share = efficiency(case, cell, OURS)
        if case["name"] == "gemm-1024" and share:
            yield ("GEMM-bound batches, of the core's fma peak",
                   f"{case['name']}, {cell['batch']}", "85%", f"{share:.0%}",
                   "", share >= 0.85)
    for r in results:
        yield from made_lines(r["case"], r["peers"][OURS])


def made_lines(case, made):
    if "bytes" not in made:
        return
    weights, name = case["weight_bytes"], case["name"]
    if weights >= 1e6:
        limit = 5 * max(1, weights / 10e6)
        yield ("seconds to compile, for 10 MB of weights or less",
               f"{name}, {size(weights)}", f"{limit:.1f}",
               f"{made['compile_seconds']:.1f}", "",
               made["compile_seconds"] <= limit)
    limit = 1.1 * weights + 200e3
    yield ("library, of 1.1 times the weights and 200 KB",
           f"{name}, {size(weights)}", size(limit), size(made["bytes"]), "",
           made["bytes"] <= limit)


def goals_table(results):
    return table(["goal", "net", "at least / most", "measured", "against",
                  "met"],
                 [[*line[:-1], "yes" if line[-1] else "**no**"]
                  for line in goal_lines(results)], 2)


# ------------------------------------------------------------ what was made --

def case_table(results):
    return table(["net", "what", "weights", "MFLOP a row", "a row is"], [
        [c["name"], c["about"], size(c["weight_bytes"]),
         f"{c['flops'] / 1e6:,.3g}", "x".join(map(str, c["input"]))]
        for c in (r["case"] for r in results)], 2)


def compile_table(results):
    names = [n for n, peer in PEERS.items() if peer.compiles and any(
        r["peers"].get(n, {}).get("compile_seconds") for r in results)]
    lines = []
    for r in results:
        line = [r["case"]["name"]]
        for name in names:
            p = r["peers"].get(name, {})
            text = "-"
            if p.get("compile_seconds"):
                text = f"{p['compile_seconds']:.1f} s"
                text += f", {size(p['bytes'])}" if p.get("bytes") else ""
            line.append(text)
        lines.append(line)
    return table(["", *(PEERS[n].label for n in names)], lines)


def answers_table(results):
    """How far each peer is from the evaluator in f64, at most."""
    lines = []
    for name, peer in PEERS.items():
        cells = [c["peers"][name] for r in results for c in r["cells"]
                 if "max" in c["peers"].get(name, {})]
        if cells:
            versions = {r["peers"][name].get("version") for r in results
                        if name in r["peers"]} - {None}
            lines.append([
                peer.label, ", ".join(sorted(versions)),
                " and ".join(sorted({c["entry"] for c in cells})),
                f"{max(c['max'] for c in cells):.1e}",
                str(sum(c["verdict"] == "close" for c in cells)),
                str(sum(c["verdict"] == "wrong" for c in cells))])
    return table(["", "version", "called from", "largest error", "right",
                  "wrong ✗"], lines, 3)


# -------------------------------------------------------------------- plot --

def plot(path, results):
    """Each peer's time over treenail's, of one row; to the right is slow."""
    plt = pyplot()
    cells = [(case, cell) for case, cell in cells_of(results, 1)
             if OURS in counted(cell)]
    figure, axes = plt.subplots(figsize=(8, 1.3 + 0.3 * len(cells)))
    for y, (case, cell) in enumerate(cells):
        times = counted(cell)
        for name, ns in times.items():
            color, marker = STYLE[name]
            axes.scatter(ns / times[OURS], y, color=color, marker=marker, s=34,
                         zorder=2)
    axes.axvline(1, color="#dddddd", zorder=1)
    axes.set_yticks(range(len(cells)), [case["name"] for case, _ in cells])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("time over treenail's, one row a call")
    axes.grid(axis="x", color="#eeeeee")
    for name, (color, marker) in STYLE.items():
        if any(name in counted(c) for _, c in cells):
            axes.scatter([], [], color=color, marker=marker,
                         label=PEERS[name].label)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


# ------------------------------------------------------------------- write --

TEXT = """\
# Benchmarks: nets

Made by `{command}` on {date}: {cpu}, {cores} cores, {system},
treenail of commit {commit}. One thread. Times are medians of {rounds} interleaved
turns.{note}
[tests/bench/README.md](../../tests/bench/README.md) tells what is measured and
how; [nets.json](nets.json) has every number.

## Goals

{goals}
## Nets

{cases}
## Times

Microseconds a call. "Best peer" is its time over treenail's; its own is bold.
A dash or "failed": [the end](#what-did-not-run) says why. ~~Struck out~~ ✗:
wrong answers, not counted.

![](nets.svg)

{times}
## Share of the core's peak

What the core can multiply and add in f32 (`fma_peak.c`, measured in each turn),
and how much of that a call comes to.

{peaks}
## Compiling

Seconds of the CPU, and bytes of the library. treenail's holds code for three
levels of the CPU and every batch, the others' for this machine and a batch of 1.

{compiling}
## Answers

The largest error of any net and batch, in the largest answer, against ONNX's
reference evaluator in f64. More than 1e-5 is wrong.

{answers}
## What did not run

{notes}"""


def write(results_folder, folder):
    results = read_results(results_folder, CASES)
    folder.mkdir(parents=True, exist_ok=True)
    plot(folder / "nets.svg", results)
    write_page(folder / "nets.md", "nets.json", TEXT, results, dict(
        goals=goals_table(results), cases=case_table(results),
        times="\n".join(f"### Batches of {batch}\n\n"
                        + times_table(results, batch)
                        for batch in batches(results)),
        peaks=peak_table(results), compiling=compile_table(results),
        answers=answers_table(results),
        notes=notes_table_of(PEERS, results)))


if __name__ == "__main__":
    write(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
