"""A notebook run top to bottom without Jupyter: its cells in one namespace, the value of each last line kept.

`python -m tests.notebook docs/own-data.ipynb` runs it in a folder of its own and writes the values into it, as Jupyter would.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any


def cells(path: Path) -> list[dict[str, Any]]:
    """The cells of code."""
    return [c for c in json.loads(path.read_text("utf-8"))["cells"] if c["cell_type"] == "code"]


def run(cell: dict[str, Any], names: dict[str, Any]) -> str | None:
    """Run a cell; what Jupyter would print of its last line, None where that is no expression."""
    tree = ast.parse("".join(cell["source"]))
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    if last is None:
        return None
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    return None if value is None else repr(value)


def kept(cell: dict[str, Any]) -> str | None:
    """What a cell is said to show."""
    return next(("".join(o["data"]["text/plain"]) for o in cell["outputs"] if "data" in o), None)


if __name__ == "__main__":
    path = Path(sys.argv[1]).resolve()
    book = json.loads(path.read_text("utf-8"))
    os.chdir(tempfile.mkdtemp())
    names: dict[str, Any] = {}
    for number, cell in enumerate((c for c in book["cells"] if c["cell_type"] == "code"), 1):
        shown = run(cell, names)
        cell["execution_count"] = number
        about = {"execution_count": number, "metadata": {}, "output_type": "execute_result"}
        data = {"text/plain": (shown or "").splitlines(True)}
        cell["outputs"] = [about | {"data": data}] if shown is not None else []
    path.write_text(json.dumps(book, indent=1, ensure_ascii=False) + "\n", "utf-8")
