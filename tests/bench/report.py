#!/usr/bin/env python3
"""Tables and plots of the benchmark's results.

Reads the harness's JSON files of a folder and writes README.md, one SVG a
plot, and results.json, all results in one file.

    report.py RESULTS FOLDER
"""
import json
import math
import os
import pathlib
import sys

from peers import PEERS

OURS = "treenail"
COUNTS = ("exact", "close", "off")  # answers whose time counts
MARK = {"exact": "", "close": "", "off": "†", "wrong": "✗"}
STYLE = {"treenail": ("#000000", "D"), "lightgbm": ("#1b9e77", "o"),
         "xgboost": ("#d95f02", "o"), "catboost": ("#e6ab02", "o"),
         "sklearn": ("#7570b3", "o"), "onnxruntime": ("#1f78b4", "s"),
         "tl2cgen": ("#e7298a", "^"), "lleaves": ("#66a61e", "^"),
         "lgbmjit": ("#b2182b", "^"), "pylignum": ("#e31a1c", "v"),
         "timber": ("#a6761d", "^"), "ydf": ("#6a3d9a", "s"),
         "daal4py": ("#17becf", "s"), "hummingbird": ("#666666", "s")}


# ------------------------------------------------------------------- cells --

def read_results(folder, cases):
    """Those of the cases, in their order."""
    paths = [folder / f"{name}.json" for name in cases]
    results = [json.loads(path.read_text()) for path in paths
               if path.exists()]
    if not results:
        sys.exit(f"no results in {folder}")
    return results


def write_page(path, data, text, results, parts):
    """The page that a text makes of its parts and of what the last result says
    about the machine; beside it the results."""
    about = dict(results[-1]["about"])
    about["note"] = "\n" + about["note"] if about.get("note") else ""
    path.write_text(text.format(**about, **parts))
    (path.parent / data).write_text(json.dumps(results) + "\n")
    print(os.path.relpath(path))


def counted(cell):
    """Times that count, by peer."""
    return {name: p["ns"] for name, p in cell["peers"].items()
            if "ns" in p and p["verdict"] in COUNTS}


def best_peer(cell):
    others = {n: ns for n, ns in counted(cell).items() if n != OURS}
    return min(others, key=others.get) if others else None


def ratio(cell):
    """The best peer's time over treenail's, or None."""
    times, best = counted(cell), best_peer(cell)
    return times[best] / times[OURS] if best and OURS in times else None


def cells_of(results, batch, threads):
    """(case, cell) of all cases."""
    return [(r["case"], cell) for r in results for cell in r["cells"]
            if (cell["batch"], cell["threads"]) == (batch, threads)]


def shapes(results):
    """The batch sizes and threads there are results of."""
    return list(dict.fromkeys((c["batch"], c["threads"]) for r in results
                              for c in r["cells"]))


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


# ------------------------------------------------------------------- texts --

def number(ns):
    return f"{ns:,.0f}" if ns >= 99.95 else f"{ns:.1f}"


def size(n_bytes):
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e6 else \
        f"{n_bytes / 1e3:.0f} KB"


def table(header, lines, texts=1):
    """Numbers to the right, the first `texts` columns to the left."""
    marks = ["---"] * texts + ["---:"] * (len(header) - texts)
    return "\n".join("| " + " | ".join(line) + " |"
                     for line in [header, marks, *lines]) + "\n"


def plural(n, what):
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def title(batch, threads):
    return f"{plural(batch, 'row')} a call, {plural(threads, 'thread')}"


def summary(results):
    lines = []
    for batch, threads in shapes(results):
        ratios = [ratio(cell) for _, cell in cells_of(results, batch, threads)]
        ratios = [r for r in ratios if r]
        if ratios:
            lines.append([title(batch, threads), str(len(ratios)),
                          f"{geometric_mean(ratios):.1f}x",
                          f"{min(ratios):.2f}x", f"{max(ratios):.1f}x",
                          str(sum(r < 1 for r in ratios))])
    return table(["", "cases", "geometric mean", "least", "most", "lost"],
                 lines)


def peers_summary(results):
    """Each peer against treenail, where it ran."""
    shown = shapes(results)
    lines = []
    for name, peer in PEERS.items():
        line = [peer.label]
        for shape in shown:
            ratios = [times[name] / times[OURS]
                      for times in (counted(cell) for _, cell
                                    in cells_of(results, *shape))
                      if name in times and OURS in times]
            line.append(f"{geometric_mean(ratios):.1f}x ({len(ratios)})"
                        if ratios else "-")
        if name != OURS:
            lines.append(line)
    return table(["times treenail's"] + [f"{b:,} / {t}" for b, t in shown],
                 lines)


def scaling(results):
    """What a second thread brings treenail."""
    lines = []
    for batch, threads in shapes(results):
        if threads == 1:
            continue
        single = {case["name"]: counted(cell).get(OURS) for case, cell
                  in cells_of(results, batch, 1)}
        gains = [single[case["name"]] / counted(cell)[OURS] for case, cell
                 in cells_of(results, batch, threads)
                 if single.get(case["name"]) and OURS in counted(cell)]
        if gains:
            lines.append([f"{plural(batch, 'row')}, {threads} threads",
                          f"{geometric_mean(gains):.2f}x",
                          f"{min(gains):.2f}x", f"{max(gains):.2f}x"])
    return table(["treenail", "geometric mean", "least", "most"], lines)


def case_cell(p):
    if p is None:
        return "-"
    if "ns" not in p:
        return "failed"
    text = number(p["ns"]) + MARK[p["verdict"]]
    return f"~~{text}~~" if p["verdict"] == "wrong" else text


def all_times(results, batch, threads):
    cells = cells_of(results, batch, threads)
    names = [n for n in PEERS if any(n in c["peers"] for _, c in cells)]
    lines = []
    for case, cell in cells:
        best, gain = best_peer(cell), ratio(cell)
        line = [case["name"], f"{gain:.2f}x" if gain else "-"]
        for name in names:
            text = case_cell(cell["peers"].get(name))
            line.append(f"**{text}**" if name == best else text)
        lines.append(line)
    return table(["ns a row", "best peer"] + [PEERS[n].label for n in names],
                 lines)


def case_table(results):
    return table(["case", "model", "trees", "leaves", "features", "answers"],
                 [[c["name"], c["about"], f"{c['trees']:,}",
                   f"{c['leaves']:,}", str(c["features"]), c["task"]]
                  for c in (r["case"] for r in results)], 2)


def compile_table(results):
    names = [n for n, peer in PEERS.items() if peer.compiles and any(
        p.get("compile_seconds") for r in results
        for m, p in r["peers"].items() if m == n)]
    lines = []
    for r in results:
        line = [r["case"]["name"]]
        for name in names:
            p = r["peers"].get(name, {})
            line.append("-" if not p.get("compile_seconds") else
                        f"{p['compile_seconds']:.1f} s, {size(p['bytes'])}")
        lines.append(line)
    return table(["", *(PEERS[n].label for n in names)], lines)


def notes(peers, results):
    """What did not run, or not right: text to the cases it holds for."""
    found = {}
    for r in results:
        for name, p in r["peers"].items():
            if "error" in p:
                found.setdefault((name, p["error"]), []).append(
                    r["case"]["name"])
        for cell in r["cells"]:
            for name, p in cell["peers"].items():
                text = cell_note(p)
                if text:
                    names = found.setdefault((name, text), [])
                    if r["case"]["name"] not in names:
                        names.append(r["case"]["name"])
    order = list(peers)
    return [(peers[name].label, text.replace("|", "\\|"), cases)
            for (name, text), cases in sorted(
                found.items(), key=lambda item: order.index(item[0][0]))]


def cell_note(p):
    if "error" in p:
        return p["error"]
    if p["verdict"] == "wrong":
        return p.get("why", "wrong answers to more than one row of a thousand")
    if p["verdict"] == "off":
        return "other answers to up to one row of a thousand"
    return None


def notes_table_of(peers, results):
    n = len(results)
    return table(["peer", "why", "cases"], [
        [label, text, "all" if len(cases) == n else ", ".join(cases)]
        for label, text, cases in notes(peers, results)], 3)


def exactness(results):
    """How far each peer's answers are from the framework's."""
    lines = []
    for name, peer in PEERS.items():
        cells = [c["peers"][name] for r in results for c in r["cells"]
                 if "verdict" in c["peers"].get(name, {})]
        if cells:
            count = {v: sum(c["verdict"] == v for c in cells) for v in MARK}
            entries = sorted({c["entry"] for c in cells})
            lines.append([peer.label, versions(results, name),
                          " and ".join(entries),
                          *(str(count[v]) for v in MARK)])
    return table(["", "version", "called from", "every bit", "close",
                  "up to 0.1% off †", "wrong ✗"], lines, 3)


def versions(results, name):
    return ", ".join(sorted({r["peers"][name]["version"] for r in results
                             if "version" in r["peers"].get(name, {})}))


# ------------------------------------------------------------------- plots --

def pyplot():
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams.update({
        "svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 9,
        "axes.spines.top": False, "axes.spines.right": False})
    import matplotlib.pyplot
    return matplotlib.pyplot


def plot_cells(path, cells, heading):
    """A line a case, a mark a peer: nanoseconds a row, to the left is fast."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(8, 1.3 + 0.3 * len(cells)))
    for y, (case, cell) in enumerate(cells):
        times = counted(cell)
        axes.hlines(y, min(times.values()), max(times.values()),
                    color="#dddddd", zorder=1)
        for name, ns in times.items():
            color, marker = STYLE[name]
            axes.scatter(ns, y, color=color, marker=marker, s=34, zorder=2)
    axes.set_yticks(range(len(cells)), [case["name"] for case, _ in cells])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("nanoseconds a row")
    axes.set_title(heading, loc="left")
    axes.grid(axis="x", color="#eeeeee")
    present = [n for n in STYLE if any(n in counted(c) for _, c in cells)]
    for name in present:
        axes.scatter([], [], color=STYLE[name][0], marker=STYLE[name][1],
                     label=PEERS[name].label)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def plot_compile(path, results):
    """Seconds to compile against leaves."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(6, 4))
    for name, peer in PEERS.items():
        points = sorted((r["case"]["leaves"], p["compile_seconds"])
                        for r in results for n, p in r["peers"].items()
                        if n == name and p.get("compile_seconds"))
        if points:
            color, marker = STYLE[name]
            axes.plot(*zip(*points), color=color, marker=marker, lw=0.7,
                      label=peer.label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("leaves of the forest")
    axes.set_ylabel("seconds of the CPU to compile")
    axes.grid(color="#eeeeee")
    axes.legend(frameon=False)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


# ------------------------------------------------------------------- write --

TEXT = """\
# Benchmarks: treenail and its peers

Made by `{command}` on {date}: {cpu}, {cores} cores, {system},
treenail of commit {commit}. Times are medians of {rounds} interleaved turns.{note}
[tests/bench/README.md](../../tests/bench/README.md) tells what is measured and
how; [results.json](results.json) has every number.

## In short

The best peer's time over treenail's, of each case the peer that is fastest and
answers right:

{summary}
Every peer's time over treenail's, geometric means over the cases it ran (how
many), by rows a call / threads:

{peers}
A second thread:

{scaling}
## Cases

{cases}
## Times

Nanoseconds a row. "Best peer" is its time over treenail's; its own is bold.
A dash: the peer cannot run the case, and [the end](#what-did-not-run) says
why. †: some rows answered otherwise; ~~struck out~~ ✗: wrong, not counted.

{times}
## Compiling

Seconds, and bytes of the library. treenail's holds code for three levels of
the CPU, the others' for this machine.

![seconds to compile](compile.svg)

{compiling}
## Answers

Cells whose answers have every bit of the framework's, or differ by up to 1e-5
of the largest answer.

{exactness}
## What did not run

{notes}"""


def write(results_folder, folder):
    from cases import CASES
    results = read_results(results_folder, CASES)
    folder.mkdir(parents=True, exist_ok=True)
    times = []
    for batch, threads in shapes(results):
        name = f"rows{batch}-threads{threads}.svg"
        cells = [(case, cell) for case, cell
                 in cells_of(results, batch, threads) if counted(cell)]
        plot_cells(folder / name, cells, title(batch, threads))
        times.append(f"### {title(batch, threads)}\n\n![]({name})\n\n"
                     + all_times(results, batch, threads))
    plot_compile(folder / "compile.svg", results)
    write_page(folder / "README.md", "results.json", TEXT, results, dict(
        summary=summary(results), peers=peers_summary(results),
        scaling=scaling(results), cases=case_table(results),
        times="\n".join(times), compiling=compile_table(results),
        exactness=exactness(results), notes=notes_table_of(PEERS, results)))


if __name__ == "__main__":
    write(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
