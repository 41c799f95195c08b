/* onnx_ops.c: the table of ops: the list of what is read. */
#include "frontend/onnx.h"

#include <string.h>

static const struct fe_onnx_op_info ops[] = {
    {"TreeEnsembleRegressor", true, 1, 1, 1, fe_onnx_tree_regressor,
     "aggregate_function:s base_values:F base_values_as_tensor:t n_targets:i "
     "nodes_falsenodeids:I nodes_featureids:I nodes_hitrates:F "
     "nodes_hitrates_as_tensor:t nodes_missing_value_tracks_true:I "
     "nodes_modes:S nodes_nodeids:I nodes_treeids:I nodes_truenodeids:I "
     "nodes_values:F nodes_values_as_tensor:t post_transform:s target_ids:I "
     "target_nodeids:I target_treeids:I target_weights:F "
     "target_weights_as_tensor:t"},
    {"TreeEnsembleClassifier", true, 1, 1, 2, fe_onnx_tree_classifier,
     "base_values:F base_values_as_tensor:t class_ids:I class_nodeids:I "
     "class_treeids:I class_weights:F class_weights_as_tensor:t "
     "classlabels_int64s:I classlabels_strings:S nodes_falsenodeids:I "
     "nodes_featureids:I nodes_hitrates:F nodes_hitrates_as_tensor:t "
     "nodes_missing_value_tracks_true:I nodes_modes:S nodes_nodeids:I "
     "nodes_treeids:I nodes_truenodeids:I nodes_values:F "
     "nodes_values_as_tensor:t post_transform:s"},
    {"TreeEnsemble", true, 1, 1, 1, fe_onnx_tree_ensemble,
     "aggregate_function:i leaf_targetids:I leaf_weights:t "
     "membership_values:t n_targets:i nodes_falseleafs:I "
     "nodes_falsenodeids:I nodes_featureids:I nodes_hitrates:t "
     "nodes_missing_value_tracks_true:I nodes_modes:t nodes_splits:t "
     "nodes_trueleafs:I nodes_truenodeids:I post_transform:i tree_roots:I"},
    {"LinearClassifier", true, 1, 1, 2, fe_onnx_linear_classifier,
     "classlabels_ints:I classlabels_strings:S coefficients:F intercepts:F "
     "multi_class:i post_transform:s"},
    {"LinearRegressor", true, 1, 1, 1, fe_onnx_linear_regressor,
     "coefficients:F intercepts:F post_transform:s targets:i"},
    {"Scaler", true, 1, 1, 1, fe_onnx_scaler, "offset:F scale:F"},
    {"Imputer", true, 1, 1, 1, fe_onnx_imputer,
     "imputed_value_floats:F imputed_value_int64s:I replaced_value_float:f "
     "replaced_value_int64:i"},
    {"Normalizer", true, 1, 1, 1, fe_onnx_normalizer, "norm:s"},
    {"Binarizer", true, 1, 1, 1, fe_onnx_binarizer, "threshold:f"},
    {"OneHotEncoder", true, 1, 1, 1, fe_onnx_one_hot_encoder,
     "cats_int64s:I cats_strings:S zeros:i"},
    {"LabelEncoder", true, 1, 1, 1, fe_onnx_label_encoder,
     "classes_strings:S default_float:f default_int64:i default_string:s "
     "default_tensor:t keys_floats:F keys_int64s:I keys_strings:S "
     "keys_tensor:t values_floats:F values_int64s:I values_strings:S "
     "values_tensor:t"},
    {"CategoryMapper", true, 1, 1, 1, fe_onnx_category_mapper,
     "cats_int64s:I cats_strings:S default_int64:i default_string:s"},
    {"FeatureVectorizer", true, 1, IR_MAX_OPERANDS, 1,
     fe_onnx_feature_vectorizer, "inputdimensions:I"},
    {"ArrayFeatureExtractor", true, 2, 2, 1, fe_onnx_array_feature_extractor,
     ""},
    {"ZipMap", true, 1, 1, 1, fe_onnx_zip_map,
     "classlabels_int64s:I classlabels_strings:S"},
    {"Constant", false, 0, 0, 1, fe_onnx_constant,
     "value:t value_float:f value_floats:F value_int:i value_ints:I "
     "value_string:s value_strings:S"},
    {"Identity", false, 1, 1, 1, fe_onnx_identity, ""},
    {"Dropout", false, 1, 3, 1, fe_onnx_dropout, "seed:i ratio:f is_test:i"},
    {"Cast", false, 1, 1, 1, fe_onnx_cast, "to:i saturate:i"},
    {"CastLike", false, 2, 2, 1, fe_onnx_cast_like, "saturate:i"},
    {"Reshape", false, 1, 2, 1, fe_onnx_reshape, "shape:I allowzero:i"},
    {"Shape", false, 1, 1, 1, fe_onnx_shape, "start:i end:i"},
    {"Size", false, 1, 1, 1, fe_onnx_size_op, ""},
    {"ConstantOfShape", false, 1, 1, 1, fe_onnx_constant_of_shape, "value:t"},
    {"Range", false, 3, 3, 1, fe_onnx_range, ""},
    {"Flatten", false, 1, 1, 1, fe_onnx_flatten, "axis:i"},
    {"Unsqueeze", false, 1, 2, 1, fe_onnx_unsqueeze, "axes:I"},
    {"Squeeze", false, 1, 2, 1, fe_onnx_squeeze, "axes:I"},
    {"Concat", false, 1, IR_MAX_OPERANDS, 1, fe_onnx_concat_op, "axis:i"},
    {"Split", false, 1, 2, IR_MAX_OPERANDS, fe_onnx_split,
     "axis:i split:I num_outputs:i"},
    {"Slice", false, 1, 5, 1, fe_onnx_slice, "axes:I starts:I ends:I"},
    {"Gather", false, 2, 2, 1, fe_onnx_gather_op, "axis:i"},
    {"GatherElements", false, 2, 2, 1, fe_onnx_gather_elements, "axis:i"},
    {"GatherND", false, 2, 2, 1, fe_onnx_gather_nd, "batch_dims:i"},
    {"ScatterND", false, 3, 3, 1, fe_onnx_scatter_nd, "reduction:s"},
    {"ScatterElements", false, 3, 3, 1, fe_onnx_scatter_elements,
     "axis:i reduction:s"},
    {"Scatter", false, 3, 3, 1, fe_onnx_scatter_elements, "axis:i"},
    {"TopK", false, 1, 2, 2, fe_onnx_top_k, "axis:i k:i largest:i sorted:i"},
    {"EyeLike", false, 1, 1, 1, fe_onnx_eye_like, "dtype:i k:i"},
    {"ReverseSequence", false, 2, 2, 1, fe_onnx_reverse_sequence,
     "batch_axis:i time_axis:i"},
    {"OneHot", false, 3, 3, 1, fe_onnx_one_hot, "axis:i"},
    {"Trilu", false, 1, 2, 1, fe_onnx_trilu, "upper:i"},
    {"Einsum", false, 1, 2, 1, fe_onnx_einsum, "equation:s"},
    {"Transpose", false, 1, 1, 1, fe_onnx_transpose, "perm:I"},
    {"Expand", false, 2, 2, 1, fe_onnx_expand, ""},
    {"Tile", false, 2, 2, 1, fe_onnx_tile, ""},
    {"DepthToSpace", false, 1, 1, 1, fe_onnx_depth_to_space,
     "blocksize:i mode:s"},
    {"SpaceToDepth", false, 1, 1, 1, fe_onnx_space_to_depth, "blocksize:i"},
    {"Pad", false, 1, 4, 1, fe_onnx_pad, "mode:s pads:I value:f"},
    {"Neg", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Abs", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Sign", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Exp", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Log", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Sqrt", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Reciprocal", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Floor", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Ceil", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Round", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Erf", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Sin", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Cos", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Tan", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Atan", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Asin", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Acos", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Sinh", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Cosh", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Asinh", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Acosh", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Atanh", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Relu", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Sigmoid", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Tanh", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Softplus", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Softsign", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Mish", false, 1, 1, 1, fe_onnx_unary, ""},
    {"HardSwish", false, 1, 1, 1, fe_onnx_unary, ""},
    {"LeakyRelu", false, 1, 1, 1, fe_onnx_unary, "alpha:f"},
    {"ThresholdedRelu", false, 1, 1, 1, fe_onnx_unary, "alpha:f"},
    {"Elu", false, 1, 1, 1, fe_onnx_unary, "alpha:f"},
    {"Celu", false, 1, 1, 1, fe_onnx_unary, "alpha:f"},
    {"Swish", false, 1, 1, 1, fe_onnx_unary, "alpha:f"},
    {"HardSigmoid", false, 1, 1, 1, fe_onnx_unary, "alpha:f beta:f"},
    {"Selu", false, 1, 1, 1, fe_onnx_selu, "alpha:f gamma:f"},
    {"Shrink", false, 1, 1, 1, fe_onnx_shrink, "bias:f lambd:f"},
    {"Gelu", false, 1, 1, 1, fe_onnx_gelu, "approximate:s"},
    {"Not", false, 1, 1, 1, fe_onnx_unary, ""},
    {"IsNaN", false, 1, 1, 1, fe_onnx_unary, ""},
    {"IsInf", false, 1, 1, 1, fe_onnx_is_inf,
     "detect_negative:i detect_positive:i"},
    {"Add", false, 2, 2, 1, fe_onnx_binary, "broadcast:i"},
    {"Sub", false, 2, 2, 1, fe_onnx_binary, "broadcast:i"},
    {"Mul", false, 2, 2, 1, fe_onnx_binary, "broadcast:i"},
    {"Div", false, 2, 2, 1, fe_onnx_binary, "broadcast:i"},
    {"Pow", false, 2, 2, 1, fe_onnx_binary, "broadcast:i"},
    {"Less", false, 2, 2, 1, fe_onnx_binary, "broadcast:i"},
    {"Greater", false, 2, 2, 1, fe_onnx_binary, "broadcast:i"},
    {"Equal", false, 2, 2, 1, fe_onnx_binary, "broadcast:i"},
    {"And", false, 2, 2, 1, fe_onnx_binary, "broadcast:i"},
    {"Or", false, 2, 2, 1, fe_onnx_binary, "broadcast:i"},
    {"Xor", false, 2, 2, 1, fe_onnx_binary, "broadcast:i"},
    {"LessOrEqual", false, 2, 2, 1, fe_onnx_binary, ""},
    {"GreaterOrEqual", false, 2, 2, 1, fe_onnx_binary, ""},
    {"PRelu", false, 2, 2, 1, fe_onnx_binary, ""},
    {"Mod", false, 2, 2, 1, fe_onnx_mod, "fmod:i"},
    {"Min", false, 1, IR_MAX_OPERANDS, 1, fe_onnx_variadic, ""},
    {"Max", false, 1, IR_MAX_OPERANDS, 1, fe_onnx_variadic, ""},
    {"Sum", false, 1, IR_MAX_OPERANDS, 1, fe_onnx_variadic, ""},
    {"Mean", false, 1, IR_MAX_OPERANDS, 1, fe_onnx_variadic, ""},
    {"Clip", false, 1, 3, 1, fe_onnx_clip, "min:f max:f"},
    {"Where", false, 3, 3, 1, fe_onnx_where, ""},
    {"Softmax", false, 1, 1, 1, fe_onnx_softmax, "axis:i"},
    {"LogSoftmax", false, 1, 1, 1, fe_onnx_log_softmax, "axis:i"},
    {"Hardmax", false, 1, 1, 1, fe_onnx_hardmax, "axis:i"},
    {"ArgMax", false, 1, 1, 1, fe_onnx_arg_max,
     "axis:i keepdims:i select_last_index:i"},
    {"ArgMin", false, 1, 1, 1, fe_onnx_arg_max,
     "axis:i keepdims:i select_last_index:i"},
    {"ReduceSum", false, 1, 2, 1, fe_onnx_reduce_op,
     "axes:I keepdims:i noop_with_empty_axes:i"},
    {"ReduceMean", false, 1, 2, 1, fe_onnx_reduce_op,
     "axes:I keepdims:i noop_with_empty_axes:i"},
    {"ReduceMax", false, 1, 2, 1, fe_onnx_reduce_op,
     "axes:I keepdims:i noop_with_empty_axes:i"},
    {"ReduceMin", false, 1, 2, 1, fe_onnx_reduce_op,
     "axes:I keepdims:i noop_with_empty_axes:i"},
    {"ReduceProd", false, 1, 2, 1, fe_onnx_reduce_op,
     "axes:I keepdims:i noop_with_empty_axes:i"},
    {"ReduceL1", false, 1, 2, 1, fe_onnx_reduce_op,
     "axes:I keepdims:i noop_with_empty_axes:i"},
    {"ReduceL2", false, 1, 2, 1, fe_onnx_reduce_op,
     "axes:I keepdims:i noop_with_empty_axes:i"},
    {"ReduceSumSquare", false, 1, 2, 1, fe_onnx_reduce_op,
     "axes:I keepdims:i noop_with_empty_axes:i"},
    {"ReduceLogSum", false, 1, 2, 1, fe_onnx_reduce_op,
     "axes:I keepdims:i noop_with_empty_axes:i"},
    {"ReduceLogSumExp", false, 1, 2, 1, fe_onnx_reduce_op,
     "axes:I keepdims:i noop_with_empty_axes:i"},
    {"CumSum", false, 2, 2, 1, fe_onnx_cum_sum, "exclusive:i reverse:i"},
    {"MatMul", false, 2, 2, 1, fe_onnx_matmul, ""},
    {"Gemm", false, 2, 3, 1, fe_onnx_gemm,
     "alpha:f beta:f transA:i transB:i broadcast:i"},
    {"Conv", false, 2, 3, 1, fe_onnx_conv,
     "auto_pad:s dilations:I group:i kernel_shape:I pads:I strides:I"},
    {"ConvTranspose", false, 2, 3, 1, fe_onnx_conv_transpose,
     "auto_pad:s dilations:I group:i kernel_shape:I output_padding:I "
     "output_shape:I pads:I strides:I"},
    {"MaxPool", false, 1, 1, 1, fe_onnx_max_pool,
     "auto_pad:s ceil_mode:i dilations:I kernel_shape:I pads:I "
     "storage_order:i strides:I"},
    {"AveragePool", false, 1, 1, 1, fe_onnx_average_pool,
     "auto_pad:s ceil_mode:i count_include_pad:i dilations:I kernel_shape:I "
     "pads:I strides:I"},
    {"LpPool", false, 1, 1, 1, fe_onnx_lp_pool,
     "auto_pad:s ceil_mode:i dilations:I kernel_shape:I p:i pads:I "
     "strides:I"},
    {"GlobalMaxPool", false, 1, 1, 1, fe_onnx_global_pool, ""},
    {"GlobalAveragePool", false, 1, 1, 1, fe_onnx_global_pool, ""},
    {"GlobalLpPool", false, 1, 1, 1, fe_onnx_global_pool, "p:i"},
    {"BatchNormalization", false, 5, 5, 1, fe_onnx_batch_normalization,
     "epsilon:f momentum:f spatial:i training_mode:i"},
    {"LayerNormalization", false, 2, 3, 3, fe_onnx_layer_normalization,
     "axis:i epsilon:f stash_type:i"},
    {"RMSNormalization", false, 2, 2, 1, fe_onnx_rms_normalization,
     "axis:i epsilon:f stash_type:i"},
    {"SimplifiedLayerNormalization", false, 2, 2, 1,
     fe_onnx_rms_normalization, "axis:i epsilon:f stash_type:i"},
    {"InstanceNormalization", false, 3, 3, 1, fe_onnx_instance_normalization,
     "epsilon:f"},
    {"GroupNormalization", false, 3, 3, 1, fe_onnx_group_normalization,
     "epsilon:f num_groups:i stash_type:i"},
    {"LpNormalization", false, 1, 1, 1, fe_onnx_lp_normalization,
     "axis:i p:i"},
    {"LRN", false, 1, 1, 1, fe_onnx_lrn, "alpha:f beta:f bias:f size:i"},
    {"Attention", false, 3, 7, 4, fe_onnx_attention,
     "is_causal:i kv_num_heads:i q_num_heads:i qk_matmul_output_mode:i scale:f "
     "softcap:f softmax_precision:i"},
    {"RotaryEmbedding", false, 3, 4, 1, fe_onnx_rotary_embedding,
     "interleaved:i num_heads:i rotary_embedding_dim:i"},
    {"GridSample", false, 2, 2, 1, fe_onnx_grid_sample,
     "align_corners:i mode:s padding_mode:s"},
    {"MeanVarianceNormalization", false, 1, 1, 1, fe_onnx_mean_variance,
     "axes:I"},
    {"Resize", false, 1, 4, 1, fe_onnx_resize,
     "antialias:i axes:I coordinate_transformation_mode:s cubic_coeff_a:f "
     "exclude_outside:i extrapolation_value:f keep_aspect_ratio_policy:s "
     "mode:s nearest_mode:s"},
    {"Upsample", false, 1, 2, 1, fe_onnx_upsample, "mode:s scales:F"},
    {"LSTM", false, 3, 8, 3, fe_onnx_lstm,
     "activation_alpha:F activation_beta:F activations:S clip:f direction:s "
     "hidden_size:i input_forget:i layout:i"},
    {"GRU", false, 3, 6, 2, fe_onnx_gru,
     "activation_alpha:F activation_beta:F activations:S clip:f direction:s "
     "hidden_size:i layout:i linear_before_reset:i"},
    {"RNN", false, 3, 6, 2, fe_onnx_rnn,
     "activation_alpha:F activation_beta:F activations:S clip:f direction:s "
     "hidden_size:i layout:i"},
    {"If", false, 1, 1, IR_MAX_OPERANDS, fe_onnx_if,
     "then_branch:g else_branch:g"},
    {"Loop", false, 2, IR_MAX_OPERANDS, IR_MAX_OPERANDS, fe_onnx_loop_op,
     "body:g"},
    {"Scan", false, 1, IR_MAX_OPERANDS, IR_MAX_OPERANDS, fe_onnx_scan_op,
     "body:g num_scan_inputs:i directions:I scan_input_axes:I "
     "scan_input_directions:I scan_output_axes:I scan_output_directions:I"},
    {"QuantizeLinear", false, 2, 3, 1, fe_onnx_quantize,
     "axis:i block_size:i output_dtype:i precision:i saturate:i"},
    {"DequantizeLinear", false, 2, 3, 1, fe_onnx_dequantize,
     "axis:i block_size:i output_dtype:i"},
    {"DynamicQuantizeLinear", false, 1, 1, 3, fe_onnx_dynamic_quantize, ""},
    {"ConvInteger", false, 2, 4, 1, fe_onnx_conv_integer,
     "auto_pad:s dilations:I group:i kernel_shape:I pads:I strides:I"},
    {"QLinearConv", false, 8, 9, 1, fe_onnx_qlinear_conv,
     "auto_pad:s dilations:I group:i kernel_shape:I pads:I strides:I"},
    {"MatMulInteger", false, 2, 4, 1, fe_onnx_matmul_integer, ""},
    {"QLinearMatMul", false, 8, 8, 1, fe_onnx_qlinear_matmul, ""},
};
enum { N_OPS = sizeof ops / sizeof *ops };

/* Those of com.microsoft. */
static const struct fe_onnx_op_info microsoft[] = {
    {"QuantizeLinear", false, 2, 3, 1, fe_onnx_quantize, "axis:i"},
    {"DequantizeLinear", false, 2, 3, 1, fe_onnx_dequantize, "axis:i"},
    {"Attention", false, 3, 7, 1, fe_onnx_self_attention,
     "do_rotary:i mask_filter_value:f num_heads:i past_present_share_buffer:i "
     "qkv_hidden_sizes:I rotary_embedding_dim:i scale:f unidirectional:i"},
    {"MultiHeadAttention", false, 1, 8, 3, fe_onnx_multi_head_attention,
     "mask_filter_value:f num_heads:i scale:f unidirectional:i"},
    {"RotaryEmbedding", false, 4, 4, 1, fe_onnx_rotary_embedding_old,
     "interleaved:i is_packed_batching:i num_heads:i rotary_embedding_dim:i "
     "scale:f"},
    {"Gelu", false, 1, 1, 1, fe_onnx_gelu, ""},
    {"FastGelu", false, 1, 2, 1, fe_onnx_gelu_of, ""},
    {"BiasGelu", false, 2, 2, 1, fe_onnx_gelu_of, ""},
    {"QuickGelu", false, 1, 1, 1, fe_onnx_gelu_of, "alpha:f"},
    {"FusedConv", false, 2, 4, 1, fe_onnx_fused_conv,
     "activation:s activation_params:F auto_pad:s dilations:I group:i "
     "kernel_shape:I pads:I strides:I"},
    {"FusedGemm", false, 2, 3, 1, fe_onnx_fused_gemm,
     "activation:s activation_alpha:f activation_beta:f activation_gamma:f "
     "alpha:f beta:f transA:i transB:i"},
    {"FusedMatMul", false, 2, 2, 1, fe_onnx_fused_matmul,
     "alpha:f transA:i transB:i transBatchA:i transBatchB:i"},
    {"TransposeMatMul", false, 2, 2, 1, fe_onnx_fused_matmul,
     "alpha:f transA:i transB:i transBatchA:i transBatchB:i"},
    {"SkipLayerNormalization", false, 3, 5, 4, fe_onnx_skip_normalization,
     "epsilon:f"},
    {"SkipSimplifiedLayerNormalization", false, 3, 4, 4,
     fe_onnx_skip_normalization, "epsilon:f"},
    {"EmbedLayerNormalization", false, 7, 9, 3, fe_onnx_embed_normalization,
     "epsilon:f mask_index_type:i"},
    {"MatMulNBits", false, 3, 6, 1, fe_onnx_matmul_bits,
     "K:i N:i accuracy_level:i bits:i block_size:i "
     "weight_prepacked:i"},
    {"QGemm", false, 6, 9, 1, fe_onnx_qgemm, "alpha:f transA:i transB:i"},
    {"MatMulIntegerToFloat", false, 4, 7, 1, fe_onnx_matmul_scaled, ""},
    {"DynamicQuantizeMatMul", false, 3, 5, 1, fe_onnx_dynamic_matmul, ""},
    {"DynamicQuantizeLSTM", false, 12, 12, 3, fe_onnx_dynamic_lstm,
     "activation_alpha:F activation_beta:F activations:S clip:f direction:s "
     "hidden_size:i input_forget:i"},
    {"QLinearAdd", false, 7, 8, 1, fe_onnx_qlinear_binary, ""},
    {"QLinearMul", false, 7, 8, 1, fe_onnx_qlinear_binary, ""},
    {"QLinearSigmoid", false, 4, 5, 1, fe_onnx_qlinear_unary, ""},
    {"QLinearLeakyRelu", false, 4, 5, 1, fe_onnx_qlinear_unary, "alpha:f"},
    {"QLinearGlobalAveragePool", false, 4, 5, 1, fe_onnx_qlinear_global_pool,
     "channels_last:i"},
    {"QLinearAveragePool", false, 4, 5, 1, fe_onnx_qlinear_average_pool,
     "auto_pad:s ceil_mode:i channels_last:i count_include_pad:i "
     "kernel_shape:I pads:I strides:I"},
    {"QLinearSoftmax", false, 4, 5, 1, fe_onnx_qlinear_softmax,
     "axis:i opset:i"},
    {"QLinearConcat", false, 5, IR_MAX_OPERANDS, 1, fe_onnx_qlinear_concat, "axis:i"},
};
enum { N_MICROSOFT = sizeof microsoft / sizeof *microsoft };

const struct fe_onnx_op_info *fe_onnx_find_op(const Onnx__NodeProto *node)
{
    const char *domain = fe_onnx_text(node->domain);
    const char *name = fe_onnx_text(node->op_type);
    const bool ml = !strcmp(domain, "ai.onnx.ml");
    for (int i = 0; i < N_MICROSOFT && !strcmp(domain, "com.microsoft"); i++)
        if (!strcmp(microsoft[i].name, name))
            return &microsoft[i];
    if (!ml && *domain && strcmp(domain, "ai.onnx") != 0)
        return NULL;
    for (int i = 0; i < N_OPS; i++)
        if (ops[i].ml == ml && !strcmp(ops[i].name, name))
            return &ops[i];
    return NULL;
}

const struct fe_onnx_op_info *fe_onnx_op_at(int i, const char **domain)
{
    if (i >= N_OPS + N_MICROSOFT)
        return NULL;
    *domain = i >= N_OPS ? "com.microsoft" : ops[i].ml ? "ai.onnx.ml" : "";
    return i < N_OPS ? &ops[i] : &microsoft[i - N_OPS];
}
