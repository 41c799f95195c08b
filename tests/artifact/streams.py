#!/usr/bin/env python3
"""Libraries of `compile --streaming`: a sequence taken step by step has the bits of
the whole, at each ISA level here, on other CPUs under qemu and in WebAssembly;
they need nothing; their header holds, in C and C++."""
import ctypes
import random
import re
import shutil
import unittest

from artifact import CC, HERE, ROOT, TREENAIL, Case, compile_model, need, run

NETS = ROOT / "tests/conformance/onnx_nets"
# Layers of each cell, a norm at each step, causal windows of either make, rows
# of f32 and words, an open dim of time, windows in strides.
STREAMS = ["torch_lstm", "torch_words", "RNN_plain", "GRU_after_clip",
           "stream_tcn", "stream_wavenet", "stream_tagger", "stream_heard",
           "stream_open_tcn", "stream_spotter", "stream_pooled",
           "stream_open_pooled", "LSTM_given", "GRU_known", "GRU_one"]

# Time in the middle, padded in front with what is not 0.
ODD = """treenail-ir 1
module "odd" {
  column "x" tensor 30
  %0 = input {first = 0, count = 1, dtype = "f32", shape = i64[3](2 5 3)}
    : f32[2,5,3]
  %1 = pad(%0) {before = i64[3](0 2 1), after = i64[3](0 0 0), value = 0.5}
    : f32[2,7,4]
  %2 = map(%1) {program = "x0 x0 mul", dtype = "f32"} : f32[2,7,4]
  %3 = conv(%2) {weights = f32[3,2,3,2](
      0.5 0.25 -1 0.125 0.75 -0.5 0.3 0.2 0.1 -0.1 -0.2 -0.3
      1 0.5 0.25 -0.25 -0.5 -1 0.6 0.7 0.8 0.9 -0.9 -0.8
      0.11 0.12 0.13 0.14 0.15 0.16 0.17 0.18 0.19 0.2 0.21 0.22),
    strides = i64[2](1 1), pads = i64[4](0 0 0 0), dilations = i64[2](1 1),
    groups = 1} : f32[3,5,3]
  output "value" %3
}
"""

# What has no steps: a number that all steps have in common, how long the sequence
# is, and, after the steps, what the layer starts from.
GIVEN = """treenail-ir 1
module "given" {
  column "speed" number
  column "length" number
  column "x" tensor 10
  column "h0" tensor 2
  %0 = input {first = 0, count = 1, dtype = "f32"} : f32[1]
  %1 = input {first = 1, count = 1, dtype = "f32"} : f32[1]
  %2 = input {first = 2, count = 1, dtype = "f32", shape = i64[2](5 2)}
    : f32[5,2]
  %3 = input {first = 3, count = 1, dtype = "f32"} : f32[2]
  %4 = map(%0) {program = "x0 tanh", dtype = "f32"} : f32[1]
  %5 = view(%4) {shape = i64[2](5 1), strides = i64[2](0 1), offset = 0}
    : f32[5,1]
  %6 = concat(%2, %5) {axis = 1} : f32[5,3]
  %7 = gemm(%6) {weights = f32[3,2](0.5 -1 0.25 0.125 0.75 -0.5), block = 8}
    : f32[5,2]
  %8 = map(%3) {program = "x0 2 mul", dtype = "f32"} : f32[2]
  %9, %10 = scan(%7, %8, %1) {cell = "rnn",
    recurrent = f32[2,2](0.5 0.25 -0.75 0.3), reverse = 0, gate = "x0 tanh"}
    : f32[5,2], f32[1,2]
  %11 = view(%10) {shape = i64[1](2), strides = i64[1](1), offset = 0} : f32[2]
  %12 = concat(%11, %0) : f32[3]
  %13 = gemm(%12) {weights = f32[3,1](0.5 -1 0.25), block = 8} : f32[1]
  output "value" %9
  output "last" %13
}
"""

# A layer over so many steps, which starts from an input.
LAYER = """treenail-ir 1
module "layer" {{
  column "x" tensor {2}
  column "h0" tensor 4
  %0 = input {{first = 0, count = 1, dtype = "f32", shape = i64[2]({0} 3)}}
    : f32[{0},3]
  %1 = input {{first = 1, count = 1, dtype = "f32"}} : f32[4]
  %2 = gemm(%0) {{weights = f32[3,8]({1}), block = 8}} : f32[{0},8]
  %3, %4 = scan(%2, %1) {{cell = "lstm", recurrent = f32[2,8](
      0.5 0.25 -0.75 0.3 1 -0.5 0.1 0.2 -0.3 0.6 0.7 -1 0.4 0.8 0.9 -0.2),
    reverse = 0, gate = "1 1 x0 neg exp add div", candidate = "x0 tanh",
    output = "x0 tanh"}} : f32[{0},2], f32[2,2]
  output "value" %3
  output "state" %4
}}
"""


# Windows in strides, not padded, and of all of time the mean, the largest and the
# sum; of {0} steps, which are {2} windows.
POOLED = """treenail-ir 1
module "pooled" {{
  column "x" tensor {1}
  %0 = input {{first = 0, count = 1, dtype = "f32", shape = i64[2]({0} 2)}}
    : f32[{0},2]
  %1 = view(%0) {{shape = i64[2](2 {0}), strides = i64[2](1 2), offset = 0}}
    : f32[2,{0}]
  %2 = conv(%1) {{weights = f32[1,2,3](1 -2 3 -0.4 5 0.6), strides = i64[1](2),
    pads = i64[2](0 0), dilations = i64[1](1), groups = 1}} : f32[1,{2}]
  %3 = reduce(%2) {{kind = "sum"}} : f32[1]
  %4 = map(%3) {{program = "x0 {2} div", dtype = "f32"}} : f32[1]
  %5 = reduce(%2) {{kind = "max"}} : f32[1]
  %6 = concat(%3, %4, %5) : f32[3]
  output "value" %6
}}
"""


def layer(steps):
    weights = " ".join(str((i * 7 % 11 - 5) / 8) for i in range(24))
    return LAYER.format(steps, weights, 3 * steps)


# Those that are compiled for other questions than the bits on this CPU.
FEW = ["torch_lstm", "stream_tcn", "stream_tagger", "stream_pooled"]


class Streams(Case):
    def models(self, names):
        for name, text in (("odd", ODD), ("given", GIVEN),
                           ("one", layer(1))):
            path = self.folder / f"{name}.tnir"
            path.write_text(text)
            yield name, path
        for name in names:
            yield name, NETS / f"{name}.onnx"

    def program(self, archive, compiler, *options):
        program = self.folder / "steps"
        run(compiler, "-std=c11", "-O1", "-Wall", "-Werror",
            '-DMODEL_HEADER="m.h"', "-DMODEL(x)=m_##x", f"-I{self.folder}",
            *options, HERE / "steps.c", archive, "-o", program)
        return program

    def archive(self, model, *options):
        return compile_model(model, self.folder / "m.a", "--emit", "a,h",
                             "--name", "m", "--streaming", *options)

    def test_here(self):
        for name, model in self.models(STREAMS):
            with self.subTest(name):
                run(self.program(self.archive(model), CC))

    def train(self, shape, layers, *options):
        """A net of series with holes, two numbers at each of 16 steps."""
        draw = random.Random(5)
        lines = [",".join(f"x{i}" for i in range(32)) + ",y"]
        for _ in range(80):
            row = [f"{draw.gauss(i % 2 * 9, 1):.3f}" if draw.random() > 0.05
                   else "" for i in range(32)]
            lines.append(",".join(row) + draw.choice([",up", ",down"]))
        data = self.folder / "series.csv"
        data.write_text("\n".join(lines) + "\n")
        model = self.folder / "trained.tn"
        run(TREENAIL, "train", data, "-o", model, "--target", "y",
            "--learner", "net", "--input-shape", shape, "--layers", layers,
            "--epochs", "1", *options)
        return model

    def test_trained(self):
        for shape, layers, *options in (
                ("16x2", "lstm 24"), ("16x2", "gru 7"),
                ("16x2", "lstm 5 all; dense 4 relu; gru 3"),
                ("16x2", "lstm 5", "--standardize", "none"),
                ("2x16", "conv 4 1 relu; transpose; gru 5"),
                ("2x16", "conv 4 3 pad causal relu; conv 5 2 pad causal "
                 "dilation 4 batchnorm relu; laststep"),
                ("16x2", "transpose; conv 6 3 pad causal tanh; transpose; "
                 "gru 3"),
                ("2x16", "conv 5 3 stride 2 pad 1 relu; maxpool 2; "
                 "conv 4 2 pad causal; avgpool 3 stride 1 pad causal; "
                 "laststep"),
                ("2x16", "conv 5 3 relu; avgpool global")):
            with self.subTest(layers, options=options):
                model = self.train(shape, layers, *options)
                run(self.program(self.archive(model), CC))

    def library(self, steps):
        """Its functions, by ctypes."""
        model = self.folder / "layer.tnir"
        model.write_text(layer(steps))
        return ctypes.CDLL(str(compile_model(
            model, self.folder / f"layer{steps}.so", "--streaming", "--name",
            "m")))

    def test_one_step_is_a_step(self):
        """A model of one step, with its state carried on, is that of many."""
        draw = random.Random(3)
        n = 9
        x = (ctypes.c_float * (3 * n))(*(draw.gauss(0, 1)
                                         for _ in range(3 * n)))
        h0 = (ctypes.c_float * 4)(*(draw.gauss(0, 1) for _ in range(4)))
        whole = self.library(n)
        row = (ctypes.c_float * (3 * n + 4))(*x, *h0)
        want = (ctypes.c_float * (2 * n))()
        self.assertEqual(whole.m_predict_one_f32(0, row, want, None), 0)
        for steps in (1, n):
            m = self.library(steps)
            state = (ctypes.c_uint64 * 4096)()
            got = (ctypes.c_float * 2)()
            self.assertEqual(m.m_state_start_f32(state, h0, None), 0)
            for t in range(n):
                at = ctypes.byref(x, 12 * t)
                self.assertEqual(m.m_step_f32(0, state, at, got, None), 0)
                self.assertEqual(bytes(got), bytes(want)[8 * t:8 * t + 8])

    def test_shorter_is_a_sequence(self):
        """Of what is made of all steps there is, after each, what the model has
        at that length, with the same weights."""
        draw = random.Random(4)
        x = (ctypes.c_float * 32)(*(draw.gauss(0, 1) for _ in range(32)))
        state = (ctypes.c_uint64 * 4096)()
        got, want = (ctypes.c_float * 3)(), (ctypes.c_float * 3)()
        whole = {}
        for steps in (4, 8, 16):
            path = self.folder / "pooled.tnir"
            path.write_text(POOLED.format(steps, 2 * steps, steps // 2 - 1))
            whole[steps] = ctypes.CDLL(str(compile_model(
                path, self.folder / f"pooled{steps}.so", "--streaming",
                "--name", "m")))
        m = whole[16]
        m.m_state_init(state)
        for t in range(8):
            at = ctypes.byref(x, 16 * t)
            self.assertEqual(m.m_step_f32(0, state, at, got, None), 0)
            if 2 * (t + 1) in whole:
                one = whole[2 * (t + 1)].m_predict_one_f32
                self.assertEqual(one(0, x, want, None), 0)
                self.assertEqual(bytes(got), bytes(want))

    def test_start_refuses(self):
        m = self.library(4)
        h0 = (ctypes.c_float * 4)()
        state = (ctypes.c_uint64 * 4096)()
        self.assertEqual(m.m_state_start_f32(None, h0, None), 4)
        self.assertEqual(
            m.m_state_start_f32(ctypes.byref(state, 4), h0, None), 4)
        self.assertEqual(bytes(state), bytes(len(bytes(state))))

    def test_needs_nothing(self):
        for name, model in self.models(FEW):
            library = compile_model(model, self.folder / "m.so",
                                    "--streaming")
            with self.subTest(name):
                said = run("nm", "-D", "--undefined-only", library)
                self.assertEqual(said, b"")

    def test_verify_counts_steps(self):
        said = run(TREENAIL, "verify", NETS / "stream_tcn.onnx", "--rows", "8",
                   "--max-derived", "0").decode()
        self.assertRegex(said, r"step by step 8 of these, 24 steps each")

    def test_header(self):
        self.archive(NETS / "stream_tcn.onnx")
        header = (self.folder / "m.h").read_text()
        for name, value in (("STATE_BYTES", None), ("STEP_ELEMENTS", 3),
                            ("STEP_SCRATCH_BYTES", None)):
            found = re.search(rf"^#define M_{name} (\d+)$", header, re.M)
            self.assertTrue(found, name)
            if value is not None:
                self.assertEqual(int(found[1]), value)
        self.assertIn("#define M_STEP_FRAMES 1\n", header)
        self.archive(NETS / "stream_pooled.onnx")
        header = (self.folder / "m.h").read_text()
        self.assertIn("#define M_STEP_FRAMES 4\n", header)
        self.assertIn("A step is 4 places along time", header)
        source = self.folder / "use.c"
        source.write_text('#include "m.h"\nint main(void) { return 0; }\n')
        for compiler, standard in ((CC, "c99"), ("c++", "c++11")):
            if shutil.which(compiler):
                run(compiler, "-x", "c" if standard[1] != "+" else "c++",
                    f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic",
                    "-Werror", "-fsyntax-only", source)

    def test_same_bytes(self):
        model = NETS / "stream_wavenet.onnx"
        first = compile_model(model, self.folder / "m.so", "--streaming")
        once = first.read_bytes()
        compile_model(model, first, "--streaming")
        self.assertEqual(once, first.read_bytes())

    def on(self, target, emulator):
        for program in (f"{target}-gcc", emulator[0]):
            if not shutil.which(program):
                self.skipTest(f"{program} is absent")
        for name, model in self.models(FEW):
            archive = self.archive(model, "--target", target)
            with self.subTest(name):
                run(*emulator, self.program(archive, f"{target}-gcc",
                                            "-static"))

    def test_aarch64(self):
        self.on("aarch64-linux-gnu", ["qemu-aarch64"])

    def wasm(self, model):
        return compile_model(model, self.folder / "m.wasm", "--target",
                             "wasm32", "--name", "m", "--streaming")

    @unittest.skipUnless(shutil.which("node"), "node is absent")
    def test_wasm(self):
        for name, model in self.models(FEW):
            with self.subTest(name):
                run("node", HERE / "steps.mjs", self.wasm(model))

    @unittest.skipUnless(shutil.which("clang-22"), "clang-22 is absent")
    def test_wasm_layout(self):
        """Where steps.mjs looks."""
        for name, model in self.models([]):
            self.wasm(model)
        fields = {"n_steps": 4, "row_inner": 20, "state_bytes": 24,
                  "scratch_bytes": 32, "outputs": 40, "n_start": 64}
        source = self.folder / "layout.c"
        source.write_text('#include "m.h"\n' + "".join(
            f'_Static_assert(offsetof(struct tn_stream, {name}) == {at}, '
            f'"{name}");\n' for name, at in fields.items()) +
            '_Static_assert(sizeof(struct tn_stream) == 80, "stream");\n'
            '_Static_assert(sizeof(struct tn_step_output) == 16, "output");\n')
        run("clang-22", "--target=wasm32", "-ffreestanding", "-std=c11",
            "-fsyntax-only", "-Wall", "-Werror", f"-I{self.folder}", source)


if __name__ == "__main__":
    need("nm")
    unittest.main()
