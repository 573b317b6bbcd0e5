from __future__ import annotations

import pytest
import torch

from recbole_ext.lm.answers import SCORES, answer_logit

LOGITS = torch.randn(20, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
YES, NO = 4, 2


def _score(name):
    return answer_logit(name, LOGITS[:, YES], LOGITS[:, NO], LOGITS.logsumexp(-1))


def test_the_restricted_softmax_is_the_softmax_over_two_logits():
    two = LOGITS[:, [YES, NO]].softmax(-1)[:, 0]
    assert torch.allclose(_score("softmax_yes_no").sigmoid(), two, atol=1e-12)


def test_the_difference_is_the_softmax_over_two_probabilities():
    full = LOGITS.softmax(-1)[:, [YES, NO]]
    assert torch.allclose(_score("prob_diff").sigmoid(), full.softmax(-1)[:, 0], atol=1e-12)


def test_the_raw_logit_is_that_of_yes():
    assert torch.equal(_score("yes_logit"), LOGITS[:, YES])


def test_the_three_order_rows_differently():
    orders = {tuple(_score(name).argsort().tolist()) for name in SCORES}
    assert len(orders) == 3


def test_another_name_or_a_sum_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="softmax_yes_no"):
        answer_logit("softmax", LOGITS[:, YES], LOGITS[:, NO])
    with pytest.raises(ValueError, match="logsumexp"):
        answer_logit("prob_diff", LOGITS[:, YES], LOGITS[:, NO])
