"""Names and folders of pods, against those that a real FlytePropeller 1.16 made."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from support.place import Place, shorten


class Seen(NamedTuple):
    """What a pod was called, without its execution, and where it read and wrote."""

    pod: str
    inputs: str
    outputs: str


SEEN = {
    "a node": (Place("n0"), Seen("n0-0", "n0/data/inputs.pb", "n0/data/0")),
    "its retry": (Place("n0", 1), Seen("n0-1", "n0/data/inputs.pb", "n0/data/1")),
    "in a dynamic task": (
        Place("dn1", within=Place("n0")),
        Seen("n0-0-dn1-0", "n0/data/0/dn1/inputs.pb", "n0/data/0/dn1/0"),
    ),
    "in the retry of a dynamic task": (
        Place("dn1", within=Place("n0", 1)),
        Seen("n0-1-dn1-0", "n0/data/1/dn1/inputs.pb", "n0/data/1/dn1/0"),
    ),
    "in a sub-workflow": (
        Place("n1", within=Place("n0")),
        Seen("n0-0-n1-0", "n0/data/0/n1/inputs.pb", "n0/data/0/n1/0"),
    ),
    "in a branch": (
        Place("n2-n0", within=Place("n2")),
        Seen("n2-0-n2-n0-0", "n2/data/0/n2-n0/inputs.pb", "n2/data/0/n2-n0/0"),
    ),
    "a shard": (Place("n2", shard=1), Seen("n2-0-n1-0", "n2/data/inputs.pb", "n2/data/0/1/0")),
    "the retry of a shard": (
        Place("n2", 1, shard=0),
        Seen("n2-0-n0-1", "n2/data/inputs.pb", "n2/data/0/0/1"),
    ),
    "a shard in a sub-workflow": (
        Place("n3", shard=2, within=Place("n0")),
        Seen("n0-0-n3-0-n2-0", "n0/data/0/n3/inputs.pb", "n0/data/0/n3/0/2/0"),
    ),
    "below what has a long name": (
        Place("n0", within=Place("n10", within=Place("n2-n11", within=Place("n12")))),
        Seen(
            f"{shorten('n12-0-n2-n11-0-n10-0-n0', 20)}-0",
            "n12/data/0/n2-n11/0/n10/0/n0/inputs.pb",
            "n12/data/0/n2-n11/0/n10/0/n0/0",
        ),
    ),
}


@pytest.mark.parametrize(("place", "seen"), SEEN.values(), ids=SEEN)
def test_a_pod_is_called_and_stands_where_propeller_has_it(place: Place, seen: Seen) -> None:
    assert place.pod_name == f"{place.execution}-{seen.pod}"
    assert (place.inputs, place.path) == (seen.inputs, seen.outputs)
    assert place.url.endswith(f"/nodeId/{seen.pod.rpartition('-')[0]}/nodes")


def test_data_of_a_pod_lies_below_two_letters_in_a_folder_of_its_name() -> None:
    spread, _, name = Place("n1", 2).raw.partition("/")
    assert (len(spread), name) == (2, Place("n1", 2).pod_name)


def test_a_long_name_is_hashed_with_fnv_1a() -> None:
    # FNV-1a of "foobar" is bf9cf968, in the letters a-z and digits 1-6
    assert shorten("foobar", 3) == "fx5ops1a"
    assert Place(execution="e" * 50).pod_name == shorten(f"{'e' * 50}-n0-0", 50)
