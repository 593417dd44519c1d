"""Models in files: exported programs (.pt2) and ONNX graphs, read as data and made into modules that can be traced.

programs         steps that read and write named values, as an nn.Module
exported         torch.export's archive; exported_steps: its nodes
onnx_graphs      ONNX; onnx_operators: what each operator is in torch
"""
