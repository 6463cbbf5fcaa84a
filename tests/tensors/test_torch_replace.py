"""Our loss in the place of torch's: in a real model, and how the context manager replaces and restores the name."""

import importlib
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import pytest
import torch
from support.batches import draw
from torch import Tensor
from torch.nn import functional as F
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

import ctckit
from ctckit.torch import replace_torch_ctc

TORCHS, BUILTIN = F.ctc_loss, torch.ctc_loss
BATCH = draw(1, 21, 4, 9, 5)
ARGUMENTS = tuple(torch.from_numpy(x) for x in BATCH.arguments[:3])
INFEASIBLE = torch.tensor([[3, 3, 3, 3, 3]] * 4), torch.tensor([21, 8, 21, 21]), torch.tensor([5, 5, 5, 5])
NEVER_CALLED = pytest.mark.filterwarnings("ignore:replace_torch_ctc.. was called 0 times")


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    yield
    assert F.ctc_loss is TORCHS
    assert torch.ctc_loss is BUILTIN
    assert not any(key.startswith("ctckit") for key in multiprocessing.current_process()._config)


def is_ours() -> bool:
    """Tells the two apart by behaviour: our gradient of log-probabilities is -γ, torch's exp(log_probs) - γ."""
    x = torch.from_numpy(BATCH.scores).log_softmax(-1).requires_grad_()
    torch.nn.CTCLoss()(x, *ARGUMENTS).backward()
    return bool((x.grad <= 0).all())


def test_inside_and_outside() -> None:
    assert not is_ours()
    with replace_torch_ctc():
        assert is_ours()
    assert not is_ours()


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_same_numbers(reduction: str, zero_infinity: bool) -> None:
    """By position, by keyword, and through the module."""

    def numbers(call: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        x = torch.from_numpy(BATCH.scores).requires_grad_()
        loss = call(x.log_softmax(-1))
        loss.sum().backward()
        return loss.detach(), x.grad

    module = torch.nn.CTCLoss(0, reduction, zero_infinity)
    calls = {
        "module": lambda x: module(x, *ARGUMENTS),
        "by position": lambda x: F.ctc_loss(x, *ARGUMENTS, 0, reduction, zero_infinity),
        "by keyword": lambda x: F.ctc_loss(
            log_probs=x,
            targets=ARGUMENTS[0],
            input_lengths=ARGUMENTS[1],
            target_lengths=ARGUMENTS[2],
            blank=0,
            reduction=reduction,
            zero_infinity=zero_infinity,
        ),
    }
    for call in calls.values():
        expected = numbers(call)
        with replace_torch_ctc():
            found = numbers(call)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_errors_are_ours() -> None:
    x = torch.from_numpy(BATCH.scores)
    with replace_torch_ctc(), pytest.raises(ctckit.CTCError, match=r"targets\[0, 0\] = 0 is the blank"):
        F.ctc_loss(x, torch.zeros_like(ARGUMENTS[0]), *ARGUMENTS[1:])


def test_errors_are_torchs_too() -> None:
    """Code that is written for torch's loss catches RuntimeErrors."""
    x = torch.from_numpy(BATCH.scores)
    with replace_torch_ctc() as replaced, pytest.raises(RuntimeError, match=r"input_lengths has shape \(2,\)"):
        torch.nn.CTCLoss()(x, ARGUMENTS[0], ARGUMENTS[1][:2], ARGUMENTS[2])
    assert replaced.calls == 1


def test_restored_after_an_exception() -> None:
    with pytest.raises(KeyError), replace_torch_ctc():
        raise KeyError
    assert F.ctc_loss is TORCHS


@NEVER_CALLED
def test_nested() -> None:
    with replace_torch_ctc():
        ours = F.ctc_loss
        with replace_torch_ctc():
            assert F.ctc_loss is ours
        assert F.ctc_loss is ours
        with pytest.raises(KeyError), replace_torch_ctc():
            raise KeyError
        assert F.ctc_loss is ours
    assert F.ctc_loss is TORCHS


@NEVER_CALLED
def test_what_was_there_is_put_back_whoever_put_it_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another replacement, before the block or between two."""

    def anothers(*arguments: object) -> None: ...

    with monkeypatch.context() as patch:
        patch.setattr(F, "ctc_loss", anothers)
        with replace_torch_ctc():
            assert F.ctc_loss is not anothers
            ours = F.ctc_loss
            with patch.context() as inner:
                inner.setattr(F, "ctc_loss", anothers)
                with replace_torch_ctc():
                    assert F.ctc_loss is ours
                assert F.ctc_loss is anothers
            assert F.ctc_loss is ours
        assert F.ctc_loss is anothers


@NEVER_CALLED
def test_blocks_of_two_threads_that_do_not_nest() -> None:
    """Overlapping blocks: after the first closes the second still has ours, and the last one restores torch's."""
    first, second = replace_torch_ctc(), replace_torch_ctc()
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        one.submit(first.__enter__).result()
        other.submit(second.__enter__).result()
        one.submit(first.__exit__, None, None, None).result()
        assert other.submit(is_ours).result()
        other.submit(second.__exit__, None, None, None).result()
    assert F.ctc_loss is TORCHS


@NEVER_CALLED
def test_threads_read_while_others_open_and_close() -> None:
    """Concurrent callers get one of the two losses, which agree here; at the end torch's own is back."""
    x = torch.from_numpy(BATCH.scores).log_softmax(-1)
    expected = TORCHS(x, *ARGUMENTS)
    stop = threading.Event()

    def read() -> int:
        calls = 0
        while not stop.is_set() or calls < 20:
            torch.testing.assert_close(F.ctc_loss(x, *ARGUMENTS), expected, rtol=0, atol=1e-12)
            calls += 1
        return calls

    def toggle() -> None:
        for _ in range(200):
            with replace_torch_ctc():
                assert F.ctc_loss is not TORCHS

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        togglers = [pool.submit(toggle) for _ in range(2)]
        try:
            for each in togglers:
                each.result()
        finally:
            stop.set()
        assert all(reader.result() >= 20 for reader in readers)


def test_compiled_inside_the_block() -> None:
    def step(x: Tensor) -> Tensor:
        return torch.nn.functional.ctc_loss(x, *ARGUMENTS)

    operators = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> Callable[..., object]:
        operators.extend(str(node.target) for node in graph.graph.nodes if node.op == "call_function")
        return graph.forward

    x = torch.from_numpy(BATCH.scores).log_softmax(-1)
    torch.compiler.reset()
    with replace_torch_ctc():
        found = torch.compile(step, fullgraph=True, backend=backend)(x)
    torch.compiler.reset()
    assert operators == ["ctckit.ctc_loss.default"]
    torch.testing.assert_close(found, step(x), rtol=0, atol=1e-12)


@pytest.fixture(scope="module")
def client() -> Wav2Vec2ForCTC:
    """The model that others train: the smallest of its kind, in float64, and nothing in it left to chance."""
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=12,
        pad_token_id=0,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        conv_dim=(8, 8),
        conv_stride=(4, 2),
        conv_kernel=(8, 3),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        mask_time_prob=0.0,
        layerdrop=0.0,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        final_dropout=0.0,
    )
    return Wav2Vec2ForCTC(config).double().train()


def audio(samples: tuple[int, ...]) -> dict[str, Tensor]:
    """Noise of those lengths, padded with zeros."""
    longest = max(samples)
    values = torch.randn(len(samples), longest, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(longest) < torch.tensor(samples)[:, None]).long()
    return {"input_values": values * mask, "attention_mask": mask}


LABELS = torch.tensor([[3, 1, 4, 1, 5, 9], [2, 6, 6, 5, -100, -100], [8, 8, -100, -100, -100, -100]])


@pytest.fixture
def float64_throughout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client takes its log_softmax in float32, whatever it is itself."""
    log_softmax = F.log_softmax
    monkeypatch.setattr(F, "log_softmax", lambda x, dim, dtype: log_softmax(x, dim, dtype=torch.float64))


@pytest.mark.usefixtures("float64_throughout")
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_transformers(client: Wav2Vec2ForCTC, reduction: str, zero_infinity: bool) -> None:
    """Wav2Vec2ForCTC, unchanged: loss and gradients of all parameters; the last sample is infeasible if that costs 0.

    Labels come padded with -100; it calls torch.nn.functional.ctc_loss with what is left of them, end to end.
    """
    client.config.ctc_loss_reduction, client.config.ctc_zero_infinity = reduction, zero_infinity
    batch = audio((400, 320, 24 if zero_infinity else 200)) | {"labels": LABELS}

    def step() -> tuple[Tensor, dict[str, Tensor]]:
        client.zero_grad()
        loss = client(**batch).loss
        loss.backward()
        gradients = {name: weight.grad for name, weight in client.named_parameters() if weight.grad is not None}
        return loss.detach(), gradients

    loss, gradients = step()
    with replace_torch_ctc():
        our_loss, our_gradients = step()
    assert loss.dtype == torch.float64
    assert loss.isfinite()
    torch.testing.assert_close(our_loss, loss, rtol=1e-10, atol=0)
    assert our_gradients.keys() == gradients.keys()
    assert len(gradients) > 20
    largest = max(gradient.abs().max().item() for gradient in gradients.values())
    assert largest > 1e-3
    for name, gradient in gradients.items():
        # Relative to the largest entry of all: some, such as a key's bias, are 0 but for rounding.
        torch.testing.assert_close(our_gradients[name], gradient, rtol=0, atol=1e-10 * largest, msg=name)
    assert not torch.equal(our_gradients["lm_head.weight"], gradients["lm_head.weight"])  # the two computations differ


# Names that were bound early, and processes that are spawned. Modules as other people write them.


def module_with(**names: object) -> ModuleType:
    module = ModuleType("somebodys")
    vars(module).update(names)
    return module


def calls_in(loss: Callable[..., Tensor]) -> int:
    """How many calls the block counts that replaces names in a module, of which one is bound to a loss."""
    module = module_with(loss=loss, other=3)
    x = torch.from_numpy(BATCH.scores).log_softmax(-1)
    with replace_torch_ctc(modules=[module]) as replaced:
        assert module.loss is not loss
        assert torch.equal(module.loss(x, *ARGUMENTS), ctckit.torch.ctc_loss(x, *ARGUMENTS))
        assert replaced.calls == 1
        F.ctc_loss(x, *ARGUMENTS)
    assert module.loss is loss
    assert module.other == 3
    F.ctc_loss(x, *ARGUMENTS)
    return replaced.calls


def test_names_in_modules() -> None:
    assert calls_in(TORCHS) == 2
    assert calls_in(BUILTIN) == 2


def test_a_function_bound_early_calls_ours() -> None:
    """torch.nn.functional.ctc_loss calls torch.ctc_loss, which is replaced, with its reduction as a number."""
    x = torch.from_numpy(BATCH.scores).log_softmax(-1).requires_grad_()
    for reduction, number in (("none", 0), ("mean", 1), ("sum", 2)):
        expected = ctckit.torch.ctc_loss(x, *ARGUMENTS, 0, reduction)
        with replace_torch_ctc() as replaced:
            assert torch.equal(TORCHS(x, *ARGUMENTS, 0, reduction), expected)
            assert torch.equal(torch.ctc_loss(x, *ARGUMENTS, 0, number), expected)
        assert replaced.calls == 2
    with replace_torch_ctc(), pytest.raises(ctckit.CTCError, match="reduction = 7 is unknown"):
        torch.ctc_loss(x, *ARGUMENTS, 0, 7)


def test_never_called() -> None:
    block = replace_torch_ctc()
    with pytest.warns(UserWarning, match=r"called 0 times: .*, is replaced in modules=\[\.\.\.\]"), block:
        BUILTIN(torch.from_numpy(BATCH.scores), *ARGUMENTS)
    assert block.calls == 0


def test_modules_that_hold_no_loss() -> None:
    for modules, named in (([module_with(x=1)], "somebodys"), (["math"], "math")):
        with pytest.raises(ctckit.CTCError, match=rf"modules\[0\] is {named}, which has no ctc_loss of torch's"):
            replace_torch_ctc(modules=modules).__enter__()


def test_as_a_decorator() -> None:
    @replace_torch_ctc()
    def run() -> bool:
        return is_ours()

    assert run()
    assert run()
    assert not is_ours()


def report(queue: multiprocessing.Queue, rank: int = -1) -> None:
    """What a process finds: whether the loss is ours, and what its own children would be handed."""
    early = importlib.import_module("support.early")
    bound = str(early.ctc_loss.__module__).startswith("ctckit")
    settings = [key for key in multiprocessing.current_process()._config if key.startswith("ctckit")]
    queue.put((rank, is_ours(), bound, len(settings)))


def spawned(rank: int, queue: multiprocessing.Queue) -> None:
    report(queue, rank)


def test_spawned_processes_inherit_it() -> None:
    """By multiprocessing, and by torch's own, as DistributedDataParallel is started; after the block, none does."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    with replace_torch_ctc(modules=["support.early"]):  # no call here, and no warning: the processes call it
        process = context.Process(target=report, args=(queue,))
        process.start()
        assert queue.get(timeout=120) == (-1, True, True, 1)
        process.join()
        torch.multiprocessing.spawn(spawned, (queue,), nprocs=1)
        assert queue.get(timeout=120) == (0, True, True, 1)
    process = context.Process(target=report, args=(queue,))
    process.start()
    assert queue.get(timeout=120) == (-1, False, False, 0)
    process.join()
