#!/usr/bin/env python3
"""Runs transcripts: tests/run.py [--update] [--treenail BINARY] FOLDER...

A .test file holds commands and what they print. A line that starts with `$ `
is run by the shell in the file's folder, with treenail on PATH and $TMP an
empty folder of the file's own; the lines after it are what it must write to
stdout and stderr, and `[exit N]` follows when N is not 0. A blank line ends
what is expected; lines that start with # between commands are comments. A
first line `# needs: WHAT` skips the file where WHAT (shared, or a program) is
absent. --update writes what is printed now.
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile


def run(command, folder, env):
    done = subprocess.run(["bash", "-c", command], cwd=folder, env=env,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=600)
    text = done.stdout.decode("utf-8", "backslashreplace")
    text = text.replace(env["TMP"], "$TMP")
    if text and not text.endswith("\n"):
        text += "\n"
    return text + (f"[exit {done.returncode}]\n" if done.returncode else "")


def missing(first_line, root):
    if not first_line.startswith("# needs: "):
        return None
    what = first_line[9:].strip()
    found = (root.parent / "shared").exists() if what == "shared" \
        else shutil.which(what)
    return None if found else what


def transcript(path, env):
    """The file as it would read if all of it were expected."""
    lines = path.read_text().splitlines(keepends=True)
    out, i = [], 0
    while i < len(lines):
        out.append(lines[i])
        i += 1
        if not out[-1].startswith("$ "):
            continue
        while i < len(lines) and lines[i].strip():
            i += 1
        out.append(run(out[-1][2:], path.parent, env))
    return "".join(out)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="+", type=pathlib.Path)
    parser.add_argument("--treenail", type=pathlib.Path)
    parser.add_argument("--update", action="store_true")
    args = parser.parse_args()
    root = pathlib.Path(__file__).resolve().parent.parent
    env = dict(os.environ, LC_ALL="C")
    if args.treenail:
        env["PATH"] = f"{args.treenail.resolve().parent}:{env['PATH']}"
    passed = failed = skipped = 0
    for folder in args.folders:
        for path in sorted(folder.glob("*.test")):
            what = missing(path.read_text().split("\n", 1)[0], root)
            if what:
                print(f"{path.name}: skipped: {what} is absent")
                skipped += 1
                continue
            with tempfile.TemporaryDirectory() as env["TMP"]:
                got = transcript(path.resolve(), env)
            if got == path.read_text():
                passed += 1
                continue
            if args.update:
                path.write_text(got)
            failed += 1
            subprocess.run(["diff", "-u", "--label", f"{path.name} expected",
                            "--label", "got", str(path), "-"],
                           input=got.encode())
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    if passed + failed == 0:
        sys.exit(77)
    sys.exit(1 if failed and not args.update else 0)


main()
