#!/usr/bin/env python3
"""What the documentation shows works: doc_examples.py

Of each document (README.md, docs/, examples/), in one folder of its own that
holds examples/ as well as loans.csv and new.csv:
- a block ```c or ```cpp that starts with /* NAME */ becomes the file NAME;
- a block ```sh is run, and each line of it must succeed;
- a block ```js that starts with // NAME becomes the file NAME, and node, if it is
  there, must run it;
- an indented line `$ treenail ...` is run and must succeed.
And wherever a command `treenail NAME --option` is named, both must be there;
and each file that a link names.
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
    (folder / "examples").symlink_to(ROOT / "examples")
    lines = (ROOT / "examples/data/credit.csv").read_text().splitlines()
    lines[0] = lines[0].replace("default", "defaulted")
    (folder / "loans.csv").write_text("\n".join(lines) + "\n")
    (folder / "new.csv").write_text(
        "".join(line.rsplit(",", 1)[0] + "\n" for line in lines[:100]))


def run(command, folder):
    bin_folder = pathlib.Path(TREENAIL).resolve().parent
    env = dict(os.environ, PATH=f"{bin_folder}:{os.environ['PATH']}")
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
                for kind, text in steps(document):
                    self.step(kind, text, folder)

    def step(self, kind, text, folder):
        if kind in ("c", "cpp") and (m := re.match(r"/\* (\S+) \*/\n", text)):
            (folder / m[1]).write_text(text)
        elif kind == "js" and (m := re.match(r"// (\S+)\n", text)):
            (folder / m[1]).write_text(text)
            if shutil.which("node"):
                self.step("sh", f"node {m[1]}", folder)
        elif kind == "sh":
            done = run(text, folder)
            self.assertEqual(done.returncode, 0, f"{text}\n{done.stdout}")

    def test_links(self):
        for document in [*DOCUMENTS, *ROOT.glob("*/README.md")]:
            text = re.sub(r"^```.*?^```$", "", document.read_text(),
                          flags=re.M | re.S)
            for link in re.findall(r"\]\(([^)#:\s]+)\)", text):
                self.assertTrue((document.parent / link).exists(),
                                f"{document.relative_to(ROOT)}: no {link}")

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
