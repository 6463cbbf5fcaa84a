"""These tests need jax, which is not to be had for every version of Python."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("jax") else ["*"]
