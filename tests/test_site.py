"""The docs as a site: what is staged for the generator, without the generator, and where the workflow publishes it."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SPEC = importlib.util.spec_from_file_location("stage", ROOT / "docs" / "site" / "stage.py")
STAGE = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(STAGE)
LINK = re.compile(r"\]\(<?([^()\s>]+)>?\)")


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^ *```.*?^ *```", "", text, flags=re.S | re.M))


def anchors(text: str) -> list[str]:
    """Of the headings, as code hosts make them: a second one of a name has a number."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M), re.M):  # fmt: skip
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.append(f"{name}-{found.count(name)}" if name in found else name)
    return found


def broken(folder: Path) -> list[str]:
    """Links of Markdown files below a folder that lead to no file, or to no heading of it."""
    texts = {path.resolve(): path.read_text("utf-8") for path in folder.rglob("*.md")}
    lost = []
    for path, text in texts.items():
        for link in LINK.findall(without_code(text)):
            if re.match(r"\w+:", link):
                continue
            target, _, heading = unquote(link).partition("#")
            other = (path.parent / target).resolve() if target else path
            if not other.exists() or (heading and other in texts and heading not in anchors(texts[other])):  # fmt: skip
                lost.append(f"{path.name}: {link}")
    return lost


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """The site's source, formulas left as they are: their package is the site's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(STAGE, "with_formulas", lambda text: text)
        out = tmp_path_factory.mktemp("site") / "docs"
        STAGE.stage(out)
    return out


def test_every_link_of_every_page_leads_somewhere(staged):
    assert broken(staged / "pages") == []
    page = staged / "pages" / "docs" / "sweeps.md"
    text = page.read_text()
    page.write_text(f"{text}\n[a](gone.md) [b](protocols.md#gone) [c](../README.md#use-it) `[d](e.md)`\n")  # fmt: skip
    assert broken(staged / "pages") == ["sweeps.md: gone.md", "sweeps.md: protocols.md#gone"]
    page.write_text(text)


def test_the_site_has_every_page_of_the_docs_and_every_module(staged):
    nav = yaml.safe_load("nav:\n" + (staged / "mkdocs.yml").read_text().partition("\nnav:\n")[2])[
        "nav"
    ]
    named = re.findall(r"[\w./-]+\.md", str(nav))
    there = {str(p.relative_to(staged / "pages")) for p in (staged / "pages").rglob("*.md")}
    assert sorted(named) == sorted(there)
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} <= there
    notebook = (staged / "pages" / "docs" / "own-data.md").read_text()
    assert "```python\nimport numpy as np" in notebook and "](own-data.ipynb)" in notebook
    assert "reference/recbole_ext.leaderboard.groups.md" in there


def test_a_list_gets_room_and_code_is_left_alone():
    text = "Words:\n* one\n* two\n\n```text\na\n* b\n```\n  * under\n1. x\n2. y\n"
    assert STAGE.with_room(text) == "Words:\n\n* one\n* two\n\n```text\na\n* b\n```\n\n  * under\n1. x\n2. y\n"  # fmt: skip


def test_formulas_are_found_and_prices_and_code_are_none(monkeypatch):
    module = type(sys)("latex2mathml.converter")
    module.convert = lambda text, display: f"<{display[0]}>{text}_*"
    monkeypatch.setitem(sys.modules, "latex2mathml", type(sys)("latex2mathml"))
    monkeypatch.setitem(sys.modules, "latex2mathml.converter", module)
    made = STAGE.with_formulas("`$a$` and $x_u$, 5 $ and 6 $ of\n```\n$b$\n```\n$$y$$")
    assert made == "`$a$` and <span><i>x&#95;u&#95;&#42;</span>, 5 $ and 6 $ of\n```\n$b$\n```\n\n\n<div><b>y&#95;&#42;</div>\n\n"  # fmt: skip


def test_the_workflow_builds_what_it_publishes_and_a_pull_request_publishes_nothing():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "pages.yml").read_text())
    build, publish = workflow["jobs"]["build"], workflow["jobs"]["publish"]
    assert workflow["permissions"] == {"contents": "read"} and "permissions" not in build
    assert publish["permissions"] == {"pages": "write", "id-token": "write"}
    assert publish["needs"] == "build" and "!= 'pull_request'" in publish["if"]
    (uploaded,) = [s["with"]["path"] for s in build["steps"] if "upload-pages" in s.get("uses", "")]
    makefile = (ROOT / "Makefile").read_text()
    assert f"board --html={uploaded}/{STAGE.BOARD}" in makefile
    assert {"run": "make site"}.items() <= next(s for s in build["steps"] if "run" in s).items()
