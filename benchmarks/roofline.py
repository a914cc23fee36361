"""How near a decode step comes to what the machine can do.

    python benchmarks/roofline.py [--quick]

The machine's own bound is measured in the same run: the throughput of each matrix product in the very
shapes that the step multiplies, and the bandwidth of reading an array as large as the weights. A matrix can
take no less than max(operations / throughput, bytes / bandwidth); the bound is the sum over all matrices and
the cache. The step is one token for every row: `extend` by one and `logits`; nothing is drawn. On a GPU it is
a Llama of 1B parameters in bfloat16 with random weights, and the bound is memory bandwidth alone: single
products of so few rows take less than it takes to start them, so their throughput is not measured.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from measured_models import SHAPES, WITHOUT_CHECKPOINTS, has_checkpoint, measured_model, on_gpu
from reporting import Records, arguments, describe_machine, goal_line, median, table

from lmppl.models import DecoderConfig

MODELS = ("llama-small-32k", "llama-tiny-128k")
GPU_MODELS = ("llama-1b",)
PARTICLES = (1, 8, 32, 128)
GPU_PARTICLES = (1, 2, 4, 8, 16, 32)
PROMPT_LENGTH = 64
CPU_GOAL, GPU_GOAL = 0.7, 0.5


@dataclass(frozen=True)
class Product:
    """Matrix products of one shape: `rows x inputs` by `inputs x outputs`, `count` of them a step."""

    inputs: int
    outputs: int
    count: int


def products(config: DecoderConfig) -> list[Product]:
    """Gives the matrix products of a decode step."""
    hidden, wide, layers = config.hidden_size, config.intermediate_size, config.num_layers
    query, key = config.num_heads * config.head_size, config.num_kv_heads * config.head_size
    return [
        Product(hidden, query, layers),
        Product(hidden, key, 2 * layers),
        Product(query, hidden, layers),
        Product(hidden, wide, 2 * layers),
        Product(wide, hidden, layers),
        Product(hidden, config.vocab_size, 1),
    ]


def cache_bytes(config: DecoderConfig, rows: int, length: int, itemsize: int) -> int:
    """Gives the bytes of keys and values that one step reads."""
    return 2 * config.num_layers * rows * config.num_kv_heads * config.head_size * length * itemsize


def weight_bytes(config: DecoderConfig, itemsize: int) -> int:
    """Gives the bytes of all matrices that one step reads."""
    return sum(p.inputs * p.outputs * p.count for p in products(config)) * itemsize


def bound_seconds(
    config: DecoderConfig,
    rows: int,
    length: int,
    itemsize: int,
    throughput: Mapping[Product, float],
    speed: float,
) -> float:
    """Gives the least seconds of a step: each matrix, and the cache, by what holds it up longer.

    Args:
        config: The decoder's shape.
        rows: Particles.
        length: Tokens that each row's attention looks at.
        itemsize: Bytes of a number.
        throughput: Operations a second, for each shape.
        speed: Bytes a second from memory.
    """
    total = 0.0
    for product in products(config):
        numbers = product.inputs * product.outputs
        by_operations = 2 * rows * numbers / throughput[product]
        total += product.count * max(by_operations, numbers * itemsize / speed)
    operations = 4 * rows * config.num_layers * config.num_heads * config.head_size * length
    read = cache_bytes(config, rows, length, itemsize)
    return total + max(operations / max(throughput.values()), read / speed)


def best_seconds(run: Callable[[], Any], repeats: int, least: float = 0.05) -> float:
    """Gives the shortest time of a call that was compiled before; calls at least for `least` seconds."""
    jax.block_until_ready(run())
    found, started = [], time.perf_counter()
    while len(found) < repeats or time.perf_counter() - started < least:
        begin = time.perf_counter()
        jax.block_until_ready(run())
        found.append(time.perf_counter() - begin)
    return min(found)


def measured_throughput(product: Product, rows: int, dtype: Any, repeats: int) -> float:
    """Gives operations a second of one product, done again and again inside one program.

    The fastest of the ways in which factors and result may lie: what the machine can do, not what the model
    does.
    """
    return max(
        _throughput(product, rows, dtype, repeats, spec) for spec in ("nh,hv->nv", "nh,vh->nv", "nh,vh->vn")
    )


def _throughput(product: Product, rows: int, dtype: Any, repeats: int, spec: str) -> float:
    times = max(2, min(64, int(1e9 / (2 * rows * product.inputs * product.outputs))))
    sizes = {"n": rows, "h": product.inputs, "v": product.outputs}
    vectors, matrix, result = (
        tuple(sizes[letter] for letter in term) for term in spec.replace("->", ",").split(",")
    )
    left = jnp.ones(vectors, dtype)
    right = jnp.full(matrix, 1e-3, dtype)

    def multiply(left: Any, right: Any) -> Any:
        def body(_: Any, carry: Any) -> Any:  # each product reads the last one's, or it would be done once
            left, out = carry
            left = left + (out[:1, :1] * 1e-6).astype(dtype)
            out = jnp.einsum(
                spec, left, right, precision=jax.lax.Precision.HIGHEST, preferred_element_type=jnp.float32
            )
            return left, jax.lax.optimization_barrier(out)

        return jax.lax.fori_loop(0, times, body, (left, jnp.zeros(result, jnp.float32)))[1]

    compiled = jax.jit(multiply)
    seconds = best_seconds(lambda: compiled(left, right), repeats)
    return 2 * rows * product.inputs * product.outputs * times / seconds


def measured_bandwidth(num_bytes: int, dtype: Any, repeats: int) -> float:
    """Gives bytes a second of reading an array, the fastest of three ways of reading it."""
    width = 1024
    rows = max(1, num_bytes // (width * jnp.dtype(dtype).itemsize))
    array = jnp.ones((rows, width), dtype)
    vector = jnp.ones((width, 1), dtype)
    ways = (
        jax.jit(lambda array, vector: array @ vector),
        jax.jit(lambda array, vector: jnp.sum(array, axis=1)),
        jax.jit(lambda array, vector: jnp.max(array, axis=0)),
    )
    found = [best_seconds(lambda way=way: way(array, vector), repeats) for way in ways]
    return array.size * array.dtype.itemsize / min(found)


def step_seconds(lm: Any, params: Any, rows: int, num_steps: int, repeats: int) -> float:
    """Gives the seconds of one decode step, from a loop of them in one program with a donated cache.

    A loop of one step is timed too and taken off, so that starting the program does not count.
    """
    capacity = PROMPT_LENGTH + 2 * num_steps

    def prefix_of(params: Any) -> Any:
        tokens = jnp.zeros((1, PROMPT_LENGTH), jnp.int32)
        length = jnp.full(1, PROMPT_LENGTH, jnp.int32)
        return lm.extend(params, lm.empty(1, PROMPT_LENGTH), tokens, length)[0]

    def decode(params: Any, prefix: Any, cache: Any, logits: Any, times: Any) -> Any:
        one = jnp.ones(rows, jnp.int32)

        def body(_: Any, carry: Any) -> Any:
            cache, logits = carry
            tokens = (logits[:, :1] > 0).astype(jnp.int32)  # what is fed depends on the step before
            cache, hidden = lm.extend(params, cache, tokens, one, prefix)
            return cache, lm.logits(params, hidden[:, 0])

        return jax.lax.fori_loop(0, times, body, (cache, logits))

    prefix = jax.jit(prefix_of)(params)
    program = jax.jit(decode, donate_argnums=(2, 3))
    rewind = jax.jit(lm.rewind, donate_argnums=0)
    state = (jax.jit(lambda: lm.empty(rows, capacity))(), jnp.zeros((rows, len(lm.vocabulary)), jnp.float32))

    def seconds(times: int) -> float:
        nonlocal state
        cache = rewind(state[0], jnp.zeros(rows, jnp.int32))
        jax.block_until_ready(cache)
        begin = time.perf_counter()
        state = jax.block_until_ready(program(params, prefix, cache, state[1], np.int32(times)))
        return time.perf_counter() - begin

    seconds(1)
    found = [(seconds(num_steps + 1) - seconds(1)) / num_steps for _ in range(repeats)]
    return median(found)


def measure(records: Records, lm: Any, particles: Iterable[int], num_steps: int, repeats: int) -> None:
    """Measures one model: the machine in its shapes, then its step."""
    config = lm.config
    dtype = lm.params["embedding"].dtype
    itemsize = dtype.itemsize
    for rows in particles:
        speed = measured_bandwidth(weight_bytes(config, itemsize), dtype, repeats)
        shapes = products(config)
        throughput = dict.fromkeys(shapes, math.inf)
        if not on_gpu():
            throughput = {shape: measured_throughput(shape, rows, dtype, repeats) for shape in shapes}
        length = PROMPT_LENGTH + num_steps // 2
        read = weight_bytes(config, itemsize) + cache_bytes(config, rows, length, itemsize)
        seconds = step_seconds(lm, lm.params, rows, num_steps, repeats)
        bound = bound_seconds(config, rows, length, itemsize, throughput, speed)
        records.add(
            kind="step",
            model=lm.name,
            dtype=str(dtype),
            num_particles=rows,
            step_ms=1e3 * seconds,
            bound_ms=1e3 * bound,
            share=bound / seconds,
            bandwidth_share=read / seconds / speed,
            gigabytes_a_second=speed / 1e9,
            least_gflops=min(throughput.values()) / 1e9,
            most_gflops=max(throughput.values()) / 1e9,
            device=jax.default_backend(),
        )


def verdict(rows: Sequence[Mapping[str, Any]]) -> tuple[str, str, bool]:
    """Gives the figure, the goal and whether it is met: the worst model, at 32 particles on CPU."""
    steps = [row for row in rows if row["kind"] == "step"]
    was_on_gpu = any(row["device"] == "gpu" for row in steps)
    what, limit = ("bandwidth_share", GPU_GOAL) if was_on_gpu else ("share", CPU_GOAL)
    goal = (
        f">= {GPU_GOAL} of memory bandwidth at 1 to 32 particles"
        if was_on_gpu
        else f">= {CPU_GOAL} of the machine's bound at 32 particles"
    )
    counted = [
        row for row in steps if row["num_particles"] <= 32 and (was_on_gpu or row["num_particles"] == 32)
    ]
    if not counted:
        return "not measured", goal, False
    worst = min(counted, key=lambda row: row[what])
    figure = f"{worst[what]:.2f} ({worst['model']}, {worst['num_particles']} particles)"
    return figure, goal, worst[what] >= limit


def report(records: Records) -> str:
    """Lays the steps out in a table."""
    headers = ["model", "dtype", "particles", "step ms", "bound ms", "share", "of bandwidth", "GB/s"]
    keys = ["model", "dtype", "num_particles", "step_ms", "bound_ms", "share", "bandwidth_share"]
    keys += ["gigabytes_a_second", "least_gflops", "most_gflops"]
    headers += ["least GFLOP/s", "most GFLOP/s"]
    return table(headers, [[row[key] for key in keys] for row in records.of("step")])


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints, and gives the exit status: 0 whether or not the goal is met."""
    options = parser().parse_args(argv)
    records = Records(options.out)
    print(describe_machine(records.rows[0]))
    repeats = 3 if options.quick else options.repeats
    models = options.models or (GPU_MODELS if on_gpu() else MODELS)
    if any(name in MODELS and not has_checkpoint(name) for name in models):
        print(WITHOUT_CHECKPOINTS.partition(" Their")[0] + ": the time of a step is the same.")
    particles = options.particles or ([1, 32] if options.quick else GPU_PARTICLES if on_gpu() else PARTICLES)
    num_steps = (32 if on_gpu() else 8) if options.quick else (128 if on_gpu() else 32)
    for name in models:
        measure(records, measured_model(name), particles, num_steps, repeats)
    figure, goal, met = verdict(records.rows)
    print(report(records))
    print(goal_line("roofline", figure, goal, met))
    return 0


def parser() -> Any:
    """Gives the parser of this benchmark's options."""
    made = arguments("roofline", __doc__ or "")
    made.add_argument("--models", nargs="+", choices=list(SHAPES))
    made.add_argument("--particles", nargs="+", type=int)
    made.add_argument("--repeats", type=int, default=7)
    return made


if __name__ == "__main__":
    sys.exit(main())
