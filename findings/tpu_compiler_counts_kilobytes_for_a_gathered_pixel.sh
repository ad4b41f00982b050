#!/bin/sh
# libtpu 0.0.52 through JAX 0.10.2 (the compiler of TPUs, which runs without a TPU): `cost_analysis()` counts some 67 KB
# for each pixel of 12 bytes that a gather reads from a batch of 32 images, and 6 KB for the same pixel if the batch has
# one image. The gather itself has no `estimated_cycles` in the optimized program, so that the cycles of a program leave
# it out. Neither figure says how long a gather takes: compare programs without gathers by them, and time those with.
#
# Seen: 66,680 and 6,200 bytes a pixel for images of 128 x 128 pixels; no estimate in the line of the gather.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
python3 -m venv environment
environment/bin/pip install --quiet jax==0.10.2 jaxlib==0.10.2 libtpu==0.0.52
cat > check.py <<'PYTHON'
import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

PIXELS = 128 * 128
device = topologies.get_topology_desc(platform="tpu", topology_name="v5e:1x1").devices[0]


def look_up(images, places):
    return jax.vmap(lambda image, own: image[own])(images, places)


def compile_for(batch):
    sharding = SingleDeviceSharding(device)
    images = jax.ShapeDtypeStruct((batch, PIXELS, 3), jnp.float32, sharding=sharding)
    places = jax.ShapeDtypeStruct((batch, PIXELS), jnp.int32, sharding=sharding)
    return jax.jit(look_up).lower(images, places).compile()


counted = {}
for batch in (1, 32):
    compiled = compile_for(batch)
    costs = compiled.cost_analysis()
    costs = costs[0] if isinstance(costs, list) else costs
    counted[batch] = costs["bytes accessed"] / (batch * PIXELS)
    # The fusion that holds the gather, and the other lines of the entry computation that have an estimate.
    entry = compiled.as_text().split("ENTRY", 1)[1].splitlines()
    gathers = [line for line in entry if "%gather_fusion" in line.split(" = ")[0]]
    estimates = sum('"estimated_cycles":"' in line for line in entry)
    print(f"{batch} images: {counted[batch]:,.0f} bytes a pixel of 12 bytes; {estimates} other operations have cycles")
    assert gathers and estimates
    assert not any('"estimated_cycles":"' in line for line in gathers), "the behavior has changed"
assert counted[32] > 60_000 and counted[1] < 7_000, "the behavior has changed"
PYTHON
TPU_SKIP_MDS_QUERY=1 TPU_WORKER_HOSTNAMES=localhost TPU_ACCELERATOR_TYPE=v5litepod-1 JAX_PLATFORMS=cpu \
    ALLOW_MULTIPLE_LIBTPU_LOAD=1 environment/bin/python check.py 2> log.txt || { cat log.txt; exit 1; }
