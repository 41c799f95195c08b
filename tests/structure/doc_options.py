#!/usr/bin/env python3
"""docs/options.md is what --help prints: doc_options.py [--update]

Also, each option that docs/cli.md names is one of a command, and each command
is in its table.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TREENAIL = shutil.which(os.environ.get("TREENAIL", "treenail"))
PAGE = ROOT / "docs/options.md"
HEAD = """\
# Every option of every command

What `treenail COMMAND --help` prints; `tests/structure/doc_options.py --update`
writes this page. [cli.md](cli.md) says what the commands are for.
"""


def told(*arguments):
    return subprocess.run([TREENAIL, *arguments], capture_output=True,
                          text=True, check=True).stdout


def main():
    commands = re.findall(r"^  (\w+)  ", told("--help"), re.M)
    commands = [c for c in commands if c != "treenail"]
    helps = {c: told(c, "--help") for c in commands}
    page = HEAD + "".join(
        f"\n## {name}\n\n" + "".join(f"    {line}".rstrip() + "\n"
                                    for line in text.splitlines())
        for name, text in helps.items())
    if "--update" in sys.argv:
        PAGE.write_text(page)
    failed = False
    if not PAGE.exists() or PAGE.read_text() != page:
        print(f"{PAGE.name} is not what --help prints; see --update of "
              f"{pathlib.Path(__file__).name}")
        subprocess.run(["diff", "-u", str(PAGE), "-"], input=page, text=True)
        failed = True
    options = {o.replace("-", "_") for text in helps.values()
               for o in re.findall(r"--([a-z][\w-]*)", text)} | {"help"}
    guide = (ROOT / "docs/cli.md").read_text()
    for option in re.findall(r"(?<![\w-])--([a-z][\w-]*)", guide):
        known = option.replace("-", "_") in options or \
            re.match(r"(min|max)-", option) or option == "name"
        if not known:
            print(f"docs/cli.md: no command has --{option}")
            failed = True
    for name in commands:
        if not re.search(rf"^\| `{name} ", guide, re.M):
            print(f"docs/cli.md: {name} is not in the table")
            failed = True
    sys.exit(failed)


if not TREENAIL:
    print("skipped: no treenail; set TREENAIL to its file")
    sys.exit(77)
main()
