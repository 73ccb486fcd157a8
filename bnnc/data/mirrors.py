"""Where the files of the well-known data sets are published, and the checksums of the genuine ones."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A file, its checksum as `algorithm:digits`, and its size in bytes."""

    name: str
    checksum: str
    size: int


@dataclass(frozen=True)
class Mirrors:
    """Addresses of folders that hold all files of a data set, tried in this order; and these files, by split."""

    addresses: tuple[str, ...]
    files: dict[str, tuple[Published, ...]]


_TRAIN, _TEST = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"), (
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)  # fmt: skip
# The training batches and the test batch come in one archive. Its publisher states the md5.
_CIFAR = Published("cifar-10-binary.tar.gz", "md5:c32a1d4ab5d03f1284b67883e8d87530", 170_052_171)

MIRRORS = {
    "mnist": Mirrors(
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist",
            "https://storage.googleapis.com/cvdf-datasets/mnist",
        ),
        {
            "train": (
                Published(
                    _TRAIN[0], "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 9_912_422
                ),
                Published(_TRAIN[1], "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 28_881),
            ),
            "test": (
                Published(
                    _TEST[0], "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 1_648_877
                ),
                Published(_TEST[1], "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 4_542),
            ),
        },
    ),
    "fashion-mnist": Mirrors(
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
        ),
        {
            "train": (
                Published(
                    _TRAIN[0], "sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", 26_421_880
                ),
                Published(_TRAIN[1], "sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", 29_515),
            ),
            "test": (
                Published(
                    _TEST[0], "sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", 4_422_102
                ),
                Published(_TEST[1], "sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", 5_148),
            ),
        },
    ),
    "cifar-10": Mirrors(
        (
            "https://www.cs.toronto.edu/~kriz",
            "https://cave.cs.toronto.edu/kriz",
            "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10",
        ),
        {"train": (_CIFAR,), "test": (_CIFAR,)},
    ),
}
