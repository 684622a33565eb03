"""Models as ONNX: written with open sizes, run by onnxruntime on the route that all models take."""

from __future__ import annotations

from mner.onnx.recognizing import OnnxRecognizer

__all__ = ["OnnxRecognizer"]
