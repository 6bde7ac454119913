"""The tables, and docs/peers.md with its pictures."""

import datetime
import os
import re
import textwrap
from pathlib import Path
from typing import NamedTuple

import picture
from system import ROOT

MARK = "Panzer"


class Column(NamedTuple):
    """One figure of a measure. Of those with a reason, less is better and `Panzer` is compared."""

    key: str
    title: str
    unit: str = ""
    reason: str = ""


# Why another may be better, whatever the figures are: docs/design.md has the calls and times.
LOADS = ("Panzer executes the program again, after a process of its own has read the "
         "configuration, and waits until each worker accepts; nginx and SIGHUP to gunicorn fork "
         "from a master that stays. With a comma most of it is the start of that server.")
FORKS = ("Before the fork Panzer reads what its workers have said, and asks the kernel who has "
         "died and whether its process group has outlived it; with -x it also makes the socket by "
         "which the next program says READY=1. With a comma the fork is that server's own.")
ANSWERS = ("It is the fork, the start of the worker, and chance: which worker takes the next "
           "connection of a client that comes every 16 ms.")
WEIGHS = ("Main is a process of its own beside the monitor, which has loaded the application, or "
          "with a comma beside that server's master: both are counted.")
SERVES = "The workers are the application; with a comma, those of that server."
LOSES = "The table has what was lost, by kind."

MEASURES = {
    "reload": ("Reload", """
Twenty reloads, each as soon as the one before is over. *alone* is the time from the command until
the last answer of the old version is over and the new one has answered; *most* is the longest of
them, and *never* counts those that took more than 30 s. *lost* counts requests that failed, by
what the client saw and by which client: `new` opens a connection for each request, `kept` keeps
one for as long as the server does. *p99 in* is the latency, up to the 99th of a hundred, of the
requests that were under way during a reload, *p99 out* of all others, and *ratio* the first by
the second.""", [
        Column("median_ms", "alone", "ms", LOADS), Column("most_ms", "most", "ms"),
        Column("never_alone", "never"), Column("requests", "requests"),
        Column("lost_sum", "lost", "requests", LOSES),
        Column("lost", "lost as"), Column("p99_inside_ms", "p99 in", "ms"),
        Column("p99_outside_ms", "p99 out", "ms"),
        Column("p99_ratio", "ratio", "",
               "During a reload two versions share the processors, and the new one is started.")]),
    "respawn": ("Respawn", """
SIGKILL to a worker, twenty times. *forked* is the time until the kernel has made a process below
the supervisor, *answered* until the client has an answer of a process that was not there before:
the client asks every 16 ms, so this is no finer. Both are medians. *not replaced* counts the
kills from the first on that was not made good within 10 s, which is the last. *lost* are the
requests that the killed worker had in hand: there no supervisor can do anything.""", [
        Column("born_ms", "forked", "ms", FORKS), Column("answered_ms", "answered", "ms", ANSWERS),
        Column("not_replaced", "not replaced"),
        Column("lost_sum", "lost")]),
    "footprint": ("Footprint", """
Memory after a thousand answers, in KiB: of the processes that serve no request (*alone*), and of
all (*all*) with four workers. *PSS* counts a page that several processes share by its share,
*private* only what no other process has.""", [
        Column("supervisors", "supervisors"),
        Column("supervisors_pss_kib", "alone, PSS", "KiB", WEIGHS),
        Column("supervisors_private_kib", "alone, private", "KiB", WEIGHS),
        Column("processes", "processes"), Column("all_pss_kib", "all, PSS", "KiB", SERVES),
        Column("all_private_kib", "all, private", "KiB", SERVES)]),
    "broken": ("Broken release", """
The next version cannot start (its file is broken, or its configuration), and a reload is asked
for: what is lost in five seconds, and whether the old version serves in the last of them.""", [
        Column("requests", "requests"),
        Column("lost_sum", "lost", "requests", LOSES),
        Column("lost", "lost as"), Column("serves_after", "old serves")]),
    "killed": ("Killed supervisor", """
SIGKILL to the process at the top. *lost* are the requests that failed in the two seconds after
it; *left* the processes of the service after ten, *answers* whether they do, and *port* whether
another server could listen on it then.""", [
        Column("requests", "requests"),
        Column("lost_sum", "lost", "requests", "When main is killed its monitor stops gracefully: "
               "what was accepted is answered, later clients are refused (what waits in the queue "
               "of a server behind a comma is reset), nothing is left, and the port is free for "
               "the main that the service manager starts. What loses nothing "
               "leaves workers that nothing supervises, and a port that is taken: no new "
               "supervisor can start before they are found and ended. `Restart=always` and a "
               "socket unit of systemd, which keeps the queue, close that gap of Panzer's."),
        Column("lost", "lost as"),
        Column("orphans", "left", "processes", "They were still in their graceful stop."),
        Column("serves_after", "answers"), Column("port", "port")]),
    "thousand": ("1,000 workers", """
A thousand workers instead of four: the time from the start until the last of them is forked
(*up*), and from the first SIGKILL to all of them until a thousand new ones are (*back*).""", [
        Column("workers", "workers"),
        Column("up_ms", "up", "ms", "Main starts the monitor, which forks when it has loaded the "
               "program, and reports each fork; with a comma that server forks."),
        Column("back_ms", "back", "ms", "A line and two messages of each death; with a comma "
               "that server reaps and forks."), Column("all_pss_kib", "PSS of all, KiB"),
        Column("back", "came back")]),
}


def machine():
    """Where and when."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    system = os.uname()
    return {"date": datetime.date.today().isoformat(), "processors": os.cpu_count(),
            "model": model[0] if model else "unknown", "memory_gib": round(memory),
            "kernel": f"{system.sysname} {system.release} {system.machine}",
            "load": round(os.getloadavg()[0], 2)}


def shown(value):
    """A figure as it stands in a table: three digits that mean something."""
    if value is None:
        return "–"
    if isinstance(value, dict):
        return ", ".join(f"{number} {what.replace(', ', ' ')}" for what, number in
                         sorted(value.items())) or "none"
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else str(value)


def reason(words):
    """What a program said, in a cell, without paths of this machine and addresses."""
    words = re.sub(r"https?://\S+", "(address)", words.replace(f"{ROOT}/", ""))
    return " ".join(words.replace("|", "/").split())[:160]


def row_of(name, row, measure, columns):
    """The cells of one system in the table of one measure."""
    bold = f"**{name}**" if name.startswith(MARK) else name
    rest = [""] * (len(columns) - 1)
    if "not_installed" in row:
        return [bold, f"not installed: {reason(row['not_installed'])}", *rest]
    found = row[measure]
    for key in ("failed", "cannot"):
        if key in found:
            return [bold, reason(found[key]), *rest]
    return [bold, *(shown(found.get(column.key)) for column in columns)]


def table(results, order, measure):
    columns = MEASURES[measure][2]
    titles = ["system", *(f"{column.title}, {column.unit}" if column.unit in ("ms", "KiB")
                          else column.title for column in columns)]
    lines = [titles, ["---"] + ["---:"] * len(columns)]
    rows = results["systems"]
    lines += [row_of(name, rows[name], measure, columns) for name in order
              if measure in rows.get(name, {}) or "not_installed" in rows.get(name, {})]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def systems_table(results, order):
    lines = [["system", "version", "what answers", "how it is reloaded"], ["---"] * 4]
    for name in order:
        if row := results["systems"].get(name):
            version = row.get("version", "not installed")
            lines.append([name, version, row["served"], row["reloaded"]])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def tables(results, order):
    """All tables as text."""
    parts = [systems_table(results, order)]
    for name, (title, _, _) in MEASURES.items():
        if any(name in row for row in results["systems"].values()):
            parts.append(f"{title}\n\n{table(results, order, name)}")
    return "\n\n".join(parts)


def is_figure(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def ahead(results, order, own, measure, key):
    """The systems of others that serve the same, and whose figure is less: the least first.
    `Panzer` itself is compared with all."""
    rows = results["systems"]
    ours = rows[own].get(measure, {}).get(key)
    found = []
    for name in order if is_figure(ours) else []:
        value = rows.get(name, {}).get(measure, {}).get(key)
        is_same = own == MARK or rows.get(name, {}).get("kind") == rows[own]["kind"]
        if not name.startswith(MARK) and is_same and is_figure(value) and value < ours:
            found.append((value, name))
    return sorted(found)


def times(ours, other):
    """By how much ours is more."""
    return f" ({ours / other:.2f} times)" if other else ""


def behind(results, order):
    """A line for each figure in which a row of Panzer's is not first: by how much, and why."""
    lines = []
    for measure, (title, _, columns) in MEASURES.items():
        for column in columns:
            figures = []
            for own in order if column.reason else []:
                if not own.startswith(MARK) or own not in results["systems"]:
                    continue
                if found := ahead(results, order, own, measure, column.key):
                    ours = results["systems"][own][measure][column.key]
                    others = ", ".join(f"{name} {shown(value)}{times(ours, value)}"
                                       for value, name in found)
                    own_words = f"{own} {shown(ours)} {column.unit}".rstrip()
                    figures.append(f"{own_words}, before it {others}")
            if figures:
                line = f"* **{title}, {column.title}**. {'; '.join(figures)}. {column.reason}"
                lines.append(textwrap.fill(line, 100, subsequent_indent="  "))
    return "\n".join(lines) or "It is first in every figure."


INTRODUCTION = """# Panzer beside others

`make bench-peers` has written this page: what reloads, deaths and memory are like with Panzer, and
with other servers and supervisors, by the same client in the same run. {date}; {processors}
processors ({model}), {memory_gib} GiB, {kernel}; load average {load} at the start.

Each system has 4 workers, and a handler whose answer is 12 bytes, the version and the pid, in the
language that the system is bound to; `examples/http` adds some letters. The client is one process:
it opens four connections of one request every 16 ms, and keeps four connections that send a
request every 32 ms, some 375 requests a second, which leaves the processors mostly idle. It
repeats nothing. A connection that is closed while no request is on it is no loss.

Compare rows that serve the same: `Panzer` with nginx and HAProxy, `Panzer -x` with s6, runit and
supervisord, and the others with what stands behind the comma. Panzer runs with `--delay 0`, as
workers are killed faster than a back-off allows, and with `--probation 0`, as no other system has
a probation; one row has the second that is the default.
"""


def paragraphs(text):
    """The same, in lines of a hundred."""
    return "\n\n".join(part if part.startswith("#") else textwrap.fill(part, 100)
                       for part in text.strip().split("\n\n"))


LATENCIES = """
Every request of the first 12 s, by when it was sent; a lane has 0.1 ms at its foot and 10 s at its
top. Bands are reloads, red strokes lost requests.

![Latency of every request across reloads](peers-reload.svg)
"""

REPLACEMENTS = """
## Memory and replacement

The memory of the supervisor alone, by the time until a killed worker's replacement is forked.

![Memory of the supervisor against the time of a replacement](peers-memory.svg)
"""


def write_document(results, order, folder):
    """docs/peers.md and the pictures beside it."""
    parts = [paragraphs(INTRODUCTION.format(**results["machine"])), systems_table(results, order)]
    for name, (title, text, _) in MEASURES.items():
        parts.append(f"## {title}\n\n{paragraphs(text)}\n\n{table(results, order, name)}")
        if name == "reload":
            parts.append(LATENCIES)
    parts.append(REPLACEMENTS)
    parts.append(f"## Where Panzer is not first\n\n{behind(results, order)}")
    (folder / "peers.md").write_text("\n\n".join(part.strip() for part in parts) + "\n")
    (folder / "peers-reload.svg").write_text(picture.reloads(results, order))
    (folder / "peers-memory.svg").write_text(picture.memory(results, order))
