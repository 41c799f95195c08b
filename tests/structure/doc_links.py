#!/usr/bin/env python3
"""Links in documents lead somewhere: doc_links.py [FOLDER]

Of each .md file below the folder (the tree itself, or what was installed of it):
each file that a link or a picture names is there, inside of the folder, and
each #place is one of its headings. Links to other hosts are not followed.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def without_code(text):
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    text = re.sub(r"^    .*$", "", text, flags=re.M)
    return re.sub(r"`[^`\n]*`", "", text)


def places(document):
    """What can follow # in a link to it, as forges make it of headings."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(),
                  flags=re.M | re.S)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
            for heading in re.findall(r"^#+ (.*)$", text, re.M)}


def wrong_with(document, link, folder):
    """What is wrong with a link, or None."""
    name, _, place = link.partition("#")
    target = (document.parent / name).resolve() if name else document
    if not target.exists():
        return "is not there"
    if not target.is_relative_to(folder):
        return "is outside"
    if place and place not in places(target):
        return "has no such heading"
    return None


def documents(folder):
    """Those of the tree: builds and hidden folders are not part of it."""
    for path in sorted(folder.rglob("*.md")):
        first = path.relative_to(folder).parts[0]
        if not first.startswith((".", "build")):
            yield path


def main():
    folder = pathlib.Path(*sys.argv[1:2] or [ROOT]).resolve()
    n_links = n_wrong = 0
    for document in documents(folder):
        for link in re.findall(r"\]\(([^)\s]+)\)",
                               without_code(document.read_text())):
            n_links += 1
            wrong = None if re.match(r"\w+:", link) else \
                wrong_with(document, link, folder)
            if wrong:
                print(f"{document.relative_to(folder)}: {link} {wrong}")
                n_wrong += 1
    print(f"{n_links} links, {n_wrong} wrong")
    sys.exit(n_wrong > 0 or n_links == 0)


main()
