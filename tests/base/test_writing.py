"""Files are written whole or not at all, through no link, and privately where they hold answers."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from rackrate.files.locks import DirectoryLock, LockedError
from rackrate.files.writing import open_within, private_directory, whole_file, write_whole


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_fault_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_whole(path, "old")

    def fail() -> None:
        with whole_file(path) as file:
            file.write(b"half of the new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_directories_are_made_and_text_is_utf_8(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b" / "c.md", "\u20ac")
    assert (tmp_path / "a" / "b" / "c.md").read_bytes() == "\u20ac".encode()


def test_a_planted_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in ("soft", "hard"):
        path = tmp_path / name
        path.symlink_to(victim) if name == "soft" else os.link(victim, path)
        write_whole(path, "new")
        assert (path.read_text(), path.is_symlink(), victim.read_text()) == ("new", False, "precious")


def test_a_dangling_link_makes_nothing_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    write_whole(tmp_path / "link", "new")
    assert not (tmp_path / "elsewhere").exists()


def test_the_old_file_keeps_its_permissions_and_a_private_one_is_private(tmp_path: Path) -> None:
    path = tmp_path / "it"
    write_whole(path, "1")
    mask = os.umask(0o022)
    os.umask(mask)
    assert _mode(path) == 0o666 & ~mask
    path.chmod(0o640)
    write_whole(path, "2")
    assert _mode(path) == 0o640
    write_whole(path, "3", private=True)
    assert _mode(path) == 0o600


def test_a_device_is_written_to_and_a_pipe_that_nobody_reads_is_refused(tmp_path: Path) -> None:
    write_whole(Path("/dev/null"), "gone")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such device"):
        write_whole(tmp_path / "pipe", "x")
    reader, writer = os.pipe()
    write_whole(Path(f"/dev/fd/{writer}"), "told")
    assert os.read(reader, 10) == b"told"


@pytest.mark.parametrize("name", ["a\0b", "x" * 300])
def test_names_that_no_disk_holds_are_an_oserror(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError, match=r"NUL|long"):
        write_whole(tmp_path / name, "x")


def test_a_directory_and_files_of_ours_are_private(tmp_path: Path) -> None:
    directory = tmp_path / "runs" / "one"
    private_directory(directory)
    private_directory(directory)
    assert _mode(directory) == 0o700
    with open_within(directory / "log", append=False) as file:
        file.write(b"1")
    with open_within(directory / "log", append=True) as file:
        file.write(b"2")
    assert (directory / "log").read_bytes() == b"12"
    assert _mode(directory / "log") == 0o600
    with open_within(directory / "log", append=False) as file:
        file.write(b"3")
    assert (directory / "log").read_bytes() == b"3"
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        private_directory(tmp_path / "file")


@pytest.mark.parametrize("append", [True, False])
@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "directory"])
def test_nothing_but_our_own_file_is_written_to(tmp_path: Path, kind: str, append: bool) -> None:
    victim, path = tmp_path / "victim", tmp_path / "log"
    victim.write_text("precious")
    match kind:
        case "link":
            path.symlink_to(victim)
        case "dangling":
            path.symlink_to(tmp_path / "elsewhere")
        case "pipe":
            os.mkfifo(path)
        case _:
            path.mkdir()
    with pytest.raises(OSError, match="not written to"):
        open_within(path, append=append)
    assert victim.read_text() == "precious"
    assert not (tmp_path / "elsewhere").exists()


def test_a_second_name_of_another_file_is_not_appended_to_nor_cut(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "log"
    victim.write_text("precious")
    os.link(victim, path)
    with pytest.raises(OSError, match="second name"):
        open_within(path, append=True)
    with open_within(path, append=False) as file:
        file.write(b"new")
    assert (victim.read_text(), path.read_text()) == ("precious", "new")


def test_one_holds_a_directory_and_the_other_hears_who(tmp_path: Path) -> None:
    with DirectoryLock(tmp_path), pytest.raises(LockedError, match=f"process {os.getpid()} is writing to it"):
        DirectoryLock(tmp_path)
    assert list(tmp_path.iterdir()) == []
    lock = DirectoryLock(tmp_path)
    lock.release()
    lock.release()


def test_a_lock_left_by_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        DirectoryLock(tmp_path)
        os._exit(0)
    os.waitpid(child, 0)
    assert (tmp_path / ".lock").read_text() == f"{child}\n"
    DirectoryLock(tmp_path).release()


def test_a_planted_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".lock").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        DirectoryLock(tmp_path)
    assert victim.read_text() == "precious"
