"""Downloads from a real server on loopback that cuts, stalls, lies, redirects and forgets how to resume."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from recbole_ext.data import fetch as module
from recbole_ext.data.fetch import RemoteFile, fetch
from recbole_ext.errors import HarnessError

CONTENT = bytes(range(256)) * 2000  # 512 kB


class Site:
    """What the server does next, and what it was asked."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.etag = '"one"'
        self.ranges = True
        self.cuts: list[int] = []
        """Bytes after which the next answers stop."""
        self.statuses: list[int] = []
        """Answers before the real one."""
        self.stall = 0.0
        self.slow = 0.0
        self.length: int | None = None
        self.asked: list[tuple[str, str | None]] = []
        self.sent = 0


@pytest.fixture
def site():
    state = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def do_GET(self):
            wanted = self.headers.get("Range")
            state.asked.append((self.path, wanted))
            if self.path.startswith("/moved/"):
                self.send_response(302)
                self.send_header("Location", "/files/" + self.path.rsplit("/", 1)[1])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            status = state.statuses.pop(0) if state.statuses else 200
            if "missing" in self.path:
                status = 404
            if status != 200:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = 0
            if wanted and state.ranges and self.headers.get("If-Range") == state.etag:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                self.send_response(206)
            else:
                self.send_response(200)
            body = state.content[start:]
            self.send_header("ETag", state.etag)
            self.send_header(
                "Content-Length", str(len(body) if state.length is None else state.length)
            )
            self.send_header("Content-Disposition", 'attachment; filename="../../evil"')
            self.end_headers()
            if state.stall:
                pause, state.stall = state.stall, 0.0
                self.wfile.write(body[:1000])
                self.wfile.flush()
                time.sleep(pause)
                self.close_connection = True
                return
            time.sleep(state.slow)
            cut = state.cuts.pop(0) if state.cuts else len(body)
            self.wfile.write(body[:cut])
            state.sent += len(body[:cut])
            if cut < len(body):
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "BACKOFF", 0.01)


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
    site.content, site.etag = CONTENT[::-1], '"two"'
    (path,) = fetch([one(site)], tmp_path)
    assert path.read_bytes() == CONTENT[::-1]


def test_what_the_server_says_it_cannot_resume_begins_anew(site, tmp_path):
    site.cuts, site.statuses = [100_000], [200, 416]
    (path,) = fetch([one(site)], tmp_path)
    assert path.read_bytes() == CONTENT


def test_a_stall_is_noticed_and_resumed(site, tmp_path):
    site.stall = 5.0
    begun = time.monotonic()
    (path,) = fetch([one(site)], tmp_path, timeout=0.3)
    assert path.read_bytes() == CONTENT and time.monotonic() - begun < 4


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
    with pytest.raises(HarnessError, match="503"):
        fetch([one(site, "/files/b.bin")], tmp_path, retries=2)


def test_redirects_are_followed_and_the_servers_name_is_not_taken(site, tmp_path):
    (path,) = fetch([one(site, "/moved/c.bin")], tmp_path)
    assert path == tmp_path / "c.bin" and path.read_bytes() == CONTENT
    assert not (tmp_path.parent / "evil").exists()


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
        match=r"lacks b.bin; get http://nowhere.invalid/b.bin \(1.5 MB\) and put it there",
    ):
        fetch(
            [elsewhere, RemoteFile("http://nowhere.invalid/b.bin", size=1_500_000)],
            tmp_path,
            source_dir=hand,
        )
    with pytest.raises(HarnessError, match="md5"):
        fetch([RemoteFile("http://nowhere.invalid/a.bin", md5="0" * 32)], tmp_path, source_dir=hand)


def test_offline_is_one_line_with_every_missing_file(site, tmp_path):
    fetch([one(site)], tmp_path)
    closed = "http://127.0.0.1:9"
    files = [one(site), RemoteFile(f"{closed}/b.gz", size=2_000_000), RemoteFile(f"{closed}/c.gz")]
    with pytest.raises(HarnessError) as caught:
        fetch(files, tmp_path, what="toys")
    text = str(caught.value)
    assert (
        f"{closed}/b.gz (2.0 MB); {closed}/c.gz" in text
        and "a.bin" not in text
        and "\n" not in text
    )
    assert text.startswith("toys: no connection") and "--source-dir=DIR" in text


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://x/a/b.zip?token=1#part", "b.zip"),
        ("http://x/..%2F..%2Fevil", "_.._evil"),
        ("http://x/%2e%2e", "file"),
        ("http://x/", "file"),
        ("http://x/dir/", "dir"),
        ("http://x/caf%C3%A9.gz", "café.gz"),
    ],
)
def test_names_are_no_paths(url, name):
    assert RemoteFile(url).name == name


def test_other_schemes_are_refused(tmp_path):
    for url in ("file:///etc/passwd", "ftp://x/y"):
        with pytest.raises(HarnessError, match="only http and https"):
            fetch([RemoteFile(url)], tmp_path)


def test_two_processes_download_once(site, tmp_path):
    site.slow = 1.0
    code = (
        "import sys; from pathlib import Path; from recbole_ext.data.fetch import RemoteFile, fetch;"
        f"print(fetch([RemoteFile({site.url + '/files/a.bin'!r})], Path({str(tmp_path)!r}))[0].stat().st_size)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate()[0].strip() for process in both] == [str(len(CONTENT))] * 2
    assert len(site.asked) == 1


def test_a_full_disk_is_one_line_and_keeps_the_part(site, tmp_path):
    code = (
        "import resource, signal; from pathlib import Path\n"
        "from recbole_ext.data.fetch import RemoteFile, fetch\n"
        "from recbole_ext.errors import HarnessError\n"
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
