#!/usr/bin/env python3
"""Compiled libraries loaded from Python: predictions are those of the command
`treenail predict` ($TREENAIL), and steps have the bits of whole sequences.

Exit code 77, skipped, without numpy or without $TREENAIL."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
sys.path.insert(0, str(HERE.parent))
try:
    import numpy as np
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

import treenail  # noqa: E402

TREENAIL = os.environ.get("TREENAIL")
NETS = ROOT / "tests/conformance/onnx_nets"

# What the layer starts from is the row's end; its states go out, too.
STATEFUL = """treenail-ir 1
module "stateful" {
  column "x" tensor 12
  column "h0" tensor 2
  %0 = input {first = 0, count = 1, dtype = "f32", shape = i64[2](4 3)}
    : f32[4,3]
  %1 = input {first = 1, count = 1, dtype = "f32"} : f32[2]
  %2 = gemm(%0) {weights = f32[3,2](0.5 -1 0.25 0.125 0.75 -0.5), block = 8}
    : f32[4,2]
  %3, %4 = scan(%2, %1) {cell = "rnn", recurrent = f32[2,2](0.5 0.25 -0.75 0.3),
    reverse = 0, gate = "x0 tanh"} : f32[4,2], f32[1,2]
  output "value" %3
  output "state" %4
}
"""


class Libraries(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.draw = np.random.default_rng(1)
        self.n_loaded = 0

    def load(self, model, *options):
        # What is loaded stays so: a new file needs a new name.
        path = self.folder / f"model{self.n_loaded}.so"
        self.n_loaded += 1
        subprocess.run([TREENAIL, "compile", model, "-o", path, *options],
                       check=True, stdin=subprocess.DEVNULL)
        return treenail.Library(path)

    def stateful(self, *options):
        path = self.folder / "stateful.tnir"
        path.write_text(STATEFUL)
        return self.load(path, *options)

    def test_predict(self):
        model = ROOT / "tests/conformance/lightgbm/multiclass.txt"
        library = self.load(model)
        rows = self.draw.normal(size=(20, library.n_elements))
        data = self.folder / "rows.csv"
        np.savetxt(data, rows, delimiter=",", fmt="%.17g")
        said = subprocess.run(
            [TREENAIL, "predict", model, data, "--no-header", "--output",
             "probability"], capture_output=True, text=True, check=True)
        want = [[float(v) for v in line.split(",")]
                for line in said.stdout.splitlines()[1:]]
        got = library.predict(rows, "probability")
        self.assertEqual(got.tolist(), want)
        self.assertEqual(library.predict(rows[3], "probability").tolist(),
                         want[3:4])
        self.assertFalse(library.streams)
        none = library.predict(np.empty((0, library.n_elements)), "probability")
        self.assertEqual((none.shape, none.dtype), ((0, 3), np.float64))

    def test_each_step(self):
        """Of an input [channels][steps]: a step is its channels."""
        library = self.load(NETS / "stream_wavenet.onnx", "--streaming")
        x = self.draw.normal(size=(2, 17)).astype(np.float32)
        whole = library.predict(x.reshape(1, -1)).reshape(3, 17)
        stream = library.stream()
        for t in range(17):
            self.assertEqual(stream.step(x[:, t]).tobytes(),
                             whole[:, t].tobytes())
        stream.reset()
        self.assertEqual(stream.steps(x.T).tobytes(), whole.T.tobytes())

    def test_last_step(self):
        library = self.load(NETS / "stream_tcn.onnx", "--streaming")
        x = self.draw.normal(size=(3, 24))
        stream = library.stream()
        got = [stream.step(x[:, t]) for t in range(24)][-1]
        self.assertEqual(got.tobytes(), library.predict(x.reshape(-1)).tobytes())

    def test_start_and_several_outputs(self):
        library = self.stateful("--streaming")
        row = self.draw.normal(size=14).astype(np.float32)
        stream = library.stream(row[12:])
        value, state = library.predict(row), library.predict(row, "state")
        for t in range(4):
            got = stream.step(row[3 * t:3 * t + 3], ["value", "state"])
            self.assertEqual(got[0].tobytes(), value[0, 2 * t:][:2].tobytes())
        self.assertEqual(got[1].tobytes(), state.tobytes())
        stream.reset(row[12:])
        steps = stream.steps([row[3 * t:3 * t + 3].tolist() for t in range(4)],
                             ["value", "state"])
        self.assertEqual(steps[0].shape, (4, 2))
        self.assertEqual([s.size for s in steps], [8, 2])
        row[12:] = 0
        self.assertEqual(library.stream().step(row[:3]).tobytes(),
                         library.predict(row)[0, :2].tobytes())

    def test_state(self):
        library = self.stateful("--streaming")
        one = library.stream()
        one.step([1, 2, 3])
        kept, other = one.state, one.copy()
        want = one.step([4, 5, 6]).tobytes()
        self.assertEqual(other.step([4, 5, 6]).tobytes(), want)
        one.state = kept
        self.assertEqual(one.step([4, 5, 6]).tobytes(), want)

    def test_refuses(self):
        library = self.stateful()
        with self.assertRaisesRegex(ValueError, "without --streaming"):
            library.stream()
        with self.assertRaisesRegex(ValueError, "rows of 14 numbers"):
            library.predict([1, 2, 3])
        for shape in (0,), (0, 13), (14, 0), (2, 7, 3):
            with self.assertRaisesRegex(ValueError, "rows of 14 numbers"):
                library.predict(np.zeros(shape))
        with self.assertRaisesRegex(ValueError, "real numbers, not complex"):
            library.predict(np.zeros(14, complex))
        with self.assertRaisesRegex(ValueError, "there are value, state"):
            library.predict(np.zeros(14), "class")
        stream = self.stateful("--streaming").stream()
        with self.assertRaisesRegex(ValueError, "steps? of 3 numbers"):
            stream.step([1, 2])
        with self.assertRaisesRegex(ValueError, "a step is 3 numbers"):
            stream.step(np.zeros(6))
        with self.assertRaisesRegex(ValueError, "a start of 2 numbers"):
            stream.reset([1, 2, 3])
        with self.assertRaisesRegex(ValueError, "bytes, not 3"):
            stream.state = b"abc"
        with self.assertRaisesRegex(OSError, "not a library that treenail"):
            treenail.Library(self.other_library())

    def other_library(self):
        path = self.folder / "other.so"
        source = self.folder / "other.c"
        source.write_text("int other;\n")
        subprocess.run([os.environ.get("CC", "cc"), "-shared", source, "-o",
                        path], check=True)
        return path


if __name__ == "__main__":
    if not TREENAIL:
        print("skipped: set TREENAIL to the command's file")
        sys.exit(77)
    unittest.main()
