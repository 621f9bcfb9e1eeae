"""Names of estimators: the paper's, the aliases, the groups, and what is said of an unknown one."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import pytest
from ranked import group, identity, names_of
from torch import Tensor, nn

from roar.errors import UnknownNameError
from roar.estimators import ESTIMATORS, Explainer
from roar.estimators.registry import control, method
from roar.experiment import EstimatorSettings
from roar.metrics.retraining import ROAR

TABLE = [
    "gradient", "integrated-gradients", "guided-backprop",
    "gradient-magnitude", "integrated-gradients-magnitude", "guided-backprop-magnitude",
    "smoothgrad", "smoothgrad-ig", "smoothgrad-gb",
    "smoothgrad-magnitude", "smoothgrad-magnitude-ig", "smoothgrad-magnitude-gb",
    "smoothgrad-squared", "smoothgrad-squared-ig", "smoothgrad-squared-gb",
    "vargrad", "vargrad-ig", "vargrad-gb",
]


def test_the_papers_estimators_are_the_18_and_two_controls() -> None:
    assert set(group("paper")) == {*TABLE, "random", "sobel"} and len(group("paper")) == 20
    assert set(group("controls")) == {"random", "random-bernoulli", "sobel"}


def test_a_family_is_a_base_and_the_ensembles_around_it() -> None:
    for column, base in enumerate(TABLE[:3]):
        assert [e.name for e in ESTIMATORS.values.values() if e.family == base] == TABLE[column::3]


@pytest.mark.parametrize(("given", "expected"), [
    ("ig", "integrated-gradients"), ("gb", "guided-backprop"), ("grad", "gradient"), ("sg", "smoothgrad"),
    ("sg-sq", "smoothgrad-squared"), ("var", "vargrad"), ("sg-ig", "smoothgrad-ig"), ("var-gb", "vargrad-gb"),
    ("grad-sq", "gradient-magnitude"), ("sg-sq-gb", "smoothgrad-squared-gb"), ("rand", "random"),
    ("bernoulli", "random-bernoulli"), ("Guided_Backprop", "guided-backprop"), (" VarGrad ", "vargrad"),
])
def test_short_names(given: str, expected: str) -> None:
    assert names_of([given]) == (expected,)
    assert ESTIMATORS.find(given).name == expected


def test_groups_and_repetitions_give_each_name_once_in_order() -> None:
    assert names_of(["sg", "controls", "smoothgrad", "random"]) == ("smoothgrad", *group("controls"))
    assert names_of([]) == ()


@pytest.mark.parametrize(("given", "nearest"), [("vargard", "vargrad"), ("smooth-grad", "smoothgrad"),
                                                ("integrated-gradient", "integrated-gradients"),
                                                ("contrls", "controls"), ("guided-backprob", "guided-backprop")])
def test_an_unknown_name_suggests_the_nearest(given: str, nearest: str) -> None:
    with pytest.raises(UnknownNameError, match=f"'{given}' is not an estimator; did you mean .*'{nearest}'"):
        names_of([given])


def test_a_group_is_not_one_estimator() -> None:
    with pytest.raises(UnknownNameError, match="'paper' is not a single estimator"):
        ESTIMATORS.find("paper")


@pytest.mark.parametrize("name", ESTIMATORS.names())
def test_everything_that_is_listed_is_there(name: str) -> None:
    estimator = ESTIMATORS.values[name]
    assert estimator.name == name == name.lower() and "_" not in name
    assert estimator.description and estimator.family
    assert estimator.paper.title and estimator.paper.authors and estimator.paper.url.startswith("https://")
    assert 1900 < estimator.paper.year < 2100
    for alias in estimator.aliases:
        assert names_of([alias]) == (name,)


def test_papers_of_ensembles_are_their_own() -> None:
    years = {name: ESTIMATORS.values[name].paper.year for name in TABLE[::3]}
    assert years == {"gradient": 2013, "gradient-magnitude": 2019, "smoothgrad": 2017, "smoothgrad-magnitude": 2019,
                     "smoothgrad-squared": 2019, "vargrad": 2018}


def test_no_name_stands_for_two_things() -> None:
    names = [*ESTIMATORS.names(), *ESTIMATORS.aliases, *ESTIMATORS.groups]
    assert len(names) == len(set(names))


def unregistered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget at the end of a test what it has registered."""
    ESTIMATORS.load()
    monkeypatch.setattr(ESTIMATORS, "values", dict(ESTIMATORS.values))
    monkeypatch.setattr(ESTIMATORS, "aliases", dict(ESTIMATORS.aliases))


def test_a_method_brings_its_ensembles_and_names_its_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    unregistered(monkeypatch)

    @method("new-thing", ROAR, "something new", suffix="nt", aliases=("nt",))
    def new_thing(network: nn.Module, images: Tensor, targets: Tensor, *, ig_steps: int, rows: int) -> Tensor:
        return images * ig_steps * rows

    assert names_of(["nt", "nt-sq", "sg-nt", "sg-mag-nt", "sg-sq-nt", "var-nt"]) == (
        "new-thing", "new-thing-magnitude", "smoothgrad-nt", "smoothgrad-magnitude-nt", "smoothgrad-squared-nt",
        "vargrad-nt")
    made = ESTIMATORS.find("nt")
    assert isinstance(made, Explainer) and made.method.parameters == ("ig_steps",) and made.method.wants_rows


def test_a_new_revision_is_another_ranking(monkeypatch: pytest.MonkeyPatch) -> None:
    unregistered(monkeypatch)
    control("new-control", ROAR, "a control", revision=2)(lambda *arguments: arguments)
    assert identity("new-control", EstimatorSettings()) == {"estimator": "new-control", "revision": 2,
                                                            "per_channel": False}


def test_names_order_and_keys_are_those_of_every_store_that_is_there() -> None:
    """A hash over what determines the ranking of every name under two settings, as it was before."""
    other = EstimatorSettings(samples=3, noise=0.2, ig_steps=5, baseline="mean", unit="channel", target="label")
    found = [ESTIMATORS.find(name).identity(settings) for settings in (EstimatorSettings(), other)
             for name in [*ESTIMATORS.names(), "oracle-noisy(0.2)", "random-blurred(vargrad)"]]
    digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    assert digest == "c39f56ae1263665de70b3c323de6667a566128b41b093ab7adf45d553a0031be"


@pytest.mark.parametrize(("name", "aliases"), [("gradient", ()), ("new", ("ig",)), ("paper", ()), ("new", ("random",))])
def test_a_name_that_is_taken_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, aliases: tuple[str, ...]) -> None:
    unregistered(monkeypatch)
    with pytest.raises(ValueError, match="is taken"):
        control(name, ROAR, "a control", aliases=aliases)(lambda *arguments: arguments)


def test_a_parameter_that_is_no_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    unregistered(monkeypatch)

    def attribute(network: nn.Module, images: Tensor, targets: Tensor, *, strength: float) -> Tensor:
        return images * strength

    with pytest.raises(ValueError, match="'strength', which is no setting"):
        method("new", ROAR, "a method", suffix="new")(attribute)


def test_the_register_costs_no_torch() -> None:
    program = "import sys, roar.estimators as e; e.ESTIMATORS.find('sg').identity(__import__('roar.experiment')" \
              ".experiment.EstimatorSettings()); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
