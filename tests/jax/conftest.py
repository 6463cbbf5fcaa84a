"""These tests need jax, which is not to be had for every version of Python."""

from support.installed import HAS_JAX

collect_ignore_glob = [] if HAS_JAX else ["*"]
