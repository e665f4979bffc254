"""Positions against their published formulas, one number at a time."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.base.errors import RecipeError
from textmill.nn import position
from textmill.specs.position import LinearScaling, Llama3Scaling, T5Positions, YarnScaling

CPU = torch.device("cpu")


def test_sinusoids_are_those_of_section_3_5():
    table = position.sinusoidal(torch.arange(7), 10)
    for p in range(7):
        for i in range(5):
            angle = p / 10000 ** (2 * i / 10)
            assert table[p, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[p, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_rotation_turns_each_pair_by_position_times_rate():
    x = torch.randn(1, 6, 2, 8, dtype=torch.float64)
    rates = position.rotary_frequencies(8, 10000.0, None, CPU)
    turned = position.rotate(x, *position.rotation(torch.arange(6)[None], rates))
    for t in range(6):
        for head in range(2):
            for i in range(4):
                angle = t * 10000 ** (-2 * i / 8)
                a, b = x[0, t, head, i].item(), x[0, t, head, i + 4].item()
                want = a * math.cos(angle) - b * math.sin(angle), b * math.cos(angle) + a * math.sin(angle)
                got = turned[0, t, head, i].item(), turned[0, t, head, i + 4].item()
                assert got == pytest.approx(want, abs=1e-6)


def test_rotated_products_depend_on_distance_only():
    rates = position.rotary_frequencies(16, 10000.0, None, CPU)
    q, k = torch.randn(16, dtype=torch.float64), torch.randn(16, dtype=torch.float64)

    def product(i: int, j: int) -> float:
        both = torch.stack((q, k))[None, :, None]
        turned = position.rotate(both, *position.rotation(torch.tensor([[i, j]]), rates))
        return float(turned[0, 0, 0] @ turned[0, 1, 0])

    assert product(5, 2) == pytest.approx(product(103, 100), abs=1e-4)
    assert product(5, 2) != pytest.approx(product(6, 2), abs=1e-3)


def test_linear_scaling_divides_every_rate():
    plain = position.rotary_frequencies(8, 10000.0, None, CPU)
    torch.testing.assert_close(
        position.rotary_frequencies(8, 10000.0, LinearScaling(factor=4), CPU), plain / 4
    )


def test_llama3_scaling_keeps_fast_rates_and_divides_slow_ones():
    scaling = Llama3Scaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context=8192)
    plain = position.rotary_frequencies(128, 5e5, None, CPU)
    scaled = position.rotary_frequencies(128, 5e5, scaling, CPU)
    seen = set()
    for rate, got in zip(plain.tolist(), scaled.tolist(), strict=True):
        wavelength = 2 * math.pi / rate
        if wavelength < 8192 / 4:
            want, kind = rate, "kept"
        elif wavelength > 8192 / 1:
            want, kind = rate / 8, "divided"
        else:
            smooth = (8192 / wavelength - 1) / (4 - 1)
            want, kind = (1 - smooth) * rate / 8 + smooth * rate, "between"
        seen.add(kind)
        assert got == pytest.approx(want, rel=1e-5)
    assert seen == {"kept", "divided", "between"}


def test_yarn_keeps_fast_pairs_divides_slow_ones_and_lets_scores_grow():
    scaling = YarnScaling(factor=4.0, original_context=4096)
    width, theta = 64, 1e4
    plain = position.rotary_frequencies(width, theta, None, CPU)
    scaled = position.rotary_frequencies(width, theta, scaling, CPU)

    def place(
        turns,
    ):  # of the pair that turns so often over 4096 tokens: theta^(-2 p / width) · 4096 = 2 pi turns
        return width / 2 * math.log(4096 / (2 * math.pi * turns)) / math.log(theta)

    first, last = math.floor(place(32)), math.ceil(place(1))
    assert 0 < first < last < width // 2
    torch.testing.assert_close(scaled[: first + 1], plain[: first + 1])
    torch.testing.assert_close(scaled[last:], plain[last:] / 4)
    middle = (first + last) // 2
    ramp = (middle - first) / (last - first)
    want = plain[middle] * (1 - ramp) + plain[middle] / 4 * ramp
    torch.testing.assert_close(scaled[middle], want)
    assert scaling.gain == pytest.approx(0.1 * math.log(4) + 1)
    assert YarnScaling(attention_factor=1.5).gain == 1.5


def test_alibi_slopes_of_the_paper():
    assert position.alibi_slopes(8) == [2.0**-h for h in range(1, 9)]
    sixteen = position.alibi_slopes(16)
    assert sixteen == pytest.approx([2 ** (-h / 2) for h in range(1, 17)])
    # Not a power of two: those of the power below, then every other one of the power above.
    assert position.alibi_slopes(12) == pytest.approx(position.alibi_slopes(8) + sixteen[0::2][:4])


def test_alibi_bias_is_minus_slope_times_distance():
    bias = position.alibi_bias(position.distances(3, 5, CPU), 2)
    for h, slope in enumerate((2.0**-4, 2.0**-8)):
        for i in range(3):
            for j in range(5):
                assert bias[h, i, j].item() == pytest.approx(-slope * abs(i + 2 - j))


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 64), st.integers(40, 512), st.lists(st.integers(0, 2000), min_size=1, max_size=20))
def test_t5_buckets_follow_the_rule(buckets, max_distance, distances):
    spec = T5Positions(buckets=buckets, max_distance=max_distance)
    got = position.t5_bucket(torch.tensor(distances), spec).tolist()
    exact = buckets // 2
    for distance, bucket in zip(distances, got, strict=True):
        if distance < exact:
            assert bucket == distance
            continue
        place = exact + math.log(distance / exact) / math.log(max_distance / exact) * (buckets - exact)
        low, high = (min(buckets - 1, math.floor(place + e)) for e in (-1e-3, 1e-3))  # float32 at an edge
        assert low <= bucket <= high


def test_t5_buckets_that_do_not_grow_are_refused():
    with pytest.raises(RecipeError, match="max_distance"):
        T5Positions(buckets=32, max_distance=16)


def test_positions_start_again_in_each_document_and_skip_padding():
    documents = torch.tensor([[3, 3, 3, 5, 5, 9], [1, 1, 2, 2, 2, 2]])
    assert position.count(None, documents).tolist() == [[0, 1, 2, 0, 1, 0], [0, 1, 0, 1, 2, 3]]
    real = torch.tensor([[False, True, True, True, True, True], [True, True, True, False, False, True]])
    assert position.count(real, None)[0].tolist() == [0, 0, 1, 2, 3, 4]
    both = position.count(real, documents)
    assert both[0].tolist()[1:] == [0, 1, 0, 1, 0]
    assert both[1].tolist()[:3] == [0, 1, 0]
    assert both[1, 5].item() == 1
