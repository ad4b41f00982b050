"""Reads the text of a program that the compiler of TPUs has optimized."""

import dataclasses
import re

# A computation begins at the start of a line; its instructions are indented.
_COMPUTATION = re.compile(r"(?:ENTRY )?%(\S+) \(")
_INSTRUCTION = re.compile(r" +(?:ROOT )?%(\S+) = (.*?) ([a-z][a-z0-9-]*)\(")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_SCOPE = re.compile(r'op_name="([^"]*)"')
_LOOP = re.compile(r" while\(.*condition=%([^\s,]+), body=%([^\s,]+)")
_BOUND = re.compile(r" = s32\[\]\S* constant\((\d+)\)")


@dataclasses.dataclass(frozen=True)
class Operation:
    """An operation of an optimized program, mostly a fusion of several operations.

    Args:
        kind: What it is, such as `fusion`, `convolution`, `gather`.
        shape: Type and shape of its output, such as `bf16[32,192,192,16]`; of several outputs the first.
        scope: Name of the node of the TensorFlow graph that it comes from; "" if the compiler added it.
        cycles: Estimated cycles of all its executions in a run of the program; 0 if the compiler has no estimate.
        repeats: Its executions in a run of the program, as part of a loop.
    """

    kind: str
    shape: str
    scope: str
    cycles: int
    repeats: int


def list_operations(text: str) -> list[Operation]:
    """Lists the operations of an optimized program whose cycles the compiler has estimated.

    Args:
        text: The program.

    Returns:
        The operations, the most expensive first. Those of a loop count as often as the loop runs, where its condition
        compares with a constant.
    """
    repeats = _count_repeats(text)
    found = []
    computation = ""
    for line in text.splitlines():
        computation = _enter(line, computation)
        cycles = _CYCLES.search(line)
        instruction = _INSTRUCTION.match(line)
        if cycles and instruction:
            count = repeats.get(computation, 1)
            scope = _SCOPE.search(line)
            found.append(
                Operation(
                    kind=instruction[3],
                    shape=instruction[2].lstrip("(").partition("{")[0],
                    scope=scope[1] if scope else "",
                    cycles=count * int(cycles[1]),
                    repeats=count,
                )
            )
    return sorted(found, key=lambda operation: -operation.cycles)


def count_kinds(text: str) -> dict[str, int]:
    """Counts the instructions of a program by kind, those within fusions too.

    Args:
        text: The program.

    Returns:
        Dict from kind, such as `gather`, to the number of such instructions in the text.
    """
    counts: dict[str, int] = {}
    for line in text.splitlines():
        instruction = _INSTRUCTION.match(line)
        if instruction:
            counts[instruction[3]] = counts.get(instruction[3], 0) + 1
    return counts


def _enter(line: str, computation: str) -> str:
    """Returns the name of the computation that a line belongs to."""
    head = _COMPUTATION.match(line)
    return head[1] if head else computation


def _count_repeats(text: str) -> dict[str, int]:
    """Counts how often the computations of loops run; a loop without a constant bound counts once."""
    bounds: dict[str, int] = {}
    loops = []
    computation = ""
    for line in text.splitlines():
        computation = _enter(line, computation)
        bound = _BOUND.search(line)
        if bound:
            bounds[computation] = max(bounds.get(computation, 1), int(bound[1]))
        loop = _LOOP.search(line)
        if loop:
            loops.append((computation, loop[1], loop[2]))
    bodies = {body: (outer, bounds.get(condition, 1)) for outer, condition, body in loops}

    def repeats_of(name: str) -> int:
        count = 1
        # Computations never contain themselves, so the walk outwards ends.
        while name in bodies:
            name, bound = bodies[name]
            count *= bound
        return count

    return {body: repeats_of(body) for body in bodies}
