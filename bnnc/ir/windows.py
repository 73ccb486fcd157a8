"""The arithmetic of sliding windows: output sizes and in-range taps of convolutions and pools."""

from __future__ import annotations

from bnnc.ir.op import expect


def output_size(
    size: int, kernel: int, stride: int, pad_begin: int, pad_end: int, dilation: int, ceil_mode: bool = False
) -> int:
    """How many window positions fit on one axis (ONNX Conv and Pool, operator set 22).

    With `ceil_mode` a last window may stick out, but only if it starts inside the input or its begin padding.
    Raises TypeRuleError when the window is larger than the padded input.
    """
    span = dilation * (kernel - 1) + 1
    room = size + pad_begin + pad_end - span
    expect(room >= 0, f"a window of {span} does not fit an axis of {size} with padding {pad_begin} and {pad_end}")
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + pad_begin else count


def window_shape(
    shape: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
    ceil_mode: bool = False,
) -> tuple[int, ...]:
    """Output size on every spatial axis. `pads` is ONNX's order: all begins, then all ends."""
    rank = len(shape)
    expect(rank >= 1, "a window needs at least one spatial axis after the channels")
    expect(
        len(kernel) == len(strides) == len(dilations) == rank and len(pads) == 2 * rank,
        f"kernel {list(kernel)}, strides {list(strides)}, dilations {list(dilations)} and pads {list(pads)} do not fit "
        f"{rank} spatial axes",
    )
    expect(all(n >= 1 for n in (*kernel, *strides, *dilations)), "kernel, strides and dilations must be at least 1")
    expect(all(n >= 0 for n in pads), "negative padding is not a window; slice the input instead")
    return tuple(
        output_size(shape[a], kernel[a], strides[a], pads[a], pads[rank + a], dilations[a], ceil_mode)
        for a in range(rank)
    )
