"""What is shown: no control characters, no formulas, no credentials; a terminal that takes nothing costs nothing."""

from __future__ import annotations

import http.client
import io
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from roar import pipeline
from roar.analysis.frames import render_table
from roar.analysis.spreadsheets import csv_bytes
from roar.analysis.tables import plain_table, rich_table
from roar.errors import StoreError, shown, without_credentials
from roar.experiment import load_experiment, to_toml
from roar.progress.terminal import Terminal
from roar.report import serve
from roar.store.requests import Plan, read_plans, write_plan
from roar.store.store import open_store

EVIL = "\x1b]0;owned\x07\x1b[2Jname\r\nError: fine\x9b31m"
SECRET_URL = "s3://AKIAKEY:sEcReT@bucket/prefix?region=eu&secret_key=sEcReT"


def is_plain(text: str) -> bool:
    return all(c.isprintable() or c in "\n\t" for c in text)


# -- terminals -----------------------------------------------------------------------------------------------------


@given(st.text())
def test_what_is_shown_is_one_printable_line(text: str) -> None:
    assert shown(text).isprintable()
    assert not text.isprintable() or "://" in text or "?" in text or "&" in text or shown(text) == text


def test_names_of_classes_reach_no_terminal_raw(tmp_path: Path, roar: Callable[..., Any]) -> None:
    for split in ("train", "test"):
        for name in ("a\x1b[31mred", "b\nError: fine"):
            folder = tmp_path / "pictures\x1b[2J" / split / name
            folder.mkdir(parents=True)
            for number in range(3):
                Image.new("L", (8, 8), number * 40).save(folder / f"{number}.png")
    where = ["--store", str(tmp_path / "store")]
    words = [*where, "--source", f"folder:{tmp_path / 'pictures'}\x1b[2J", "--train-epochs", "1",
             "--executor", "serial"]
    for command in (["train", *words], ["rank", *words, "--estimator", "random"],
                    ["run", *words, "--estimator", "random", "--dry-run"],
                    *([word, *where] for word in ("status", "verify")), ["clean", "--dry-run", *where]):
        said = roar(*command)
        assert said.code == 0, said.err
        assert is_plain(said.out + said.err)
    said = roar("rank", "--source", f"folder:{tmp_path}/no\x1b[31m", "--store", str(tmp_path / "store"))
    assert said.code == 1
    assert is_plain(said.err)


def test_tables_reach_no_terminal_raw() -> None:
    from rich.console import Console

    frame = pd.DataFrame({"estimator": [EVIL, "[red]markup[/red]"], "n": [1, 2]})
    for kind in ("text", "markdown", "csv", "latex"):
        assert is_plain(render_table(frame, kind).decode()), kind
    assert is_plain(plain_table(frame))
    stream = io.StringIO()
    Console(file=stream, width=200).print(rich_table(frame, title=EVIL))
    assert is_plain(stream.getvalue())
    assert "[red]markup[/red]" in stream.getvalue()


def test_progress_reaches_no_terminal_raw(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr("roar.progress.terminal._QUIET", -1.0)
    terminal = Terminal()
    terminal.say(EVIL)
    bar = terminal.begin(EVIL, 2, "images")
    bar.advance(1, EVIL)
    terminal.end(bar)
    assert "owned" in stream.getvalue()
    assert is_plain(stream.getvalue())


# -- spreadsheets --------------------------------------------------------------------------------------------------


def test_no_cell_is_a_formula() -> None:
    frame = pd.DataFrame({"a": ["=cmd|'/c calc'!A1", "+1+1", "-x", "@SUM(A1)", "plain", "-3.5", "\t=1", None],
                          "b": [-1.5, 2, 3, 4, 5, 6, 7, 8], "c": pd.array(["=x"] * 8, dtype="string")})
    back = pd.read_csv(io.BytesIO(csv_bytes(frame)))
    assert back["a"].tolist()[:6] == ["'=cmd|'/c calc'!A1", "'+1+1", "'-x", "'@SUM(A1)", "plain", "-3.5"]
    assert not str(back["a"][6]).startswith(("=", "\t"))
    assert back["b"].tolist() == frame["b"].tolist()
    assert back["c"].unique().tolist() == ["'=x"]


# -- credentials ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("url", "safe"), [
    (SECRET_URL, "s3://bucket/prefix?region=eu&"),
    ("https://user:pass@host/x", "https://host/x"),
    ("https://host/x?X-Amz-Signature=abc&y=1", "https://host/x?y=1"),
    ("https://host/a@b", "https://host/a@b"),
    ("a 'https://user@host' and 'ftp://u:p@h'", "a 'https://host' and 'ftp://h'"),
])
def test_urls_are_shown_without_credentials(url: str, safe: str) -> None:
    assert without_credentials(url) == safe
    assert str(StoreError(f"'{url}' failed.")) == f"'{safe}' failed."


def test_a_plan_and_a_page_keep_no_credentials(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    experiment = load_experiment(None, {"source": {"name": f"parquet:{SECRET_URL}"}})
    plan = Plan("rank", f"parquet:{SECRET_URL}", "f", (), {"source": {"name": f"parquet:{SECRET_URL}"}})
    write_plan(store, plan)
    write_plan(store, replace(plan, artifacts=("a",)))
    assert len(read_plans(store)) == 1
    kept = b"".join(path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file())
    for text in (kept.decode(), to_toml(experiment)):
        assert "sEcReT" not in text and "AKIAKEY" not in text
        assert "parquet:s3://bucket/prefix" in text


def test_a_store_shows_no_credentials() -> None:
    store = open_store("mock://KEY:SECRET@host/store")
    assert store.location == "mock://host/store"
    assert store.files.location == "mock://KEY:SECRET@host/store"


def test_a_source_at_a_url_can_be_made_again() -> None:
    experiment = load_experiment(None, {"source": {"name": "parquet:s3://bucket/images"}})
    assert pipeline.session.portable(experiment, ["random"])["source"]["name"] == "parquet:s3://bucket/images"


# -- serve ---------------------------------------------------------------------------------------------------------


class _Page:
    def html(self) -> bytes:
        return b"<html>" + b"x" * 5_000_000


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[serve.PageServer]:
    monkeypatch.setattr(serve._Handler, "timeout", 0.5)
    with serve.PageServer(_Page(), 0) as server:  # type: ignore[arg-type]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(port: int, verb: str = "GET", host: str | None = None, path: str = "/") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(verb, path, headers={"Host": host or f"127.0.0.1:{port}"})
    reply = connection.getresponse()
    found = reply.status, reply.read()
    connection.close()
    return found


def test_serve_answers_this_machine_alone(server: serve.PageServer) -> None:
    port = server.server_port
    assert ask(port)[0] == ask(port, host=f"localhost:{port}")[0] == 200
    assert ask(port, host="evil.example")[0] == ask(port, host=f"evil.example:{port}")[0] == 421
    assert ask(port, "HEAD") == (200, b"")
    assert ask(port, path="/etc/passwd")[0] == 404


def test_serve_survives_connections_that_say_nothing_and_browsers_that_leave(
        server: serve.PageServer, capsys: pytest.CaptureFixture[str]) -> None:
    port = server.server_port
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(3 * serve.AT_A_TIME)]
    for _ in range(4):
        with socket.create_connection(("127.0.0.1", port)) as leaving:
            leaving.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            leaving.recv(10)
    assert ask(port)[0] == 200
    assert threading.active_count() < 2 * serve.AT_A_TIME
    for connection in idle:
        connection.close()
    assert capsys.readouterr().err == ""


# -- a terminal that takes nothing ---------------------------------------------------------------------------------

RUN = [sys.executable, "-m", "roar", "rank", "--estimator", "random", "--executor", "serial", "--limit-train", "40",
       "--limit-test", "20", "--train-epochs", "1"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_progress_that_cannot_be_written_costs_no_work(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(RUN, cwd=tmp_path, stdout=subprocess.PIPE, stderr=full, text=True, check=False)
    assert ended.returncode == 0
    assert ended.stdout.startswith("random: ")
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(RUN, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr == ("Error: The results cannot be printed (No space left on device); what is finished is kept "
                            "in the store: give the command again with another place for its output.\n")


def test_a_terminal_that_is_closed_costs_no_work(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    with subprocess.Popen(RUN, cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs, text=True) as process:
        os.close(theirs)
        os.close(ours)  # whoever writes now gets EIO
        out = process.communicate(timeout=120)[0]
    assert process.returncode == 0
    assert out.startswith("random: ")
