"""The stores of the data tests and the small models of the training tests, which these want too."""

from __future__ import annotations

import runpy
from pathlib import Path

for room in ("data", "training"):
    found = runpy.run_path(str(Path(__file__).parents[1] / room / "conftest.py"))
    globals().update({name: value for name, value in found.items() if not name.startswith("_")})
