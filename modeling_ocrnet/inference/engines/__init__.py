"""What runs the network: PyTorch, code that PyTorch compiled, ONNX Runtime, OpenVINO."""
