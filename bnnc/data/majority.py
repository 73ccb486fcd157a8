"""The one-layer majority classifier: what data sets of bits give without any learning, to compare training with."""

from __future__ import annotations

import numpy as np

from bnnc.data.dataset import Dataset
from bnnc.ir.types import Bit


def majority_weights(train: Dataset) -> np.ndarray:
    """int8 ±1 [classes, size]: for each class and bit the value that most of its samples have (+1 on a tie)."""
    if train.dtype != Bit():
        raise ValueError(f"the majority classifier takes bits, not {train.type}")
    sums = np.zeros((len(train.classes), train.type.size), np.int64)
    for samples, labels in train.batches(4096):
        flat = samples.reshape(len(labels), -1)
        for label in np.unique(labels):
            sums[label] += flat[labels == label].sum(axis=0, dtype=np.int64)
    return np.where(sums >= 0, np.int8(1), np.int8(-1))


def accuracy_of_weights(weights: np.ndarray, test: Dataset) -> float:
    """The share of samples whose class has the largest XNOR sum with its row of weights (the lowest on a tie)."""
    right = 0
    turned = weights.astype(np.float32).T  # sums below 2^24: exact
    for samples, labels in test.batches(4096):
        sums = samples.reshape(len(labels), -1).astype(np.float32) @ turned
        right += int((sums.argmax(axis=1) == labels).sum())
    return right / test.count


def majority_accuracy(train: Dataset, test: Dataset) -> float:
    """The accuracy on `test` of the majority classifier of `train`. On `prototypes` it is the best there is, nearly."""
    return accuracy_of_weights(majority_weights(train), test)
