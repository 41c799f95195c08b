#!/usr/bin/env python3
"""One peer in one process: loads a case, predicts, measures itself.

The harness writes a JSON object a line to stdin and reads one a line from
stdout; what libraries print goes to stderr. Requests, by "do":

  load    {"case", "work"}: compiles or converts the model. Answers what that
          cost and which interface is called.
  check   {"batch", "threads", "rows", "out"}: predicts the first rows in such
          batches and saves the answers.
  time    {"batch", "threads", "seconds"}: predicts for about so long and
          answers nanoseconds a row.

What cannot be done is answered with {"error": reason}.

    worker.py TABLE PEER      peers or net_peers
"""
import importlib
import json
import os
import pathlib
import sys
import time
import traceback

import numpy as np

from peers import Unsupported


def predict_batches(peer, rows, batch, threads):
    if peer.c_entry(batch, threads):
        return peer.drive(rows, batch, threads)[1]
    call = peer.python_call(batch, threads)
    return np.concatenate([np.asarray(call(part))
                           for part in slices(rows, batch)])


def slices(rows, batch):
    return [rows[at:at + batch] for at in range(0, len(rows), batch)]


def time_python(call, rows, batch, seconds):
    """Nanoseconds a row; the clock is read now and then."""
    parts = slices(rows[:max(batch, min(len(rows), 4096 * batch))], batch)
    group, at, done, spent = 1, 0, 0, 0.0
    start = time.perf_counter()
    while spent < seconds:
        for part in parts[at:at + group]:
            call(part)
            done += len(part)
        at = at + group if at + group < len(parts) else 0
        before, spent = spent, time.perf_counter() - start
        if spent - before < 1e-4:
            group *= 2
    return spent / done * 1e9


class Worker:
    def __init__(self, table, name):
        self.peer = importlib.import_module(table).PEERS[name]()

    def load(self, case, work):
        case, work = pathlib.Path(case), pathlib.Path(work)
        work.mkdir(parents=True, exist_ok=True)
        facts = json.loads((case / "case.json").read_text())
        self.rows = np.load(case / "rows.npy")
        peer = self.peer
        made = peer.load(case, facts, work, self.rows[:10000]) or {}
        if peer.dtype != self.rows.dtype:
            self.rows = self.rows.astype(peer.dtype)
        return {"version": peer.version(), **made}

    def check(self, batch, threads, rows, out):
        answers = predict_batches(self.peer, self.rows[:rows], batch, threads)
        np.save(out, answers)
        return {"entry": "C" if self.peer.c_entry(batch, threads)
                else "Python"}

    def time(self, batch, threads, seconds):
        peer = self.peer
        if peer.c_entry(batch, threads):
            return {"ns": peer.drive(self.rows, batch, threads, seconds)[0]}
        return {"ns": time_python(peer.python_call(batch, threads), self.rows,
                                  batch, seconds)}


def reason(error):
    """The end of what a library says is what says most."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) < 300 else "..." + text[-300:]


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = None
    for line in sys.stdin:
        request = json.loads(line)
        do = request.pop("do")
        try:
            worker = worker or Worker(*sys.argv[1:])
            answer = getattr(worker, do)(**request)
        except Unsupported as error:
            answer = {"error": str(error)}
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {reason(error)}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
