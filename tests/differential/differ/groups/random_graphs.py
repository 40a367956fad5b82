"""Graphs of all operations from fixed seeds; `soak` does many more of them."""

import functools

from differ import graphs
from differ.case import Case

SEEDS = range(1, 21)


def graph(seed, room):
    return graphs.Graph(seed, room).result()


def case(seed):
    """The whole tree is compared, and the layers that it is exported as."""
    return Case(
        f"random_graphs/{seed}",
        functools.partial(graph, seed),
        locals={"project": graphs.PROJECT},
        outputs=("type=tar", "type=oci"),
    )


CASES = [case(seed) for seed in SEEDS]
