"""A learning rate of a million stops every section's training, named and undone."""

import numpy
import pytest
from test_checkpoint import SECTIONS

from d2l_recsys.engine.loop import NonFiniteLoss
from d2l_recsys.runtime.backend import gluon, mx


def values(net):
    return [p.list_data()[0].asnumpy() for p in net.collect_params().values()]


@pytest.mark.parametrize("hybridize", [False, True])
@pytest.mark.parametrize("name", SECTIONS)
def test_the_parameters_of_the_last_sound_epoch_are_kept(name, hybridize):
    make, train = SECTIONS[name]
    mx.random.seed(0)
    net = make()
    net.initialize(mx.init.Normal(0.1))
    if hybridize:
        net.hybridize(static_alloc=True)
    # Adam would take steps of a million, huge but finite; plain descent explodes.
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 1e6})
    sound = [values(net)]
    with pytest.raises(NonFiniteLoss) as error:
        train(net, trainer, 9, [mx.cpu()], on_epoch=lambda _: sound.append(values(net)))
    epoch = len(sound)  # the epoch that failed, counted from 1
    assert f"of epoch {epoch}, with learning rate 1e+06: use a new trainer" in str(
        error.value
    )
    assert "in batch" in str(error.value) or "at the end" in str(error.value)
    for kept, after in zip(sound[-1], values(net)):
        assert numpy.array_equal(kept, after)
        assert numpy.isfinite(kept).all()
