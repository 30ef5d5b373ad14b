import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.diffusion.sizes import MULTIPLE, named, native_sizes, nearest, parse


def test_the_usual_shapes() -> None:
    assert native_sizes(1024)[:3] == [(1024, 1024), (1152, 896), (896, 1152)]
    assert native_sizes(512) == [(width // 2, height // 2) for width, height in native_sizes(1024)]


@given(st.integers(8, 256).map(lambda side: side * 8))
def test_shapes_are_whole_latents_in_about_the_same_area(edge: int) -> None:
    sizes = native_sizes(edge)
    assert sizes[0] == (edge, edge)
    assert len(set(sizes)) == len(sizes)
    for width, height in sizes:
        assert width % MULTIPLE == height % MULTIPLE == 0
        assert 0.7 <= width * height / edge**2 <= 1.3


def test_the_shape_that_a_picture_has() -> None:
    sizes = [*native_sizes(1024), (512, 512)]
    assert nearest(sizes, (3000, 3000)) == (1024, 1024)
    assert nearest(sizes, (300, 300)) == (512, 512)
    assert nearest(sizes, (4000, 3000)) == (1152, 896)
    assert nearest(sizes, (100, 9000)) == (768, 1344)
    assert nearest(sizes, (1, 1)) == (512, 512)


@pytest.mark.parametrize("size", [(64, 64), (1024, 1792), (4096, 4096)])
def test_names_of_sizes(size: tuple[int, int]) -> None:
    assert parse(named(size)) == size


@pytest.mark.parametrize(
    "name", ["512", "512x", "512X512", "0x0", "513x512", "8x8", "4104x4096", "-8x64", "9" * 9]
)
def test_what_is_no_size(name: str) -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        parse(name)
