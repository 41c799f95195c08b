#!/usr/bin/env python3
"""Huge and chain-shaped trees, and nets of many ops: scale.py [--full]

Time, memory and bytes of a compile grow linearly with the model, nothing recurses
until the stack is gone, and what is compiled equals the interpreter. --full
takes the sizes that real abuse has; a normal run a tenth of them.
"""
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
TREENAIL = shutil.which(os.environ.get("TREENAIL", "treenail"))
FULL = "--full" in sys.argv
WALK = ("--strategy", "walk", "--row-strategy", "walk")
# Four times the nodes may take at most so many times the seconds and memory.
RATIO = 9
# What is below these is the start of a process, not the model.
SECONDS, MB = 0.1, 80
# Ops of a net, with % for the operand.
STEPS = [f'map(%) {{program = "x0 {step}", dtype = "f32"}} : f32[1]'
         for step in ("tanh", "abs")]
# Of code and tables; and what a library has of them in any case.
SIZE_RATIO, BYTES = 5, 50000


def run(*arguments):
    """User seconds and peak MB of a command that must succeed."""
    child = subprocess.Popen([TREENAIL, *map(str, arguments)])
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, child.args)
    return usage.ru_utime, usage.ru_maxrss / 1024


def sizes(library):
    """Bytes of code and of tables, which inspect must tell apart."""
    said = json.loads(subprocess.check_output(
        [TREENAIL, "inspect", "--json", library]))
    parts = sum(code["bytes"] for code in said["code"])
    assert 0 < parts == said["code_bytes"] < said["bytes"]
    return said["code_bytes"], said["table_bytes"]


class Scale(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())

    def tearDown(self):
        shutil.rmtree(self.folder)

    def model(self, shape, leaves):
        path = self.folder / f"{shape}{leaves}.txt"
        with path.open("w") as out:
            subprocess.run([sys.executable, HERE / "make_tree.py", shape,
                            str(leaves)], stdout=out, check=True)
        return path

    def verify(self, model):
        run("verify", model, "--library", self.folder / "m.so", "--rows", 50,
            "--max-derived", 150, "--quiet")

    def check(self, shape, leaves, *options):
        """Compiles a model and one four times as large; verifies that one."""
        leaves *= 10 if FULL else 1
        used = []
        for n in (leaves, 4 * leaves):
            model = self.model(shape, n)
            library = self.folder / "m.so"
            seconds, mb = run("compile", model, "-o", library, *options)
            used.append((seconds, mb, *sizes(library)))
            print("{} of {} leaves: {:.2f} s, {:.0f} MB, {} bytes of code, {} "
                  "of tables".format(shape, n, *used[-1]), file=sys.stderr)
        small, large = used
        self.assertLess(large[0], RATIO * max(small[0], SECONDS))
        self.assertLess(large[1], RATIO * max(small[1] - MB, MB))
        # What is code in one may be tables in the other.
        self.assertLess(large[2] + large[3],
                        SIZE_RATIO * max(small[2] + small[3], BYTES))
        self.verify(model)
        return large

    def test_chain(self):
        self.check("chain", 2500)

    def test_chain_walks(self):
        self.check("zigzag", 5000, *WALK)

    def test_chain_selects(self):
        """As long as `select` takes one."""
        model = self.model("chain", 2049)
        run("compile", model, "-o", self.folder / "m.so")
        self.verify(model)

    def test_one_tree(self):
        self.check("bushy", 2500)

    def test_one_tree_walks(self):
        self.check("bushy", 50000, *WALK)

    def net(self, n, layer):
        """A chain of n layers, each a line of IR with % for its operand."""
        path = self.folder / f"net{n}.tnir"
        lines = ['treenail-ir 1', 'module "deep" {', '  column "x" number',
                 '  %0 = input {first = 0, count = 1, dtype = "f32"} : f32[1]']
        for i in range(n):
            lines += [f"  %{2 * i + k + 1} = " + op.replace("%", f"%{2 * i + k}")
                      for k, op in enumerate(layer)]
        path.write_text("\n".join([*lines, f'  output "y" %{2 * n}', "}", ""]))
        return path

    def test_passes_of_deep_nets(self):
        """A layer and what follows it, which goes into it; steps that remain."""
        layers = [['gemm(%) {weights = f32[1,1](0.5), block = 8} : f32[1]',
                   'map(%) {program = "x0 0 max", dtype = "f32"} : f32[1]'],
                  STEPS]
        for layer in layers:
            used = []
            for n in (10000, 40000):
                used.append(run("opt", self.net(n, layer), "--passes", "all",
                                "-o", self.folder / "m.tn"))
                print("{} layers {}: {:.2f} s, {:.0f} MB".format(
                    n, layer[0].split("(")[0], *used[-1]), file=sys.stderr)
            small, large = used
            self.assertLess(large[0], RATIO * max(small[0], SECONDS))
            self.assertLess(large[1], RATIO * max(small[1] - MB, MB))

    def test_many_trees(self):
        self.check("forest", 2550)

    def test_a_thousand_trees(self):
        """Of 255 leaves, no two of whose thresholds are equal."""
        seconds, mb, *_ = self.check("forest", 63750)
        self.assertLess(seconds, 10 * (10 if FULL else 1))
        self.assertLess(mb, 2000)


if __name__ == "__main__":
    if not TREENAIL:
        print("skipped: treenail is not on PATH, nor is $TREENAIL set")
        sys.exit(77)
    unittest.main(argv=[a for a in sys.argv if a != "--full"])
