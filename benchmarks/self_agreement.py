"""How far an estimator agrees with itself under other noise, and whether the Spearman-Brown formula foretells it.

    python benchmarks/self_agreement.py     # ResNet-20, 30 test images of CIFAR-10; minutes on two cores

Two noise seeds for each number of samples J. From the agreement at the smallest J the formula foretells the others, and
the J at which it would be 0.9. Writes benchmarks/results/self_agreement.json.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np

from roar import models
from roar.analysis.noise import prophesied, samples_for
from roar.datasets import open_source
from roar.datasets.statistics import Normalization
from roar.estimators import ESTIMATORS, Batch, Explained, Passes, rank_images
from roar.experiment import EstimatorSettings
from roar.metrics.similarity import averages, one_by_one
from roar.seeds.streams import noise_root

REPOSITORY = Path(__file__).resolve().parent.parent
NORMALIZATION = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NAMES = tuple(name + suffix for suffix in ("", "-gb") for name in
              ("smoothgrad", "smoothgrad-magnitude", "smoothgrad-squared", "vargrad"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--samples", type=int, nargs="+", default=[15, 60, 120])
    parser.add_argument("--data", type=Path,
                        default=os.environ.get("ROAR_TEST_DATA", REPOSITORY.parent / "shared" / "data"),
                        help="a folder with cifar10/ (Parquet) and weights/cifar10-resnet20.safetensors")
    arguments = parser.parse_args()
    test = open_source(f"parquet:{Path(arguments.data) / 'cifar10'}", limit_train=1, limit_test=arguments.images).test
    network = models.create("resnet20").eval()
    models.load_weights(network, Path(arguments.data) / "weights" / "cifar10-resnet20.safetensors")
    rows: list[dict[str, object]] = []
    first: dict[str, np.ndarray] = {}
    for samples in arguments.samples:
        found = []
        for noise_seed in range(2):
            batch = Batch(test.images, test.labels, test.indices, "test", noise_root(0, noise_seed))
            found.append(rank_images(ESTIMATORS.resolve(NAMES), batch, Explained(network, NORMALIZATION),
                                     EstimatorSettings(samples=samples), Passes()))
        for name in NAMES:
            similarity = one_by_one(*(np.asarray(ranked[name].ranks) for ranked in found), ())
            measured = averages(similarity, (), 1024)[0]
            start = first.setdefault(name, np.clip(similarity.spearman, 0, 1))
            rows.append({"estimator": name, "samples": samples, "mean": round(measured["mean"], 3),
                         "ci_low": round(measured["ci_low"], 3), "ci_high": round(measured["ci_high"], 3),
                         "n": measured["n"],
                         "foretold": round(float(prophesied(start, samples / arguments.samples[0]).mean()), 3),
                         "samples_for_0.9": round(samples_for(similarity.spearman, samples))})
            print(rows[-1], flush=True)
    target = REPOSITORY / "benchmarks" / "results" / "self_agreement.json"
    target.write_text(json.dumps({"images": arguments.images, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
