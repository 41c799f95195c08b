#!/usr/bin/env python3
"""treenail against every peer: the same rows, the same threads, one run.

With --nets: nets, and those that run nets. For each case a worker process of each peer loads the model, is asked for its
answers, which are compared with the framework's, and then all are timed in
turn, round after round. Results go to one JSON file a case, so that a run can
be stopped and go on; report.py makes tables and plots of them.

./run sets up what this needs; README.md tells how to read the results.
"""
import argparse
import ctypes
import datetime
import hashlib
import json
import os
import pathlib
import platform
import select
import signal
import statistics
import subprocess
import sys
import time

import numpy as np

from benchlib import ROOT, cpu_name, differing_bits, git_commit

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("BENCH_BUILD", ROOT / "build/bench"))

# rows a call, threads, rows that are checked
CELLS = [(1, 1, 300), (16, 1, 1600), (256, 1, 12800), (100_000, 1, 100_000),
         (256, 2, 12800), (100_000, 2, 100_000)]

CLOSE = 1e-5       # of the largest answer: what sums in another order differ
CLOSE_NET = 1e-5   # the same of nets, whose answers are compared with f64's
PEAK_SECONDS = 0.01
OFF_SHARE = 1e-3   # rows that may differ more, by a rounded threshold
PAUSE = 0.02       # seconds for the last peer's threads to fall asleep


def say(text):
    print(text, file=sys.stderr, flush=True)


# ------------------------------------------------------------------ suites --
# What is measured: tables of cases and peers, and what is special of them.

class Forests:
    cases_script, peers_module = "cases.py", "peers"
    venvs, work, results, cases = "venv", "work", "results", "cases"

    def __init__(self):
        import cases
        import peers
        import report
        self.CASES, self.PEERS, self.write = cases.CASES, peers.PEERS, \
            report.write

    def cells(self, facts):
        return CELLS

    def compare(self, answers, want):
        return compare(answers, want)

    def around(self, cell):
        """What is measured beside the peers in each turn."""


class Nets:
    cases_script, peers_module = "net_models.py", "net_peers"
    venvs, work, results, cases = ("venv-nets", "work-nets", "results-nets",
                                   "cases-nets")

    def __init__(self):
        import net_models
        import net_peers
        import net_report
        self.CASES, self.PEERS, self.write = net_models.CASES, \
            net_peers.PEERS, net_report.write
        self.peak = None

    def cells(self, facts):
        return [(batch, 1, facts["rows"]) for batch in facts["batches"]]

    def compare(self, answers, want):
        return compare_net(answers, want)

    def around(self, cell):
        """The core's peak, which differs with what else the machine does."""
        if not self.peak:
            library = compile_c("fma_peak", "-O3", "-march=native")
            self.peak = ctypes.CDLL(str(library)).fma_peak
            self.peak.restype = ctypes.c_double
            self.peak.argtypes = [ctypes.c_double]
        cell.setdefault("peaks", []).append(self.peak(PEAK_SECONDS))


# ------------------------------------------------------------ environments --

def venv_of(suite, name):
    return BUILD / suite.venvs / (suite.PEERS[name].environment or name)


def venv_python(suite, name):
    return venv_of(suite, name) / "bin/python"


def install(suite, name):
    """Makes the peer's environment; the reason if that fails."""
    peer, folder = suite.PEERS[name], venv_of(suite, name)
    mark = folder / "installed"
    wanted = "\n".join(peer.requires)
    if mark.exists() and mark.read_text() == wanted:
        return None
    say(f"installing {peer.label}")
    base = [sys.executable]
    options = ["--clear"]
    if peer.needs:  # Debian's Python has it, others may not
        base = ["/usr/bin/python3"]
        options.append("--system-site-packages")
        if subprocess.run(base + ["-c", f"import {peer.needs}"],
                          stderr=subprocess.DEVNULL).returncode:
            return f"needs the Debian package python3-{peer.needs}"
    run = subprocess.run([*base, "-m", "venv", *options, folder], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if run.returncode == 0:
        run = subprocess.run(
            [venv_python(suite, name), "-m", "pip", "install", "-q",
             "--disable-pip-version-check", *peer.requires], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if run.returncode:
        lines = [l for l in run.stdout.splitlines() if "ERROR" in l]
        return "pip: " + (lines or ["failed"])[-1].replace("ERROR: ", "")
    mark.write_text(wanted)
    return None


def compile_c(name, *options):
    library = BUILD / f"{name}.so"
    BUILD.mkdir(parents=True, exist_ok=True)
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-pthread",
                    "-D_GNU_SOURCE", f"-I{ROOT}", HERE / f"{name}.c", *options,
                    "-o", library], check=True)
    return library


def compile_driver():
    os.environ["BENCH_DRIVER"] = str(
        compile_c("drive", "-O2", ROOT / "runtime/batch.c"))


# ----------------------------------------------------------------- workers --

class Worker:
    """A peer's process; see worker.py for what it is asked."""

    def __init__(self, suite, name, log):
        self.process = subprocess.Popen(
            [venv_python(suite, name), HERE / "worker.py",
             suite.peers_module, name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            text=True, start_new_session=True)
        self.too_slow = False

    def ask(self, do, limit, **request):
        """The answer, which is an error if none comes in `limit` seconds."""
        process = self.process
        try:
            process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], limit)
            line = process.stdout.readline() if ready else None
        except BrokenPipeError:
            line = ""
        if line:
            return json.loads(line)
        if line is None:
            self.too_slow = True
            self.stop()
            return {"error": f"took more than {limit:.0f} s to {do}"}
        code = process.wait()
        what = signal.Signals(-code).name if code < 0 else f"exit {code}"
        return {"error": f"crashed ({what}) at {do}"}

    def stop(self):
        """Its compilers end with it."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


# ------------------------------------------------------------------ checks --

def one_column(answers, like):
    """As the reference has it: of two classes, the second's probability."""
    answers = np.asarray(answers)
    if like.ndim == 1 and answers.ndim == 2:
        answers = answers[:, -1]
    return answers


def compare(answers, want):
    """How answers differ, and whether a time may count."""
    got = one_column(answers, want)
    if got.shape != want.shape:
        return {"verdict": "wrong", "why": f"answers {got.shape} for "
                                           f"{want.shape}"}
    if differing_bits(got.astype(want.dtype), want) == 0:
        return {"verdict": "exact", "max": 0.0, "off": 0.0}
    difference = np.abs(got.astype(np.float64) - want)
    limit = CLOSE * max(1.0, np.abs(want).max())
    off = difference > limit
    off = float(np.mean(off if off.ndim == 1 else off.any(axis=1)))
    verdict = "close" if off == 0 else "off" if off <= OFF_SHARE else "wrong"
    return {"verdict": verdict, "max": float(difference.max()), "off": off}


def compare_net(answers, want):
    """The largest error, of the largest answer; `want` is of f64."""
    got = np.asarray(answers, np.float64).reshape(len(answers), -1)
    if got.shape != want.shape:
        return {"verdict": "wrong", "why": f"answers {got.shape} for "
                                           f"{want.shape}"}
    error = float(np.abs(got - want).max() / np.abs(want).max())
    if not error <= CLOSE_NET:
        return {"verdict": "wrong", "max": error,
                "why": f"answers differ by {error:.1e} of the largest"}
    return {"verdict": "close", "max": error, "off": 0.0}


def check(args, worker, case, want, cell):
    batch, threads, rows = cell
    out = BUILD / "answers.npy"
    answer = worker.ask("check", args.limit, batch=batch, threads=threads,
                        rows=rows, out=str(out))
    if "error" not in answer:
        answer.update(args.suite.compare(np.load(out), want[:rows]))
    return answer


# ------------------------------------------------------------------ timing --

def time_cell(args, workers, cell, cells):
    """Adds the times of one cell to `cells`, by peer; interleaved. Answers what
    was measured beside."""
    batch, threads, _ = cell
    times, beside = {name: [] for name in cells}, {}
    for turn in range(args.rounds):
        args.suite.around(beside)
        for name in times:
            if "error" in cells[name] or slow(times[name], batch):
                continue
            time.sleep(PAUSE)
            answer = workers[name].ask("time", args.limit, batch=batch,
                                       threads=threads, seconds=args.seconds)
            if "error" in answer:
                cells[name].update(answer)
            else:
                times[name].append(answer["ns"])
    for name, ns in times.items():
        if ns:
            cells[name].update(ns=statistics.median(ns), least=min(ns),
                               most=max(ns), turns=len(ns))
    return beside


def slow(times, batch):
    """Three turns are enough for calls that take seconds."""
    return len(times) >= 3 and times[0] * batch > 2e9


def given_up(args, work):
    """Why an earlier run, no less patient, gave the peer up."""
    note = work / "given-up.json"
    if note.exists():
        old = json.loads(note.read_text())
        if old["limit"] >= args.limit:
            return old["error"]
    return None


def load(args, worker, case, work):
    """Has the peer load the case; remembers that it took too long."""
    answer = worker.ask("load", args.limit, case=str(case), work=str(work))
    if worker.too_slow:
        work.mkdir(parents=True, exist_ok=True)
        (work / "given-up.json").write_text(json.dumps(
            {"limit": args.limit, "error": answer["error"]}))
    return answer


def open_workers(args, case, names, log):
    """The peers that can run the case, and what became of each."""
    workers, peers = {}, {}
    for name in names:
        start = time.perf_counter()
        work = BUILD / args.suite.work / case.name / name
        peer = args.suite.PEERS[name]
        reason = args.absent.get(name)
        facts = json.loads((case / "case.json").read_text())
        if not reason and facts["format"] not in peer.reads:
            reason = f"reads no {facts['format']} models"
        reason = reason or given_up(args, work)
        if reason:
            peers[name] = {"error": reason}
            continue
        workers[name] = Worker(args.suite, name, log)
        peers[name] = load(args, workers[name], case, work)
        say(f"  {peer.label}: " + peers[name].get(
            "error", f"loaded in {time.perf_counter() - start:.1f} s"))
        if "error" in peers[name]:
            workers.pop(name).stop()
    return workers, peers


def run_case(args, case, names, log):
    facts = json.loads((case / "case.json").read_text())
    want = np.load(case / "want.npy")
    workers, peers = open_workers(args, case, names, log)
    result = {"case": facts, "peers": peers, "cells": []}
    try:
        for cell in args.suite.cells(facts):
            cells = {name: check(args, worker, case, want, cell)
                     for name, worker in workers.items()}
            beside = time_cell(args, workers, cell, cells)
            result["cells"].append({"batch": cell[0], "threads": cell[1],
                                    "peers": cells, **beside})
            say(describe(cell, cells))
    finally:
        for worker in workers.values():
            worker.stop()
    return result


def prepare(args, case, names, log):
    """Compiles what can be kept, a peer at a time."""
    for name in names:
        if args.suite.PEERS[name].keeps:
            workers, _ = open_workers(args, case, [name], log)
            for worker in workers.values():
                worker.stop()


def describe(cell, cells):
    shown = sorted((c["ns"], name) for name, c in cells.items() if "ns" in c)
    failed = [f"{name} failed" for name, c in cells.items() if "error" in c]
    return f"  {cell[0]} rows, {cell[1]} threads: " + ", ".join(
        [f"{name} {ns:.1f} {cells[name]['verdict']}" for ns, name in shown]
        + failed)


# -------------------------------------------------------------------- runs --

def about_run(args):
    digest = hashlib.sha256(pathlib.Path(args.treenail).read_bytes())
    return {"date": datetime.date.today().isoformat(), "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "system": f"Linux {platform.release().split('-')[0]}",
            "commit": git_commit(), "treenail_sha256": digest.hexdigest(),
            "rounds": args.rounds, "seconds": args.seconds,
            "note": args.note,
            "command": "tests/bench/run " + " ".join(told_options())}


def told_options():
    """As given, but for where the results went: that is of this machine."""
    words = list(sys.argv[1:])
    while "--results" in words:
        at = words.index("--results")
        del words[at:at + 2]
    return words


def is_done(path, about, names):
    """Whether the file has all these peers, with this treenail."""
    if not path.exists():
        return False
    old = json.loads(path.read_text())
    return old["about"]["treenail_sha256"] == about["treenail_sha256"] and \
        set(names) <= set(old["peers"]) and "ended" in old["about"]


def build_case(suite, name):
    """The folder of the case, or None when its data is not here."""
    folder = BUILD / suite.cases / name
    absent = folder / "absent"
    if not (folder / "case.json").exists():
        say(f"making {name}")
        subprocess.run([sys.executable, HERE / suite.cases_script,
                        BUILD / suite.cases, name], check=True)
    if (folder / "case.json").exists():
        return folder
    say(f"{name}: {absent.read_text()}")
    return None


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--treenail", default=os.environ.get("TREENAIL"))
    parser.add_argument("--nets", dest="suite", action="store_const",
                        const=Nets, default=Forests,
                        help="nets, not forests")
    parser.add_argument("--cases", nargs="+", metavar="CASE")
    parser.add_argument("--peers", nargs="+", metavar="PEER")
    parser.add_argument("--quick", action="store_true",
                        help="two short rounds: to see that it works")
    parser.add_argument("--prepare", action="store_true",
                        help="only train the models and let peers compile")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.05,
                        help="least time of a turn")
    parser.add_argument("--limit", type=float, default=900,
                        help="seconds after which a peer is given up")
    parser.add_argument("--results", type=pathlib.Path)
    parser.add_argument("--note", default="",
                        help="a sentence for the report, about the machine")
    parser.add_argument("--fresh", action="store_true",
                        help="measure again what there are results of")
    parser.add_argument("--docs", action="store_true",
                        help="write the report to docs/benchmarks")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.seconds = 2, 0.01
    args.suite = args.suite()
    args.results = args.results or BUILD / args.suite.results
    args.cases = chosen(parser, args.cases, args.suite.CASES)
    args.peers = chosen(parser, args.peers, args.suite.PEERS)
    return args


def chosen(parser, names, table):
    for name in names or []:
        if name not in table:
            parser.error(f"{name} is none of {', '.join(table)}")
    return names or list(table)


def main():
    args = parse_args()
    os.environ["TREENAIL"] = str(pathlib.Path(args.treenail).resolve())
    names = list(dict.fromkeys(["treenail", *args.peers]))
    compile_driver()
    args.results.mkdir(parents=True, exist_ok=True)
    args.absent = {name: install(args.suite, name) for name in names}
    for name in args.cases:
        path, about = args.results / f"{name}.json", about_run(args)
        if not args.fresh and is_done(path, about, names):
            continue
        case = build_case(args.suite, name)
        if case is None:
            continue
        say(name)
        with open(BUILD / "workers.log", "a") as log:
            if args.prepare:
                prepare(args, case, names, log)
                continue
            result = run_case(args, case, names, log)
        about["ended"] = datetime.datetime.now().isoformat(timespec="seconds")
        path.write_text(json.dumps({"about": about, **result}, indent=1))
    if args.prepare:
        return
    args.suite.write(args.results, ROOT / "docs/benchmarks" if args.docs
                     else args.results)


if __name__ == "__main__":
    main()
