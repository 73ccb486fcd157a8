"""Every op class of the graph levels by the name it has in the text form."""

from __future__ import annotations

from bnnc.ir.bit import BIT_OPS
from bnnc.ir.fixed import FIX_OPS
from bnnc.ir.module import Input
from bnnc.ir.move import MOVES
from bnnc.ir.nn import NN_OPS
from bnnc.ir.op import Op
from bnnc.ir.training import TRAINING_OPS

_CLASSES: tuple[type[Op], ...] = (Input, *NN_OPS, *BIT_OPS, *FIX_OPS, *TRAINING_OPS, *MOVES)
OPS: dict[str, type[Op]] = {cls.code: cls for cls in _CLASSES}
