"""Promises of `ratelimit.replay.trace`."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from ratelimit.errors import ConfigError
from ratelimit.replay.trace import Request, read_trace

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
CSV = HEADER + "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109"
JSONL = """\
{"timestamp": 1000, "input_length": 5, "output_length": 6, "hash_ids": [0, 1]}
{"timestamp": 1001.5, "input_length": 0, "output_length": 0}
"""
COUNT_RULE = "must be a whole number from 0 to 100,000,000"
TRACES = Path(__file__).parents[2] / "benchmarks" / "traces"


def write(folder: Path, text: str | bytes) -> Path:
    file = folder / "trace"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def test_csv_in_the_form_of_azure_is_read_to_the_microsecond(tmp_path: Path) -> None:
    """Seven-digit fractions are read, times count from the first request, and no newline is needed at the end."""
    assert read_trace(write(tmp_path, CSV)) == [Request(0, 374, 44), Request(4_314_579, 396, 109)]


def test_json_lines_in_the_form_of_mooncake_are_read(tmp_path: Path) -> None:
    """Timestamps are milliseconds, and keys that are not needed are ignored."""
    assert read_trace(write(tmp_path, JSONL)) == [Request(0, 5, 6), Request(1_500, 0, 0)]


@pytest.mark.parametrize("text", [CSV, JSONL])
def test_the_name_of_the_file_does_not_matter(tmp_path: Path, text: str) -> None:
    """Gzipped files and files with a byte order mark are recognised by their content and read the same."""
    plain = read_trace(write(tmp_path, text))
    assert read_trace(write(tmp_path, gzip.compress(text.encode()))) == plain
    assert read_trace(write(tmp_path, b"\xef\xbb\xbf" + text.encode())) == plain


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    """The order of columns, further columns, blank lines and line ends of another system make no difference."""
    header = "Model,GeneratedTokens,TIMESTAMP,ContextTokens"
    rows = (header, "x,2,2024-01-01T00:00:00Z,1", "", "y,4,2024-01-01 00:00:01,3")
    text = "".join(f"{row}\r\n" for row in rows)
    assert read_trace(write(tmp_path, text)) == [Request(0, 1, 2), Request(1_000_000, 3, 4)]


def test_requests_come_sorted_and_those_of_one_instant_in_file_order(tmp_path: Path) -> None:
    """A trace that is out of order is put in order of arrival; equal times keep theirs."""
    rows = [(30, 1), (10, 2), (30, 3), (10, 4)]
    lines = "".join(f'{{"timestamp": {at}, "input_length": {n}, "output_length": 0}}\n' for at, n in rows)
    assert [(r.at_us, r.input_tokens) for r in read_trace(write(tmp_path, lines))] == [
        (0, 2), (0, 4), (20_000, 1), (20_000, 3),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "line 1: header '': must be CSV with the columns TIMESTAMP, "),
        ("a,b\n1,2\n", "line 1: header 'a,b': must be CSV with the columns TIMESTAMP, "),
        (HEADER, "holds no request: must be CSV"),
        (HEADER + "\n2023-11-16,1\n", "line 3: '2023-11-16,1': must have 3 columns, as the header has"),
        (HEADER + "yesterday,1,2\n", "line 2: TIMESTAMP = 'yesterday': must be a date and time like 2023-11-16"),
        (HEADER + "2023-11-16,-1,2\n", f"line 2: ContextTokens = '-1': {COUNT_RULE}"),
        (HEADER + "2023-11-16,1,1_0\n", f"line 2: GeneratedTokens = '1_0': {COUNT_RULE}"),
        (HEADER + "2023-11-16,1,100000001\n", "line 2: GeneratedTokens = '100000001': must be a whole number"),
        (HEADER + "2023-11-16,1,\n", "line 2: GeneratedTokens = '': must be a whole number"),
        (HEADER + "2023-11-16,1," + "9" * 5_000, "line 2: GeneratedTokens = '99"),
        (HEADER + "2023-11-16," + "x" * 200_000 + ",1", "line 2: not CSV: field larger than field limit"),
        (HEADER + "2023-11-16,1,1\n2025-11-16,1,1", "spans 731.0 days: must be at most 366"),
        ("{oops", "line 1: '{oops': must be one JSON object per line"),
        (JSONL + "[]", "line 3: []: must be a JSON object with the keys timestamp, input_length, output_length"),
        (JSONL + '\n{"timestamp": 1, "input_length": 1}', "line 4: output_length: is required"),
        ('{"timestamp": NaN, "input_length": 1, "output_length": 1}', "line 1: timestamp = nan: must be milliseconds"),
        ('{"timestamp": true, "input_length": 1, "output_length": 1}', "line 1: timestamp = True: must be millisecond"),
        ('{"timestamp": -1, "input_length": 1, "output_length": 1}', "line 1: timestamp = -1: must be milliseconds"),
        ('{"timestamp": 1, "input_length": 1.0, "output_length": 1}', "line 1: input_length = 1.0: must be a whole"),
        ('{"timestamp": 1, "input_length": 1, "output_length": true}', "line 1: output_length = True: must be a whole"),
        ('{"a": ' + "[" * 100_000, 'line 1: \'{"a": [[['),
        (b"\xff\xfe\x00", "not UTF-8 text: must be CSV"),
    ],
)
def test_what_is_wrong_is_named_by_line_value_and_rule(tmp_path: Path, text: str | bytes, fault: str) -> None:
    """Every fault in a file is a short ConfigError that begins with the file and says where and what."""
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as raised:
        read_trace(file)
    assert str(raised.value).startswith(f"{file}: {fault}")
    assert len(str(raised.value)) < 400


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """A missing file, a folder, a cut gzip file and an impossible name are ConfigErrors that name the file."""
    cut = write(tmp_path, gzip.compress(CSV.encode())[:-10])
    for path in (tmp_path / "missing", tmp_path, cut, "a\0b"):
        with pytest.raises(ConfigError, match=rf"^{re.escape(repr(str(path)))}: cannot be read: \w"):
            read_trace(str(path))


@pytest.mark.parametrize(
    ("name", "requests", "seconds", "tokens"),
    [("azure_conv_2023.csv", 6_000, 1_202, 8_418_906), ("mooncake_conversation.jsonl", 1_500, 509, 21_509_893)],
)
def test_the_traces_that_ship_are_what_their_readme_says(name: str, requests: int, seconds: int, tokens: int) -> None:
    """Both slices have the size that the README beside them states, and stay small."""
    trace = read_trace(TRACES / name)
    readme = (TRACES / "README.md").read_text("utf-8")
    assert (len(trace), trace[-1].at_us // 1_000_000, sum(r.tokens for r in trace)) == (requests, seconds, tokens)
    assert f"`{name}` | {requests:,} |" in readme
    assert f"{tokens:,}" in readme
    assert (TRACES / name).stat().st_size < 400_000
