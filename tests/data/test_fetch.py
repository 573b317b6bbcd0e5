"""Downloads from a real server on loopback that cuts, stalls, lies, redirects and forgets how to resume."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import time

import pytest

from recbole_ext.core.errors import HarnessError
from recbole_ext.data import fetch as module
from recbole_ext.data.fetch import RemoteFile, fetch
from tests.data.lying_site import CONTENT, served


@pytest.fixture
def site():
    with served() as state:
        yield state


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "BACKOFF", 0.01)
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def closed():
    """The address of a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def failure(*args, **settings):
    """The one line of a fetch that must not work."""
    with pytest.raises(HarnessError) as caught:
        fetch(*args, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def one(site, path="/files/a.bin", **known):
    return RemoteFile(site.url + path, **known)


def test_a_file_is_downloaded_once_and_checked(site, tmp_path):
    file = one(
        site,
        size=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        md5=hashlib.md5(CONTENT).hexdigest(),
    )
    (path,) = fetch([file], tmp_path)
    assert path == tmp_path / "a.bin" and path.read_bytes() == CONTENT
    assert fetch([file], tmp_path) == [path] and len(site.asked) == 1
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.endswith(".lock")) == ["a.bin"]


def test_a_whole_file_is_not_touched_and_the_order_is_kept(site, tmp_path, closed):
    (tmp_path / "a.bin").write_bytes(CONTENT)
    files = [one(site, "/files/b.bin"), RemoteFile(f"{closed}/a.bin", size=len(CONTENT))]
    assert fetch(files, tmp_path) == [tmp_path / "b.bin", tmp_path / "a.bin"]
    assert not (tmp_path / ".a.bin.lock").exists() and len(site.asked) == 1


def test_a_cut_is_resumed_and_nothing_is_sent_twice(site, tmp_path):
    site.cuts = [200_000, 100_000]
    (path,) = fetch([one(site)], tmp_path)
    assert path.read_bytes() == CONTENT
    assert [r for _, r in site.asked] == [None, "bytes=200000-", "bytes=300000-"]
    assert site.sent == len(CONTENT)


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(site, tmp_path):
    site.cuts = [50_000] * 2
    with pytest.raises(
        HarnessError, match=r"2 times; run the same command again to go on from 100,000 bytes"
    ):
        fetch([one(site)], tmp_path, retries=1)
    assert not (tmp_path / "a.bin").exists()
    fetch([one(site)], tmp_path)
    assert site.sent == len(CONTENT) and (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_server_that_cannot_resume_begins_anew(site, tmp_path):
    site.ranges, site.cuts = False, [100_000]
    (path,) = fetch([one(site)], tmp_path)
    assert path.read_bytes() == CONTENT and site.sent == len(CONTENT) + 100_000


def test_a_file_that_changed_in_between_begins_anew(site, tmp_path):
    site.cuts = [100_000]
    with pytest.raises(HarnessError):
        fetch([one(site)], tmp_path, retries=0)
    site.content, site.validators = CONTENT[::-1], {"ETag": '"two"'}
    (path,) = fetch([one(site)], tmp_path)
    assert path.read_bytes() == CONTENT[::-1] and site.asked[-1][1] == "bytes=100000-"


@pytest.mark.parametrize(
    ("validators", "resumed"),
    [
        ({"Last-Modified": "Sat, 01 Jan 2022 00:00:00 GMT"}, True),
        ({"ETag": 'W/"weak"', "Last-Modified": "Sat, 01 Jan 2022 00:00:00 GMT"}, True),
        ({"ETag": 'W/"weak"'}, False),
        ({}, False),
    ],
)
def test_only_what_is_surely_the_same_file_is_resumed(validators, resumed, site, tmp_path):
    site.validators, site.cuts = validators, [100_000]
    (path,) = fetch([one(site)], tmp_path)
    assert path.read_bytes() == CONTENT
    assert site.asked[1][1] == ("bytes=100000-" if resumed else None)


@pytest.mark.parametrize(
    "stamp", ["", "{", '"one"', json.dumps({"stamp": '"one"', "url": "http://x/a.bin"})]
)
def test_a_part_of_unknown_origin_is_not_resumed(stamp, site, tmp_path):
    (tmp_path / ".a.bin.part").write_bytes(b"something else")
    (tmp_path / ".a.bin.part.json").write_text(stamp)
    (path,) = fetch([one(site)], tmp_path)
    assert path.read_bytes() == CONTENT and site.asked == [("/files/a.bin", None)]


def test_what_the_server_says_it_cannot_resume_begins_anew(site, tmp_path):
    site.cuts = [100_000]
    failure([one(site)], tmp_path, retries=0)
    site.statuses = [416]
    (path,) = fetch([one(site)], tmp_path, retries=0)
    assert path.read_bytes() == CONTENT
    assert [r for _, r in site.asked] == [None, "bytes=100000-", None]


def test_a_range_that_starts_elsewhere_is_not_appended(site, tmp_path):
    site.cuts, site.shift = [100_000], 100
    (path,) = fetch([one(site)], tmp_path)
    assert path.read_bytes() == CONTENT
    assert [r for _, r in site.asked] == [None, "bytes=100000-", None]


def test_a_range_that_ends_early_is_not_the_whole_file(site, tmp_path):
    site.cuts, site.most = [200_000], 200_000
    (path,) = fetch([one(site)], tmp_path)
    assert path.read_bytes() == CONTENT and site.sent == len(CONTENT)
    assert [r for _, r in site.asked] == [None, "bytes=200000-", "bytes=400000-"]


def test_a_range_that_nobody_asked_for_is_refused(site, tmp_path):
    site.statuses = [206]
    assert "the server answers 206 Partial Content" in failure([one(site)], tmp_path)


def test_a_checksum_covers_what_came_before_a_cut(site, tmp_path):
    file = one(site, sha256=hashlib.sha256(CONTENT).hexdigest())
    site.cuts = [100_000]
    failure([file], tmp_path, retries=0)
    (tmp_path / ".a.bin.part").write_bytes(b"x" * 100_000)
    assert "a.bin: sha256 is" in failure([file], tmp_path)
    assert site.sent == len(CONTENT) and not list(tmp_path.glob("*a.bin.part*"))
    (path,) = fetch([file], tmp_path)
    assert path.read_bytes() == CONTENT


def test_a_cut_without_a_content_length_is_noticed(site, tmp_path):
    site.chunked, site.ranges, site.cuts = True, False, [100_000]
    (path,) = fetch([one(site)], tmp_path)
    assert path.read_bytes() == CONTENT and len(site.asked) == 2


def test_a_connection_dropped_before_the_answer_is_tried_again(site, tmp_path):
    site.drop = 2
    (path,) = fetch([one(site)], tmp_path)
    assert path.read_bytes() == CONTENT and len(site.asked) == 3


def test_no_answer_at_all_is_a_stall(site, tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        file = RemoteFile(f"http://127.0.0.1:{silent.getsockname()[1]}/a.bin")
        text = failure([file], tmp_path, timeout=0.2, retries=1)
    assert f"{file.url}: the connection stalled, 2 times" in text


def test_a_stall_is_noticed_and_resumed(site, tmp_path):
    site.stall = 5.0
    begun = time.monotonic()
    (path,) = fetch([one(site)], tmp_path, timeout=0.3)
    assert path.read_bytes() == CONTENT and time.monotonic() - begun < 4
    site.stall = 5.0
    text = failure([one(site, "/files/b.bin")], tmp_path, timeout=0.3, retries=0)
    assert "b.bin: the connection stalled, 1 times" in text and "go on from 1,000 bytes" in text


def test_a_server_in_trouble_is_asked_again_and_one_that_says_no_is_not(site, tmp_path):
    site.statuses = [503, 500]
    fetch([one(site)], tmp_path)
    assert len(site.asked) == 3
    with pytest.raises(
        HarnessError, match=r"missing.bin: the server answers 404 .*--source-dir=DIR.*--mirror=URL"
    ):
        fetch([one(site, "/missing.bin")], tmp_path)
    assert len(site.asked) == 4
    site.statuses = [503] * 9
    text = failure([one(site, "/files/b.bin", size=1_500_000)], tmp_path, retries=2)
    assert f"{site.url}/files/b.bin: the server answers 503 Service Unavailable, 3 times" in text
    assert "b.bin (1.5 MB)" in text and "--source-dir=DIR" in text and len(site.asked) == 7
    site.statuses = [429]
    assert "429 Too Many Requests" in failure([one(site, "/files/c.bin")], tmp_path)
    assert len(site.asked) == 8


def test_waits_between_attempts_grow(site, tmp_path, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(module, "BACKOFF", 1.0)
    monkeypatch.setattr(module.time, "sleep", waits.append)
    site.statuses = [503] * 4
    failure([one(site)], tmp_path, retries=3)
    assert waits == [1.0, 2.0, 4.0]


def test_redirects_are_followed_and_the_servers_name_is_not_taken(site, tmp_path):
    (path,) = fetch([one(site, "/moved/c.bin")], tmp_path)
    assert path == tmp_path / "c.bin" and path.read_bytes() == CONTENT
    assert not (tmp_path.parent / "evil").exists() and not list(tmp_path.rglob("evil"))
    assert [asked for asked, _ in site.asked] == ["/moved/c.bin", "/files/c.bin"]
    assert "file:///etc/hostname" in failure([one(site, "/local/d.bin")], tmp_path)
    assert not (tmp_path / "d.bin").exists()


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"size": 7}, "size is 512,000 bytes, published is 7"),
        ({"md5": "0" * 32}, f"md5 is {hashlib.md5(CONTENT).hexdigest()}, published is 000"),
        ({"sha256": "0" * 64}, "sha256 is"),
    ],
)
def test_what_is_not_what_was_published_is_not_kept(known, said, site, tmp_path):
    with pytest.raises(HarnessError) as caught:
        fetch([one(site, **known)], tmp_path)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.glob("a.bin")) and not list(tmp_path.glob(".*.part"))


def test_a_wrong_content_length_is_a_cut(site, tmp_path):
    site.length = len(CONTENT) + 10
    site.ranges = False
    with pytest.raises(HarnessError, match=r"stalled|cut"):
        fetch([one(site)], tmp_path, retries=1, timeout=0.3)
    assert not (tmp_path / "a.bin").exists()


def test_a_file_there_of_another_size_is_named(site, tmp_path):
    (tmp_path / "a.bin").write_bytes(b"other")
    with pytest.raises(HarnessError, match="has 5 bytes, 512,000 are published; delete it"):
        fetch([one(site, size=len(CONTENT))], tmp_path)


def test_a_mirror_and_files_fetched_by_hand(site, tmp_path):
    elsewhere = RemoteFile("http://nowhere.invalid/x/a.bin")
    (path,) = fetch([elsewhere], tmp_path / "one", mirror=f"{site.url}/files/")
    assert path.read_bytes() == CONTENT
    hand = tmp_path / "hand"
    hand.mkdir()
    (hand / "a.bin").write_bytes(CONTENT)
    assert fetch([elsewhere], tmp_path / "two", source_dir=hand) == [hand / "a.bin"]
    assert not (tmp_path / "two").exists() and len(site.asked) == 1
    with pytest.raises(
        HarnessError,
        match=r"^.*hand lacks b.bin; get http://nowhere.invalid/b.bin \(1.5 MB\) and put it there",
    ):
        fetch(
            [elsewhere, RemoteFile("http://nowhere.invalid/b.bin", size=1_500_000)],
            tmp_path,
            source_dir=hand,
        )
    for wrong in ({"md5": "0" * 32}, {"sha256": "0" * 64}, {"size": 1}):
        text = failure([RemoteFile(elsewhere.url, **wrong)], tmp_path, source_dir=hand)
        assert text.startswith(f"{hand / 'a.bin'}: {next(iter(wrong))} is")
    assert (hand / "a.bin").read_bytes() == CONTENT


def test_a_name_is_quoted_for_the_mirror(site, tmp_path):
    (path,) = fetch([RemoteFile("http://nowhere.invalid/a%3Fb%23c")], tmp_path, mirror=site.url)
    assert path.name == "a?b#c" and site.asked == [("/a%3Fb%23c", None)]


def test_offline_is_one_line_with_every_missing_file(site, tmp_path, closed):
    fetch([one(site)], tmp_path)
    files = [one(site), RemoteFile(f"{closed}/b.gz", size=2_000_000), RemoteFile(f"{closed}/c.gz")]
    with pytest.raises(HarnessError) as caught:
        fetch(files, tmp_path, what="toys")
    text = str(caught.value)
    assert (
        f"{closed}/b.gz (2.0 MB); {closed}/c.gz" in text
        and "a.bin" not in text
        and "\n" not in text
    )
    assert text.startswith("toys: no connection") and "Connection refused)" in text
    assert (
        f"put the files into DIR, with the others from {tmp_path}, and add --source-dir=DIR" in text
    )
    text = failure(files[1:], tmp_path)
    assert text.startswith("no connection")
    assert "put the files into DIR and add --source-dir=DIR" in text


def test_a_host_that_cannot_be_resolved_ends_it_at_once(site, tmp_path, monkeypatch):
    asked = []

    def refuse(host, *args, **kwargs):
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    files = [RemoteFile("http://one.invalid/a.gz"), RemoteFile("http://two.invalid/b.gz")]
    text = failure(files, tmp_path)
    assert "Name or service not known" in text and all(file.url in text for file in files)
    assert asked == ["one.invalid"]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://x/a/b.zip?token=1#part", "b.zip"),
        ("http://x/..%2F..%2Fevil", "_.._evil"),
        ("http://x/%2e%2e", "file"),
        ("http://x/", "file"),
        ("http://x/dir/", "dir"),
        ("http://x/caf%C3%A9.gz", "café.gz"),
        ("http://x/a%5Cb%00c%0Ad", "a_b_c_d"),
    ],
)
def test_names_are_no_paths(url, name):
    assert RemoteFile(url).name == name


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/y", "a.bin", "http:///a", "http://[x/a", "http://x/a\nb"]
)
def test_other_addresses_are_refused(url, tmp_path):
    assert "only http and https" in failure([RemoteFile(url)], tmp_path)
    assert "only http and https" in failure([RemoteFile("http://x/a")], tmp_path, mirror=url)


def test_two_files_of_one_name_are_not_taken_for_each_other(site, tmp_path):
    text = failure([one(site, "/one/a.bin"), one(site, "/two/a.bin")], tmp_path)
    assert "/one/a.bin" in text and "/two/a.bin" in text and not site.asked
    assert fetch([one(site), one(site)], tmp_path) == [tmp_path / "a.bin"] * 2


def test_two_processes_download_once(site, tmp_path):
    site.slow = 1.0
    code = (
        "from pathlib import Path; from recbole_ext.core import files;"
        "from recbole_ext.data.fetch import RemoteFile, fetch; files.PATIENCE = 0.1;"
        f"print(fetch([RemoteFile({site.url + '/files/a.bin'!r})], Path({str(tmp_path)!r}))[0].stat().st_size)"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    ends = [process.communicate() for process in both]
    assert [out.strip() for out, _ in ends] == [str(len(CONTENT))] * 2
    waited = "a.bin: another process is at it, waiting\n"
    assert sorted(err for _, err in ends) == ["", waited]
    assert len(site.asked) == 1


def test_a_full_disk_is_one_line_and_keeps_the_part(site, tmp_path):
    code = (
        "import resource, signal; from pathlib import Path\n"
        "from recbole_ext.data.fetch import RemoteFile, fetch\n"
        "from recbole_ext.core.errors import HarnessError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        f"try: fetch([RemoteFile({site.url + '/files/a.bin'!r})], Path({str(tmp_path)!r}))\n"
        "except HarnessError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (
        "cannot be written" in done.stdout
        and "make room" in done.stdout
        and done.stdout.count("\n") == 1
    )
    assert (
        not (tmp_path / "a.bin").exists() and (tmp_path / ".a.bin.part").stat().st_size == 100_000
    )
    fetch([one(site)], tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT and site.asked[-1][1] == "bytes=100000-"
