import pytest

from isic_tf.distribution.tpu_compiler import CompiledProgram
from isic_tf.training.compile_check import fitting

GIBIBYTE = 2.0**30
FIXED = 1.0 * GIBIBYTE
# Of the core of a TPU v5e, for programs.
ROOM = 15.75


def compiled(need):
    """A program that needs this many GiB."""
    if need <= ROOM:
        return CompiledProgram(topology="v5e:1x1", devices=1, versions={})
    error = f"RESOURCE_EXHAUSTED: ({need:.2f}G) exceeds available HBM ({ROOM}G)."
    return CompiledProgram(topology="v5e:1x1", devices=1, versions={}, error=error, is_out_of_memory=True)


class Compiler:
    """Compiles programs whose need is a function of a number, and counts them."""

    def __init__(self, need):
        self.need, self.numbers = need, []

    def __call__(self, number):
        self.numbers.append(number)
        return compiled(self.need(number))


@pytest.mark.parametrize("per_image", [0.05, 0.1, 0.4])
def test_the_largest_batch_is_found_by_few_compilations(per_image):
    compiler = Compiler(lambda images: 1 + per_image * images)
    found = fitting.find_largest_batch(compiler, 512, compiler(512).need, FIXED, 8)
    most = (ROOM - 1) / per_image
    assert found % 8 == 0
    assert most * 0.94 - 8 <= found <= most
    assert len(compiler.numbers) <= 4


def test_a_compiler_that_needs_more_than_the_share_is_followed_down():
    # Half of the memory of a batch does not shrink in proportion.
    compiler = Compiler(lambda images: 1 + 0.1 * images + 5 * (images > 64))
    found = fitting.find_largest_batch(compiler, 256, compiler(256).need, FIXED, 8)
    assert compiler.need(found) <= ROOM
    assert found >= 64


def test_a_compiler_that_gives_no_numbers_is_asked_for_half():
    asked = []

    def refuse(number):
        asked.append(number)
        return CompiledProgram(topology="v5e:1x1", devices=1, versions={}, error="RESOURCE_EXHAUSTED")

    assert fitting.find_largest_batch(refuse, 256, None, FIXED, 8) == 0
    assert asked == [120, 56, 24, 8]


def test_no_batch_fits_where_the_variables_do_not():
    compiler = Compiler(lambda images: 20 + 0.1 * images)
    assert fitting.find_largest_batch(compiler, 64, compiler(64).need, FIXED, 8) == 0


@pytest.mark.parametrize(
    ("share", "parts", "per_image", "expected"),
    # Micro-batches of 32 and of 16 images; of 12 images, where no multiple of 8 divides 36.
    [(128, 1, 0.4, 4), (128, 2, 0.8, 8), (36, 1, 1.0, 3)],
)
def test_the_fewest_micro_batches_that_fit_are_found(share, parts, per_image, expected):
    compiler = Compiler(lambda count: 1 + per_image * share / count)
    found = fitting.find_micro_batches(compiler, share, parts, compiler(parts).need, FIXED)
    assert found == expected
    assert len(compiler.numbers) <= 3


def test_no_micro_batches_fit_where_the_whole_batch_takes_too_much():
    compiler = Compiler(lambda count: 20)
    assert fitting.find_micro_batches(compiler, 64, 1, compiler(1).need, FIXED) == 0
