"""What the tests of compiled libraries share.

Each test is a program of its own, run as `python3 NAME.py`, with the compiler
under test in $TREENAIL and a C compiler in $CC. Exit code 77 says that it was
skipped.
"""
import functools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TREENAIL = shutil.which(os.environ.get("TREENAIL", "treenail"))
CC = os.environ.get("CC", "cc")

LIGHTGBM = ROOT / "tests/conformance/lightgbm"
# Each of them shows something that the others do not.
MODELS = {
    "numeric": LIGHTGBM / "binary_sigmoid_1.txt",
    "categories": LIGHTGBM / "categories.txt",
    "multiclass": LIGHTGBM / "multiclass.txt",      # needs scratch
    "linear": LIGHTGBM / "linear.txt",              # linear leaves
    "deep": LIGHTGBM / "chain.txt",                 # a chain of nodes
    "pandas": LIGHTGBM / "pandas.txt",              # names of categories
    "colours": ROOT / "tests/cases/cli/colours.tnir",  # labels with blanks
    "names": ROOT / "tests/cases/cli/odd-names.tnir",  # quotes, C comments
    "net": ROOT / "tests/cases/passes/net.tnir",       # gemm, conv, pool
    "recurrent": ROOT / "tests/cases/passes/recurrent.tnir",  # scan
}

if not TREENAIL:
    print("skipped: no treenail; set TREENAIL to its file")
    sys.exit(77)
TREENAIL = os.path.abspath(TREENAIL)


def need(*programs):
    """Skips the whole test when a program is absent."""
    for program in programs:
        if not shutil.which(program):
            print(f"skipped: {program} is absent")
            sys.exit(77)


def run(*command, **keywords):
    """Runs a program that must succeed; returns what it wrote to stdout."""
    command = [str(c) for c in command]
    if "input" not in keywords:
        keywords["stdin"] = subprocess.DEVNULL
    done = subprocess.run(command, capture_output=True, timeout=300,
                          **keywords)
    if done.returncode:
        said = done.stderr if isinstance(done.stderr, str) else \
            done.stderr.decode("utf-8", "replace")
        raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n"
                             f"{said}")
    return done.stdout


def text(*command, **keywords):
    return run(*command, text=True, **keywords)


def compile_model(model, output, *options):
    run(TREENAIL, "compile", model, "-o", output, *options)
    return output


SHARED = tempfile.TemporaryDirectory()


@functools.cache
def built(name, kind="so"):
    """The file of a model compiled under its own name, with its header."""
    folder = pathlib.Path(SHARED.name)
    return compile_model(MODELS[name], folder / f"{name}.{kind}",
                         "--name", name)


class Case(unittest.TestCase):
    """A test with an empty folder of its own, self.folder."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
