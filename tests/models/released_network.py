"""An independent implementation of the released code's network from its description, with the released names.

`model=fdp_released` is tested against it; it shares no code with the package.
"""

import torch
from torch import nn
from torch.nn import functional as F

WIDTHS = [96] * 3 + [192] * 4 + [384] * 10 + [768] * 3
STARTS = (3, 7, 17)
VGG = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)


def conv_norm(n_in: int, n_out: int, kernel: int, stride: int = 1) -> nn.Module:
    module = nn.Module()
    module.conv = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False)
    module.norm = nn.BatchNorm2d(n_out, eps=1e-5)
    return module


class Block(nn.Module):
    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.patch_embed = conv_norm(n_in, n_out, 1) if stride == 2 or n_in != n_out else nn.Module()
        self.mhca = nn.Module()
        self.mhca.group_conv3x3 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(n_out, eps=1e-5)
        self.mlp = nn.Module()
        self.mlp.conv1, self.mlp.conv2 = nn.Conv2d(n_out, 3 * n_out, 1), nn.Conv2d(3 * n_out, n_out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride == 2:
            x = F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False)
        if hasattr(self.patch_embed, "conv"):
            x = self.patch_embed.norm(self.patch_embed.conv(x))
        x = x + self.mhca.group_conv3x3(x)
        return x + self.mlp.conv2(F.relu(self.mlp.conv1(self.norm(x))))


class FrameRepresentation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.ModuleList(
            conv_norm(i, o, 3, s) for i, o, s in ((1, 64, 2), (64, 32, 1), (32, 64, 1), (64, 64, 2))
        )
        before = [64, *WIDTHS[:-1]]
        self.features = nn.ModuleList(
            Block(i, o, 2 if number in STARTS else 1) for number, (i, o) in enumerate(zip(before, WIDTHS, strict=True))
        )
        self.norm = nn.BatchNorm2d(768, eps=1e-5)
        self.proj_head = nn.ModuleList([nn.Linear(768, 4096)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.stem:
            x = F.relu(layer.norm(layer.conv(x)))
        for block in self.features:
            x = block(x)
        return self.proj_head[0](self.norm(x).mean(dim=(2, 3)))


class SegNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        width = 8
        for s, widths in enumerate(VGG, 1):
            for layer, n_out in enumerate(widths, 1):
                setattr(self, f"conv{s}{layer}", nn.Conv2d(width, n_out, 3, padding=1))
                setattr(self, f"bn{s}{layer}", nn.BatchNorm2d(n_out, momentum=0.1))
                width = n_out
        layers = [(s, layer) for s in (5, 4, 3, 2, 1) for layer in range(len(VGG[s - 1]), 0, -1)]
        for (s, layer), n_out in zip(layers, (*(512,) * 5, *(256,) * 3, 128, 128, 64, 64, 1), strict=True):
            setattr(self, f"conv{s}{layer}d", nn.Conv2d(width, n_out, 3, padding=1))
            if (s, layer) != (1, 1):
                setattr(self, f"bn{s}{layer}d", nn.BatchNorm2d(n_out, momentum=0.1))
            width = n_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = []
        for s, widths in enumerate(VGG, 1):
            for layer in range(1, len(widths) + 1):
                x = F.relu(getattr(self, f"bn{s}{layer}")(getattr(self, f"conv{s}{layer}")(x)))
            x, where = F.max_pool2d(x, 2, 2, return_indices=True)
            kept.append(where)
        for s in (5, 4, 3, 2, 1):
            x = F.max_unpool2d(x, kept[s - 1], [2, 2])
            for layer in range(len(VGG[s - 1]), 0, -1):
                x = getattr(self, f"conv{s}{layer}d")(x)
                x = x.sigmoid() if (s, layer) == (1, 1) else F.relu(getattr(self, f"bn{s}{layer}d")(x))
        return x


class ReleasedNetwork(nn.Module):
    """The network; maps clips (b, 1, 8, 1, 64, 64) to logits (b, k) and dynamic images (b, 1, 64, 64)."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.frame_rep = FrameRepresentation()
        self.mer = nn.Module()
        self.mer.conv3d = nn.Conv3d(1, 8, (3, 3, 8), padding=(1, 1, 0))
        self.mer.fc1, self.mer.fc2 = nn.Linear(3528, 256), nn.Linear(256, classes)
        self.dyimg_net = SegNet()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        frames = [self.frame_rep(x[:, 0, t]) for t in range(8)]
        volume = torch.stack(frames, dim=1).reshape(-1, 1, 64, 64, 8)
        maps = self.mer.conv3d(volume)
        hidden = F.relu(self.mer.fc1(F.max_pool3d(maps, (3, 3, 1)).flatten(1)))
        return self.mer.fc2(hidden), self.dyimg_net(maps.squeeze(4))
