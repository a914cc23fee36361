"""Compiled programs are kept in the documented place, the user's own settings stand, and counts are right."""

import io
import os
import subprocess
import sys
import threading

import jax
import numpy as np
import pytest
from tqdm import tqdm

import lmppl as lp
from lmppl import compilation
from lmppl.compilation import compilations, counting, make_room_for_programs
from lmppl.progress import ProgressBar

PROGRAM = """
import jax, lmppl as lp
from lmppl.compilation import compilations, use_compile_cache
folder = use_compile_cache()
compilations()
lm = lp.TableLM(["a", "<end>"], [1.0, 0.0], [[0.5, 0.5], [0.0, 1.0]])
lp.infer(lambda: lp.sample("x", lm("a", max_tokens=2)), method=lp.IS(2))
print(folder, jax.config.jax_compilation_cache_dir, compilations().num_compiled, compilations().num_loaded)
"""


def run(code=PROGRAM, **variables):
    """Runs code in a process where nobody has set a cache; gives what it prints and its errors."""
    environment = {name: value for name, value in os.environ.items() if "CACHE" not in name}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {name: str(value) for name, value in variables.items()},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.split(), result.stderr


def test_a_second_process_compiles_nothing_and_a_torn_entry_is_dropped(tmp_path):
    (folder, used, compiled, loaded), errors = run(XDG_CACHE_HOME=tmp_path)
    assert folder == used == str(tmp_path / "lmppl" / "compiled")
    assert int(compiled) > 5
    assert "Warning" not in errors
    # What a process leaves that was killed while it wrote: half an entry, without a note of its use.
    torn = next((tmp_path / "lmppl" / "compiled").glob("*-cache"))
    torn.write_bytes(torn.read_bytes()[:100])
    torn.with_name(torn.name.removesuffix("-cache") + "-atime").unlink()
    (_, _, again, second_loaded), errors = run(XDG_CACHE_HOME=tmp_path)
    assert "Warning" not in errors
    assert int(again) == 1
    assert int(second_loaded) + int(again) == int(compiled) + int(loaded)
    (_, _, third, _), errors = run(XDG_CACHE_HOME=tmp_path)
    assert int(third) == 0


@pytest.mark.parametrize(
    "variables",
    [
        {"LMPPL_COMPILE_CACHE": "off"},
        {"JAX_COMPILATION_CACHE_DIR": "{tmp}/own"},
        {"JAX_ENABLE_COMPILATION_CACHE": "false"},
    ],
    ids=["off", "own folder", "switched off in JAX"],
)
def test_what_the_user_has_arranged_is_left_alone(tmp_path, variables):
    code = "import lmppl, jax; from lmppl.compilation import use_compile_cache; print(use_compile_cache(), "
    code += "jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs)"
    values = {name: value.format(tmp=tmp_path) for name, value in variables.items()}
    (folder, used, seconds), _ = run(code, HOME=tmp_path, **values)
    assert (folder, used, seconds) == ("None", values.get("JAX_COMPILATION_CACHE_DIR", "None"), "1.0")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_gives_one_warning_and_a_run(tmp_path):
    (tmp_path / "file").write_text("")
    (folder, used, compiled, _), errors = run(LMPPL_COMPILE_CACHE=tmp_path / "file" / "inside")
    assert (folder, used) == ("None", "None")
    assert int(compiled) > 5
    assert errors.count("RuntimeWarning") == 1
    assert "LMPPL_COMPILE_CACHE" in errors


def test_each_new_program_is_counted_once_and_named_when_it_starts():
    def shape_dependent(x):
        return x * np.float32(3)

    function = jax.jit(shape_dependent)
    numbers = [np.zeros(size, np.float32) for size in (5, 6)]
    names, before = [], compilations().num_programs
    with counting(names.append) as counted:
        for number in (numbers[0], numbers[0], numbers[1]):
            with counting() as inner:  # one that shows nothing does not hide the outer one's names
                function(number)
    assert counted.num_programs == 2
    assert inner.num_programs == 1
    assert counted.seconds > inner.seconds > 0
    assert set(names) == {"shape_dependent"}
    function(np.zeros(7, np.float32))
    assert counted.num_programs == 2
    assert compilations().num_programs == before + 3


def test_what_another_thread_compiles_is_not_counted_here():
    with counting() as counted:
        thread = threading.Thread(
            target=lambda: jax.jit(lambda x: x - np.float32(2))(np.zeros(3, np.float32))
        )
        thread.start()
        thread.join()
    assert counted.num_programs == 0


def test_a_progress_bar_says_what_is_compiled_until_the_next_step():
    stream = io.StringIO()
    bar = tqdm(file=stream, bar_format="{desc}{postfix}", mininterval=0.0)
    progress = ProgressBar(bar)
    progress.compiling("decode")
    assert stream.getvalue().endswith("compiling decode ...")
    progress.update(site="goal", token=3, alive=4, effective_sample_size=2.0)
    assert "compiling" not in stream.getvalue().split("\r")[-1]
    bar.close()


def test_a_run_with_a_bar_says_that_it_compiles(capsys):
    tokens = [*"abcdefghijkl", "<end>"]  # so many that no other test has compiled anything for them
    lm = lp.TableLM(tokens, np.full(13, 1 / 13), np.full((13, 13), 1 / 13))
    lp.infer(lambda: lp.sample("x", lm("a", max_tokens=2)), method=lp.IS(2), progress=True)
    assert "compiling" in capsys.readouterr().err


def test_a_bar_names_the_constraint_that_a_program_compiles(capsys):
    lm = lp.TableLM(["a", "<end>"], [0.5, 0.5], [[0.5, 0.5], [0.0, 1.0]])

    def program():
        named = lp.regex("a{0,7}") & lp.json({"const": "never compiled elsewhere"}) | lp.lark('start: "aa"')
        return lp.sample("x", lm("a", max_tokens=2) & named)

    lp.infer(program, method=lp.IS(2), progress=True)
    shown = capsys.readouterr().err
    for constraint in ("regex('a{0,7}')", 'json({"const": "never', "lark(...), earley"):
        assert f"compiling {constraint}" in shown
    lp.regex("a{0,8}")
    assert "compiling" not in capsys.readouterr().err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux limits and lists mappings")
def test_programs_are_dropped_before_the_system_refuses_to_hold_more(monkeypatch):
    monkeypatch.setattr(compilation, "_MAPPINGS", compilation._Mappings(counted_at=-100))
    lm = lp.TableLM(["a", "<end>"], [1.0, 0.0], [[0.5, 0.5], [0.0, 1.0]])

    def run():
        return lp.infer(lambda: lp.sample("x", lm("a", max_tokens=3)), method=lp.IS(8), key=0)

    before = run()
    held = compilation._num_mappings()
    assert not make_room_for_programs(), "there is room for all of them"
    monkeypatch.setattr(compilation, "_max_mappings", lambda: 2 * held - 1)
    assert not make_room_for_programs(), "nothing was compiled since"
    compilation._MAPPINGS.counted_at = -100
    assert make_room_for_programs()
    assert compilation._num_mappings() < held
    after = run()
    assert after.diagnostics.num_compilations > 0
    assert after.answers() == before.answers()
    # What is left belongs to others: to drop programs again and again would free nothing.
    compilation._MAPPINGS.counted_at = -100
    assert not make_room_for_programs()
