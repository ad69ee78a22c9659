"""The models of src/model/model.ts in PyTorch: kernels, strides, batch-norm constants and initialization are Keras's."""
import torch.nn as nn

# Filters of each block, padding of the first convolution, units of the hidden dense layers, dropout after a block and after a
# dense layer.
MODELS = {
    "seed": ((64, 128, 256, 512), 0, (512, 256, 64), 0.3, 0.3),
    "compact": ((16, 32, 64, 128), 1, (64,), 0.1, 0.3),
}


def build(name, dropout=None):
    """N x 1 x 48 x 48 in 0..1 to N x 7 logits; `dropout`: (block, dense), where it is not what the clients of a federation have."""
    blocks, first, dense, *own = MODELS[name]
    block_dropout, dense_dropout = dropout or own
    layers, channels, side = [], 1, 48 - 2 * (1 - first)
    for filters in blocks:
        for _ in range(2):
            layers += [nn.Conv2d(channels, filters, 3, padding=1 if layers else first), nn.ReLU(),
                       nn.BatchNorm2d(filters, eps=1e-3, momentum=0.01)]
            channels = filters
        layers += [nn.MaxPool2d(3, 2), nn.Dropout(block_dropout)]
        side = (side - 3) // 2 + 1
    layers.append(nn.Flatten())
    width = channels * side * side
    for units in dense:
        layers += [nn.Linear(width, units), nn.ReLU(), nn.Dropout(dense_dropout)]
        width = units
    model = nn.Sequential(*layers, nn.Linear(width, 7))
    for layer in model:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return model
