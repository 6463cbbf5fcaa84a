"""CTC on JAX arrays.

May import jax, ctckit.decoding and what lies below them.
"""
