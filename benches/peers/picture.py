"""The two pictures, as SVG that follows the reader's light or dark scheme."""

import math
from xml.sax.saxutils import escape

STYLE = """<style>
text { font: 12px system-ui, sans-serif; fill: #24292f }
.small { font-size: 9px; fill: #6e7781 }
.own { font-weight: 600; fill: #0550ae }
.grid { stroke: #d0d7de; stroke-width: 1 }
.request { stroke: #57606a; stroke-width: 1.2; fill: none }
.request.own { stroke: #0969da }
.lost { stroke: #cf222e; stroke-width: 1.2; fill: none }
.reload { fill: #ffd33d; fill-opacity: .35 }
circle { fill: #57606a } circle.own { fill: #0969da }
.ground { fill: #ffffff }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small { fill: #8b949e } .own { fill: #79c0ff }
.grid { stroke: #30363d } .request { stroke: #9da7b3 } .request.own { stroke: #58a6ff }
.lost { stroke: #ff7b72 } .reload { fill: #d29922 } circle { fill: #9da7b3 }
circle.own { fill: #58a6ff } .ground { fill: #0d1117 }
}
</style>"""

LEFT, WIDTH, LANE, SPAN = 160, 760, 46, 12.0
LEAST, MOST = 0.1, 10_000.0


def image(width, height, parts):
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}">')
    ground = f'<rect class="ground" width="{width}" height="{height}"/>'
    return "\n".join([head, STYLE, ground, *parts, "</svg>"]) + "\n"


def text(x, y, words, style="", anchor="start"):
    mark = f' class="{style.strip()}"' if style.strip() else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}"{mark}>{escape(words)}</text>'


def line(x, y, to_x, to_y):
    return f'<path class="grid" d="M{x:.0f} {y:.0f}L{to_x:.0f} {to_y:.0f}"/>'


def own(name):
    return " own" if name.startswith("Panzer") else ""


def height_of(latency, top):
    """The place of a latency in a lane, on a scale of powers of ten."""
    share = math.log(min(max(latency, LEAST), MOST) / LEAST) / math.log(MOST / LEAST)
    return top + (LANE - 4) * (1 - share)


def reloads(results, order):
    """Every request's latency over time, one lane a system."""
    lanes = [(name, results["systems"][name]["reload"]["picture"]) for name in order
             if results["systems"].get(name, {}).get("reload", {}).get("picture")]
    parts = []
    for index, (name, seen) in enumerate(lanes):
        parts += lane(name, seen, 16 + index * LANE, results["systems"][name]["reload"])
    foot = 16 + len(lanes) * LANE
    for second in range(int(SPAN) + 1):
        x = LEFT + WIDTH * second / SPAN
        parts.append(text(x, foot + 14, f"{second} s", "small", "middle"))
    return image(LEFT + WIDTH + 60, foot + 24, parts)


def lane(name, seen, top, row):
    def place(moment):
        return LEFT + WIDTH * moment / SPAN

    parts = [line(LEFT, top + LANE - 2, LEFT + WIDTH, top + LANE - 2)]
    for latency, label in ((1, "1 ms"), (100, "100 ms")):
        y = height_of(latency, top)
        parts += [line(LEFT, y, LEFT + WIDTH, y), text(LEFT + WIDTH + 4, y + 3, label, "small")]
    for begun, end in seen["reloads"]:
        width = max(1.0, place(min(end, SPAN)) - place(begun))
        parts.append(f'<rect class="reload" x="{place(begun):.1f}" y="{top}" width="{width:.1f}" '
                     f'height="{LANE - 4}"/>')
    parts.append(f'<path class="request{own(name)}" d="{dots(seen["answers"], place, top)}"/>')
    if marks := sorted({round(place(min(moment, SPAN)) * 2) for moment in seen["lost"]}):
        strokes = "".join(f"M{mark / 2:g} {top}v{LANE - 4}" for mark in marks)
        parts.append(f'<path class="lost" d="{strokes}"/>')
    parts.append(text(LEFT - 8, top + 20, name, own(name), "end"))
    lost = f"{row['lost_sum']} lost of {row['requests']}"
    return [*parts, text(LEFT - 8, top + 33, lost, "small", "end")]


def dots(answers, place, top):
    """One stroke for all requests that fall on neighbouring points of the picture."""
    points = sorted({(round(height_of(latency, top) * 2), round(place(begun) * 2))
                     for begun, latency in answers})
    strokes, last = [], None
    for y, x in points:
        if last and last[0] == y and x <= last[2] + 2:
            last[2] = x
        else:
            last = [y, x, x]
            strokes.append(last)
    return "".join(f"M{x / 2:g} {y / 2:g}h{(end - x) / 2 + 1:g}" for y, x, end in strokes)


def memory(results, order):
    """The memory of the supervisor alone against the time of a replacement."""
    points = []
    for name in order:
        row = results["systems"].get(name, {})
        time = row.get("respawn", {}).get("born_ms")
        weight = row.get("footprint", {}).get("supervisors_pss_kib")
        if time and weight:
            points.append((name, time, weight))
    if not points:
        return image(200, 40, [text(10, 25, "nothing was measured")])
    across = Scale([point[1] for point in points], 70, 700)
    up = Scale([point[2] for point in points], 420, 20)
    parts = grid(across, up)
    places = [(name, across.place(time), up.place(weight)) for name, time, weight in points]
    taken = [(x - 5, y - 5, x + 5, y + 5) for _, x, y in places]
    for name, x, y in places:
        parts.append(f'<circle class="{own(name).strip()}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
        parts.append(label(name, x, y, taken))
    return image(860, 470, parts)


def label(name, x, y, taken):
    """The name beside its point, where it covers the least of what is there already."""
    width = 8 * len(name)
    places = [(x + 8 - left * (width + 16), y + 4 + 13 * step) for step in (0, 1, -1, 2, -2, 3, -3)
              for left in (0, 1)]

    def covered(place):
        left, low = place
        beside = [box for box in taken if left < box[2] and box[0] < left + width]
        return sum(low - 11 < box[3] and box[1] < low + 2 for box in beside)

    left, low = min(places, key=covered)
    taken.append((left, low - 11, left + width, low + 2))
    return text(left, low, name, own(name))


class Scale:
    """Powers of ten between two places."""

    def __init__(self, values, first, last):
        self.low = math.floor(math.log10(min(values)))
        self.high = max(self.low + 1, math.ceil(math.log10(max(values))))
        self.first, self.last = first, last

    def place(self, value):
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.first + (self.last - self.first) * share

    def powers(self):
        return [10.0**power for power in range(self.low, self.high + 1)]


def grid(across, up):
    parts = []
    for value in across.powers():
        x = across.place(value)
        parts.append(line(x, up.first, x, up.last))
        parts.append(text(x, up.first + 16, f"{value:g} ms", "small", "middle"))
    for value in up.powers():
        y = up.place(value)
        parts.append(line(across.first, y, across.last, y))
        parts.append(text(across.first - 6, y + 3, f"{value:,.0f} KiB", "small", "end"))
    middle = (across.first + across.last) / 2
    below = text(middle, up.first + 36, "from SIGKILL to the replacement's fork", "small", "middle")
    return [*parts, below, text(8, up.last - 8, "memory of the supervisor (PSS)", "small")]
