"""Ids are opaque, and fit where people put them."""

from pushctl.ids import ID_PATTERN, new_id


def test_no_id_looks_like_an_option_of_a_command() -> None:
    drawn = [new_id(1) for _ in range(2000)]  # of single octets one in 64 would begin with a dash
    assert len(set(drawn)) > 200
    assert all(ID_PATTERN.fullmatch(each) and each[0] != "-" for each in drawn)
