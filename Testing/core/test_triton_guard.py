import sys

import pytest

from context_propagation.core.triton_guard import keep_triton_out

LLVM = "7fdb1000-7fdb2000 r-xp 00000000 fe:00 77 /usr/lib/x86_64-linux-gnu/libLLVM-15.so.1\n"
OTHER = "7fdb1000-7fdb2000 r-xp 00000000 fe:00 77 /usr/lib/x86_64-linux-gnu/libc.so.6\n"
linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the list of libraries is Linux's")


@pytest.fixture
def without_triton(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)  # put back afterwards
    monkeypatch.delitem(sys.modules, "triton")


@linux_only
def test_triton_cannot_be_imported_where_another_llvm_is_loaded(without_triton, tmp_path):
    (tmp_path / "maps").write_text(OTHER + LLVM, "utf-8")

    keep_triton_out(tmp_path / "maps")

    with pytest.raises(ModuleNotFoundError):
        import triton  # noqa: F401


@pytest.mark.parametrize("libraries", [OTHER, ""])
def test_triton_is_left_alone_where_no_other_llvm_is_loaded(without_triton, tmp_path, libraries):
    (tmp_path / "maps").write_text(libraries, "utf-8")

    keep_triton_out(tmp_path / "maps")
    keep_triton_out(tmp_path / "there is no such file")

    assert "triton" not in sys.modules


def test_triton_that_was_imported_before_stays(monkeypatch, tmp_path):
    loaded = object()
    monkeypatch.setitem(sys.modules, "triton", loaded)
    (tmp_path / "maps").write_text(LLVM, "utf-8")

    keep_triton_out(tmp_path / "maps")

    assert sys.modules["triton"] is loaded
