"""What Criterion printed, as a table: bench, case, time, interval, and what is said of throughput."""
import re
import sys

# A name, on the line of its figures or on one before it; Criterion also prints what has changed since the last run, which is not kept.
FIGURES = re.compile(r"^(?P<name>\S.*?)?\s+time:\s+\[(?P<low>\S+ \S+) (?P<middle>\S+ \S+) (?P<high>\S+ \S+)\]$")
THROUGHPUT = re.compile(r"^\s+thrpt:\s+\[\S+ \S+ (\S+ \S+) \S+ \S+\]$")


def cases(lines):
    """[[case, time, interval, throughput]] under a title for each bench."""
    rows, name = [], ""
    for line in map(str.rstrip, lines):
        figures, throughput = FIGURES.match(line), THROUGHPUT.match(line)
        if line.startswith("= "):
            rows.append([line])
        elif figures:
            rows.append([figures["name"] or name, figures["middle"], f"({figures['low']} .. {figures['high']})", ""])
        elif throughput and not rows[-1][3]:
            rows[-1][3] = throughput[1]
        elif line and not line[0].isspace():
            name = line
    return rows


def main():
    with open(sys.argv[1]) as file:
        rows = cases(file)
    figures = [row for row in rows if len(row) > 1]
    if not figures:
        return "FAILED: no figures"
    widths = [max(len(row[column]) for row in figures) for column in range(4)]
    for row in rows:
        if len(row) == 1:
            print(f"\n{row[0][2:]}")
        else:
            print(f"  {row[0]:{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:{widths[2]}}  {row[3]}".rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
