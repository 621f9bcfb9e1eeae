"""One grammar of names: brackets, quotes, parameters, objects of files, aliases, groups and makers."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roar.errors import UnknownNameError, UsageError
from roar.options import split_words
from roar.plugins import Foreign
from roar.registry import Registry, Spelling, parameters, parse, split


@pytest.mark.parametrize(("text", "name", "arguments"), [
    ("gradient", "gradient", None), (" paper ", "paper", None), ("oracle-noisy(0.2)", "oracle-noisy", "0.2"),
    ("a.py:f", "a.py:f", None), ("a.py:f(x=1, y=(2, 3))", "a.py:f", "x=1, y=(2, 3)"),
    ("smoothgrad(a.py:f(alpha=2))", "smoothgrad", "a.py:f(alpha=2)"), ("smoothgrad(a.py:f)", "smoothgrad", "a.py:f"),
    ("/home/me/a (1)/m.py:f", "/home/me/a (1)/m.py:f", None),
    ("/home/me/a (1)/m.py:f(x=2)", "/home/me/a (1)/m.py:f", "x=2"),
    ("vargrad(/a (1)/m.py:f(x=2))", "vargrad", "/a (1)/m.py:f(x=2)"), ("pkg.mod:Cls.f", "pkg.mod:Cls.f", None),
    ("f()", "f", ""),
])
def test_a_name_and_what_stands_in_its_brackets(text: str, name: str, arguments: str | None) -> None:
    assert parse(text) == Spelling(name, arguments)


@pytest.mark.parametrize("text", ["f(x", "f)", "f(x))", "f(x)y", "a.py:f(x=1"])
def test_brackets_that_do_not_match_are_one_sentence(text: str) -> None:
    with pytest.raises(UsageError, match="does not close; write name"):
        parse(text)


@pytest.mark.parametrize(("text", "is_object"), [
    ("a.py:f", True), ("../x y/a.py:f", True), ("pkg.mod:f", True), ("pkg:A.b", True), ("gradient", False),
    ("parquet:PATH/x", False), ("a.py", False), ("oracle-noisy", False), ("my-pkg:f", False)])
def test_what_is_spelled_as_an_object(text: str, is_object: bool) -> None:
    assert parse(text).is_object is is_object


@pytest.mark.parametrize(("text", "parts"), [
    ("a,b(c=1,d=2)", ["a", "b(c=1,d=2)"]), ("a.py:f(x=(1,2)),paper", ["a.py:f(x=(1,2))", "paper"]),
    ("smoothgrad(f(a=1,b=2)), g", ["smoothgrad(f(a=1,b=2))", "g"]), ("f(s='a,b'),g", ["f(s='a,b')", "g"]),
    ("f(x=[1,2]),,", ["f(x=[1,2])"]), ("", [])])
def test_commas_in_brackets_and_quotes_do_not_part(text: str, parts: list[str]) -> None:
    assert split(text) == parts == split_words([text])


@given(st.lists(st.recursive(st.text("abc=.12", min_size=1, max_size=4), lambda inner: st.builds(
    lambda name, inside: f"{name}({','.join(inside)})", st.text("fg", min_size=1, max_size=2),
    st.lists(inner, min_size=1, max_size=3)), max_leaves=6), max_size=4))
def test_what_is_joined_by_commas_is_split_into_the_same_parts(parts: list[str]) -> None:
    assert split(",".join(parts)) == parts


@pytest.mark.parametrize(("arguments", "values"), [
    ("alpha=2", {"alpha": 2}), ("a=1.5,b=-3,c=1e-3", {"a": 1.5, "b": -3, "c": 1e-3}),
    ("mode=fast, on=true, off=false, none=None", {"mode": "fast", "on": True, "off": False, "none": None}),
    ("shape=(3,4,4)", {"shape": (3, 4, 4)}), ("s='a,b=c'", {"s": "a,b=c"}), ("layer=layer4.0", {"layer": "layer4.0"}),
    (None, {}), ("", {})])
def test_values_are_literals_or_texts(arguments: str | None, values: dict[str, Any]) -> None:
    assert parameters(Spelling("f", arguments)) == values


@pytest.mark.parametrize("arguments", ["2", "=2", "a=", "a=1,a=2", "a b=1"])
def test_parameters_that_have_no_name_are_one_sentence(arguments: str) -> None:
    with pytest.raises(UsageError, match=r"are spelled name=value, each once.*write f\(name=value\)"):
        parameters(Spelling("f", arguments))


# -- a registry of words -------------------------------------------------------------------------------------------


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[Any]:
    """A registry whose package is made for the test."""
    (tmp_path / "wordpackage").mkdir()
    (tmp_path / "wordpackage" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("wordpackage", "wordpackage.extra"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    def adapt(code: Foreign, values: Mapping[str, Any], name: str) -> str:
        return f"{name or code.name} of {sorted(code.identity)} with {dict(values)}"

    made: Registry[Any] = Registry("word", "wordpackage", adapt, "Ask a dictionary.")
    made.add("good-day", "hello", aliases=("hi",))
    made.add("farewell", "bye")
    made.add_maker("times", "times(N)", lambda text: f"hello {text} times", "times(3)")
    made.add_maker("farewell", "farewell(WHOM)", lambda text: f"bye {text}")
    made.groups["all"] = lambda: ["good-day", "farewell"]
    return made


def test_names_aliases_groups_and_makers(words: Registry[Any]) -> None:
    assert words.names() == ["good-day", "farewell"]
    assert words.resolve(["hi", "Good_Day", "all", "times( 3 )"]) == ["hello", "bye", "hello 3 times"]
    assert (words.find("farewell"), words.find("farewell(you)")) == ("bye", "bye you")
    assert words.is_taken("HI") and words.is_taken("times") and words.is_taken("all") and not words.is_taken("mine")


def test_what_is_wrong_with_a_name_is_one_sentence(words: Registry[Any]) -> None:
    with pytest.raises(UnknownNameError, match=r"'god-day' is not a word; did you mean 'good-day'\? Ask a dictionary"):
        words.find("god-day")
    with pytest.raises(UnknownNameError, match="'all' is not a single word"):
        words.find("all")
    for text in ("times", "times()", "times(3"):
        with pytest.raises(UsageError, match=r"'times' takes its parameter N in brackets.*write times\(3\)"):
            words.find(text)
    with pytest.raises(UsageError, match="'good-day' takes no parameters in brackets"):
        words.find("hi(2)")


@pytest.mark.parametrize("name", ["good-day", "hi", "all"])
def test_a_name_that_is_taken_is_refused(words: Registry[Any], name: str) -> None:
    with pytest.raises(ValueError, match="is taken"):
        words.add(name, "x")
    with pytest.raises(ValueError, match="is taken"):
        words.add("new", "x", aliases=(name,))


def test_the_modules_of_the_package_are_imported_when_a_name_is_asked_for(words: Registry[Any], tmp_path: Path) -> None:
    (tmp_path / "wordpackage" / "extra.py").write_text("import wordpackage\nwordpackage.loaded = True\n")
    assert "wordpackage.extra" not in sys.modules
    words.names()
    assert sys.modules["wordpackage"].loaded


def installed(folder: Path, module: str, code: str, points: Mapping[str, str], group: str = "roar.words",
              version: str = "1.0") -> None:
    """A tiny installed package: a module and the folder of metadata that an installer leaves."""
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: {version}\n")
    (info / "RECORD").write_text(f"{module}.py,,\n{info.name}/METADATA,,\n")
    lines = [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def test_entry_points_are_found_without_being_imported_and_a_broken_one_breaks_itself_alone(
        words: Registry[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, "wordtoy", "def theirs():\n    pass\n", {
        "Theirs": "wordtoy:theirs", "gone": "wordtoy:nothing", "good_day": "wordtoy:theirs"})
    installed(tmp_path, "wordbroken", "raise RuntimeError('no\\nluck')\n", {"broken": "wordbroken:x"})
    found = words.installed()
    assert sorted(found) == ["Theirs", "broken", "gone"]  # a built-in name wins
    assert not {"wordtoy", "wordbroken"} & set(sys.modules)
    assert "Theirs of " in words.find("Theirs(n=2)") and "with {'n': 2}" in words.find("Theirs(n=2)")
    assert words.find("good-day") == "hello"
    with pytest.raises(UsageError, match=r"'wordbroken:x' cannot be imported \(RuntimeError: no luck\)"):
        words.find("broken")
    with pytest.raises(UsageError, match="defines no 'nothing', but theirs; correct the name"):
        words.find("gone")
    with pytest.raises(UnknownNameError, match=r"'theirs' is not a word; did you mean .*'Theirs'"):
        words.find("theirs")
    monkeypatch.delitem(sys.modules, "wordtoy")
