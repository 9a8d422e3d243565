"""Engines that run the network: PyTorch, compiled code, ONNX Runtime, OpenVINO."""
