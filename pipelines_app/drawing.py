"""Draws a pipeline as SVG, with the same in words. Pure: names and arrows in, text out.

The picture has no colours of its own (`currentColor`) and no style rules, so that it fits every page and policy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

LABELS = {
    "transport": ("Caller", "transport"),
    "stt": ("Hearing", "speech to text"),
    "llm": ("Thinking", "language model"),
    "tts": ("Speaking", "text to speech"),
}
"""What each service is called on the page: a word for people, and what it is."""

BOX_WIDTH, BOX_HEIGHT = 132, 52
PLACES = {"transport": (14, 104), "stt": (226, 16), "llm": (438, 104), "tts": (226, 192)}
EDGE = 14
"""Paper around the boxes, and a little air between a box and an arrow."""
MARGIN = 5
SHIFT = 9
"""Two arrows between the same boxes lie this far from the middle line, one on each side."""


@dataclass(frozen=True, slots=True)
class Arrow:
    source: str
    target: str
    stream: str


@dataclass(frozen=True, slots=True)
class Picture:
    svg: str
    words: str


def draw(arrows: Sequence[Arrow]) -> Picture:
    """Services that no arrow touches are left out; names that are not known are told in words only."""
    known = [arrow for arrow in arrows if arrow.source in PLACES and arrow.target in PLACES]
    used = [name for name in PLACES if any(name in (arrow.source, arrow.target) for arrow in known)]
    words = describe(arrows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {_bounds(used)} role="img" '
        f'aria-label="{escape(words)}" fill="none" stroke="currentColor" font-family="inherit">',
        *map(_box, used),
        *(_arrow(arrow, _has_counterpart(arrow, known)) for arrow in known if arrow.source != arrow.target),
        "</svg>",
    ]
    return Picture(svg="".join(parts), words=words)


def describe(arrows: Sequence[Arrow]) -> str:
    """“Caller to Hearing (audio), then …”: the order of the steps, for who cannot see the picture."""
    if not arrows:
        return "No steps yet."
    return "; ".join(f"{_name(arrow.source)} to {_name(arrow.target)} ({arrow.stream})" for arrow in arrows) + "."


def _name(service: str) -> str:
    return LABELS[service][0] if service in LABELS else service


def _bounds(services: Sequence[str]) -> str:
    places = [PLACES[service] for service in services] or [PLACES["transport"]]
    left, top = min(x for x, _ in places) - EDGE, min(y for _, y in places) - EDGE
    right, bottom = max(x for x, _ in places) + BOX_WIDTH + EDGE, max(y for _, y in places) + BOX_HEIGHT + EDGE
    return f'viewBox="{left} {top} {right - left} {bottom - top}" width="{right - left}"'


def _box(service: str) -> str:
    x, y = PLACES[service]
    middle = x + BOX_WIDTH / 2
    name, kind = LABELS[service]
    return (
        f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="8"/>'
        f'<g fill="currentColor" stroke="none" text-anchor="middle">'
        f'<text x="{middle}" y="{y + 23}" font-size="15" font-weight="600">{name}</text>'
        f'<text x="{middle}" y="{y + 40}" font-size="12" opacity="0.75">{kind}</text></g>'
    )


def _has_counterpart(arrow: Arrow, arrows: Sequence[Arrow]) -> bool:
    return any(other.source == arrow.target and other.target == arrow.source for other in arrows)


def _arrow(arrow: Arrow, is_shifted: bool) -> str:
    (x1, y1), (x2, y2) = _ends(arrow.source, arrow.target)
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    if is_shifted:
        x1, y1, x2, y2 = x1 - dy * SHIFT, y1 + dx * SHIFT, x2 - dy * SHIFT, y2 + dx * SHIFT
    side = 16 if is_shifted else -16  # a pair has its labels outside, and so has a loop, which runs clockwise
    middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
    return (
        _line(x1, y1, x2, y2) + _head(x2, y2, dx, dy) + _label(middle_x - dy * side, middle_y + dx * side, arrow.stream)
    )


def _ends(source: str, target: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where the line between two boxes' middles leaves the one and meets the other."""
    start, end = _middle(source), _middle(target)
    return _edge(start, end), _edge(end, start)


def _middle(service: str) -> tuple[float, float]:
    x, y = PLACES[service]
    return x + BOX_WIDTH / 2, y + BOX_HEIGHT / 2


def _edge(start: tuple[float, float], end: tuple[float, float]) -> tuple[float, float]:
    dx, dy = end[0] - start[0], end[1] - start[1]
    across = (BOX_WIDTH / 2 + MARGIN) / abs(dx) if dx else float("inf")
    down = (BOX_HEIGHT / 2 + MARGIN) / abs(dy) if dy else float("inf")
    part = min(across, down)
    return start[0] + dx * part, start[1] + dy * part


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke-width="1.5"/>'


def _head(x: float, y: float, dx: float, dy: float) -> str:
    back_x, back_y = x - dx * 9, y - dy * 9
    return (
        f'<path d="M{x:.1f} {y:.1f}L{back_x - dy * 4:.1f} {back_y + dx * 4:.1f}'
        f'L{back_x + dy * 4:.1f} {back_y - dx * 4:.1f}Z" fill="currentColor" stroke="none"/>'
    )


def _label(x: float, y: float, stream: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y + 4:.1f}" font-size="12" fill="currentColor" stroke="none" '
        f'text-anchor="middle">{escape(stream[:12])}</text>'
    )
