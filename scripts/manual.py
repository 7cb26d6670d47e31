#!/usr/bin/env python3
"""Asks burdock about every keyword of the installed HAProxy's manual: accepted, accepted with a notice, or refused by name?

    scripts/manual.py [target/release/burdock] [-v]

Reads /usr/share/doc/haproxy/configuration.txt.gz (nothing of it is in this repository), makes one configuration a keyword
and asks `burdock -c`, and `haproxy -c` where burdock does not know it. A keyword must be accepted (with or without a notice;
who complains about its arguments knows it), or refused as known to HAProxy and then stand in the README's list of what is
left out. All else is printed, and the exit status is 1. Each chapter is asked for a word that nobody knows, too. A few
seconds. `-v` prints every keyword with its verdict.
"""

import collections
import concurrent.futures
import gzip
import os
import re
import subprocess
import sys
import tempfile

MANUAL = "/usr/share/doc/haproxy/configuration.txt.gz"
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
UNKNOWN = r"((unknown|no such)[^'\n]*|got )'{0}'|'{0}' is not a valid|balance only supports"
ELSEWHERE = "is known to HAProxy but not supported by burdock"

Question = collections.namedtuple("Question", "chapter word text")


def chapters():
    """The manual's lines by chapter number ("7.3.1")."""
    found, number = collections.defaultdict(list), ""
    with gzip.open(MANUAL, "rt", errors="replace") as manual:
        lines = manual.read().split("\n")
    for at, line in enumerate(lines):
        heading = re.match(r"(\d+(?:\.\d+)*)\. +\S", line)
        if heading and at + 1 < len(lines) and lines[at + 1].startswith("--"):
            number = heading.group(1)
        found[number].append(line)
    return found


def headings(lines):
    """Lines at the left margin that a keyword's description begins with."""
    return [line for line in lines if re.match(r"[a-z0-9]", line)]


def proxy(line, head=""):
    return f"{head}listen l\n mode http\n bind 127.0.0.1:1\n timeout client 1s\n timeout connect 1s\n timeout server 1s\n{line}\n"


def questions(manual):
    """Every keyword with a configuration that holds it."""
    for line in manual["3"]:
        if word := re.match(r" +- (\S+)", line):
            yield Question("3 global", word[1], f"global\n {word[1]} 1\n")
    for number in ("3.1", "3.2", "3.3"):
        for line in headings(manual[number]):
            if word := re.match(r"([a-z0-9][\w.-]+)(?: [<\[(]|$)", line):
                yield Question("3 global", word[1], f"global\n {word[1]} 1\n")
    started = False
    for line in manual["4.1"]:
        started |= line.startswith("----")
        cells = re.match(r"(\S+(?: \S+)*?) +(?:\(\*\) +)?[X-] ", line)
        if started and cells and not line.startswith("-"):
            words = cells[1]
            yield Question("4.1 proxies", words, proxy(f" {words}"))
    for line in headings(manual["4.2"]):
        if word := re.match(r"(option|timeout) ([\w-]+)", line):
            yield Question("4.2 " + word[1], word[2], proxy(f" {word[0]}"))
    yield from balances(manual["4.2"])
    yield from actions(manual["4.2"])
    for line in headings(manual["5.1"]):
        if word := re.match(r"([\w-]+)(?: [<\[(]|$)", line):
            yield Question("5.1 bind", word[1], f"frontend f\n mode http\n bind 127.0.0.1:1 {word[1]}\n")
    for line in headings(manual["5.2"]):
        if word := re.match(r"([\w-]+)(?: [<\[(]|$)", line):
            yield Question("5.2 server", word[1], proxy(f" server s 127.0.0.1:1 {word[1]}"))
    for line in manual["7.1"]:
        if flag := re.match(r" +(-[a-zA-Z]) :", line):
            value = " str" if flag[1] == "-m" else " /dev/null" if flag[1] in ("-f", "-M") else ""
            yield Question("7.1 flags", flag[1], proxy(f" acl a path {flag[1]}{value}"))
        if method := re.match(r' +- "(\w+)" +:', line):
            yield Question("7.1 -m", method[1], proxy(f" acl a path -m {method[1]} 1"))
    for number in ("7.3.2", "7.3.3", "7.3.4", "7.3.5", "7.3.6", "7.3.7"):
        for line in headings(manual[number]):
            if word := re.match(r"([\w.]+)(\(.*?\))? : ", line):
                yield Question(number + " fetches", word[1], proxy(f" acl a {word[1]} -m found"))
    for line in manual["7.3.6"] + manual["7.3.5"] + manual["7.3.3"]:
        if word := re.match(r"    ([a-z][\w.]+)(?:\(.*?\))? +: ", line):  # the forms as ACLs: path_beg …
            yield Question("7.3 ACL forms", word[1], proxy(f" acl a {word[1]} 1"))
    for line in headings(manual["7.3.1"]):
        if word := re.match(r"([\w.]+)(\(.*\)?)?$", line):
            yield Question("7.3.1 converters", word[1], proxy(f" acl a path,{word[1]} -m found"))
    for line in manual["7.4"]:
        if word := re.match(r"([A-Z_0-9]{4,}) ", line):
            yield Question("7.4 predefined", word[1], proxy(f" http-request deny if {word[1]}"))
    for line in manual["8.2.6"]:
        if word := re.match(r"  \| .\W+%(\w+) *\|", line):
            yield Question("8.2.6 log", "%" + word[1], proxy(f" log-format %{word[1]}"))


def balances(lines):
    """The algorithms of `balance`: the list below it."""
    inside = False
    for line in lines:
        if re.match(r"[a-z]", line):
            inside = line.startswith("balance ")
        elif inside and (word := re.match(r"      ([a-z][\w-]+)(\(.*)?( {2,}|$)", line)):
            yield Question("4.2 balance", word[1], proxy(f" balance {word[1]}"))


def actions(lines):
    """The actions of each rule set, from the headings and from the lists below `tcp-request connection` and its like."""
    sets = r"(http-request|http-response|http-after-response|tcp-request connection|tcp-request session|tcp-request content|tcp-response content|tcp-check|http-check)"
    current = None
    for line in lines:
        if re.match(r"[a-z]", line):
            current = None
            if heading := re.match(sets + r" ([\w-]+|<action>)", line):
                current = heading[1]
                if heading[2] != "<action>":
                    yield Question("4.2 actions", f"{current} {heading[2]}", proxy(f" {current} {heading[2]}"))
        elif current and (item := re.match(r"    - ([a-z][\w-]+)", line)) and not current.startswith("http"):
            yield Question("4.2 actions", f"{current} {item[1]}", proxy(f" {current} {item[1]}"))


def said(program, text):
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as file:
        file.write(text)
        file.flush()
        run = subprocess.run([program, "-c", "-f", file.name], capture_output=True, text=True, errors="replace", timeout=60)
    return run.stdout + run.stderr


def verdict(question, burdock):
    last = question.word.split()[-1]
    ours = said(burdock, question.text)
    if ELSEWHERE in ours:
        return "refused", ours
    if any("[NOTICE]" in line and "no effect" in line and last in line for line in ours.split("\n")):
        return "notice", ours
    unknown = re.compile(UNKNOWN.format(re.escape(last.lstrip("%"))), re.I)
    if not unknown.search(ours):
        return "accepted", ours
    # The manual has words that its own program does not know.
    return ("unknown to HAProxy too" if unknown.search(said("haproxy", question.text)) else "UNKNOWN"), ours


def is_listed(question, readme):
    """Whether the README names a keyword among what is left out."""
    word = question.word.split()
    names = [question.word, word[0], word[-1], " ".join(word[:2])]
    if any(f"`{name}`" in readme for name in names):
        return True
    return any(word[-1].startswith(prefix) for prefix in re.findall(r"`([a-z]+[_.])`", readme))


def made_up(question):
    """The same question about a word that does not exist: the answer must be that it does not."""
    word = question.word.split()[-1]
    other = "NONESUCH" if word.isupper() else "-Z" if word.startswith("-") else "nonesuch"
    text = question.text.replace(word, "%nonesuch" if word.startswith("%") else other)
    return Question(question.chapter, " ".join(question.word.split()[:-1] + [other]), text)


def main():
    flags = [a for a in sys.argv[1:] if a.startswith("-")]
    names = [a for a in sys.argv[1:] if not a.startswith("-")]
    burdock = names[0] if names else os.path.join(ROOT, "target/debug/burdock")
    with open(os.path.join(ROOT, "README.md")) as file:
        readme = file.read().split("Known to HAProxy, not to burdock")[1].split("\n### ")[0]
    asked = list(dict.fromkeys(questions(chapters())))
    asked += [made_up(question) for question in {q.chapter: q for q in asked}.values()]
    counts, faults = collections.defaultdict(collections.Counter), []
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for question, (kind, text) in zip(asked, pool.map(lambda q: verdict(q, burdock), asked)):
            if question.word.split()[-1] in ("nonesuch", "NONESUCH", "-Z"):
                kind = "made up" if kind == "unknown to HAProxy too" else "UNKNOWN, AND FOUND KNOWN"
            elif kind == "refused" and not is_listed(question, readme):
                kind = "REFUSED, NOT IN THE README"
            counts[question.chapter][kind] += 1
            if kind.split(",")[0].isupper():
                faults.append((kind, question, text))
            if "-v" in flags:
                print(f"{question.chapter:18} {question.word:40} {kind}")
    for chapter, kinds in counts.items():
        print(f"{chapter:18} " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
    for kind, question, text in faults:
        print(f"\n{kind}: {question.chapter}: {question.word}\n" + "\n".join("    " + t for t in text.split("\n") if t.strip())[:700])
    print(f"\n{len(asked)} keywords, {len(faults)} faults")
    sys.exit(bool(faults))


main()
