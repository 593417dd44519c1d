"""Families of operators, and their colours.

An operator that is in no family is drawn as a neutral card under its own name.
"""

from __future__ import annotations

COLOURS = {
    "convolution": "#3b76b5",
    "linear": "#7e57c2",
    "pooling": "#cf5c5c",
    "join": "#43963f",
    "norm": "#8592a3",
    "activation": "#dd972b",
    "attention": "#0f8f99",
    "recurrent": "#b4508a",
    "reshape": "#9a7a5e",
    "other": "#64748b",
    "terminal": "#475569",
}
LEGEND = {"join": "add / concat", "reshape": "reshape / pad / resize", "attention": "attention / matmul"}
CHIP_INK = {"norm": ("#e5e9ee", "#566273"), "activation": ("#fdeed6", "#b06c0a"), "dropout": ("#f1e8fa", "#7a4fa8")}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FAMILIES = {
    "convolution": """
        convolution _convolution convolution_overrideable conv_depthwise3d _slow_conv2d_forward cudnn_convolution
        cudnn_convolution_transpose mkldnn_convolution
    """,
    "linear": """
        addmm mm linear addmv mv baddbmm addbmm embedding _embedding_bag _embedding_bag_forward_only bilinear
        _trilinear
    """,
    "attention": """
        bmm matmul dot einsum _scaled_dot_product_flash_attention _scaled_dot_product_flash_attention_for_cpu
        _scaled_dot_product_efficient_attention _scaled_dot_product_attention_math
        _scaled_dot_product_cudnn_attention _scaled_dot_product_fused_attention_overrideable
        _native_multi_head_attention
    """,
    "pooling": """
        max_pool2d_with_indices max_pool3d_with_indices max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d
        avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_max_pool2d
        adaptive_max_pool3d fractional_max_pool2d fractional_max_pool3d max_unpool2d max_unpool3d mean amax
    """,
    "join": """
        add sub mul div cat stack rsub maximum minimum where
    """,
    "norm": """
        native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training batch_norm
        _batch_norm_with_update _batch_norm_no_update cudnn_batch_norm native_layer_norm native_group_norm
        _fused_rms_norm linalg_vector_norm _weight_norm_interface instance_norm rms_norm
    """,
    "activation": """
        relu relu6 hardtanh leaky_relu elu selu celu gelu silu hardswish hardsigmoid sigmoid tanh softplus mish
        prelu _prelu_kernel log_sigmoid_forward threshold _softmax _log_softmax softshrink hardshrink glu rrelu
        rrelu_with_noise softmax log_softmax
    """,
    "dropout": """
        native_dropout dropout bernoulli feature_dropout alpha_dropout
    """,
    "recurrent": """
        lstm gru rnn_tanh rnn_relu _thnn_fused_lstm_cell _thnn_fused_gru_cell mkldnn_rnn_layer _cudnn_rnn
    """,
    "reshape": """
        view reshape flatten _unsafe_view permute transpose t slice select unfold im2col col2im constant_pad_nd
        reflection_pad2d replication_pad2d upsample_nearest1d upsample_nearest2d upsample_nearest3d
        upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d upsample_linear1d _upsample_bilinear2d_aa
        pixel_shuffle pixel_unshuffle roll index index_select gather flip repeat grid_sampler_2d split
        split_with_sizes unbind unsqueeze squeeze expand
    """,
}
FAMILY = {kind: family for family, kinds in _FAMILIES.items() for kind in kinds.split()}

PLUMBING = _words("""
    clone contiguous _unsafe_view _reshape_alias reshape _reshape_copy alias detach lift_fresh _to_copy to
    view_as_real view_as_complex resolve_conj
""")
"""Operators beside views that only hand their input on."""

SIGNS = {"add": "+", "sub": "−", "rsub": "−", "mul": "×", "div": "÷"}
"""Operators of two tensors that are drawn as a circle with a sign."""

COSTLY = frozenset({"convolution", "linear", "attention", "recurrent"})
"""Families whose operators cost multiply-adds."""

CREATION = _words("""
    new_zeros new_ones new_full new_empty zeros_like ones_like full_like empty_like new_empty_strided rand_like
    randn_like randint_like bernoulli
""")
"""Operators that take a tensor for its shape alone: nothing of it flows on."""

WHOLE = _words("""
    LocalResponseNorm CrossMapLRN2d MultiheadAttention LSTM GRU RNN LSTMCell GRUCell RNNCell PixelShuffle
    PixelUnshuffle ChannelShuffle Softmax Softmax2d LogSoftmax GroupNorm LayerNorm RMSNorm InstanceNorm1d
    InstanceNorm2d InstanceNorm3d BatchNorm1d BatchNorm2d BatchNorm3d SyncBatchNorm Hardswish Hardsigmoid GELU
    Mish SiLU Softplus Tanhshrink Softsign GLU LayerNorm2d Linear Bilinear Conv1d Conv2d Conv3d ConvTranspose1d
    ConvTranspose2d ConvTranspose3d CosineSimilarity PairwiseDistance Embedding EmbeddingBag Upsample Dropout
    Dropout2d Dropout3d AlphaDropout StochasticDepth DropPath LPPool2d AdaptiveAvgPool1d AdaptiveAvgPool2d
    AdaptiveAvgPool3d AdaptiveMaxPool2d AvgPool1d MaxPool1d FractionalMaxPool2d ZeroPad2d ReflectionPad2d
    ReplicationPad2d ConstantPad2d CircularPad2d FrozenBatchNorm2d Softmin
""")
"""Layers that are one card though they run several operators."""

DROPOUTS = _words("Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout")


def family(kind: str) -> str:
    """The family of an ATen operator; in-place or not is the same."""
    return FAMILY.get(kind) or FAMILY.get(kind.rstrip("_")) or "other"
