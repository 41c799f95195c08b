#!/usr/bin/env python3
"""docs/ir.md says what ir/ has: doc_ir.py

- It has a section for each op of ops.def and no other, which names each of the
  op's attributes with its kind, and no other.
- Its limits are those of ir.h.
- Its modules are read and verified.
- Its reader of .tn files finds the tensors that the text says; so does the
  package safetensors, when there is one.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TREENAIL = shutil.which(os.environ.get("TREENAIL", "treenail"))
PAGE = (ROOT / "docs/ir.md").read_text()
HEADER = (ROOT / "ir/ir.h").read_text() + (ROOT / "ir/nets.h").read_text()
MODELS = sorted(ROOT.glob("tests/cases/ir/*.tnir"))


def schema(macro):
    text = re.search(rf"#define {macro}\b(.*?[^\\])\n", HEADER, re.S)[1]
    return " ".join(re.findall(r'"([^"]*)"', text))


def ops():
    """{name: set of "attribute:kind"}, with what `trees` has left out of
    `forest` and `contributions`."""
    found = {}
    text = (ROOT / "ir/ops.def").read_text()
    for macro, body in re.findall(r"^(OP|MAP)\((.*?)\)$", text, re.M | re.S):
        name, rest = body.split(",", 1)
        fields = rest if macro == "MAP" else rest.split(",", 4)[4]
        attributes = fields[:fields.index(",")] if fields.strip()[0] == '"' \
            else fields.rsplit('\n', 1)[0]
        if name in ("forest", "contributions"):
            attributes = attributes.replace("IR_TREES_ATTRS", "")
        attributes = re.sub(r"IR_SLOTS_ATTR", schema("IR_SLOTS_ATTR"),
                            re.sub(r"IR_[A-Z0-9]+_ATTRS",
                                   lambda m: schema(m[0]), attributes))
        if name == "forest":
            attributes += schema("IR_SLOTS_ATTR")
        found[name] = set(re.findall(r"\w+:(?:int|float|string|tensor)\??",
                                     attributes))
    return found


def sections():
    body = PAGE[PAGE.index("\n## Ops"):PAGE.index("\n## The container")]
    return dict(re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", body,
                           re.M | re.S))


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


def written_tensors(text):
    """(type, elements) of each tensor in a text, in order."""
    return [(dtype, [float(n) for n in numbers.split()])
            for dtype, numbers in
            re.findall(r"\b([fui]\d+)(?:\[[\d,]*\])?\(([^)]*)\)", text)]


class DocIr(unittest.TestCase):
    def test_ops(self):
        have, told = ops(), sections()
        self.assertGreater(len(have), 10)
        self.assertEqual(list(have), list(told))
        for name, attributes in have.items():
            in_page = set(re.findall(r"`(\w+:\w+\??)`", told[name]))
            self.assertEqual(attributes, in_page, name)

    def test_limits(self):
        table = re.findall(r"\| `(IR_MAX_\w+)` \| (\d+) \|", PAGE)
        self.assertGreater(len(table), 8)
        for name, value in table:
            defined = re.search(rf"#define {name} (.*?)(?:\s*/\*|\n)", HEADER)
            self.assertEqual(eval(defined[1]), int(value), name)

    def test_modules(self):
        self.assertTrue(blocks("tnir"))
        for text in blocks("tnir"):
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / "m.tnir"
                path.write_text(text)
                done = subprocess.run([TREENAIL, "opt", path], text=True,
                                      capture_output=True)
                self.assertEqual(done.returncode, 0, done.stderr)

    def containers(self):
        """The text and the .tn file of each model."""
        with tempfile.TemporaryDirectory() as folder:
            for model in MODELS:
                path = f"{folder}/m.tn"
                subprocess.run([TREENAIL, "opt", model, "-o", path],
                               check=True)
                text = subprocess.run([TREENAIL, "opt", path], check=True,
                                      text=True, capture_output=True).stdout
                yield path, text

    def check_numbers(self, got, want):
        self.assertEqual([repr(float(n)) for n in got],
                         [repr(n) for n in want])

    def test_reader(self):
        for path, text in self.containers():
            out = subprocess.run([sys.executable, "-c", blocks("python")[0],
                                  path], check=True, text=True,
                                 capture_output=True).stdout
            read = {int(line.split()[0]): line.split()[1:]
                    for line in out.splitlines()}
            tensors = written_tensors(text)
            self.assertEqual(sorted(read), list(range(len(tensors))))
            for number, (dtype, want) in enumerate(tensors):
                if dtype != "f32":
                    self.check_numbers(read[number], want)

    def test_safetensors(self):
        try:
            from safetensors import safe_open
        except ImportError:
            self.skipTest("no package safetensors")
        for path, text in self.containers():
            with safe_open(path, framework="numpy") as file:
                tensors = written_tensors(text)
                self.assertEqual(file.metadata()["treenail"], "1")
                self.assertEqual(len(file.keys()), len(tensors))
                for number, (dtype, want) in enumerate(tensors):
                    got = file.get_tensor(str(number))
                    name = got.dtype.kind + str(8 * got.dtype.itemsize)
                    self.assertEqual(name, dtype)
                    if dtype != "f32":
                        self.check_numbers(got.flatten(), want)


if __name__ == "__main__":
    if not TREENAIL:
        print("skipped: no treenail; set TREENAIL to its file")
        sys.exit(77)
    unittest.main()
