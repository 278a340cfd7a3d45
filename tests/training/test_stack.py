"""Networks trained as one stack against each trained by itself, in double precision: no rounding hides a difference."""

import copy
from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn

from fdp_lightning.config import configuration
from fdp_lightning.instantiate import build_model
from fdp_lightning.models.fdp.objective import Objective
from fdp_lightning.training.module import RecognitionModule, clips_of
from fdp_lightning.training.optimizer import OptimizerSettings
from fdp_lightning.training.stack import Clipping, Stack

pytestmark = pytest.mark.costly

CLIPS, FRAMES, SIDE, CLASSES, STEPS = 3, 4, 32, 3, 3
RANDOM = ["model.mer_head.dropout=0.4", "model.backbone.drop_path=0.4"]
SETTINGS = OptimizerSettings(
    "adamw", lr=5e-3, weight_decay=0.05, rules={"backbone": {"lr": 0.5}}, schedule="cosine", warmup=0.4, ema=0.6
)
CLIPPING = Clipping(0.5)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_module(
    number: int, settings: OptimizerSettings = SETTINGS, overrides: Sequence[str] = RANDOM
) -> RecognitionModule:
    """Of a fold: weights, statistics and class weights are its own."""
    config = configuration(f"data.faces.size={SIDE}", f"data.sampling.frames={FRAMES}", *overrides)
    torch.manual_seed(number)
    model = build_model(config, CLASSES, mean=0.4 + 0.05 * number, std=0.2 + 0.02 * number)
    objective = Objective(
        rank=2.0, image_scale="signed", class_weighting="inverse", class_counts=[2, 3 + number, 5], label_smoothing=0.1
    )
    objective.image_rms.fill_(0.3 + 0.1 * number)
    return RecognitionModule(model, objective, settings).double().train()


def batch_of(number: int, step: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(100 * number + step)
    return {
        "frames": torch.rand(CLIPS, FRAMES, 1, SIDE, SIDE, generator=generator, dtype=torch.float64),
        "frame_number": torch.arange(FRAMES, dtype=torch.float64).repeat(CLIPS, 1),
        "apex": torch.tensor([1.0, torch.nan, 2.0], dtype=torch.float64),
        "target": torch.randint(0, CLASSES, (CLIPS,), generator=generator),
    }


def alone(number: int, steps: int = STEPS) -> tuple[RecognitionModule, list[float], dict[str, Tensor] | None]:
    """Trained by itself, as Lightning would: module, losses, averaged weights."""
    module = make_module(number)
    built = SETTINGS.build(module.model, STEPS)
    optimizer, schedule = built["optimizer"], built["lr_scheduler"]["scheduler"]
    average = AveragedModel(module, avg_fn=get_ema_avg_fn(0.6), use_buffers=True)
    torch.manual_seed(7 + number)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = module.evaluate(clips_of(batch_of(number, step)))[0].total
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.model.parameters(), CLIPPING.limit)
        optimizer.step()
        schedule.step()
        average.update_parameters(module)
        losses.append(loss.item())
    averaged = {name.removeprefix("module."): value for name, value in average.state_dict().items()}
    averaged.pop("n_averaged")
    return module, losses, averaged


def generators(numbers: Sequence[int]) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(7 + number) for number in numbers]


def stacked_batch(numbers: Sequence[int], step: int) -> dict[str, Tensor]:
    batches = [batch_of(number, step) for number in numbers]
    return {name: torch.stack([batch[name] for batch in batches]) for name in batches[0]}


def agree(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert set(weights) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-9, atol=1e-11, msg=lambda m, name=name: f"{name}: {m}")


def test_a_stack_trains_each_network_as_if_it_were_alone() -> None:
    numbers = [0, 1, 2]
    stack, drawing = Stack([make_module(n) for n in numbers], STEPS, CLIPPING), generators(numbers)
    losses = torch.stack([stack.step(stacked_batch(numbers, step), drawing)["loss"] for step in range(STEPS)], dim=1)
    for number in numbers:
        module, expected, averaged = alone(number)
        torch.testing.assert_close(losses[number], torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=0)
        agree(stack.weights(number, predicting=False), module.state_dict())
        assert averaged is not None
        agree(stack.weights(number), averaged)


def test_the_random_masks_matter_and_come_from_each_networks_own_generator() -> None:
    def losses(seeds: Sequence[int]) -> Tensor:
        stack = Stack([make_module(0), make_module(0)], STEPS, CLIPPING)
        drawing = [torch.Generator().manual_seed(seed) for seed in seeds]
        return stack.step(stacked_batch([0, 0], 0), drawing)["loss"]

    same, different = losses([3, 3]), losses([3, 4])
    assert same[0] == same[1]
    assert different[0] == same[0] and different[1] != same[1]


def test_the_data_of_one_network_change_no_bit_of_another() -> None:
    def train(spoil: bool) -> Stack:
        stack, drawing = Stack([make_module(n) for n in (0, 1, 2)], STEPS, CLIPPING), generators([0, 1, 2])
        for step in range(2):
            batch = stacked_batch([0, 1, 2], step)
            if spoil:
                batch["frames"][1] = torch.nan if step else 1 - batch["frames"][1]
            stack.step(batch, drawing)
        return stack

    one, other = train(False), train(True)
    for number in (0, 2):
        expected = one.weights(number, predicting=False)
        assert all(torch.equal(value, expected[name]) for name, value in other.weights(number, False).items())
    learnt = [name for name, _ in make_module(1).named_parameters()]
    before, after = one.weights(1, False), other.weights(1, False)
    assert all(after[name].isnan().all() and not before[name].isnan().any() for name in learnt)


@pytest.mark.parametrize("by", ["norm", "value"])
def test_each_networks_gradient_is_clipped_by_itself(by: str) -> None:
    gradients = [torch.randn(3, 4, 5), torch.randn(3), torch.randn(3, 2)]
    for gradient in gradients:
        gradient *= torch.tensor([0.01, 1.0, 100.0]).view(3, *[1] * (gradient.ndim - 1))
    expected = []
    for number in range(3):
        parameters = [torch.nn.Parameter(torch.zeros_like(gradient[number])) for gradient in gradients]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient[number].clone()
        if by == "norm":
            torch.nn.utils.clip_grad_norm_(parameters, 0.7)
        else:
            torch.nn.utils.clip_grad_value_(parameters, 0.7)
        expected.append([parameter.grad for parameter in parameters])
    untouched = copy.deepcopy(gradients)
    Clipping(0.0)(untouched)
    assert all(torch.equal(one, other) for one, other in zip(untouched, gradients, strict=True))
    Clipping(0.7, by)(gradients)
    for number in range(3):
        for gradient, wanted in zip(gradients, expected[number], strict=True):
            torch.testing.assert_close(gradient[number], wanted, rtol=1e-6, atol=1e-7)


def test_networks_can_be_left_out_and_a_saved_state_goes_on_as_the_training_would_have() -> None:
    numbers = [0, 1, 2]
    stack, drawing = Stack([make_module(n) for n in numbers], STEPS, CLIPPING), generators(numbers)
    stack.step(stacked_batch(numbers, 0), drawing)
    states, position = [stack.state(n) for n in (2, 0)], [drawing[n].get_state() for n in (2, 0)]
    stack.keep([2, 0])
    for step in (1, 2):
        stack.step(stacked_batch([2, 0], step), [drawing[2], drawing[0]])
    again = Stack([make_module(5), make_module(6)], STEPS, CLIPPING)
    again.load(states)
    anew = [torch.Generator(), torch.Generator()]
    for generator, state in zip(anew, position, strict=True):
        generator.set_state(state)
    for step in (1, 2):
        again.step(stacked_batch([2, 0], step), anew)
    for index, number in enumerate((2, 0)):
        module, _, averaged = alone(number)
        for one in (stack, again):
            agree(one.weights(index, predicting=False), module.state_dict())
            assert averaged is not None
            agree(one.weights(index), averaged)
