import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructpt.training.settings import SCHEDULES, multiplier


@given(
    name=st.sampled_from(sorted(SCHEDULES)),
    steps=st.integers(1, 300),
    share=st.floats(0, 1),
    minimum=st.floats(0, 1),
)
def test_rises_to_one_and_never_leaves_its_bounds(name, steps, share, minimum):
    warmup = int(share * steps)
    values = [
        multiplier(step, steps=steps, schedule=name, warmup_steps=warmup, minimum=minimum)
        for step in range(1, steps + 1)
    ]
    assert values[max(warmup, 1) - 1] == pytest.approx(1.0)
    assert values[:warmup] == sorted(values[:warmup])
    falling = values[max(warmup, 1) - 1 :]
    assert falling == sorted(falling, reverse=True)
    assert all(value >= minimum - 1e-9 for value in falling)
    assert all(0 < value <= 1 for value in values[:warmup])


@pytest.mark.parametrize(("name", "last"), [("cosine", 0.1), ("wsd", 0.1), ("constant", 1.0)])
def test_ends_at_the_minimum(name, last):
    assert multiplier(100, steps=100, schedule=name, warmup_steps=10, minimum=0.1) == pytest.approx(last)


def test_known_points():
    assert multiplier(5, steps=110, schedule="cosine", warmup_steps=10, minimum=0.0) == 0.5
    assert multiplier(60, steps=110, schedule="cosine", warmup_steps=10, minimum=0.0) == pytest.approx(0.5)
    assert multiplier(90, steps=110, schedule="wsd", warmup_steps=10, minimum=0.0) == pytest.approx(1.0)
    assert multiplier(100, steps=110, schedule="wsd", warmup_steps=10, minimum=0.0) == pytest.approx(0.5)
