"""Modules that need a package which is not installed hold no doctests to be collected."""

from support.installed import HAS_JAX, HAS_TRITON

collect_ignore = [] if HAS_TRITON else ["src/ctckit/kernels/triton"]
collect_ignore += [] if HAS_JAX else ["src/ctckit/jax"]
