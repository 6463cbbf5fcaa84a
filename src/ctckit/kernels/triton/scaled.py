"""Scaled floats, as in native/simd/scaled.h: a number is a mantissa in [1, 2) and an integer exponent.

With them the sweeps need no logarithms, and nothing underflows. A true zero is any number whose exponent is below DEAD.
May import triton and tuning.py.
"""

import triton
import triton.language as tl

from .tuning import Constant

ZERO, DEAD = Constant(-(1 << 29)), Constant(-(1 << 28))
LN2 = Constant(0.6931471805599453)
ROUND = Constant(12582912.0 + 127.0)  # 1.5 * 2^23, and float32's bias
LEAST = Constant(-88.0)  # here e^x is below float32's normal numbers: its exponent bits are 0, and so is its scale


@triton.jit
def narrow(real: tl.constexpr):
    """How far apart, in nats, labels may be so that their emissions are normal numbers and accurate."""
    return 700.0 if real == tl.float64 else 80.0


@triton.jit
def shifted(x, d):
    """x·2^d for x >= 1 and d <= 0, by adding to x's exponent bits; d is clamped if the result would be too small."""
    if x.dtype == tl.float64:
        bits = x.to(tl.int64, bitcast=True) + (tl.maximum(d, -1022).to(tl.int64) << 52)
        return bits.to(tl.float64, bitcast=True)
    else:
        bits = x.to(tl.int32, bitcast=True) + (tl.maximum(d, -126) << 23)
        return bits.to(tl.float32, bitcast=True)


@triton.jit
def plain(x, d):
    """x·2^d for x >= 1 and moderate d as a plain float; exactly 0 if it would underflow."""
    if x.dtype == tl.float64:
        return x * (tl.maximum(d + 1023, 0).to(tl.int64) << 52).to(tl.float64, bitcast=True)
    else:
        return x * (tl.maximum(d + 127, 0) << 23).to(tl.float32, bitcast=True)


@triton.jit
def normalised(x, e):
    """x·2^e, for x > 0, as a mantissa in [1, 2) and an exponent."""
    if x.dtype == tl.float64:
        bits = x.to(tl.int64, bitcast=True)
        mantissa = ((bits & 0xFFFFFFFFFFFFF) | 0x3FF0000000000000).to(tl.float64, bitcast=True)
        return mantissa, e + (bits >> 52).to(tl.int32) - 1023
    else:
        bits = x.to(tl.int32, bitcast=True)
        mantissa = ((bits & 0x7FFFFF) | 0x3F800000).to(tl.float32, bitcast=True)
        return mantissa, e + (bits >> 23) - 127


@triton.jit
def bias(real: tl.constexpr):
    """What a float's exponent bits hold for an exponent of 0."""
    return 1023 if real == tl.float64 else 127


@triton.jit
def normalised_biased(x, e):
    """x·2^(e + bias), for x >= 0. Of x = 0 only the exponent is right: it stays that of a zero.

    The exponent cannot become less than e. So rows that are multiplied only in this way need no limit for zeros.
    """
    if x.dtype == tl.float64:
        bits = x.to(tl.int64, bitcast=True)
        mantissa = ((bits & 0xFFFFFFFFFFFFF) | 0x3FF0000000000000).to(tl.float64, bitcast=True)
        return mantissa, e + (bits >> 52).to(tl.int32)
    else:
        bits = x.to(tl.int32, bitcast=True)
        mantissa = ((bits & 0x7FFFFF) | 0x3F800000).to(tl.float32, bitcast=True)
        return mantissa, e + (bits >> 23)


@triton.jit
def sum_of_two(am, ae, bm, be):
    """The sum of two numbers; its mantissa is not normalised."""
    top = tl.maximum(ae, be)
    return shifted(am, ae - top) + shifted(bm, be - top), top


@triton.jit
def sum_of_three(am, ae, bm, be, cm, ce):
    """The sum of three numbers; its mantissa is not normalised."""
    top = tl.maximum(tl.maximum(ae, be), ce)
    return shifted(am, ae - top) + shifted(bm, be - top) + shifted(cm, ce - top), top


@triton.jit
def product(am, ae, bm, be):
    """The product of two numbers, normalised. Zeros whose exponents have become lower are reset to ZERO."""
    return normalised(am * bm, tl.maximum(ae + be, ZERO))


@triton.jit
def exponential(d):
    """e^d, by a Taylor series around the nearest power of two."""
    alive = d > DEAD * LN2
    d = tl.where(alive, d, 0.0)
    n = tl.floor(d * 1.4426950408889634 + 0.5)
    if d.dtype == tl.float64:
        r = (d - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10
        p = r * (1.0 / 6227020800.0) + 1.0 / 479001600.0
        p = p * r + 1.0 / 39916800.0
        p = p * r + 1.0 / 3628800.0
        p = p * r + 1.0 / 362880.0
        p = p * r + 1.0 / 40320.0
        p = p * r + 1.0 / 5040.0
        p = p * r + 1.0 / 720.0
    else:
        r = (d - n * 0.693359375) - n * -2.12194440e-4
        p = r * (1.0 / 5040.0) + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    mantissa, exponent = normalised(p, n.to(tl.int32))
    return mantissa, tl.where(alive, exponent, ZERO)


@triton.jit
def exp_nonpositive(x):
    """e^x for x <= 0 as a plain float; exactly 0 if the result is not a normal number, and NaN if x is NaN.

    For float32, tl.exp(x) is 2^(x log2 e), and the product is rounded. So its error grows with -x and is biased, and it
    accumulates over frames. Here x is first reduced to r with |r| <= ln(2)/2, and 2^n is made from its exponent bits.
    """
    if x.dtype == tl.float64:
        return tl.exp(x)
    else:
        x = tl.maximum(x, LEAST, propagate_nan=tl.PropagateNan.ALL)
        t = x * 1.4426950408889634 + ROUND  # rounds to an integer: 2^n's exponent, held in the low bits
        n = t - ROUND
        r = (x - n * 0.693359375) - n * -2.12194440e-4
        # e^r to 4e-9: of the polynomials of this degree that begin with 1 + r + r^2/2, the one with the least maximum
        # error.
        p = r * 1.3863756321370602e-3 + 8.367509581148624e-3
        p = p * r + 4.1667237877845764e-2
        p = p * r + 0.16666534543037415
        p = p * r + 0.5
        p = p * r + 1.0
        p = p * r + 1.0
        scale = (t.to(tl.int32, bitcast=True) << 23).to(tl.float32, bitcast=True)
        return p * scale  # not a sum of bits, which would lose NaN


@triton.jit
def reciprocal(x):
    """1/x, rounded to nearest; a plain division of float32 is off by up to two units of the last place on a GPU."""
    if x.dtype == tl.float64:
        return 1.0 / x
    else:
        return tl.div_rn(tl.full(x.shape, 1.0, tl.float32), x)


@triton.jit
def relative(x, top, added, GENERAL: tl.constexpr):
    """A label's score relative to the frame's top; with GENERAL the added score is included."""
    if GENERAL:
        return (x - top) + added
    else:
        return x - top


@triton.jit
def emission(x, top, added, wide, WIDE: tl.constexpr, GENERAL: tl.constexpr):
    """e^relative. In a wide frame it is computed in float64: rounding `relative` would be the result's error.

    Without WIDE no frame is wide. Then the branch is omitted: with its float64 it is a third of a sweep's instructions.
    """
    if x.dtype == tl.float64 or not WIDE:
        mantissa, exponent = exponential(relative(x, top, added, GENERAL))
    else:
        if wide != 0:
            exact, exponent = exponential(relative(x.to(tl.float64), top.to(tl.float64), added, GENERAL))
            mantissa = exact.to(tl.float32)
        else:
            mantissa, exponent = exponential(relative(x, top, added, GENERAL))
    return mantissa, exponent
