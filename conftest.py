"""Modules that need a package which is not installed hold no doctests to be collected."""

import importlib.util

HAS_TRITON = all(importlib.util.find_spec(name) for name in ("torch", "triton"))
collect_ignore = [] if HAS_TRITON else ["src/ctckit/kernels/triton"]
