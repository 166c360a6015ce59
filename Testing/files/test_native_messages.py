import os
import subprocess
import sys

import pytest

START = "import os, sys\nfrom context_propagation.files.native_messages import native_messages_hidden\n"


def printed(program):
    done = subprocess.run([sys.executable, "-c", START + program], capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def test_what_is_printed_below_python_is_hidden_and_what_comes_before_and_after_is_not():
    program = """
print("before"); print("before", file=sys.stderr)
with native_messages_hidden():
    os.write(1, b"hidden\\n"); os.write(2, b"hidden\\n")
print("after"); print("after", file=sys.stderr)
"""
    assert printed(program) == ("before\nafter\n", "before\nafter\n")


@pytest.mark.parametrize(
    "lacking",
    [
        pytest.param("sys.stdout = sys.stderr = None", id="an application without Python's streams"),
        pytest.param("os.close(1)", id="an application without a console"),
        pytest.param("sys.stdout.close()", id="a closed stdout"),
    ],
)
def test_it_does_no_harm_where_there_is_nothing_to_hide(lacking):
    program = f"""
{lacking}
with native_messages_hidden():
    pass
os.write(2, b"went on")
"""
    assert printed(program)[1] == "went on"


def test_the_streams_come_back_after_an_error():
    from context_propagation.files.native_messages import native_messages_hidden

    before = [os.fstat(number).st_ino for number in (1, 2)]
    with pytest.raises(RuntimeError), native_messages_hidden():
        raise RuntimeError

    assert [os.fstat(number).st_ino for number in (1, 2)] == before


def test_blocks_of_two_threads_may_overlap():
    program = """
first, second = native_messages_hidden(), native_messages_hidden()
first.__enter__(); second.__enter__()
first.__exit__(None, None, None)
os.write(2, b"hidden")
second.__exit__(None, None, None)
os.write(2, b"after")
"""
    assert printed(program)[1] == "after"
