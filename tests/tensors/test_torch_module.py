"""CTCLoss as a module: a drop-in for torch.nn.CTCLoss."""

import copy
import inspect
import pickle
import sys
from types import FrameType

import pytest
import torch
from support.batches import draw

import ctckit
import ctckit.torch
from ctckit.torch import CTCLoss, ctc_loss

BATCH = draw(1, 12, 3, 6, 4, blank=2)
LOGITS = torch.from_numpy(BATCH.scores).float()
ARGUMENTS = torch.from_numpy(BATCH.targets), tuple(BATCH.frames.tolist()), tuple(BATCH.lengths.tolist())
OPTIONS = {"blank": 2, "reduction": "sum", "zero_infinity": True, "from_logits": True}


def test_signature_begins_as_torchs() -> None:
    defaults = {"from_logits": False, "batch_first": False, "validate": False}
    for ours, peer, added in (
        (CTCLoss, torch.nn.CTCLoss, defaults),
        (ctc_loss, torch.nn.functional.ctc_loss, defaults | {"class_scores": None, "index": None}),
    ):
        theirs = inspect.signature(peer).parameters
        mine = inspect.signature(ours).parameters
        assert list(mine)[: len(theirs)] == list(theirs)
        for name, parameter in theirs.items():
            assert mine[name].default == parameter.default, name
        extra = list(mine.values())[len(theirs) :]
        assert {parameter.name: parameter.default for parameter in extra} == added
        assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in extra)


def test_module_is_the_function() -> None:
    assert torch.equal(CTCLoss(**OPTIONS)(LOGITS, *ARGUMENTS), ctc_loss(LOGITS, *ARGUMENTS, **OPTIONS))
    batch_first = CTCLoss(**OPTIONS, batch_first=True)
    assert torch.equal(batch_first(LOGITS.transpose(0, 1), *ARGUMENTS), ctc_loss(LOGITS, *ARGUMENTS, **OPTIONS))


def test_positional_arguments_as_in_torch() -> None:
    loss = CTCLoss(2, "sum", True)
    log_probs = LOGITS.log_softmax(-1)
    peer = torch.nn.CTCLoss(2, "sum", True)
    torch.testing.assert_close(loss(log_probs, *ARGUMENTS), peer(log_probs, *ARGUMENTS))
    assert torch.equal(ctc_loss(log_probs, *ARGUMENTS, 2, "sum", True), loss(log_probs, *ARGUMENTS))


def test_keyword_arguments_as_in_torch() -> None:
    targets, frames, lengths = ARGUMENTS
    named = CTCLoss(**OPTIONS)(log_probs=LOGITS, targets=targets, input_lengths=frames, target_lengths=lengths)
    assert torch.equal(named, CTCLoss(**OPTIONS)(LOGITS, *ARGUMENTS))


def test_repr_shows_what_differs_from_the_defaults() -> None:
    assert repr(CTCLoss()) == "CTCLoss()"
    assert repr(CTCLoss(3, "none", True, from_logits=True, batch_first=True)) == (
        "CTCLoss(blank=3, reduction='none', zero_infinity=True, from_logits=True, batch_first=True)"
    )


def test_is_a_loss_of_torchs() -> None:
    assert isinstance(CTCLoss(), torch.nn.CTCLoss)


@pytest.mark.parametrize("again", [copy.deepcopy, copy.copy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies(again) -> None:
    module = CTCLoss(**OPTIONS)
    same = again(module)
    assert repr(same) == repr(module)
    assert torch.equal(same(LOGITS, *ARGUMENTS), module(LOGITS, *ARGUMENTS))


def test_state_dict_is_empty_and_loads() -> None:
    module = CTCLoss(**OPTIONS)
    assert dict(module.state_dict()) == {}
    assert list(module.parameters()) == []
    assert module.load_state_dict(torch.nn.CTCLoss().state_dict()).missing_keys == []
    parent = torch.nn.Sequential(torch.nn.Linear(2, 2), module)
    assert sorted(parent.state_dict()) == ["0.bias", "0.weight"]


@pytest.mark.parametrize(
    "change", [lambda m: m.half(), lambda m: m.double(), lambda m: m.eval(), lambda m: m.to("cpu")]
)
def test_casting_a_model_leaves_its_loss_alone(change) -> None:
    module = CTCLoss(**OPTIONS)
    expected = module(LOGITS, *ARGUMENTS)
    assert torch.equal(change(module)(LOGITS, *ARGUMENTS), expected)


def test_attributes_can_be_read_and_set_as_in_torch() -> None:
    module = CTCLoss()
    peer = torch.nn.CTCLoss()
    for name in ("blank", "reduction", "zero_infinity"):
        assert getattr(module, name) == getattr(peer, name)
    module.blank, module.reduction = 2, "sum"
    assert torch.equal(module(LOGITS, *ARGUMENTS), ctc_loss(LOGITS, *ARGUMENTS, 2, "sum"))


def test_unknown_reduction_is_refused_when_constructed() -> None:
    with pytest.raises(ctckit.CTCError, match="reduction = 'average' is unknown"):
        CTCLoss(reduction="average")


def test_training_step() -> None:
    """Some steps of a tiny network: the loss falls if the gradient has the right sign."""
    torch.manual_seed(0)
    network = torch.nn.Linear(6, 6)
    criterion = CTCLoss(blank=2, from_logits=True)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.5)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = criterion(network(LOGITS), *ARGUMENTS)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert losses == sorted(losses, reverse=True)


def test_the_way_to_the_kernel_is_short() -> None:
    """Python frames from the module's forward to the call of the extension, which a short loss spends its time on."""
    module, scores = CTCLoss(from_logits=True), torch.zeros(6, 2, 4, requires_grad=True)
    given = torch.tensor([[1, 2], [3, 3]]), torch.tensor([6, 5]), torch.tensor([2, 1])
    module(scores, *given)
    frames: list[str] = []

    def count(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and "poison" not in frame.f_code.co_filename:  # the tests' own
            frames.append(frame.f_code.co_name)

    sys.setprofile(count)
    module.forward(scores, *given)
    sys.setprofile(None)
    assert frames[0] == "forward"
    assert frames.index("_sums") + 1 <= 20, " ".join(frames)
