"""What a training step has to do at least: operations and bytes, counted from a model's layers."""

import collections
import math
from dataclasses import dataclass

import keras
from keras import layers


@dataclass(frozen=True)
class Work:
    """What a training step has to do.

    Attributes:
        products: Floating-point operations of convolutions and Dense layers, forward and backward.
        depthwise: Those of depthwise convolutions.
        weight_bytes: Bytes of trained weights, gradients and slots, each written and read once.
        activation_bytes: The same of what the forward pass keeps for the backward pass.
    """

    products: int
    depthwise: int
    weight_bytes: int
    activation_bytes: int

    @property
    def operations(self) -> int:
        """All floating-point operations."""
        return self.products + self.depthwise

    def seconds(self, rate: float, bandwidth: float) -> tuple[float, float]:
        """Returns the least seconds for the operations, and for the bytes.

        Args:
            rate: Floating-point operations a second.
            bandwidth: Bytes a second, read or written.
        """
        moved = self.weight_bytes + self.activation_bytes
        return self.operations / rate, moved / bandwidth


def work_of(model: keras.Model, batch: int, number_bytes: int = 4) -> Work:
    """Counts what a step of a compiled functional model has to do.

    A product's and its gradients' operations are multiplications and additions. The gradient of a
    kernel takes as many as the layer; so does that of its input, which is not needed if no layer
    before it is trained. Biases, BatchNorm, activations, pooling, dropout, loss, metrics and the
    optimizer's arithmetic are left out.

    The backward pass needs the inputs of trained layers with a kernel and of trained BatchNorm. All
    else could be computed again from these while they are read. A padded input needs no copy.

    Args:
        model: The model; its layers' ``trainable`` counts. The optimizer must be built.
        batch: Images a step.
        number_bytes: Bytes of a number that is kept for the backward pass. Weights, gradients and
            slots have 4.
    """
    operations: collections.Counter[str] = collections.Counter()
    padded: dict[int, keras.KerasTensor] = {}  # what was padded, by the id of the result
    kept: dict[int, int] = {}
    depend: set[int] = set()  # the tensors that depend on a trained weight
    for _, nodes in sorted(model._nodes_by_depth.items(), reverse=True):
        for node in nodes:
            layer, inputs, outputs = node.operation, node.input_tensors, node.output_tensors
            behind = any(id(tensor) in depend for tensor in inputs)
            if behind or layer.trainable_weights:
                depend.update(map(id, outputs))
            if isinstance(layer, layers.ZeroPadding2D):
                padded[id(outputs[0])] = inputs[0]
            has_kernel = isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D | layers.Dense)
            if not layer.trainable_weights or not (
                has_kernel or isinstance(layer, layers.BatchNormalization)
            ):
                continue
            source = padded.get(id(inputs[0]), inputs[0])
            kept[id(source)] = batch * math.prod(source.shape[1:])
            if has_kernel:
                kind = "depthwise" if isinstance(layer, layers.DepthwiseConv2D) else "products"
                places = batch * math.prod(outputs[0].shape[1:-1])
                passes = 3 if behind else 2
                operations[kind] += passes * 2 * math.prod(layer.kernel.shape) * places
    weights = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    slots = sum(math.prod(slot.shape) for slot in model.optimizer.variables if len(slot.shape))
    return Work(
        operations["products"],
        operations["depthwise"],
        2 * 4 * (2 * weights + slots),
        2 * number_bytes * sum(kept.values()),
    )
