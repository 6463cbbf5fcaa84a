"""Scaled floats in JAX's operations: numbers that neither under- nor overflow, without a logarithm or an exponential.

A number is a mantissa in [1, 2) and an exponent: as `native/simd/scaled.h`, whose rules and limits these are. A true
zero has an exponent below `DEAD`; its mantissa is 1, so that no operation tests for it. May import jax.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array

ZERO, DEAD = -(1 << 29), -(1 << 28)
ALIVE = DEAD * math.log(2)  # nats: scores below count as -inf
LOG2_HIGH, LOG2_LOW = 0.693359375, -2.12194440054690583e-04  # their sum is log(2); the first has nine bits
FAR = 1 << 12


class Scaled(NamedTuple):
    """mantissa * 2^exponent, entry by entry; exponents are int32."""

    mantissa: Array
    exponent: Array

    def masked(self, mask: Array) -> Scaled:
        """Zero where a mask of `as_mask` forbids it."""
        return Scaled(self.mantissa, jnp.minimum(self.exponent, mask))


class _Format(NamedTuple):
    bits: Any
    fraction: int
    bias: int


def _format(dtype: Any) -> _Format:
    return _Format(jnp.int64, 52, 1023) if dtype == jnp.float64 else _Format(jnp.int32, 23, 127)


def as_mask(allowed: Array) -> Array:
    """What exponents are limited to: `ZERO` where something is forbidden."""
    return jnp.where(allowed, -ZERO, ZERO).astype(jnp.int32)


def indicator(there: Array, dtype: Any) -> Scaled:
    """1 or 0."""
    return Scaled(jnp.ones(there.shape, dtype), jnp.where(there, 0, ZERO).astype(jnp.int32))


def exp(x: Array) -> Scaled:
    """e^x of numbers below +inf; mantissas are in [0.7, 1.42], so they may be multiplied before they are normalised.

    From x many log(2) are subtracted, then the rest of them, all in two parts: the difference from the high parts is
    exact down to -9e7. Below, where floats are 8 apart, it is off by no more than that.
    """
    alive = x > ALIVE
    x = jnp.where(alive, x, 0)
    far = jnp.round(x * (1 / (FAR * math.log(2))))
    high, low = x - far * (FAR * LOG2_HIGH), far * (FAR * LOG2_LOW)
    near = jnp.round((high - low) * (1 / math.log(2)))
    rest = ((high - near * LOG2_HIGH) - low) - near * LOG2_LOW
    exponent = far.astype(jnp.int32) * FAR + near.astype(jnp.int32)  # as a float it might be rounded
    return Scaled(jnp.exp(rest), jnp.where(alive, exponent, ZERO))


def log(x: Scaled) -> tuple[Array, Array]:
    """The logarithm as a sum of two: the first is a multiple of 1/512, exact below 2^14, the second is small."""
    n = x.exponent.astype(x.mantissa.dtype)
    return n * LOG2_HIGH, n * LOG2_LOW + jnp.log(x.mantissa)


def _shifted(x: Array, by: Array) -> Array:
    """The product x * 2^by for x from 2^-8 on; limited where that is too small to matter in a sum."""
    form = _format(x.dtype)
    by = jnp.maximum(by, 16 - form.bias).astype(form.bits)
    return lax.bitcast_convert_type(lax.bitcast_convert_type(x, form.bits) + (by << form.fraction), x.dtype)


def plus(*terms: Scaled) -> Scaled:
    """A sum of up to three, not yet normalised."""
    top = functools.reduce(jnp.maximum, (term.exponent for term in terms))
    return Scaled(sum(_shifted(m, e - top) for m, e in terms), top)  # type: ignore[arg-type]


def total(x: Scaled) -> Scaled:
    """The sum over the last axis."""
    top = x.exponent.max(axis=-1)
    return normalised(Scaled(_shifted(x.mantissa, x.exponent - top[..., None]).sum(axis=-1), top))


def times(a: Scaled, b: Scaled) -> Scaled:
    """A product, not yet normalised. Exponents of zeros don't run away."""
    return Scaled(a.mantissa * b.mantissa, jnp.maximum(a.exponent + b.exponent, ZERO))


def normalised(x: Scaled) -> Scaled:
    """The same number with a mantissa in [1, 2)."""
    form = _format(x.mantissa.dtype)
    bits = lax.bitcast_convert_type(x.mantissa, form.bits)
    one = form.bits(form.bias << form.fraction)
    mantissa = (bits & ((1 << form.fraction) - 1)) | one
    exponent = x.exponent + ((bits >> form.fraction) - form.bias).astype(jnp.int32)
    return Scaled(lax.bitcast_convert_type(mantissa, x.mantissa.dtype), exponent)


def plain(x: Scaled, exponent: Array) -> Array:
    """The quotient x / 2^exponent as an ordinary number, 0 where it is too small for one; at most about 1."""
    by = x.exponent - exponent
    return jnp.where(by > 16 - _format(x.mantissa.dtype).bias, _shifted(x.mantissa, jnp.minimum(by, 60)), 0)


def where(condition: Array, a: Scaled, b: Scaled) -> Scaled:
    """Entries of a where the condition holds, else of b."""
    return Scaled(jnp.where(condition, a.mantissa, b.mantissa), jnp.where(condition, a.exponent, b.exponent))
