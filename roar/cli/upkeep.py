"""The commands that look after a store: verify, merge and clean."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Annotated

import typer

from roar.cli.flags import experiment_options
from roar.cli.printing import tell
from roar.errors import UsageError, shown
from roar.experiment import Experiment

SHOWN = 20  # lines of a kind


@experiment_options()
def verify(
    experiment: Experiment,
    repair: Annotated[bool, typer.Option("--repair", help="Put aside what is damaged, and make again what is missing "
                                                          "of all that was asked for.")] = False,
    trust: Annotated[list[str] | None, typer.Option("--trust", metavar="FILE.py:OBJECT", help="Code that plans of the "
                                                    "store may have executed for that; repeatable.")] = None,
) -> None:
    """Read every byte of the store and report what is damaged or missing."""
    from roar.metrics import kept_tables
    from roar.metrics.repair import put_aside, remake
    from roar.progress.terminal import Terminal
    from roar.store.artifacts import LOST
    from roar.store.claims import running
    from roar.store.integrity import damages, missing, unknown
    from roar.store.location import open_files
    from roar.store.store import Store

    store = Store(open_files(experiment.store))  # not open_store, which refuses one whose description is damaged
    if not (store.exists or store.holds_anything):
        raise UsageError(f"There is no store at '{experiment.store}'; give the path or URL of one with --store.")
    found, gone = damages(store, kept_tables()), list[str]()
    _print([f"damaged: {damage.path} {damage.state}" for damage in found])
    if repair:
        gone = put_aside(store, found)
        store = Store(open_files(experiment.store))
        _print([f"lost: {path} and its copy, so what it asked for is not known any more; they are in {LOST}/. Give the "
                "command again that made it" for path in gone])
        left = remake(store, experiment, Terminal(), trust or ())
        _print([f"not made again: plan {lost.plan.key} {lost.reason}" for lost in left])
        tell(f"repaired: {len(found) - len(gone)} damaged files of {shown(store.location)}"
              + (f"; unusable files are in {LOST}/" if found else ""))
        found = damages(store, kept_tables())
    elif found:
        tell("`roar verify --repair` puts aside what is damaged and makes it again.")
        sys.exit(1)
    lost = missing(store)
    _print([f"missing: {folder}" for plan in lost for folder in plan.artifacts])
    _print([f"missing: training {key} {' '.join(map(str, plan.plan.jobs[key]))}" for plan in lost for key in plan.jobs])
    _print([f"left alone: {path} is no file of a store" for path in unknown(store.files)])
    at_work = f"; {running(store.files)} tasks are being worked on" if running(store.files) else ""
    tell(f"{store.location}: {len(store.files.list('')):,} files, {len(found)} damaged, "
          f"{sum(len(plan.artifacts) + len(plan.jobs) for plan in lost):,} missing{at_work}")
    if found or lost or gone:
        sys.exit(1)


@experiment_options()
def merge(
    experiment: Experiment,
    other: Annotated[str, typer.Argument(metavar="OTHER_STORE", help="Path or URL of the store to bring in.")],
) -> None:
    """Copy the finished artifacts and results of another store into this one."""
    from roar.metrics import kept_tables
    from roar.store.merge import merge as bring_in
    from roar.store.store import open_store

    done = bring_in(open_store(experiment.store), open_store(other), kept_tables())
    tell(f"{experiment.store}: {done.artifacts} artifacts and {done.results} results came from {other}; "
          f"{done.here} were in it already")


@experiment_options()
def clean(
    experiment: Experiment,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Finished artifacts or trainings to "
                                                      "remove too: keys, or folders in the store.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it.")] = False,
) -> None:
    """Remove unfinished files and orphans; finished artifacts only when they are named."""
    from roar.store.clean import alone, named, remove, remove_waste, waste
    from roar.store.store import open_store

    if dry_run == yes:
        raise UsageError("`roar clean` takes either --dry-run, to see what would be removed, or --yes, to remove it.")
    store = open_store(experiment.store)
    if not store.exists:
        raise UsageError(f"There is no store at '{experiment.store}'; give the path or URL of one with --store.")
    with alone(store) if yes else nullcontext():
        found, entries = waste(store), named(store, names or ())
        _print([f"{item.path}: {item.reason}" for item in found])
        _print([f"{entry.name} ({entry.kind} {entry.key}): named" for entry in entries])
        count = len(found)
        if yes:
            remove_waste(store.files, found)
            count += remove(store, entries)
    tell(f"{store.location}: {count} files {'removed' if yes else 'would be removed'}"
          + (f", and {len(entries)} artifacts and trainings that are named" if entries and not yes else ""))


def _print(lines: list[str]) -> None:
    tell("".join(f"{shown(line)}\n" for line in lines[:SHOWN]), end="")
    if len(lines) > SHOWN:
        tell(f"... and {len(lines) - SHOWN:,} more")
