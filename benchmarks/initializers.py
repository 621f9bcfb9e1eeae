"""How far the initializer of a randomized network decides a sanity check, with fitted batch norms and without.

    python benchmarks/initializers.py     # ResNet-20, 30 test images of CIFAR-10; a minute on two cores

All layers are drawn anew, three times by He et al.'s normal initializer, which roar's ResNet-20 has, and three times by
PyTorch's default. It prints Spearman's correlation with the ranking of the trained network and writes
benchmarks/results/initializers.json.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch
from torch import nn

from roar import models
from roar.datasets import open_source
from roar.datasets.statistics import Normalization
from roar.estimators import ESTIMATORS, Batch, Explained, Passes, rank_images
from roar.experiment import EstimatorSettings
from roar.metrics.sanity.settings import FITTED_ON
from roar.metrics.similarity import Similarity, averages, one_by_one
from roar.models.layers import batch_norms_behind, fit_batch_norms, layers
from roar.seeds.streams import derive

REPOSITORY = Path(__file__).resolve().parent.parent
NORMALIZATION = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NAMES = ("gradient-magnitude", "smoothgrad-squared", "vargrad")
DRAWS, TOGETHER = 3, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--data", type=Path,
                        default=os.environ.get("ROAR_TEST_DATA", REPOSITORY.parent / "shared" / "data"),
                        help="a folder with cifar10/ (Parquet) and weights/cifar10-resnet20.safetensors")
    arguments = parser.parse_args()
    images = open_source(f"parquet:{Path(arguments.data) / 'cifar10'}", limit_train=1, limit_test=FITTED_ON).test.images
    trained = models.create("resnet20").eval()
    models.load_weights(trained, Path(arguments.data) / "weights" / "cifar10-resnet20.safetensors")
    with torch.no_grad():
        logits = trained(NORMALIZATION.apply(torch.from_numpy(images[:arguments.images])))
    explained = logits.argmax(1).numpy()
    real = ranked(trained, images[:arguments.images], explained, None)
    found = []
    for initializer in ("kaiming", "default"):
        for fitted in (True, False):
            drawn = [ranked(randomized(initializer, draw, fitted, images), images[:arguments.images], explained,
                            derive(0, "sanity", "ties")) for draw in range(DRAWS)]
            for name in NAMES:
                each = np.stack([one_by_one(real[name], ranks[name], ()).spearman for ranks in drawn])
                found.append(row(initializer, fitted, name, each))
                print(found[-1], flush=True)
    target = REPOSITORY / "benchmarks" / "results" / "initializers.json"
    target.write_text(json.dumps({"images": arguments.images, "draws": DRAWS, "rows": found}, indent=2) + "\n")


def randomized(initializer: str, seed: int, fitted: bool, images: np.ndarray) -> nn.Module:
    network = models.create("resnet20", seed=seed).eval()
    if initializer == "default":
        torch.manual_seed(seed)
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.reset_parameters()
    if fitted:
        batches = NORMALIZATION.apply(torch.from_numpy(images)).split(TOGETHER)
        found = layers(network, batches[0][:1])
        fit_batch_norms(network, batch_norms_behind(network, found, found), batches)
    return network


def ranked(network: nn.Module, images: np.ndarray, explained: np.ndarray, lots: int | None) -> dict[str, np.ndarray]:
    batch = Batch(images, explained, np.arange(len(images)), "test", lots=lots)
    answers = rank_images(ESTIMATORS.resolve(NAMES), batch, Explained(network, NORMALIZATION),
                          EstimatorSettings(target="label"), Passes())
    return {name: answer.ranks for name, answer in answers.items()}


def row(initializer: str, fitted: bool, name: str, each: np.ndarray) -> dict[str, object]:
    """The mean over images and draws, its interval over images, and the mean of each draw."""
    mean = each.mean(0)
    spearman, *_ = averages(Similarity(mean, np.empty((len(mean), 0))), (), 1024)
    return {"initializer": initializer, "fitted": fitted, "estimator": name, "mean": round(spearman["mean"], 3),
            "ci_low": round(spearman["ci_low"], 3), "ci_high": round(spearman["ci_high"], 3), "n": spearman["n"],
            "draws": [round(float(value), 3) for value in each.mean(1)]}


if __name__ == "__main__":
    main()
