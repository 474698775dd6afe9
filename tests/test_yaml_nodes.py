"""Text in, nodes with places out: what is read, what is refused, and where it is said to stand."""

import json
import os
import random
import shlex
import threading
import time
from datetime import date
from pathlib import Path

import pytest
import yaml

from resexp.config.tree import MAX_BYTES, find, from_plain, overlay, plain, put, read_file
from resexp.config.yaml_nodes import MAX_DEPTH, MAX_VALUES, Location, dump, one_line, parse


def read(text: str):
    """Return (tree as JSON's types, problems as lines) of a YAML text called x.yaml."""
    reading = parse(text, lambda mark: Location("x.yaml", mark.line + 1, mark.column + 1))
    return plain(reading.tree), [str(problem) for problem in reading.problems]


def value_of(text: str):
    tree, problems = read(f"k: {text}\n")
    assert problems == []
    return tree["k"]


NUMBERS = {
    "1e-4": 1e-4, "1e4": 1e4, "1E-4": 1e-4, "1.e3": 1000.0, ".5": 0.5, "-.5e+1": -5.0, "+3": 3, "-7": -7,
    "010": 10, "00": 0, "0": 0, "-0.0": -0.0, "1.0": 1.0, "12345678901234567890": 12345678901234567890,
}  # fmt: skip


@pytest.mark.parametrize(("text", "number"), NUMBERS.items())
def test_numbers_are_read_as_people_write_them(text, number):
    value = value_of(text)
    assert value == number
    assert type(value) is type(number)


TEXTS = [
    "no", "off", "on", "yes", "No", "True", "FALSE", "1:30", "2020-01-01", "0x10", "0o7", "1_000", ".nan",
    ".inf", "nan", "inf", "1e", "e4", "1.2.3", "--1", "1e4.5", "Null", "=", "١٢",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_what_only_yaml_1_1_takes_for_something_else_stays_text(text):
    assert value_of(text) == text


@pytest.mark.parametrize("text", ["1", "true", "null", "1e-4", "~", ""])
def test_quoted_words_are_text(text):
    assert value_of(f"'{text}'") == value_of(f'"{text}"') == text


def test_true_false_and_null_are_the_only_words():
    assert [value_of(text) for text in ("true", "false", "null", "~", "")] == [True, False, None, None, None]


def test_sane_yaml_reads_as_pyyaml_reads_it():
    text = "a: {b: [1, 2.5, x, 'y z'], c: {}}\nd:\n  - e: true\n  - [null, -3]\nf: |\n  one line"
    assert read(text) == (yaml.safe_load(text), [])


def test_every_value_and_key_knows_its_line_and_column():
    text = "é: 1\nb:\n    cc: [x,   y]\n"
    tree = parse(text, lambda mark: Location("x", mark.line + 1, mark.column + 1)).tree
    values = {path: find(tree, path) for path in [("é",), ("b",), ("b", "cc"), ("b", "cc", 1)]}
    assert [str(node.location) for node in values.values() if node] == ["x:1:4", "x:3:5", "x:3:9", "x:3:15"]
    assert [str(node.key) for node in values.values() if node] == ["x:1:1", "x:2:1", "x:3:5", "x:3:15"]


REFUSED = {
    "": "x.yaml:1:1: empty",
    "# only a comment\n": "x.yaml:1:1: empty",
    "---\n": "x.yaml:1:1: empty",
    "null": "x.yaml:1:1: empty",
    "- a\n- b\n": "x.yaml:1:1: a list at the top",
    "just text": "x.yaml:1:1: a single value at the top",
    "a: 1\n---\nb: 2\n": "x.yaml:2:1: a second document begins",
    "a: 1\na: 2\n": "x.yaml:2:1: a: duplicate key; it stands first at x.yaml:1:1",
    "s:\n  a: 1\n  b: 2\n  a: 3\n": "x.yaml:4:3: a: duplicate key; it stands first at x.yaml:2:3",
    "a: &here 1\n": "x.yaml:1:4: the anchor &here",
    "a: *here\n": "x.yaml:1:4: the alias *here",
    "a: &a [*a]\n": "x.yaml:1:4: the anchor &a",
    "<<: {a: 1}\n": "x.yaml:1:1: the merge key <<",
    "a: !!python/object/apply:os.system [echo]\n": "x.yaml:1:4: the tag tag:yaml.org,2002:python/",
    "a: !!str 1\n": "x.yaml:1:4: the tag",
    "a: !own {b: 1}\n": "x.yaml:1:4: the tag !own",
    "a: ! 1\n": "x.yaml:1:4: the tag !",
    "&k a: 1\n": "x.yaml:1:1: an anchor or a tag on a key",
    "[a, b]: 1\n": "x.yaml:1:1: a list, a mapping or an alias as a key",
    "{a: b}: 1\n": "x.yaml:1:1: a list, a mapping or an alias as a key",
    "a: [1, 2\n": "x.yaml:2:1: not YAML",
    "a: b: c\n": "x.yaml:1:5: not YAML",
    "a:\n\tb: 1\n": "x.yaml:2:1: not YAML",
    "a: @x\n": "x.yaml:1:4: not YAML",
    "a: 1\nb: c\0d\n": r"x.yaml:2:5: the character '\x00' is not allowed",
    "a: '\x1b[31m'\n": r"x.yaml:1:5: the character '\x1b' is not allowed",
    'a: "\\0"\n': r"x.yaml:1:4: text with the control character '\x00'",
    'a: "b\\nc"\n': r"x.yaml:1:4: text with the control character '\n'",
    '"b\\nc": 1\n': "x.yaml:1:1: a control character in a key",
    'a: "\\UFFFFFFFF"\n': "x.yaml:1:",
    'a: "\\uD800"\n': "x.yaml:1:",
    f"a: {'9' * 21}\n": "x.yaml:1:4: the number 999999999999999999999 is too large",
    f"a: {'9' * 9000}\n": "x.yaml:1:4: the number 99999",
    "a: 1e999\n": "x.yaml:1:4: the number 1e999 is too large",
    "a: -1e999\n": "x.yaml:1:4: the number -1e999 is too large",
    "a: " + "[" * 500_000: f"x.yaml:1:{4 + MAX_DEPTH}: nested more than {MAX_DEPTH} deep",
    "\n".join(
        " " * i + "a:" for i in range(1200)
    ): f"x.yaml:{MAX_DEPTH + 2}:{MAX_DEPTH + 2}: nested more than",
    "a: [" + "1, " * 5000 + "1]": f"more than {MAX_VALUES:,} values",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: repr(text[:24]))
def test_what_a_config_does_not_need_is_refused_in_one_line_with_its_place(text):
    start = time.process_time()
    _, problems = read(text)
    assert time.process_time() - start < 1
    assert problems
    assert REFUSED[text] in problems[0]
    assert all(len(problem.splitlines()) == 1 and len(problem) < 200 for problem in problems)


def test_all_that_is_refused_is_told_at_once():
    text = "a: &x 1\na: 2\nb: !t y\nc: *x\nd: 1e999\n<<: 3\n"
    tree, problems = read(text)
    assert [problem.split(":")[1] for problem in problems] == ["1", "2", "3", "4", "5", "6"]
    assert set(tree) == {"a", "b", "c", "d"}  # what was written is still known, so nothing is told twice


def write(folder: Path, content: bytes) -> Path:
    path = folder / "x.yaml"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfa: 1\r\nb: x\r\n", b"a: 1\rb: x\r", b"a: 1\nb: x"])
def test_byte_order_mark_and_any_line_ends_are_fine(tmp_path, content):
    reading = read_file(write(tmp_path, content))
    assert (plain(reading.tree), reading.problems) == ({"a": 1, "b": "x"}, ())


@pytest.mark.parametrize(
    ("content", "place"), [(b"a: 1\nb: caf\xc3\xa9 \xe9\n", "2:9"), ("a: 1\n".encode("utf-16"), "1:1")]
)
def test_what_is_not_utf_8_is_said_with_its_place(tmp_path, content, place):
    path = write(tmp_path, content)
    (problem,) = read_file(path).problems
    assert str(problem).startswith(f"{path}:{place}: not UTF-8")


def test_a_megabyte_is_read_and_a_byte_more_refused(tmp_path):
    content = b"a: 1\n" + b"#" * (MAX_BYTES - 5)
    assert read_file(write(tmp_path, content)).problems == ()
    (problem,) = read_file(write(tmp_path, content + b"#")).problems
    assert "larger than 1,000,000 bytes" in str(problem)


def unreadable_paths(folder: Path) -> dict[str, Path]:
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "dangling").symlink_to(folder / "nowhere")
    return {
        "a folder, not a YAML file": folder,
        "a pipe or device, not a YAML file": folder / "pipe",
        "No such file or directory": folder / "dangling",
        "Too many levels of symbolic links": folder / "loop",
        "File name too long": folder / ("x" * 300),
        "null byte": folder / "a\0b",
    }


def test_what_cannot_be_read_is_said_at_once(tmp_path):
    def read_all():
        for text, path in unreadable_paths(tmp_path).items():
            (problem,) = read_file(path).problems
            lines.append((text, str(problem)))

    lines: list[tuple[str, str]] = []
    thread = threading.Thread(target=read_all, daemon=True)  # a pipe that is opened would hang for ever
    thread.start()
    thread.join(10)
    assert len(lines) == 6
    assert all(text in line and len(line.splitlines()) == 1 for text, line in lines)


def test_a_file_without_permission_is_said(tmp_path):
    path = write(tmp_path, b"a: 1\n")
    path.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:  # root may read everything
            os.seteuid(65534)
        (problem,) = read_file(path).problems
    finally:
        os.seteuid(user)
    assert "Permission denied" in str(problem)


def test_a_set_value_is_read_like_a_files():
    for text in [*NUMBERS, *TEXTS, "[1, 2]", "{a: 1}", "'q'", "true", ""]:
        tree, problems = put(from_plain({}), f"a.b={text}")
        assert (plain(tree), problems) == ({"a": {"b": value_of(text)}}, ())


def test_set_replaces_the_value_it_names_and_leaves_the_rest():
    tree = from_plain({"a": {"b": 1, "c": {"d": 2}}, "e": [1]})
    assert plain(put(tree, "a.b=5").tree) == {"a": {"b": 5, "c": {"d": 2}}, "e": [1]}
    assert plain(put(tree, "a={x: 1}").tree) == {"a": {"x": 1}, "e": [1]}
    assert plain(put(tree, "a.f.g=h=i").tree) == {"a": {"b": 1, "c": {"d": 2}, "f": {"g": "h=i"}}, "e": [1]}
    assert plain(put(from_plain({"a": None}), "a.b=5").tree) == {"a": {"b": 5}}
    assert plain(tree) == {"a": {"b": 1, "c": {"d": 2}}, "e": [1]}


UNFIT_SETS = [
    "a", "", "=", "=3", ".a=3", "a.=3", "a..b=3", "a b=3", "a=[1", "a=x: y", "a=1\nb: 2", "a=1\n---\n",
    "a=*x", "a=&x 1", "a=!!str 1", "a=\x1b", "a=\udcff", "\udcff=1", "a=1e999", "e.x=3", "a.b.c=3",
    "a.b.c.d.e.f.g.h.i=1",
]  # fmt: skip


@pytest.mark.parametrize("text", UNFIT_SETS)
def test_a_set_that_cannot_be_names_the_command_line(text):
    tree = from_plain({"a": {"b": 1}, "e": [1]})
    problems = put(tree, text).problems
    assert problems
    assert all(str(problem).startswith("command line, --set ") for problem in problems)
    assert all(len(str(problem).splitlines()) == 1 for problem in problems)
    str(problems).encode()  # no half characters on the terminal


def test_overlay_merges_sections_and_replaces_everything_else():
    below, above = {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}}, {"a": {"c": [3]}, "d": 5, "f": 6}
    merged = overlay(from_plain(below), from_plain(above, Location("above")))
    assert plain(merged) == {"a": {"b": 1, "c": [3]}, "d": 5, "f": 6}
    c, b = find(merged, ("a", "c")), find(merged, ("a", "b"))
    assert c is not None
    assert b is not None
    assert (c.location.source, b.location.source) == ("above", "defaults")


def awkward_text(rng: random.Random) -> str:
    alphabet = "ab01eE.-+_:#'\"\\{}[],&*!|>%@`~=<? éß中😀\xa0\u200d\ufeff"
    words = [
        "1e4",
        "010",
        "1:30",
        "no",
        "null",
        "~",
        "2020-01-01",
        ".nan",
        "1_0",
        "0x1",
        "- a",
        "a: b",
        "=",
        "<<",
    ]
    return rng.choice(words) if rng.random() < 0.3 else "".join(rng.choices(alphabet, k=rng.randint(1, 12)))


def test_what_is_dumped_reads_back_equal_here_and_in_any_yaml():
    rng = random.Random(0)
    floats = [0.1, 1e-5, 1e16, 1.5e-7, 5e-324, 1.7976931348623157e308, -0.0, 123456789.125, 1.0]
    for _ in range(500):
        leaves = [
            awkward_text(rng),
            rng.choice(floats),
            rng.random() * 10 ** rng.randint(-20, 20),
            7,
            True,
            None,
        ]
        tree = {"name": leaves[0], "s": {"x": leaves, "y": {"z": rng.choice(leaves), "w": [leaves[1]]}}}
        text = dump(tree)
        assert read(text) == (tree, [])
        assert yaml.safe_load(text) == tree
        assert not any(isinstance(value, date) for value in yaml.safe_load(text)["s"]["x"])


def test_shown_text_is_one_line_of_bounded_length():
    assert one_line("a\nb\x1b\u2028\ud800") == r"a\nb\x1b\u2028\ud800"
    assert one_line("x" * 10_000, limit=30) == "x" * 27 + "..."
    assert one_line("x" * 30, limit=30) == "x" * 30


@pytest.mark.parametrize("text", ["/my data #2/x", "#1", "a # b # c", "a#b", "/a: #b", "x\t#y"])
def test_on_the_command_line_a_hash_begins_no_comment(text: str) -> None:
    node, problems = put(from_plain({}), f"data.root={text}")
    if ": " in text or "\t" in text:
        assert problems
        assert problems[0].text.endswith(
            f"as text: --set {shlex.quote(f'data.root={json.dumps(text)}')}"
        ) or ("control character" in problems[0].text)
    else:
        assert problems == ()
        assert plain(node) == {"data": {"root": text}}


@pytest.mark.parametrize("text", ["'a b' # c", "[1, 2] # c", "{a: 1} # c", '"a"  #'])
def test_nothing_is_dropped_behind_a_value_in_quotes_or_brackets(text: str) -> None:
    node, problems = put(from_plain({}), f"a={text}")
    assert plain(node) == {}
    assert "nothing may follow the value" in problems[0].text


@pytest.mark.parametrize(
    "text", ["@home", "*x", "/mnt/a: b", "[x]/y", "&a", "!t", "%d", "`x`", "|x", "- a", "{a}/b"]
)
def test_text_that_yaml_reads_otherwise_comes_with_its_quotes_and_is_read_with_them(text: str) -> None:
    _, problems = put(from_plain({}), f"data.root={text}")
    _, _, hint = problems[0].text.partition("as text: --set ")
    node, problems = put(from_plain({}), shlex.split(hint)[0])
    assert problems == ()
    assert plain(node) == {"data": {"root": text}}
