"""These tests need jax, which is not to be had for every version of Python.

Their folder is not named jax: tests/ is on the path, and such a folder would pass for jax where there is none.
"""

from support.installed import HAS_JAX

collect_ignore_glob = [] if HAS_JAX else ["*"]
