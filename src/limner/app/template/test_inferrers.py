"""How an inferrer is tested: called with bytes, without a server. Run `pytest`."""

from inferrers import Facts


def test_kind_and_size_are_told() -> None:
    """A GIF is told by its first bytes, and its size is that of the file."""
    (found,) = Facts().infer([b"GIF89a" + bytes(10)])
    assert (found["kind"], found["bytes"]) == ("gif", 16)


def test_even_bytes_are_full_of_information() -> None:
    """A file in which every byte is as frequent has eight bits a byte, one of a single byte has none."""
    even, plain = Facts().infer([bytes(range(256)), bytes(256)])
    assert (even["entropy"], plain["entropy"]) == (8.0, 0.0)


def test_an_empty_file_fails_alone() -> None:
    """An exception in place of an output fails its own record and no other."""
    bad, good = Facts().infer([b"", b"GIF89a"])
    assert isinstance(bad, ValueError)
    assert good["kind"] == "gif"
