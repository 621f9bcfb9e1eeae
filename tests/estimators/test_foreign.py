"""Estimators that are not roar's: how they are called, what their parameters are, and what is refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import captum.attr
import cloudpickle
import numpy as np
import pytest
import torch
from explained import NORMALIZATION, pictures, small_network
from torch import Tensor, nn

from roar.errors import EstimatorError, UnknownNameError, UsageError
from roar.estimators import ESTIMATORS, Batch, Estimator, Explained, Passes, distinct, estimator, rank_images
from roar.estimators.ensembles import MEMBERS
from roar.estimators.kinds import Explainer
from roar.estimators.maps import maps
from roar.estimators.methods.gradient import input_gradient
from roar.estimators.registry import around
from roar.experiment import EstimatorSettings
from roar.testing import check_estimator

IMAGES = pictures(6)
SETTINGS = EstimatorSettings(samples=3, ig_steps=4)


def batch(rows: slice = slice(None)) -> Batch:
    return Batch(IMAGES[rows], np.zeros(len(IMAGES[rows])), np.arange(6)[rows], "test")


def ranks(*estimators: Any, rows: slice = slice(None), passes: Passes | None = None) -> dict[str, np.ndarray]:
    chosen = [one if isinstance(one, Estimator) else ESTIMATORS.find(one) if isinstance(one, str)
              else ESTIMATORS.adapted(one) for one in estimators]
    explained = Explained(small_network(), NORMALIZATION)
    return {name: found.ranks for name, found in rank_images(chosen, batch(rows), explained, SETTINGS, passes).items()}


def own_gradient(network: nn.Module, images: Tensor, targets: Tensor, *, power: int = 1) -> Tensor:
    """The gradient, to a power."""
    assert images.requires_grad and torch.is_grad_enabled() and not network.training
    explained = network(images).gather(1, targets[:, None]).sum()
    return torch.autograd.grad(explained, images)[0] ** power


# -- forms ---------------------------------------------------------------------------------------------------------


def test_a_function_is_a_method() -> None:
    found = ranks(own_gradient, "gradient")
    assert np.array_equal(found["own_gradient"], found["gradient"])
    own = ESTIMATORS.adapted(own_gradient)
    assert (own.name, own.family, own.explains, own.description) == (
        "own_gradient", "own_gradient", True, "The gradient, to a power.")


class OwnExplainer:
    """Of captum's kind, and not captum's."""

    def __init__(self, network: nn.Module, factor: float = 1.0) -> None:
        self.network, self.factor = network, factor

    def attribute(self, inputs: Tensor, target: Tensor | None = None, shift: float = 0.0) -> Tensor:
        assert target is not None
        return self.factor * input_gradient(self.network, inputs, target) + shift


class Networkless:
    def attribute(self, inputs: Tensor, target: Tensor | None = None) -> Tensor:
        return inputs.abs()


def noise_tunnel(network: nn.Module, *, scale: float = 1.0) -> Any:
    return OwnExplainer(network, scale)


def test_what_has_captums_attribute_is_a_method() -> None:
    found = ranks(OwnExplainer, noise_tunnel, Networkless(), captum.attr.Saliency, "captum.attr:InputXGradient",
                  "gradient", "input-x-gradient")
    assert np.array_equal(found["OwnExplainer"], found["gradient"])
    assert np.array_equal(found["noise_tunnel"], found["gradient"])
    assert np.array_equal(found["InputXGradient"], found["input-x-gradient"])
    assert not np.array_equal(found["Saliency"], found["gradient"])  # its absolute value
    assert sorted(np.unique(found["Networkless"][0])) == list(range(64))


def test_parameters_reach_the_class_and_its_attribute(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("from roar.estimators.methods.gradient import input_gradient\n"
                    "class Own:\n"
                    "    def __init__(self, network, factor=1.0):\n"
                    "        self.network, self.factor = network, factor\n"
                    "    def attribute(self, inputs, target, *, shift=0.0):\n"
                    "        return self.factor * input_gradient(self.network, inputs, target) + shift\n")
    found = ranks(f"{path}:Own(factor=-1,shift=2.5)", "gradient")
    turned = found["Own(factor=-1,shift=2.5)"]
    assert np.array_equal(turned, 63 - found["gradient"])
    with pytest.raises(UnknownNameError, match="'shft' is not a parameter of 'Own'; did you mean 'shift'"):
        ESTIMATORS.find(f"{path}:Own(shft=1)")


def test_captums_occlusion_gets_a_window_that_is_part_of_its_key_and_said() -> None:
    bare = ESTIMATORS.adapted(captum.attr.Occlusion)
    assert bare.identity(SETTINGS)["given"] == {"sliding_window_shapes": "side/8", "strides": "window/2"}
    assert "windows of an eighth of the image's side" in bare.notes[0]
    wide = ESTIMATORS.find("captum.attr:Occlusion(sliding_window_shapes=(3,4,4),strides=(3,2,2))")
    assert wide.identity(SETTINGS)["given"] == {"sliding_window_shapes": [3, 4, 4], "strides": [3, 2, 2]}
    assert wide.notes == () and ESTIMATORS.find(wide.spelling).identity(SETTINGS) == wide.identity(SETTINGS)
    single = ESTIMATORS.find("captum.attr:Occlusion(sliding_window_shapes=(3,1,1),strides=(3,1,1))")
    found = ranks(bare, wide, single)
    assert np.array_equal(found["Occlusion"], found[single.name])  # an eighth of eight pixels
    assert not np.array_equal(found["Occlusion"], found[wide.name])


def test_captums_grad_cam_is_upsampled_and_that_is_said_once() -> None:
    said: list[str] = []
    found = ranks("captum.attr:LayerGradCam(layer='3')", passes=Passes(batch_size=2, say=said.append))
    assert list(found) == ["LayerGradCam(layer='3')"]
    assert set(said) == {"'LayerGradCam(layer='3')' gives maps of 3x3 pixels; they are upsampled bilinearly to 8x8."}
    with pytest.raises(UnknownNameError, match="'conv9' is not a layer of the network"):
        ranks("captum.attr:LayerGradCam(layer=conv9)")


def test_smaller_maps_are_upsampled_bilinearly() -> None:
    def coarse(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(images.detach(), 2).mean(1)

    found = maps([ESTIMATORS.adapted(coarse)], batch(), Explained(small_network(), NORMALIZATION), SETTINGS)
    images = NORMALIZATION.apply(torch.from_numpy(IMAGES))
    small = torch.nn.functional.avg_pool2d(images, 2).mean(1, keepdim=True)
    expected = torch.nn.functional.interpolate(small, (8, 8), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(torch.from_numpy(found.scores["coarse"]), expected)


# -- ensembles and names -------------------------------------------------------------------------------------------


def test_an_ensemble_goes_around_anything(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("from roar.estimators.methods.gradient import input_gradient\n"
                    "def own(network, images, targets, *, alpha=1.0):\n"
                    "    return alpha * input_gradient(network, images, targets)\n")
    around = ("magnitude", "smoothgrad", "smoothgrad-magnitude", "smoothgrad-squared", "vargrad")
    chosen = [ESTIMATORS.find(f"{name}({path}:own(alpha=2))") for name in around]
    assert [one.name for one in chosen] == [f"{name}(own(alpha=2))" for name in around]
    assert [(one.family, one.base, one.ensemble) for one in chosen] == [("own(alpha=2)", "own(alpha=2)", name)
                                                                       for name in around]
    assert [one.spelling for one in chosen] == [f"{name}({path}:own(alpha=2))" for name in around]
    assert chosen[1].identity(SETTINGS).items() >= {"samples": 3, "noise": 0.15}.items()
    found = ranks(*chosen, f"{path}:own(alpha=2)", "gradient", "gradient-magnitude")
    assert np.array_equal(found["own(alpha=2)"], found["gradient"])
    assert np.array_equal(found["magnitude(own(alpha=2))"], found["gradient-magnitude"])
    assert len({found[one.name].tobytes() for one in chosen}) == 5


@pytest.mark.parametrize(("given", "name"), [
    ("smoothgrad(gradient)", "smoothgrad"), ("vargrad(ig)", "vargrad-ig"), ("SG(gb)", "smoothgrad-gb"),
    ("magnitude(gradient)", "gradient-magnitude"), ("sg-sq(deeplift)", "smoothgrad-squared(deeplift)")])
def test_an_ensemble_that_has_a_name_of_its_own_is_that_one(given: str, name: str) -> None:
    assert ESTIMATORS.find(given).name == name


@pytest.mark.parametrize("given", ["smoothgrad(random)", "vargrad(smoothgrad)", "magnitude(oracle)"])
def test_an_ensemble_goes_around_a_method_alone(given: str) -> None:
    with pytest.raises(UsageError, match="takes a method that explains a network and is no ensemble"):
        ESTIMATORS.find(given)


def test_the_decorator_names_a_function_and_returns_it() -> None:
    def plain(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        return images

    named = estimator("my-own", per_image=True)(plain)
    assert named is plain
    found = ESTIMATORS.adapted(named)
    assert found.name == found.spelling == "my-own" and found.identity(SETTINGS)["per_image"] is True


def test_a_name_of_roars_is_never_anothers(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("import roar\nfrom roar.estimators import estimator\n"
                    "def gradient(network, images, targets, *, a=1):\n    return images\n"
                    "def paper(network, images, targets):\n    return images\n"
                    "@estimator('vargrad')\ndef f(network, images, targets):\n    return images\n")
    found = ESTIMATORS.find(f"{path}:gradient(a=2)")
    assert (found.name, found.spelling) == ("own.gradient(a=2)", f"{path}:gradient(a=2)")
    assert ESTIMATORS.find(f"{path}:paper").name == "own.paper"

    def sobel(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        return images

    with pytest.raises(UsageError, match="'sobel' is the name of one of roar's own estimators; give yours another"):
        ESTIMATORS.adapted(sobel)


def test_two_estimators_of_one_name_are_refused_and_one_asked_for_twice_is_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text(f"def own(network, images, targets):\n    return images  # {name}\n")
    first, again, other = (ESTIMATORS.find(f"{tmp_path}/{name}.py:own") for name in ("a", "a", "b"))
    assert distinct([first, again]) == (first,)
    with pytest.raises(UsageError, match=r"are two estimators of the name 'own'; rank them in two runs"):
        distinct([first, other])


# -- the key -------------------------------------------------------------------------------------------------------


def test_the_key_has_the_code_and_what_decides_the_ranking(tmp_path: Path) -> None:
    path = tmp_path / "own.py"

    def identity(text: str, spelled: str = "own", settings: EstimatorSettings = SETTINGS) -> dict[str, Any]:
        path.write_text(f"def own(network, images, targets, *, alpha=1, beta='x'):\n    return {text}\n")
        return ESTIMATORS.find(f"{path}:{spelled}").identity(settings)

    first = identity("images")
    assert first == identity("images") and first["estimator"] == "own" and len(first["code"]["file"]) == 64
    several = [first, identity("images + 0"), identity("images", "own(alpha=2)"), identity("images", "own(alpha=3)"),
               identity("images", "own(beta=x)"), identity("images", "own(per_image=true)"),
               identity("images", settings=SETTINGS.model_copy(update={"target": "label"}))]
    assert len({repr(one) for one in several}) == len(several)
    assert identity("images", settings=SETTINGS.model_copy(update={"samples": 9, "ig_steps": 9})) == first


def test_settings_fill_a_parameter_without_a_default() -> None:
    def own(network: nn.Module, images: Tensor, targets: Tensor, *, ig_steps: int, baseline: Tensor,
            rows: int) -> Tensor:
        assert ig_steps == 4 and baseline.shape == (3, 1, 1) and rows >= 1
        return images.detach() - baseline

    found = ESTIMATORS.adapted(own)
    assert found.identity(SETTINGS).items() >= {"ig_steps": 4, "baseline": "black"}.items()
    assert "rows" not in found.identity(SETTINGS)
    ranks(found)


@pytest.mark.parametrize(("spelled", "kind", "said"), [
    ("own(beta=1)", UnknownNameError, "'beta' is not a parameter of 'own'; known: alpha, gamma, per_image"),
    ("own", UsageError, r"'own' needs alpha; give it in brackets: .*own\.py:own\(alpha=\.\.\.\)"),
    ("own(gamma=1)", UsageError, r"own\(gamma=1, alpha=\.\.\.\)"),
    ("own(alpha=1,per_image=2)", UsageError, "per_image is true or false, not '2'"),
    ("bare(x=1)", UsageError, "'bare' takes no parameters, not 'x'"),
    ("K", UsageError, "'K' is a int and no estimator; give a function"),
    ("A", UsageError, "'A' is a class without `attribute` and no estimator"),
    ("B", UsageError, "`attribute` of 'B' takes no target"),
    ("two", UsageError, "'two' is a function and no estimator"),
])
def test_what_does_not_fit_is_refused_before_any_work(tmp_path: Path, spelled: str, kind: type[UsageError],
                                                      said: str) -> None:
    path = tmp_path / "own.py"
    path.write_text("K = 3\nclass A: pass\nclass B:\n    def attribute(self, inputs): pass\n"
                    "def own(network, images, targets, *, alpha, gamma=1): return images\n"
                    "def bare(network, images, targets): return images\n"
                    "def two(network, images): return images\n")
    with pytest.raises(kind, match=said):
        ESTIMATORS.find(f"{path}:{spelled}")


def test_captums_methods_say_what_they_need() -> None:
    with pytest.raises(UsageError, match=r"'GradientShap' needs baselines; .*attr:GradientShap\(baselines=\.\.\.\)"):
        ESTIMATORS.find("captum.attr:GradientShap")
    with pytest.raises(UsageError, match=r"captum\.attr:LayerGradCam\(layer=\.\.\.\)"):
        ESTIMATORS.adapted(captum.attr.LayerGradCam)
    with pytest.raises(UsageError, match=r"'NoiseTunnel' goes around another method; ask for smoothgrad\(X\)"):
        ESTIMATORS.adapted(captum.attr.NoiseTunnel)
    with pytest.raises(UsageError, match="'Saliency' holds a network of its own, and roar explains one after another"):
        ESTIMATORS.adapted(captum.attr.Saliency(small_network()))


# -- the contract --------------------------------------------------------------------------------------------------


def draws(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    return torch.rand_like(images) + float(np.random.rand()) + random.random()


def draws_from_numpy(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    return images.detach() * torch.from_numpy(np.random.rand(*images.shape)).float()


COUNTER: list[int] = []


def counts(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    COUNTER.append(1)
    return images.detach() * len(COUNTER)


def mixes(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    return images.detach() - images.detach().mean(0)


def trains(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    network.train()
    return images.detach()


def is_nan(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    return images.detach() * float("nan")


def is_double(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    return images.detach().double()


def is_large(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    return torch.zeros(len(images), 1, 9, 9)


def is_array(network: nn.Module, images: Tensor, targets: Tensor) -> Any:
    return images.detach().numpy()


def fails(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    raise ZeroDivisionError("three\nlines")


BROKEN = [
    (draws, r"'draws' draws random numbers: .* for images 0 .*; rank it image by image, .*draws\(per_image=true\)"),
    (draws_from_numpy, r"'draws_from_numpy' draws random numbers"),
    (counts, r"'counts' gave two answers to the same call for images 0 \.\. \d; keep no state"),
    (mixes, "'mixes' gave image 0 another answer alone than together with others; explain every image by itself"),
    (trains, r"'trains' changed the network it explains \(evaluation mode"),
    (is_nan, r"'is_nan' gave \d+ attributions of \d+ that are not finite for images"),
    (is_double, "'is_double' returned torch.float64 on cpu and not torch.float32 on cpu"),
    (is_large, r"'is_large' returned the shape \(\d, 1, 9, 9\) and not \(\d, [13], 8, 8\)"),
    (is_array, "'is_array' returned a ndarray"),
    (fails, r"'fails' failed for images 0 \.\. \d \(.*ZeroDivisionError: three lines\); correct it"),
]


@pytest.mark.parametrize(("function", "said"), BROKEN, ids=[function.__name__ for function, _ in BROKEN])
def test_a_broken_rule_is_one_sentence_that_names_the_estimator(function: Callable[..., Any], said: str) -> None:
    for call in (ranks, check_estimator):
        with pytest.raises(EstimatorError, match=said) as raised:
            call(function)
        assert "\n" not in str(raised.value)


def test_a_method_that_draws_is_ranked_image_by_image_under_its_own_seed() -> None:
    own = ESTIMATORS.adapted(estimator("drawn", per_image=True)(lambda *arguments: draws(*arguments)))
    state = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    whole = ranks(own)["drawn"]
    assert torch.equal(torch.get_rng_state(), state[0]) and random.getstate() == state[2]
    assert np.random.get_state()[1].tolist() == state[1]
    assert len({row.tobytes() for row in whole}) == 6
    parts = [ranks(own, rows=rows)["drawn"] for rows in (slice(0, 2), slice(2, 6))]
    assert np.array_equal(np.concatenate(parts), whole)
    assert np.array_equal(ranks(own, passes=Passes(batch_size=2))["drawn"], whole)
    other = rank_images([own], Batch(IMAGES, np.zeros(6), np.arange(6), "test", 1), Explained(
        small_network(), NORMALIZATION), SETTINGS)
    assert not np.array_equal(other["drawn"].ranks, whole)
    check_estimator(own)


def test_noisy_copies_of_an_image_have_seeds_of_their_own() -> None:
    seen: list[float] = []

    def own(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        seen.append(float(torch.rand(())))
        return images.detach()

    base = ESTIMATORS.adapted(estimator("seeds", per_image=True)(own))
    assert isinstance(base, Explainer)
    ranks(around(base, MEMBERS[-1]), rows=slice(0, 1))
    assert len(set(seen)) == 1 + 3  # the check's, and one per sample


def test_an_estimator_travels_by_value() -> None:
    """Through Ray's pickle, into a process that has neither the file nor the program."""
    chosen = [ESTIMATORS.adapted(own_gradient), ESTIMATORS.find("captum.attr:Saliency"), ESTIMATORS.find("vargrad"),
              ESTIMATORS.find("oracle-noisy(0.2)"), ESTIMATORS.find("random-blurred(vargrad)")]
    sent = cloudpickle.loads(cloudpickle.dumps(chosen))
    assert [(one.name, one.spelling, one.identity(SETTINGS)) for one in sent] == [
        (one.name, one.spelling, one.identity(SETTINGS)) for one in chosen]
    there, here = ranks(*sent[:3]), ranks(*chosen[:3])
    assert all(np.array_equal(there[name], here[name]) for name in here)


def test_the_contract_holds_for_roars_own_and_for_a_network_of_ones_own() -> None:
    for name in ("gradient", "vargrad-ig", "sobel"):
        check_estimator(name)
    check_estimator(own_gradient, network=small_network().eval(), images=IMAGES)
    with pytest.raises(UsageError, match="is a int and no estimator"):
        check_estimator(3)
