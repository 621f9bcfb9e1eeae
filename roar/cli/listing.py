"""The commands that list what can be named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from roar.cli.printing import print_rows, tell
from roar.metrics import METRICS

if TYPE_CHECKING:
    from roar.registry import Registry

listing = typer.Typer(no_args_is_help=True, help="List estimators, sources, models, fills, regularizers "
                                                 "and metrics.")


@listing.command("estimators")
def list_estimators(
    plugin: Annotated[str | None, typer.Option("--plugin", metavar="FILE.py", help="What a file defines; "
                                               "this executes it.")] = None,
) -> None:
    """List every estimator with its family and paper, and those of installed packages without importing them."""
    from roar.cli.check import installed_estimators, listed_estimators, plugin_estimators

    if plugin is not None:
        print_rows(["estimator", "parameters", "description"], plugin_estimators(plugin))
        return
    from roar.estimators import ESTIMATORS

    print_rows(["name", "short names", "family", "paper", "year"], [*listed_estimators(), *installed_estimators()])
    for name, members in ESTIMATORS.groups.items():
        tell(f"Group {name}: {', '.join(members())}")


@listing.command("sources")
def list_sources() -> None:
    """List every source of images; `FILE.py:function` and `package.module:function` are accepted too."""
    from roar.datasets import SOURCES, source_kinds

    print_rows(["source", "images"], [
        *([kind.spelling, kind.description] for kind in source_kinds()),
        *([point.name, f"{point.value} of {point.dist.name} {point.dist.version}" if point.dist else point.value]
          for point in SOURCES.installed().values())])


@listing.command("models")
def list_models(
    verbose: Annotated[bool, typer.Option("--verbose", help="Also where the regularizer `dropout` acts.")] = False,
) -> None:
    """List every network; `timm/NAME` stands for any of timm's."""
    from roar.models import MODELS, model_kinds

    print_rows(["model", "parameters", "description", *(["dropout"] if verbose else [])],
                [*([kind.name, f"{kind.parameters:,}", kind.description, *([kind.dropout] if verbose else [])]
                   for kind in model_kinds()),
                 *([name, "", origin, *([""] if verbose else [])] for name, origin in _installed(MODELS))])


@listing.command("metrics")
def list_metrics() -> None:
    """List every metric with its command, paper and tables."""
    rows = [[metric.name, f"roar {metric.command}", metric.paper.authors, str(metric.paper.year),
             ", ".join(table.name for table in metric.tables) or "results, curves, leaderboard, ..."]
            for metric in METRICS.all()]
    rows += [[name, f"roar measure {name}", f"installed: {point.value}", "", ""]
             for name, point in METRICS.installed().items()]
    print_rows(["metric", "command", "paper", "year", "tables"], rows)


@listing.command("regularizers")
def list_regularizers() -> None:
    """List every regularizer and its formula; `+` combines them."""
    from roar.models.regularizers import REGULARIZERS, kinds

    print_rows(["regularizer", "what it does", "paper"],
                [*([kind.spelling, kind.formula, kind.paper] for kind in kinds().values()),
                 *([name, origin, ""] for name, origin in _installed(REGULARIZERS))])


@listing.command("fills")
def list_fills() -> None:
    """List every fill: what replaces a pixel."""
    from roar.datasets.fills.registry import FILLS, fill_kinds

    print_rows(["fill", "what replaces a pixel"],
                [*([kind.name, kind.description] for kind in fill_kinds()), *map(list, _installed(FILLS))])


def _installed(registry: Registry[Any]) -> list[tuple[str, str]]:
    """What other packages offer, by name, and where it comes from; nothing is imported."""
    return [(name, f"{point.value}, from {point.dist.name} {point.dist.version}" if point.dist else point.value)
            for name, point in sorted(registry.installed().items())]
