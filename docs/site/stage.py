"""Make the folder that the docs' site is built of: `python docs/site/stage.py build/docs`.

Pages keep their places, so that a link means in the site what it means in the repository; a file that a page links to goes with it. The
reference is a page for each module, made of its docstrings when the site is built.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/*.md",
    "docs/*.ipynb",
    "leaderboard/*.md",
)
BOARD = "board.html"
"""The page of `board --html`, which is put beside the site's pages (`make site`)."""
GUIDES = {
    "Start": ["README.md", "docs/own-data.ipynb", "docs/datasets.md", "docs/protocols.md", "docs/sweeps.md"],
    "Board": ["docs/claims.md", BOARD, "leaderboard/LEADERBOARD.md", "docs/sampled-vs-full.md", "docs/board-page.md", "docs/contributing-results.md"],
    "Work on it": ["docs/adding.md", "docs/architecture.md", "CONTRIBUTING.md", "docs/speed.md", "CHANGELOG.md"],
}  # fmt: skip
"""Heading -> pages in the order of reading; what else is in docs/ is a paper's."""
_LINK = re.compile(r"(?<=\]\()([^()\s#:]+)(?=[)#])")
_FENCE = re.compile(r"^\s*(```|~~~)")
_ITEM = re.compile(r"^(\s*)([*+-]|\d+\.) ")

_FORMULA = re.compile(
    r"(?P<code>```.*?```|(?<!`)(`+)(?!`).+?(?<!`)\2(?!`))|\$\$(?P<block>.+?)\$\$|(?<![\\$\w])\$(?P<inline>[^\s$](?:[^$\n]|\n(?!\n))*?)\$(?![\w$])",
    re.S,
)


def stage(out: Path) -> int:
    """Write pages, the files that they link to, and the site's settings; how many pages there are."""
    shutil.rmtree(out, ignore_errors=True)
    pages = [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    for path in pages:
        place = path.relative_to(ROOT)
        text = path.read_text("utf-8")
        if path.suffix == ".ipynb":
            _put(out / "pages" / place, text.encode())
            text, place = notebook(text), place.with_suffix(".md")
        for link in _LINK.findall(text):
            linked = (path.parent / link).resolve()
            if linked.is_file() and linked not in pages:
                _put(out / "pages" / _shown(linked.relative_to(ROOT)), linked.read_bytes())
        text = _LINK.sub(lambda found: str(_shown(Path(found[1]))), text)
        if path.suffix == ".ipynb":
            text += f"\n[This page as a notebook]({path.name})\n"
        _put(out / "pages" / place, with_room(with_formulas(text)).encode())
    reference, listed = _reference(out / "pages")
    settings = (ROOT / "docs" / "site" / "mkdocs.yml").read_text("utf-8")
    nav = yaml.safe_dump({"nav": [*_guides(pages), {"Reference": reference}]}, sort_keys=False)
    _put(out / "mkdocs.yml", f"{settings}{nav}".encode())
    return len(pages) + listed


def _shown(path: Path) -> Path:
    """Where a linked file lies in the site, which has no hidden folders and makes a page of a notebook."""
    if path.suffix == ".ipynb":
        path = path.with_suffix(".md")
    return Path(*(part if part == ".." else part.lstrip(".") or part for part in path.parts))


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def notebook(text: str) -> str:
    """A notebook as a page: words, code, and what it printed."""
    made: list[str] = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        made.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            shown = "".join(output.get("data", {}).get("text/plain", ()))
            made += [f"```text\n{shown}\n```"] * bool(shown)
    return "\n\n".join(made) + "\n"


def with_room(text: str) -> str:
    """A blank line before each list that follows a paragraph: the site's Markdown asks for it, that of code hosts does not."""
    made: list[str] = []
    fenced = False
    for line in text.splitlines():
        if _FENCE.match(line):
            fenced = not fenced
        before = made[-1] if made else ""
        begins = _ITEM.match(line) and not fenced
        if begins and before.strip() and not before.startswith(" ") and not _ITEM.match(before):
            made.append("")
        made.append(line)
    return "\n".join(made) + "\n"


def with_formulas(text: str) -> str:
    """Formulas as MathML, which browsers show without a script. What is code stays as it is."""

    def shown(found: re.Match[str]) -> str:
        if found["code"]:
            return found["code"]
        from latex2mathml.converter import convert

        block = found["block"]
        made = convert(block or found["inline"], display="block" if block else "inline")
        for character in "*_|`[]":  # would be Markdown's
            made = made.replace(character, f"&#{ord(character)};")
        # Of an element that it does not know Markdown makes a paragraph where a line begins with it.
        return f"\n\n<div>{made}</div>\n\n" if block else f"<span>{made}</span>"

    return _FORMULA.sub(shown, text)


def _guides(pages: list[Path]) -> list[dict[str, list[dict[str, str]]]]:
    named = {name for of in GUIDES.values() for name in of}
    others = [str(path.relative_to(ROOT)) for path in pages]
    papers = [name for name in others if name.startswith("docs/") and name not in named]
    datasets = [n for n in others if n.startswith("leaderboard/") and n not in named]
    start, board, work = GUIDES.items()
    parts = [start, ("Papers", papers), (board[0], [*board[1], *datasets]), work]
    return [
        {heading: [{_title(name): name.replace(".ipynb", ".md")} for name in names]}
        for heading, names in parts
    ]


def _title(name: str) -> str:
    if name == BOARD:
        return "Leaderboard to explore"
    if name.startswith("leaderboard/"):  # two pages of a dataset have one heading
        return Path(name).stem.replace("LEADERBOARD", "Leaderboard")
    text = (ROOT / name).read_text("utf-8")
    text = notebook(text) if name.endswith(".ipynb") else text
    (title,) = re.findall(r"^# (.+)$", text, re.M)[:1]
    return str(title)


def _modules() -> Iterator[tuple[str, str]]:
    """Dotted name and the first sentence of each module that says something."""
    for path in sorted((ROOT / "recbole_ext").rglob("*.py")):
        says = ast.get_docstring(ast.parse(path.read_text("utf-8")))
        if says:
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts).removesuffix(".__init__"), says.split("\n\n")[0].replace("\n", " ")  # fmt: skip


def _reference(pages: Path) -> tuple[list[object], int]:
    """Write a page for each module, and one that lists them; the navigation, and how many there are."""
    by_package: dict[str, list[tuple[str, str]]] = {}
    for name, says in _modules():
        package = ".".join(name.split(".")[:2])
        whole = (ROOT / Path(*package.split("."))).is_dir()
        by_package.setdefault(package if whole else "recbole_ext", []).append((name, says))
    lines = ["# Reference", "", "Every module, as its docstrings say it.", ""]
    nav: list[object] = ["reference/index.md"]
    for package, modules in sorted(by_package.items()):
        lines += [f"## {package}", "", "| module | |", "|---|---|"]
        for name, says in modules:
            _put(pages / "reference" / f"{name}.md", f"# {name}\n\n::: {name}\n".encode())
            lines.append(f"| [`{name}`]({name}.md) | {says.replace('|', chr(92) + '|')} |")
        lines.append("")
        short = package.removeprefix("recbole_ext.")
        nav.append({short: [{_within(package, n): f"reference/{n}.md"} for n, _ in modules]})
    _put(pages / "reference" / "index.md", "\n".join(lines).encode())
    return nav, sum(map(len, by_package.values())) + 1


def _within(package: str, name: str) -> str:
    """A module's name as its package says it."""
    return name.removeprefix(package).removeprefix(".") or name


if __name__ == "__main__":
    print(f"{stage(Path(sys.argv[1]))} pages")
