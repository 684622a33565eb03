"""Graphs in less room: weights in bfloat16, or matrices in eight bits."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

# Below so many numbers there is nothing to gain.
_SMALLEST = 1024


def narrow(graph: Any) -> Any:
    """A graph whose weights are kept in bfloat16 and widened as they are read: half the file.

    What is computed with them stays float32: the runtime has few operations in bfloat16 on a CPU. (torch has
    them: load the run folder with ``dtype="bfloat16"`` for speed.)

    Args:
        graph: The model as onnx has it; changed and returned.
    """
    import ml_dtypes

    import onnx

    tensors, nodes = [], []
    for tensor in graph.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < _SMALLEST:
            tensors.append(tensor)
            continue
        name = f"{tensor.name}.bfloat16"
        values = onnx.numpy_helper.to_array(tensor).astype(ml_dtypes.bfloat16)
        tensors.append(
            onnx.helper.make_tensor(name, onnx.TensorProto.BFLOAT16, tensor.dims, values.tobytes(), raw=True)
        )
        nodes.append(onnx.helper.make_node("Cast", [name], [tensor.name], to=onnx.TensorProto.FLOAT))
    nodes.extend(graph.graph.node)
    del graph.graph.initializer[:]
    graph.graph.initializer.extend(tensors)
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    return graph


def quantise(graph: Any) -> Any:
    """A graph whose matrix products are in eight bits, what they multiply scaled as it comes.

    Every column of a matrix has a scale of its own. The last product, which makes the scores of tags, stays
    as it is: it is small, and its errors would reach the decoder undamped.

    Args:
        graph: The model as onnx has it.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    import onnx

    products = [node for node in graph.graph.node if node.op_type in ("MatMul", "Gemm")]
    with tempfile.TemporaryDirectory(prefix="mner-") as folder:
        whole, small = Path(folder) / "whole.onnx", Path(folder) / "small.onnx"
        onnx.save(graph, whole)
        quantize_dynamic(
            whole,
            small,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["MatMul", "Gemm", "Gather"],
            nodes_to_exclude=[products[-1].name] if products else [],
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        return onnx.load(small)
