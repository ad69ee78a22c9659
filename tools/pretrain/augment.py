"""What another camera, other light and another crop do to a face: batches of N x 1 x 48 x 48 in 0..1, each face its own chance."""
import math

import torch
import torch.nn.functional as F

# The luminance table of JPEG (ITU-T T.81, table K.1) and the 8 x 8 cosine transform.
_QUANTA = torch.tensor([
    [16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99]], dtype=torch.float32)
_K = torch.arange(8, dtype=torch.float32)
_DCT = torch.cos(math.pi * (2 * _K[None, :] + 1) * _K[:, None] / 16) * torch.where(_K == 0, math.sqrt(1 / 8), 0.5)[:, None]


def _between(n, low, high, like):
    """n numbers of a uniform distribution, shaped to multiply N x 1 x H x W."""
    return torch.empty(n, 1, 1, 1, device=like.device).uniform_(low, high)


def _only(share, changed, x):
    """What has changed, for a share of the faces."""
    return torch.where(torch.rand(len(x), 1, 1, 1, device=x.device) < share, changed, x)


def place(x, strength=1.0):
    """Mirror, rotation, scale and aspect, shift. The spread is widest at 1: 20 degrees, scales 0.77 to 1.35, 6 pixels."""
    n, d = len(x), x.device
    # The mean of two uniform numbers: most faces are near the middle, none beyond the ends.
    u = (torch.rand(5, n, device=d) + torch.rand(5, n, device=d) - 1) * strength
    angle = u[0] * math.radians(25)
    # Coordinates are divided by the scale: above 1 the face grows.
    scale = torch.exp(-u[1] * 0.3 - 0.02)
    aspect = torch.exp(u[2] * 0.1)
    flip = torch.where(torch.rand(n, device=d) < 0.5, -1.0, 1.0)
    a, b = scale * aspect, scale / aspect
    theta = torch.stack([
        torch.stack([a * torch.cos(angle) * flip, -b * torch.sin(angle), u[3] * 0.3], 1),
        torch.stack([a * torch.sin(angle) * flip, b * torch.cos(angle), u[4] * 0.3], 1)], 1)
    padding = ("border", "border", "reflection", "zeros")[int(torch.randint(4, ()))]
    return F.grid_sample(x, F.affine_grid(theta, x.shape, align_corners=False), padding_mode=padding, align_corners=False)


def light(x):
    """Gamma 0.5 to 2, contrast, brightness, and for some a shadow with a soft edge over a part of the face."""
    n, _, h, w = x.shape
    x = _only(0.5, x.clamp(1e-4, 1) ** torch.exp(_between(n, -0.7, 0.7, x)), x)
    middle = x.mean((1, 2, 3), keepdim=True)
    x = (x - middle) * torch.exp(_between(n, -0.6, 0.4, x)) + middle + _between(n, -0.2, 0.2, x)
    angle = _between(n, 0, 2 * math.pi, x)
    ys = torch.linspace(-1, 1, h, device=x.device)[None, None, :, None]
    xs = torch.linspace(-1, 1, w, device=x.device)[None, None, None, :]
    away = torch.cos(angle) * xs + torch.sin(angle) * ys - _between(n, -0.5, 0.5, x)
    shade = 1 - _between(n, 0.2, 0.8, x) * torch.sigmoid(away / _between(n, 0.03, 0.6, x))
    return _only(0.3, x.clamp(0, 1) * shade, x).clamp(0, 1)


def lens(x):
    """Blur, down to a third of the sharpness, or sharpening; noise; for some the blocks of JPEG."""
    n = len(x)
    taps = torch.tensor([1.0, 4, 6, 4, 1], device=x.device) / 16
    soft = F.conv2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), (taps[:, None] * taps)[None, None])
    x = _only(0.5, x + _between(n, -1.0, 0.6, x) * (x - soft), x)
    x = _only(0.3, x + _between(n, 0, 0.05, x) * torch.randn_like(x), x).clamp(0, 1)
    some = torch.rand(n, device=x.device) < 0.25
    return torch.where(some[:, None, None, None], jpeg(x, torch.empty(n, device=x.device).uniform_(20, 90)), x)


def jpeg(x, quality):
    """What is left of x after JPEG at a quality (1 to 100) for each face."""
    n, _, h, w = x.shape
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality) / 100
    quanta = (_QUANTA.to(x.device) * scale[:, None, None]).round().clamp(1, 255)[:, None, None]
    dct = _DCT.to(x.device)
    blocks = (x * 255 - 128).reshape(n, h // 8, 8, w // 8, 8).transpose(2, 3)
    waves = ((dct @ blocks @ dct.T) / quanta).round() * quanta
    return (((dct.T @ waves @ dct).transpose(2, 3).reshape(x.shape) + 128) / 255).clamp(0, 1)


def erase(x, share=0.35):
    """Covers a rectangle of up to two fifths of either side with one grey (Zhong et al. 2020, arXiv 1708.04896)."""
    n, _, h, w = x.shape
    size = torch.rand(2, n, 1, device=x.device) * 0.3 + 0.1
    at = torch.rand(2, n, 1, device=x.device) * (1 - size)
    rows, columns = (torch.arange(side, device=x.device)[None] / side for side in (h, w))
    rows = (rows >= at[0]) & (rows < at[0] + size[0])
    columns = (columns >= at[1]) & (columns < at[1] + size[1])
    hole = rows[:, None, :, None] & columns[:, None, None, :]
    return _only(share, torch.where(hole, torch.rand(n, 1, 1, 1, device=x.device), x), x)


def distort(x):
    """All of it, in the order in which a camera does it."""
    return erase(lens(light(place(x))))
