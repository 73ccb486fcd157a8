"""The elementwise float functions as «loop» expressions: the sequences of docs/numerics.md, for scalars and vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from bnnc.ir.nn import FUNCTIONS
from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    F32,
    I32,
    Constant,
    Convert,
    Expression,
    Fma,
    Splat,
    Unary,
    binary,
    compare,
    constant,
    select,
    with_element,
)

_f = float.fromhex

# The same numbers as in docs/numerics.md and the reference; a test holds them together.
_LOG2_E, _LN2_HIGH, _LN2_LOW = _f("0x1.715476p+0"), _f("0x1.62e43p-1"), _f("-0x1.05c61p-29")
_SQRT_HALF_BITS = 0x3F3504F3
_EXP = tuple(map(_f, ("0x1p-1", "0x1.55549p-3", "0x1.5554c4p-5", "0x1.123ae2p-7", "0x1.6d75dcp-10")))
_LOG = (
    *map(_f, ("0x1.555554p-2", "-0x1.000226p-2", "0x1.99a01cp-3", "-0x1.54728ap-3")),
    *map(_f, ("0x1.22d93p-3", "-0x1.0d8246p-3", "0x1.055eacp-3", "-0x1.38c968p-4")),
)
_TANH = tuple(map(_f, ("-0x1.555532p-2", "0x1.1106fep-3", "-0x1.b83792p-5", "0x1.520a3ap-6", "-0x1.756d14p-8")))
_ERF = (
    *map(_f, ("0x1.06eba8p-3", "-0x1.81274p-2", "0x1.ce2d64p-4", "-0x1.b80116p-6")),
    *map(_f, ("0x1.5449a2p-8", "-0x1.a60230p-11", "0x1.4f3dfep-14")),
)
_ERF_TAIL = (
    *map(_f, ("0x1.20ef1cp+0", "0x1.45328ap-1", "0x1.b3259cp-4", "-0x1.8551d2p-6")),
    *map(_f, ("0x1.dd6e36p-9", "-0x1.527e46p-12", "0x1.78e02cp-17")),
)


def apply(builder: Builder, function_name: str, operands: Sequence[Expression]) -> Expression:
    """The value of an elementwise function of bnnc.ir.nn.FUNCTIONS.

    All operands have one type: f32, or a vector of it; the result has it too. Statements that name intermediate values
    are added to the builder. Raises KeyError for an unknown name, TypeError for the wrong number or type of operands.
    """
    wanted = FUNCTIONS[function_name].arity
    if len(operands) != wanted:
        raise TypeError(f"`{function_name}` takes {wanted} operands, not {len(operands)}")
    if any(x.type != operands[0].type or x.type.element != F32 for x in operands):
        raise TypeError(f"`{function_name}` of {', '.join(str(x.type) for x in operands)}")
    return _FUNCTIONS[function_name](builder, *(builder.let(x, "x") for x in operands))


def _truth(condition: Expression, like: Expression) -> Expression:
    return select(condition, constant(1.0, like.type), constant(0.0, like.type))


def _not_zero(x: Expression) -> Expression:
    return compare("ne", x, 0.0)


def _is_nan(x: Expression) -> Expression:
    return compare("ne", x, x)


def _unary(operator: str) -> Callable[[Builder, Expression], Expression]:
    return lambda b, x: Unary(operator, x)


def _binary(operator: str) -> Callable[[Builder, Expression, Expression], Expression]:
    return lambda b, x, y: binary(operator, x, y)


def _comparison(operator: str) -> Callable[[Builder, Expression, Expression], Expression]:
    return lambda b, x, y: _truth(compare(operator, x, y), x)


def _logical(operator: str) -> Callable[[Builder, Expression, Expression], Expression]:
    return lambda b, x, y: _truth(binary(operator, _not_zero(x), _not_zero(y)), x)


def constant_value(x: Expression) -> float | None:
    """The number that stands in every lane, if it is known."""
    if isinstance(x, Splat):
        x = x.value
    return float(x.value) if isinstance(x, Constant) else None


def _is_number(x: Expression) -> bool:
    value = constant_value(x)
    return value is not None and not math.isnan(value)


def _sign(b: Builder, x: Expression) -> Expression:
    return select(x > 0.0, constant(1.0, x.type), select(x < 0.0, constant(-1.0, x.type), constant(0.0, x.type)))


def _maximum(b: Builder, x: Expression, y: Expression) -> Expression:
    if _is_number(y):
        return select(x <= y, y, x)
    return select((x > y) | _is_nan(x), x, y)


def _minimum(b: Builder, x: Expression, y: Expression) -> Expression:
    if _is_number(y):
        return select(x >= y, y, x)
    return select((x < y) | _is_nan(x), x, y)


def _relu(b: Builder, x: Expression) -> Expression:
    return _maximum(b, x, constant(0.0, x.type))


def _clip(b: Builder, x: Expression, low: Expression, high: Expression) -> Expression:
    return _minimum(b, b.let(_maximum(b, x, low), "low"), high)


def _prelu(b: Builder, x: Expression, slope: Expression) -> Expression:
    return select(x >= 0.0, x, slope * x)


def _remainder(rounding: str) -> Callable[[Builder, Expression, Expression], Expression]:
    return lambda b, x, y: x - y * Unary(rounding, x / y)


def _where(b: Builder, condition: Expression, x: Expression, y: Expression) -> Expression:
    return select(_not_zero(condition), x, y)


def _bits(x: Expression) -> Expression:
    return Convert("bitcast", x, with_element(x.type, I32))


def _float(bits: Expression) -> Expression:
    return Convert("bitcast", bits, with_element(bits.type, F32))


def _with_sign_of(x: Expression, size: Expression) -> Expression:
    return _float((_bits(size) & 0x7FFFFFFF) | (_bits(x) & -0x80000000))


def _half(b: Builder, x: Expression) -> Expression:
    """Round to binary16 and back. Below 2^-14 its last place is 2^-24, which is that of a float between 0.5 and 1."""
    size = b.let(Unary("abs", x), "size")
    bits = b.let(_bits(size), "bits")
    # Half of the last place that is kept, less one if that place is even: ties go to even.
    kept = b.let((bits + 0xFFF + (binary("lshr", bits, 13) & 1)) & ~0x1FFF, "kept")
    normal = select(kept >= 0x47800000, constant(0x7F800000, kept.type), kept)
    small = (size + 0.5) - 0.5
    rounded = select(bits < 0x38800000, small, _float(normal))
    return select(_is_nan(x), x, _with_sign_of(x, rounded))


def _polynomial(b: Builder, x: Expression, coefficients: Sequence[float]) -> Expression:
    result: Expression = constant(coefficients[-1], x.type)
    for coefficient in reversed(coefficients[:-1]):
        result = Fma(result, x, constant(coefficient, x.type))
    return b.let(result, "p")


def _power_of_two(n: Expression) -> Expression:
    return _float((n + 127) << 23)


def _exp(b: Builder, x: Expression) -> Expression:
    one, zero = constant(1.0, x.type), constant(0.0, x.type)
    low = select(x < -104.0, constant(-104.0, x.type), select(_is_nan(x), zero, x))
    bounded = b.let(select(x > 89.0, constant(89.0, x.type), low), "bounded")
    n = b.let(Unary("round_even", bounded * _LOG2_E), "n")
    first = Fma(n, constant(-_LN2_HIGH, x.type), bounded)
    r = b.let(Fma(n, constant(-_LN2_LOW, x.type), first), "r")
    mantissa = Fma(r, Fma(r, _polynomial(b, r, _EXP), one), one)
    whole = b.let(Convert("to_int", n, with_element(x.type, I32)), "whole")
    half = b.let(binary("ashr", whole, 1), "half")
    power = (mantissa * _power_of_two(half)) * _power_of_two(whole - half)
    return select(_is_nan(x), x, power)


def _log(b: Builder, x: Expression) -> Expression:
    tiny = b.let(x < 2.0**-126, "tiny")
    scaled = b.let(select(tiny, x * 2.0**25, x), "scaled")
    bits = b.let(_bits(scaled), "bits")
    exponent = b.let(binary("ashr", bits - _SQRT_HALF_BITS, 23), "exponent")
    f = b.let(_float(bits - (exponent << 23)) - 1.0, "f")
    whole = exponent - select(tiny, constant(25, bits.type), constant(0, bits.type))
    e = b.let(Convert("to_float", whole, x.type), "e")
    q = Fma(f, _polynomial(b, f, _LOG), constant(-0.5, x.type))
    low = b.let(Fma(e, constant(_LN2_LOW, x.type), (f * f) * q), "low")
    result = Fma(e, constant(_LN2_HIGH, x.type), f + low)
    # What is left of the numbers that are not positive and finite: zeros, +inf (log is +inf), negatives and NaN.
    strange = select(x > 0.0, x, constant(math.nan, x.type))
    special = select(compare("eq", x, 0.0), constant(-math.inf, x.type), strange)
    return select((scaled > 0.0) & (scaled < math.inf), result, special)


def _sigmoid(b: Builder, x: Expression) -> Expression:
    return constant(1.0, x.type) / (constant(1.0, x.type) + _exp(b, b.let(-x, "minus")))


def _tanh(b: Builder, x: Expression) -> Expression:
    size = b.let(Unary("abs", x), "size")
    square = b.let(x * x, "square")
    near = Fma(x * square, _polynomial(b, square, _TANH), x)
    power = _exp(b, b.let(size + size, "double"))
    far = constant(1.0, x.type) - constant(2.0, x.type) / (power + 1.0)
    return select(size < 0.625, near, _with_sign_of(x, far))


def _erf(b: Builder, x: Expression) -> Expression:
    size = b.let(Unary("abs", x), "size")
    square = b.let(x * x, "square")
    near = Fma(x, _polynomial(b, square, _ERF), x)
    inside = b.let(size < 4.0, "inside")
    bounded = b.let(select(inside, size, constant(4.0, x.type)), "bounded")
    power = _exp(b, b.let(-(bounded * _polynomial(b, bounded, _ERF_TAIL)), "minus"))
    far = select(inside, constant(1.0, x.type) - power, constant(1.0, x.type))
    return select(_is_nan(x), x, select(size < 0.921875, near, _with_sign_of(x, far)))


_EXPONENTS: dict[float, Callable[[Expression, Expression], Expression]] = {
    0.0: lambda x, square: constant(1.0, x.type),
    1.0: lambda x, square: x,
    2.0: lambda x, square: square,
    3.0: lambda x, square: square * x,
    4.0: lambda x, square: square * square,
    -1.0: lambda x, square: constant(1.0, x.type) / x,
    0.5: lambda x, square: Unary("sqrt", x),
}


def _power(b: Builder, x: Expression, y: Expression) -> Expression:
    square = b.let(x * x, "square")
    known = constant_value(y)
    if known is not None and known in _EXPONENTS:
        return _EXPONENTS[known](x, square)
    result = _exp(b, b.let(y * _log(b, x), "y"))
    if known is None:
        for exponent, make in _EXPONENTS.items():
            result = select(compare("eq", y, exponent), make(x, square), result)
    return result


_FUNCTIONS: dict[str, Callable[..., Expression]] = {
    "neg": _unary("neg"),
    "abs": _unary("abs"),
    "sign": _sign,
    "floor": _unary("floor"),
    "ceil": _unary("ceil"),
    "round": _unary("round_even"),
    "trunc": _unary("truncate"),
    "half": _half,
    "sqrt": _unary("sqrt"),
    "reciprocal": lambda b, x: constant(1.0, x.type) / x,
    "exp": _exp,
    "log": _log,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "erf": _erf,
    "relu": _relu,
    "not": lambda b, x: _truth(compare("eq", x, 0.0), x),
    "add": _binary("add"),
    "sub": _binary("sub"),
    "mul": _binary("mul"),
    "div": _binary("div"),
    "pow": _power,
    "mod": _remainder("floor"),
    "fmod": _remainder("truncate"),
    "min": _minimum,
    "max": _maximum,
    "prelu": _prelu,
    "equal": _comparison("eq"),
    "greater": _comparison("gt"),
    "greater_equal": _comparison("ge"),
    "less": _comparison("lt"),
    "less_equal": _comparison("le"),
    "and": _logical("and"),
    "or": _logical("or"),
    "xor": _logical("xor"),
    "where": _where,
    "clip": _clip,
}
