#!/usr/bin/env python3
"""Libraries of `compile --streaming`: a sequence taken step by step has the bits of
the whole, at each ISA level here and on other CPUs under qemu; they need nothing;
their header holds, in C and C++."""
import re
import shutil
import unittest

from artifact import CC, HERE, ROOT, TREENAIL, Case, compile_model, need, run

NETS = ROOT / "tests/conformance/onnx_nets"
# Layers of each cell, a norm at each step, causal windows of either make, rows
# of f32 and words, an open dim of time.
STREAMS = ["torch_lstm", "torch_words", "RNN_plain", "GRU_after_clip",
           "stream_tcn", "stream_wavenet", "stream_tagger", "stream_heard",
           "stream_open_tcn"]

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


# Those that are compiled for other questions than the bits on this CPU.
FEW = ["torch_lstm", "stream_tcn", "stream_tagger"]


class Streams(Case):
    def models(self, names):
        odd = self.folder / "odd.tnir"
        odd.write_text(ODD)
        yield "odd", odd
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


if __name__ == "__main__":
    need("nm")
    unittest.main()
