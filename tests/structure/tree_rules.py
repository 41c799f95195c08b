#!/usr/bin/env python3
"""The rules that the tree keeps: who includes whom, names, sizes, places.

$BUILD is a build tree, for the test of the archives' symbols; without it, or
without nm, that one is skipped. Needs git, which knows what belongs to the
tree.
"""
import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

# What a layer's files may include, besides their own folder's and libc.
LAYERS = {
    "ir": {"cjson/", "sha2.h"},
    "frontend": {"ir/", "cjson/", "onnx.pb-c.h"},
    "passes": {"ir/"},
    "backend": {"ir/", "runtime/abi.h", "abi_text.inc",
                "runtime/abi_stream.h", "abi_stream_text.inc"},
    "runtime": set(),
    "trainer": {"ir/", "cblas.h"},
    "cli": {"ir/", "frontend/", "passes/", "backend/", "runtime/",
            "trainer/"},
}
PREFIXES = {"ir": "ir_", "frontend": "fe_", "passes": "pass_",
            "backend": "be_", "runtime": "rt_", "trainer": "tr_",
            "cli": "cli_"}
# Who may see LLVM.
LLVM = {"backend/llvm.h": "llvm-c/"}
# What other layers may include of a layer.
PUBLIC = {"ir": {"ir.h", "nets.h", "functions.h", "steps.h", "ops.def",
                 "math.inc", "math_circle.inc", "math_f32.inc"},
          "frontend": {"frontend.h"},
          "passes": {"passes.h"}, "backend": {"backend.h"},
          "runtime": {"abi.h", "abi_stream.h", "runtime.h"}, "trainer": {"trainer.h"}}

# Names that a folder, a tool or data fixes.
COMMON_NAMES = {"README.md", "CMakeLists.txt", "Makefile", "requirements.txt",
                "run"}
MACHINE = [r"(?<![\w.$}])/(work|root|home)/\w", r"(?<![\w$}])/tmp/build",
           r"\b(pypi|pythonhosted|npmjs|debian|golang|crates|maven)"
           r"\.(org|io|com)\b",
           r"(?i)\b(this|earlier|later|previous|another) session\b",
           r"(?i)\b(sub-?agent|language model|the brief)\b"]


def tracked(*patterns):
    out = subprocess.run(["git", "ls-files", "-z", "--", *patterns],
                         cwd=ROOT, capture_output=True, check=True, text=True)
    return [ROOT / name for name in out.stdout.split("\0")
            if name and (ROOT / name).exists()]


def relative(path):
    return path.relative_to(ROOT).as_posix()


def lines(path):
    return path.read_text(errors="replace").splitlines()


class TreeRules(unittest.TestCase):
    def includes(self):
        """(file, layer, header, whether in quotes) of the layers' files."""
        for layer in LAYERS:
            for path in tracked(f"{layer}/*"):
                for line in lines(path):
                    m = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line)
                    if m:
                        yield relative(path), layer, m[2], m[1] == '"'

    def test_layers_include_downwards(self):
        for file, layer, header, quoted in self.includes():
            allowed = (LAYERS[layer] | {layer + "/", "ops.def"}
                       if quoted or "/" in header else {header})
            allowed.add(LLVM.get(file, layer + "/"))
            if header.startswith("sys/") and not quoted:
                continue
            self.assertTrue(any(header.startswith(a) for a in allowed),
                            f"{file} includes {header}")

    def test_libraries_of_one_layer(self):
        owners = {"cblas.h": "trainer", "sha2.h": "ir",
                  "onnx.pb-c.h": "frontend"}
        for file, layer, header, _ in self.includes():
            self.assertEqual(owners.get(header, layer), layer,
                             f"{file} includes {header}")

    def test_private_headers_stay_private(self):
        for file, layer, header, _ in self.includes():
            owner, _, name = header.partition("/")
            if owner != layer and owner in PUBLIC:
                self.assertIn(name, PUBLIC[owner], file)

    def test_file_names_are_unique(self):
        seen = collections.defaultdict(list)
        for path in tracked():
            name = relative(path)
            if path.name not in COMMON_NAMES and not re.match(
                    r"tests/(cases|conformance|fuzz/corpus)/", name):
                seen[path.name].append(name)
        for names in seen.values():
            self.assertEqual(len(names), 1, names)

    def test_files_are_short(self):
        for path in tracked("*.c", "*.h", "*.inc", "*.def", "*.py", "*.sh"):
            self.assertLessEqual(len(lines(path)), 900, relative(path))

    def test_lines_are_short(self):
        """80 columns. A line here and there may be longer where breaking it
        reads worse: one of a thousand, and by no more than 10. Rules between
        sections, tables and text of messages are not counted."""
        exempt = re.compile(r"/\* -+ .* -+ \*/$|\s*\{|\s*[A-Z_]+\(|\s*\"|"
                            r"\s*0x")
        total, long = 0, []
        for path in tracked("*.c", "*.h", "*.inc"):
            for number, line in enumerate(lines(path), 1):
                total += 1
                if len(line) > 80 and not exempt.match(line):
                    long.append(f"{relative(path)}:{number}")
                    self.assertLessEqual(len(line), 90, long[-1])
        self.assertLessEqual(len(long), total // 1000, long)

    def test_files_say_what_they_are(self):
        for path in tracked("*.c", "*.h"):
            self.assertRegex(path.read_text(errors="replace"), r"\A/\* \S+: ",
                             f"{relative(path)} does not open with its name "
                             "and what it does")

    def test_folders_have_a_readme(self):
        folders = {relative(path).split("/")[0] for path in tracked()
                   if path.parent != ROOT} | {
                       relative(path.parent) for path in tracked("examples/*")}
        for folder in sorted(folders - {".ci"}):
            self.assertTrue((ROOT / folder / "README.md").exists(),
                            f"{folder}/ has no README.md")

    def test_nothing_of_a_machine(self):
        for path in tracked(":!tests/fuzz/corpus", ":!tests/conformance/*/*",
                            ":!tests/structure/tree_rules.py"):
            for number, line in enumerate(lines(path), 1):
                for pattern in MACHINE:
                    self.assertNotRegex(line, pattern,
                                        f"{relative(path)}:{number}")

    @unittest.skipUnless(os.environ.get("BUILD") and shutil.which("nm"),
                         "BUILD is not set, or nm is absent")
    def test_symbols_carry_the_prefix(self):
        for layer, prefix in PREFIXES.items():
            archive = (pathlib.Path(os.environ["BUILD"]) / layer /
                       f"libtreenail_{layer}.a")
            out = subprocess.run(["nm", "-g", "--defined-only", archive],
                                 capture_output=True, text=True, check=True)
            found = re.findall(r"^\w+ [A-Z] (\S+)$", out.stdout, re.M)
            self.assertTrue(found, archive)
            for symbol in found:
                if not symbol.startswith("__"):  # of sanitizers
                    self.assertTrue(symbol.startswith(prefix),
                                    f"{archive.name} defines {symbol}")


if __name__ == "__main__":
    if not shutil.which("git") or not (ROOT / ".git").exists():
        print("skipped: this is no git tree")
        sys.exit(77)
    unittest.main()
