#!/usr/bin/env python3
"""What the documentation shows works: doc_examples.py

Of each document (README.md, docs/, examples/), in one folder of its own that
holds examples/ as well as loans.csv and new.csv:
- a block ```c or ```cpp that starts with /* NAME */ becomes the file NAME;
- a block ```sh is run, and each line of it must succeed;
- a block ```js that starts with // NAME becomes the file NAME, and node, if it is
  there, must run it;
- an indented line `$ treenail ...` is run and must succeed.
And wherever a command `treenail NAME --option` is named, both must be there.
What a line `export ...` sets holds for what follows it in the document. README.md
has no treenail on PATH but the one it tells of: ./quickstart's.
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
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")),
             *sorted(ROOT.glob("examples/**/*.md"))]


def steps(document):
    """(kind, text): files "c" and commands "sh", in order."""
    text = document.read_text()
    pattern = r"^```(\w+)\n(.*?)^```$|^    \$ (treenail [^\n]*)$"
    for m in re.finditer(pattern, text, re.M | re.S):
        if m[3]:
            yield "sh", m[3]
        else:
            yield m[1], m[2]


def make_folder(folder):
    quickstart = folder / "build/quickstart/cli"
    quickstart.mkdir(parents=True)
    (quickstart / "treenail").symlink_to(pathlib.Path(TREENAIL).resolve())
    (folder / "examples").symlink_to(ROOT / "examples")
    lines = (ROOT / "examples/data/credit.csv").read_text().splitlines()
    lines[0] = lines[0].replace("default", "defaulted")
    (folder / "loans.csv").write_text("\n".join(lines) + "\n")
    (folder / "new.csv").write_text(
        "".join(line.rsplit(",", 1)[0] + "\n" for line in lines[:100]))


def run(command, folder, with_path):
    bin_folder = pathlib.Path(TREENAIL).resolve().parent
    paths = [p for p in os.environ["PATH"].split(":")
             if not (pathlib.Path(p) / "treenail").exists()]
    env = dict(os.environ, PATH=":".join([str(bin_folder)] * with_path + paths))
    return subprocess.run(["bash", "-euo", "pipefail", "-c", command],
                          cwd=folder, env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=300)


class DocExamples(unittest.TestCase):
    def test_blocks(self):
        for document in DOCUMENTS:
            with self.subTest(document.name), \
                    tempfile.TemporaryDirectory() as name:
                folder = pathlib.Path(name)
                make_folder(folder)
                exports = ""
                for kind, text in steps(document):
                    self.step(kind, text, folder, exports,
                              document != ROOT / "README.md")
                    exports += "".join(
                        line + "\n" for line in text.splitlines()
                        if kind == "sh" and line.startswith("export "))

    def step(self, kind, text, folder, exports, with_path):
        if kind in ("c", "cpp") and (m := re.match(r"/\* (\S+) \*/\n", text)):
            (folder / m[1]).write_text(text)
        elif kind == "js" and (m := re.match(r"// (\S+)\n", text)):
            (folder / m[1]).write_text(text)
            if shutil.which("node"):
                self.step("sh", f"node {m[1]}", folder, exports, with_path)
        elif kind == "sh":
            done = run(exports + text, folder, with_path)
            self.assertEqual(done.returncode, 0, f"{text}\n{done.stdout}")

    def test_named_commands(self):
        """Also in the documents of folders, which are not run."""
        for document in [*DOCUMENTS, *sorted(ROOT.glob("*/README.md"))]:
            code = re.findall(r"`(treenail [^`]*)`|^    (?:\$ )?(treenail .*)",
                              document.read_text(), re.M)
            for command in (a or b for a, b in code):
                with self.subTest(f"{document.name}: {command}"):
                    self.check_command(command)

    def check_command(self, command):
        name = command.split()[1]
        if not name.islower() or name.startswith("-"):
            return
        told = subprocess.run([TREENAIL, name, "--help"], text=True,
                              capture_output=True)
        self.assertEqual(told.returncode, 0)
        for option in re.findall(r"(?<= )--([a-z][\w-]*)", command):
            known = option == "help" or re.search(
                rf"--{option.replace('_', '-')}\b", told.stdout) or \
                re.search(rf"--{option.replace('-', '_')}\b", told.stdout) or \
                re.match(r"(min|max)-", option)
            self.assertTrue(known, f"{name} has no --{option}")


if __name__ == "__main__":
    if not TREENAIL:
        print("skipped: no treenail; set TREENAIL to its file")
        sys.exit(77)
    unittest.main()
