"""Compare the compiled network with the eager one, in a process of its own: a function that checks its argument types
while it runs, as in the tests, cannot be compiled. Prints the largest differences of outputs and of gradients.
"""

import copy

import torch

from fdp_lightning.config import configuration
from fdp_lightning.instantiate import build, build_model
from fdp_lightning.models.recognizer import Clips

torch.set_num_threads(1)
torch.manual_seed(0)
config = configuration(
    "model.mer_head.dropout=0.0",
    "model/dic_head=unet",
    "model.dic_head.depth=1",
    "model.backbone.stages=[{n_local: 1, width: 16, n_global: 1, global_width: 32, sr_ratio: 2}]",
)
eager = build_model(config, 5).train()
compiled = copy.deepcopy(eager)
compiled.compile()
objective = build(config.model.objective)
frames, target = torch.rand(2, 8, 1, 64, 64), torch.tensor([0, 1])
outputs = [model(frames) for model in (eager, compiled)]
for output in outputs:
    objective(output, Clips(frames, target)).total.backward()
for name in ("logits", "dynamic_image", "representation", "scores"):
    one, other = (getattr(output, name) for output in outputs)
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")
assert list(eager.state_dict()) == list(compiled.state_dict())
for (name, one), other in zip(eager.named_parameters(), compiled.parameters(), strict=True):
    # Some gradients are zero but for rounding: what is the same in all frames cancels.
    assert (one.grad - other.grad).norm() <= 5e-3 * one.grad.norm() + 1e-5, name
print("the same")
