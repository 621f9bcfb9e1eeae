"""The command line: parse, call the pipeline, print. Heavy imports happen inside the commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roar.cli.check import check
from roar.cli.flags import american, experiment_options, whole_numbers
from roar.cli.listing import listing
from roar.cli.printing import complain, finish, print_rows, silence, tell, tell_bytes, warn
from roar.cli.upkeep import clean, merge, verify
from roar.errors import RoarError, UnknownNameError, UsageError
from roar.experiment import Experiment
from roar.metrics import METRICS, Metric
from roar.options import split_words

if TYPE_CHECKING:
    from roar.metrics.retraining.forecast import Forecast
    from roar.pipeline import Session

app = typer.Typer(
    name="roar", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="ROAR: does an attribution method find the pixels a network needs? Rank the pixels of every image, replace "
         "the top t percent, retrain from scratch, and see how far accuracy falls.",
    epilog="With no source named and no roar.toml, everything works on scikit-learn's digits.",
)
app.add_typer(listing, name="list")


def main() -> None:
    """Run the command line; one sentence on an error, status 2 for usage and 1 for failure."""
    os.environ["MPLBACKEND"] = "agg"  # a notebook's own is inherited by the programs that it starts
    try:
        try:
            app([american(word) for word in sys.argv[1:]])
        except SystemExit:
            finish()
            raise
    except RoarError as error:
        complain(f"Error: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:  # before a command has begun, or after its end
        sys.exit(130)
    except BrokenPipeError:  # whoever read our output has enough
        silence(1)
        sys.exit(1)


@app.command()
@experiment_options("estimators", "degrade", "retrain")
def run(
    experiment: Experiment,
    file: Annotated[Path | None, typer.Argument(metavar="[EXPERIMENT.toml]", help="What to run.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and the number of jobs.")] = False,
) -> None:
    """Run the whole protocol: train, rank, retrain, delete, report."""
    from roar.metrics.deletion.tasks import delete
    from roar.metrics.retraining.forecast import forecast
    from roar.metrics.retraining.tasks import retrain

    session = _session(experiment)
    _print_plan(session)
    if dry_run:
        _print_forecast(forecast(session))
    else:
        jobs = retrain(session)
        delete(session)
        _report(session, jobs)


@app.command()
@experiment_options()
def train(experiment: Experiment) -> None:
    """Train the network to be explained, or import the weights of a trained one."""
    from roar import pipeline

    session = _session(experiment)
    for model, manifest in zip(session.models, pipeline.train(session), strict=True):
        facts = manifest["facts"]
        tell(f"{model.title}: test accuracy {100 * facts['test_accuracy']:.2f} % on {facts['n_test']:,} images of "
              f"{session.source.name}; weights in {session.store.location}/{model.folder}")


@app.command()
@experiment_options("estimators")
def rank(experiment: Experiment) -> None:
    """Rank the pixels of every image with one or more estimators."""
    from roar import pipeline

    session = _session(experiment)
    for ranking in pipeline.rank(session, noise_seeds=experiment.estimators.seeds):
        tell(f"{ranking.estimator}: {session.store.location}/{ranking.folder}")


@app.command()
@experiment_options("estimators", "degrade")
def degrade(experiment: Experiment) -> None:
    """Write degraded data sets to disk (retraining computes its own and does not need them)."""
    from roar import pipeline

    session = _session(experiment)
    for folder in pipeline.degrade(session):
        tell(f"{session.store.location}/{folder}")


def _measure(metric: Metric) -> Callable[..., None]:
    """The command of a metric: measure what is missing, print its summary, write its tables and figures."""
    def command(experiment: Experiment) -> None:
        from roar.registry import load
        from roar.report.files import write_metric

        session = _session(experiment)
        folders = set(metric.run(session))
        written = write_metric(session.store, metric)
        rows = written.frame[written.frame["folder"].isin(folders)]
        if metric.summary is not None:
            rows = load(metric.summary)(rows)
        print_rows(list(map(str, rows.columns)), [list(map(str, row)) for row in rows.itertuples(index=False)])
        tell("\n".join(written.files))

    command.__doc__ = metric.description
    return command


def retrain(experiment: Experiment) -> None:
    from roar import pipeline
    from roar.metrics.retraining.tasks import retrain as retrain_missing

    session = _session(experiment)
    if "names" not in experiment.estimators.model_fields_set:
        session.estimators = pipeline.ranked_estimators(session) or session.estimators
    if not {estimator.name for estimator in session.estimators} & {"random", "sobel"}:
        session.reporter.say("No control is among the estimators; `--estimator controls` adds what a curve is "
                             "compared with.")
    _report(session, retrain_missing(session))


@app.command()
@experiment_options("estimators", "degrade")
def measure(
    experiment: Experiment,
    metric: Annotated[str, typer.Argument(metavar="METRIC", help="A name of `roar list metrics`, FILE.py:METRIC, or "
                                          "package.module:METRIC.")],
) -> None:
    """Run a metric of an installed package or of a file."""
    asked = METRICS.find(metric)
    if asked in METRICS.all():
        raise UsageError(f"'{asked.name}' has its own command; use `roar {asked.command}`.")
    _measure(asked)(experiment)


for _metric in METRICS.all():
    _command = _measure(_metric) if _metric.tables else retrain
    _command.__doc__ = _metric.description
    app.command(_metric.command)(experiment_options(*_metric.sections, _metric.command)(_command))


@app.command()
@experiment_options()
def report(
    experiment: Experiment,
    table: Annotated[str | None, typer.Option("--table", help="Print one table: leaderboard, areas, ...")] = None,
    kind: Annotated[str, typer.Option("--format", help="csv, json, latex, markdown, parquet or text.")] = "text",
    against: Annotated[str | None, typer.Option("--against", help="paper: lay the results beside the paper's.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Write the report again whenever a result comes in.")] = False,
    regularizers: Annotated[bool, typer.Option("--compare-regularizers", help="Which regularizer makes a network "
                                               "easier to explain.")] = False,
) -> None:
    """Write tables, figures and a page from the results in the store."""
    from roar.report import files
    from roar.store.store import open_store

    store = open_store(experiment.store)
    if against is not None:
        if against != "paper":
            raise UnknownNameError("thing to report against", against, ["paper"])
        tell(files.against_paper(store), end="")
    elif table is not None:
        tell_bytes(files.one_table(store, table, kind))
    elif regularizers:
        _print_comparison(store)
    elif watch:
        for written in files.watch(store):
            tell(f"{len(written.results):,} results; {written.files[-1]}", flush=True)
    else:
        _print_report(files.write_report(store))


@app.command()
@experiment_options()
def serve(
    experiment: Experiment,
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="0 takes a free one.")] = 8_737,
) -> None:
    """Show the report of a running experiment in a browser on this machine."""
    from roar.report.serve import serve_page
    from roar.store.store import open_store

    serve_page(open_store(experiment.store), port, lambda address: tell(f"{address}  (Ctrl-C ends)", flush=True))


@app.command()
@experiment_options()
def status(
    experiment: Experiment,
    why: Annotated[str | None, typer.Option("--why", metavar="KEY", help="What determines one training or artifact, by "
                                            "its key, by how that begins, or by its folder.")] = None,
) -> None:
    """Count what is done, running, failed and missing."""
    from roar.store.catalog import why as explained
    from roar.store.status import read_status
    from roar.store.store import open_store

    store = open_store(experiment.store)
    tell(explained(store, why) if why is not None else read_status(store).text(), end="")


for other in (verify, merge, clean, check):
    app.command()(other)


@app.command()
@experiment_options("estimators", "degrade")
def show(
    experiment: Experiment,
    index: Annotated[str | None, typer.Option("--index", help="Test images, e.g. 3,17; default: the first of every "
                                              "class.")] = None,
) -> None:
    """Draw heat maps of test images and their degraded versions, for every estimator and network."""
    from roar.report.heatmaps import show as write_strips

    session = _session(experiment)
    for file in write_strips(session, None if index is None else whole_numbers("--index", index)):
        tell(file)


@app.command()
@experiment_options()
def activate(
    experiment: Experiment,
    layer: Annotated[list[str] | None, typer.Option("--layer", help="Layers by name, repeatable or with commas; "
                                                    "default: the classes.")] = None,
    unit: Annotated[str, typer.Option("--unit", help="Units of a layer: 0:16, or 3,5,8.")] = "0:16",
    steps: Annotated[int, typer.Option("--steps", help="Steps of gradient ascent.", min=1)] = 256,
) -> None:
    """Draw the images that excite a unit most and the filters of the first layer, for every network."""
    from roar.report.activation import activate as write_grids

    session = _session(experiment)
    for file in write_grids(session, split_words(layer or []), whole_numbers("--unit", unit), steps):
        tell(file)


@app.command()
@experiment_options()
def audit(
    experiment: Experiment,
    small: Annotated[bool, typer.Option("--small", help="Two difficulties, 11 estimators, 5 seeds: minutes on two "
                                        "cores.")] = False,
) -> None:
    """Grade every metric on synthetic images whose informative pixels are known."""
    from dataclasses import replace

    from roar.audit.report import summary_table, write_audit
    from roar.audit.run import AUDITED, FULL, SMALL, run_audit
    from roar.progress.terminal import Terminal
    from roar.store.store import open_store

    asked = SMALL if small else FULL
    if "name" in experiment.source.model_fields_set:
        asked = replace(asked, sources=(experiment.source.name,))
    audited = run_audit(experiment, asked, Terminal())
    written = write_audit(open_store(experiment.store), audited, asked, {one.name: one.paper for one in AUDITED})
    table = summary_table(written.table)
    print_rows(list(table.columns), [list(map(str, row)) for row in table.to_numpy()])
    tell("\n".join([*written.findings, *written.files]))


def _session(experiment: Experiment) -> Session:
    from roar import pipeline
    from roar.progress.terminal import Terminal

    return pipeline.prepare(experiment, Terminal())


def _print_plan(session: Session) -> None:
    from roar.metrics.retraining.forecast import overview
    from roar.metrics.retraining.plan import fills, retrained

    plan = overview(session)
    estimators = retrained(session.experiment, session.estimators)
    filled = dict.fromkeys(fill for estimator in estimators for fill in fills(session.experiment, estimator))
    source, degraded = session.source, session.experiment.degrade
    tell(f"{source.name}: {len(source.train):,} training and {len(source.test):,} test images "
          f"{source.channels}x{source.height}x{source.width}, {source.num_classes} classes\n"
          f"{plan.models} model(s): {'; '.join(dict.fromkeys(model.title for model in session.models))}\n"
          f"{plan.rankings} rankings in {plan.shards} shards: {', '.join(map(str, estimators))}\n"
          f"{plan.jobs} trainings: t = {', '.join(f'{t:g}' for t in degraded.thresholds)} %, mode "
          f"{', '.join(degraded.modes)}, fill {' and '.join(filled)}, {session.experiment.retrain.seeds} seeds per cell"
          + (f"; {plan.chains} more begin the chains of mode recursive" if plan.chains else ""))


def _print_forecast(found: Forecast) -> None:
    def spell(seconds: float) -> str:
        return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7_200 else \
            f"{seconds / 3_600:.1f} h"

    total = found.train_seconds + found.rank_seconds + found.retrain_seconds
    tell(f"About {spell(total)} on this machine, from a few timed steps: train {spell(found.train_seconds)}, rank "
          f"{spell(found.rank_seconds)}, retrain {spell(found.retrain_seconds)} with {found.workers} worker(s); "
          f"up to {found.bytes / 1e6:,.0f} MB in the store")


def _report(session: Session, jobs: list[Any]) -> None:
    from roar.report import report

    _print_report(report(session, jobs))


def _print_report(written: Any) -> None:
    from roar.analysis.chance import at_chance, warnings
    from roar.analysis.tables import accuracy_table, caption, plain_table, rich_table, varying

    table = varying(accuracy_table(written.curves))
    if table.empty:
        tell("Nothing was retrained; these tables describe the explained network itself.")
    elif sys.stdout.isatty():
        from rich.console import Console

        Console().print(rich_table(table, note=caption()))
    else:
        tell(plain_table(table), end="")
    for sentence in warnings(at_chance(written.results)):
        warn(sentence)
    failed = int((written.results["status"] == "failed").sum())
    if failed:
        tell(f"{failed} trainings failed; their reasons are in the column `message` of results.csv.")
    tell("\n".join(written.files))


def _print_comparison(store: Any) -> None:
    from roar.report.regularizers import write_comparison

    written = write_comparison(store)
    tell("\n".join([*written.findings, *written.files]))
