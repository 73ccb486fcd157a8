"""The files that `-X train` adds to an artifact."""

from __future__ import annotations

import json
from pathlib import Path

from bnnc.backends.c.training import Trainer, trainer_of_record
from bnnc.backends.c.training_header import header_text
from bnnc.backends.c.training_selftest import selftest_text
from bnnc.backends.c.training_source import source_text
from bnnc.diagnostics import error
from bnnc.loops.machine import Machine
from bnnc.protocols import Artifact
from bnnc.train import record


def training_files(source: str, prefix: str, machine: Machine, *, channels_last: bool, anew: bool) -> Artifact:
    """NAME_train.h, .c, _selftest.c and .json for the training in the `.bnnm` at `source`; its facts are what that
    needs besides the network. `anew`: it begins where the desktop's training began.

    Raises BnncError B0538 where there is no such training, or none for that machine; B0539 for a damaged one.
    """
    path = Path(source)
    if not source or path.suffix != ".bnnm":
        raise error(
            "B0538",
            f"`-X train` goes on with a training, and `{path.name or 'this model'}` holds none",
            helps=("give the .bnnm that `bnnc train` wrote, as the model or by -X source=FILE",),
        )
    try:
        data = path.read_bytes()
    except OSError as fault:
        raise error("B0407", f"cannot read `{path}`: {fault.strerror or fault}") from None
    of = trainer_of_record(record.loads(data, path.name), prefix, machine, channels_last, anew)
    assert of.encoder is not None
    texts = {
        f"{prefix}.h": header_text(of),
        f"{prefix}.c": source_text(of),
        f"{prefix}_selftest.c": selftest_text(of, of.encoder),
        f"{prefix}.json": _json(of),
    }
    facts = {"arena_bytes": 4 * of.words, "weight_bytes": of.rom_bytes}
    return Artifact({name: text.encode() for name, text in texts.items()}, facts)


def _json(of: Trainer) -> str:
    document = {
        "schema": "bnnc.c.train/1",
        "name": of.prefix,
        "machine": of.machine.name,
        "state_words": of.words,
        "kept_words": of.kept_words,
        "stack_bytes": of.stack_bytes,
        "rom_bytes": of.rom_bytes,
        "export_bytes": of.export_bytes,
        "identity": f"{of.identity:08x}",
        "batch": of.step.batch,
        "classes": of.step.classes,
        "layers": [
            {
                "name": name,
                "neurons": weights.rows,
                "inputs": weights.width,
                "planes": hidden.layout.planes,
                "hidden_word": hidden.buffer.offset // 4,
                "weights_word": weights.buffer.offset // 4,
            }
            for name, hidden, weights in of.matrices
        ],
    }
    return json.dumps(document, indent=1) + "\n"


__all__ = ["training_files"]
