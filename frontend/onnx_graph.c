/* onnx_graph.c: the graph, node by node: the table of ops, names and what they
 * stand for, attributes.
 *
 * The table below is the list of what is read. Before anything is built, each
 * op that is not in it is collected, so that one message lists them all. Nodes
 * come in order, each after what it uses, and a name is given once (SSA).
 */
#include "frontend/onnx.h"

#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------- table of ops -- */

/* Attributes as "name:kind", of one letter each: f i s t, or F I S for lists.
 * `ml`: of ai.onnx.ml. An output past those built has no builder: a graph that
 * names it is refused. */
static const struct op {
    const char *name;
    bool ml;
    int min_inputs, max_inputs, max_outputs;
    fe_onnx_builder *build; /* NULL: known, and refused with `attributes` */
    const char *attributes;
} ops[] = {
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
    {"Dropout", false, 1, 3, 1, fe_onnx_identity, "seed:i ratio:f is_test:i"},
    {"Cast", false, 1, 1, 1, fe_onnx_cast, "to:i saturate:i"},
    {"Reshape", false, 1, 2, 1, fe_onnx_reshape, "shape:I allowzero:i"},
    {"Shape", false, 1, 1, 1, fe_onnx_shape, "start:i end:i"},
    {"ConstantOfShape", false, 1, 1, 1, fe_onnx_constant_of_shape, "value:t"},
    {"Flatten", false, 1, 1, 1, fe_onnx_flatten, "axis:i"},
    {"Unsqueeze", false, 1, 2, 1, fe_onnx_unsqueeze, "axes:I"},
    {"Squeeze", false, 1, 2, 1, fe_onnx_squeeze, "axes:I"},
    {"Concat", false, 1, IR_MAX_OPERANDS, 1, fe_onnx_concat_op, "axis:i"},
    {"Split", false, 1, 2, IR_MAX_OPERANDS, fe_onnx_split,
     "axis:i split:I num_outputs:i"},
    {"Slice", false, 1, 5, 1, fe_onnx_slice, "axes:I starts:I ends:I"},
    {"Gather", false, 2, 2, 1, fe_onnx_gather_op, "axis:i"},
    {"Transpose", false, 1, 1, 1, fe_onnx_transpose, "perm:I"},
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
    {"Relu", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Sigmoid", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Tanh", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Not", false, 1, 1, 1, fe_onnx_unary, ""},
    {"IsNaN", false, 1, 1, 1, fe_onnx_unary, ""},
    {"Add", false, 2, 2, 1, fe_onnx_binary, "broadcast:i"},
    {"Sub", false, 2, 2, 1, fe_onnx_binary, "broadcast:i"},
    {"Mul", false, 2, 2, 1, fe_onnx_binary, "broadcast:i"},
    {"Div", false, 2, 2, 1, fe_onnx_binary, "broadcast:i"},
    {"Pow", false, 2, 2, 1, fe_onnx_binary, "broadcast:i"},
    {"Less", false, 2, 2, 1, fe_onnx_binary, "broadcast:i"},
    {"LessOrEqual", false, 2, 2, 1, fe_onnx_binary, ""},
    {"Greater", false, 2, 2, 1, fe_onnx_binary, "broadcast:i"},
    {"GreaterOrEqual", false, 2, 2, 1, fe_onnx_binary, ""},
    {"Equal", false, 2, 2, 1, fe_onnx_binary, "broadcast:i"},
    {"And", false, 2, 2, 1, fe_onnx_binary, "broadcast:i"},
    {"Or", false, 2, 2, 1, fe_onnx_binary, "broadcast:i"},
    {"Min", false, 1, IR_MAX_OPERANDS, 1, fe_onnx_variadic, ""},
    {"Max", false, 1, IR_MAX_OPERANDS, 1, fe_onnx_variadic, ""},
    {"Sum", false, 1, IR_MAX_OPERANDS, 1, fe_onnx_variadic, ""},
    {"Clip", false, 1, 3, 1, fe_onnx_clip, "min:f max:f"},
    {"Where", false, 3, 3, 1, fe_onnx_where, ""},
    {"Softmax", false, 1, 1, 1, fe_onnx_softmax, "axis:i"},
    {"ArgMax", false, 1, 1, 1, fe_onnx_arg_max,
     "axis:i keepdims:i select_last_index:i"},
    {"ReduceSum", false, 1, 2, 1, fe_onnx_reduce_op,
     "axes:I keepdims:i noop_with_empty_axes:i"},
    {"ReduceMean", false, 1, 2, 1, fe_onnx_reduce_op,
     "axes:I keepdims:i noop_with_empty_axes:i"},
    {"ReduceMax", false, 1, 2, 1, fe_onnx_reduce_op,
     "axes:I keepdims:i noop_with_empty_axes:i"},
    {"ReduceMin", false, 1, 2, 1, fe_onnx_reduce_op,
     "axes:I keepdims:i noop_with_empty_axes:i"},
    {"ReduceL1", false, 1, 2, 1, fe_onnx_reduce_op,
     "axes:I keepdims:i noop_with_empty_axes:i"},
    {"ReduceL2", false, 1, 2, 1, fe_onnx_reduce_op,
     "axes:I keepdims:i noop_with_empty_axes:i"},
    {"ReduceSumSquare", false, 1, 2, 1, fe_onnx_reduce_op,
     "axes:I keepdims:i noop_with_empty_axes:i"},
    {"MatMul", false, 2, 2, 1, fe_onnx_matmul, ""},
    {"Gemm", false, 2, 3, 1, fe_onnx_gemm,
     "alpha:f beta:f transA:i transB:i broadcast:i"},
};
enum { N_OPS = sizeof ops / sizeof *ops };

static const char *text_of(const char *s)
{
    return s ? s : "";
}

static const struct op *find_op(const Onnx__NodeProto *node)
{
    const char *domain = text_of(node->domain);
    const bool ml = !strcmp(domain, "ai.onnx.ml");
    if (!ml && *domain && strcmp(domain, "ai.onnx") != 0)
        return NULL;
    for (int i = 0; i < N_OPS; i++)
        if (ops[i].ml == ml && !strcmp(ops[i].name, text_of(node->op_type)))
            return &ops[i];
    return NULL;
}

/* ------------------------------------------------------------- messages -- */

bool fe_onnx_error(struct fe_onnx *g, const char *fmt, ...)
{
    char said[1024], where[256] = "";
    va_list args;
    if (g->diag->n_messages > g->n_messages)
        return false; /* the first one says it */
    va_start(args, fmt);
    vsnprintf(said, sizeof said, fmt, args);
    va_end(args);
    if (g->node) {
        const char *name = text_of(g->node->name);
        snprintf(where, sizeof where, "node %zu (%.60s%s%.100s%s): ",
                 g->node_index, text_of(g->node->op_type), *name ? " '" : "",
                 name, *name ? "'" : "");
    }
    return ir_error(g->diag, ir_loc_file(g->path), "%s%s", where, said);
}

/* ---------------------------------------------------------------- names -- */

size_t fe_onnx_hash(const char *name)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
    return (size_t)(h ^ h >> 29);
}

/* Where `name` is in the table, or would be. */
static struct fe_onnx_value **slot_of(const struct fe_onnx *g,
                                      const char *name)
{
    size_t i = fe_onnx_hash(name) & (g->table_size - 1);
    while (g->table[i] && strcmp(g->table[i]->name, name) != 0)
        i = (i + 1) & (g->table_size - 1);
    return &g->table[i];
}

struct fe_onnx_value *fe_onnx_find(const struct fe_onnx *g, const char *name)
{
    return *slot_of(g, name);
}

bool fe_onnx_define(struct fe_onnx *g, const char *name,
                    const struct fe_onnx_value *value)
{
    struct fe_onnx_value **slot = slot_of(g, name);
    if (*slot)
        return fe_onnx_error(g, "the name '%.200s' is given twice", name);
    *slot = ir_alloc(&g->scratch, sizeof **slot);
    **slot = *value;
    (*slot)->name = name;
    return true;
}

/* Room for every name that the graph can give. */
static void make_table(struct fe_onnx *g)
{
    const Onnx__GraphProto *graph = g->model->graph;
    size_t n = graph->n_input + graph->n_initializer + 1;
    for (size_t i = 0; i < graph->n_node; i++)
        n += graph->node[i]->n_output;
    for (g->table_size = 16; g->table_size < 2 * n; g->table_size *= 2)
        ;
    g->table = ir_alloc_array(&g->scratch, g->table_size, sizeof *g->table);
}

static bool define_initializers(struct fe_onnx *g)
{
    const Onnx__GraphProto *graph = g->model->graph;
    if (graph->n_sparse_initializer)
        return fe_onnx_error(g, "the graph has sparse initializers (%zu), "
                             "which are not read",
                             graph->n_sparse_initializer);
    for (size_t i = 0; i < graph->n_initializer; i++) {
        const char *name = text_of(graph->initializer[i]->name);
        char what[256];
        snprintf(what, sizeof what, "initializer '%.200s'", name);
        const struct fe_onnx_tensor *t =
            fe_onnx_read_tensor(g, graph->initializer[i], what);
        if (!t)
            return false;
        struct fe_onnx_value value = {.type = t->type, .constant = t,
                                      .rank = t->rank, .n = t->n};
        memcpy(value.dim, t->dim, sizeof value.dim);
        if (!fe_onnx_define(g, name, &value))
            return false;
    }
    return true;
}

/* --------------------------------------------------- inputs and outputs -- */

bool fe_onnx_has_input(const struct fe_onnx *g, size_t i)
{
    return i < g->node->n_input && *g->node->input[i];
}

struct fe_onnx_value *fe_onnx_any_input(struct fe_onnx *g, size_t i)
{
    if (!fe_onnx_has_input(g, i)) {
        fe_onnx_error(g, "input %zu is missing", i);
        return NULL;
    }
    struct fe_onnx_value *value = fe_onnx_find(g, g->node->input[i]);
    if (!value)
        fe_onnx_error(g, "input %zu, '%.200s', is given by no input, "
                      "initializer or earlier node", i, g->node->input[i]);
    return value;
}

struct fe_onnx_value *fe_onnx_input(struct fe_onnx *g, size_t i)
{
    struct fe_onnx_value *value = fe_onnx_any_input(g, i);
    if (value && (value->stacked || value->shape_of)) {
        fe_onnx_error(g, "input %zu, '%.200s', %s", i, value->name,
                      value->stacked ? "has a dim before the batch"
                                     : "is a shape, which depends on the "
                                       "batch");
        return NULL;
    }
    return value;
}

const struct fe_onnx_tensor *fe_onnx_constant_input(struct fe_onnx *g,
                                                    size_t i)
{
    struct fe_onnx_value *value = fe_onnx_input(g, i);
    if (value && !value->constant)
        fe_onnx_error(g, "input %zu, '%.200s', is no constant", i,
                      value->name);
    return value ? value->constant : NULL;
}

struct fe_onnx_value *fe_onnx_row_input(struct fe_onnx *g, size_t i)
{
    struct fe_onnx_value *value = fe_onnx_input(g, i);
    if (value && value->constant) {
        fe_onnx_error(g, "input %zu, '%.200s', is a constant, where rows are "
                      "expected", i, value->name);
        return NULL;
    }
    return value;
}

bool fe_onnx_give(struct fe_onnx *g, size_t i,
                  const struct fe_onnx_value *value)
{
    if (i >= g->node->n_output || !*g->node->output[i])
        return true;
    return fe_onnx_define(g, g->node->output[i], value);
}

bool fe_onnx_give_rows(struct fe_onnx *g, size_t i, int type,
                       struct ir_value *rows, int rank, const int64_t *dim)
{
    if (!rows)
        return false;
    struct fe_onnx_value value = {.type = type, .rows = rows, .rank = rank,
                                  .n = 1};
    for (int d = 0; d < rank; d++) {
        value.dim[d] = dim[d];
        value.n *= dim[d];
    }
    return fe_onnx_give(g, i, &value);
}

bool fe_onnx_give_like(struct fe_onnx *g, size_t i, int type,
                       struct ir_value *rows,
                       const struct fe_onnx_value *like)
{
    return fe_onnx_give_rows(g, i, type, rows, like->rank, like->dim);
}

/* ----------------------------------------------------------- attributes -- */

const Onnx__AttributeProto *fe_onnx_attribute(const struct fe_onnx *g,
                                              const char *name)
{
    for (size_t i = 0; i < g->node->n_attribute; i++)
        if (!strcmp(text_of(g->node->attribute[i]->name), name))
            return g->node->attribute[i];
    return NULL;
}

int64_t fe_onnx_int(const struct fe_onnx *g, const char *name,
                    int64_t fallback)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, name);
    return a ? a->i : fallback;
}

double fe_onnx_float(const struct fe_onnx *g, const char *name,
                     double fallback)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, name);
    return a ? (double)a->f : fallback;
}

bool fe_onnx_says(const struct fe_onnx *g, const char *name, const char *text,
                  bool fallback)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, name);
    return a ? a->s.len == strlen(text) && !memcmp(a->s.data, text, a->s.len)
             : fallback;
}

struct fe_onnx_tensor *fe_onnx_strings(struct fe_onnx *g, const char *name,
                                       bool *ok)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, name);
    if (!a)
        return NULL;
    const int64_t n = (int64_t)a->n_strings;
    struct fe_onnx_tensor *t = fe_onnx_new_tensor(g, FE_ONNX_STRING, 1, &n);
    for (int64_t i = 0; i < n; i++)
        if (!(t->text[i] = fe_onnx_string(g, &a->strings[i], name))) {
            *ok = false;
            return NULL;
        }
    return t;
}

/* The letter of an attribute's kind, 0 when it holds none that is read. Old
 * files have no type; then what is there says it. */
static char kind_of(const Onnx__AttributeProto *a)
{
    static const char letters[] = {0, 'f', 'i', 's', 't', 0, 'F', 'I', 'S'};
    if (a->has_type)
        return a->type >= 0 && a->type < (int)sizeof letters
                   ? letters[a->type] : 0;
    return a->has_f ? 'f' : a->has_i ? 'i' : a->has_s ? 's' : a->t ? 't'
           : a->n_floats ? 'F' : a->n_ints ? 'I' : a->n_strings ? 'S' : 0;
}

static bool has_what_it_says(const Onnx__AttributeProto *a, char kind)
{
    switch (kind) {
    case 'f': return a->has_f;
    case 'i': return a->has_i;
    case 's': return a->has_s;
    case 't': return a->t != NULL;
    default: return true;
    }
}

static const char *kind_name(char kind)
{
    switch (kind) {
    case 'f': return "a float";
    case 'i': return "an int";
    case 's': return "a string";
    case 't': return "a tensor";
    case 'F': return "a list of floats";
    case 'I': return "a list of ints";
    case 'S': return "a list of strings";
    default: return "of a kind that is not read";
    }
}

static bool check_attribute(struct fe_onnx *g, const struct op *op,
                            const Onnx__AttributeProto *a)
{
    const char *name = text_of(a->name);
    const size_t n = strlen(name);
    const char *entry = op->attributes;
    while (*entry && !(n && !strncmp(entry, name, n) && entry[n] == ':')) {
        entry += strcspn(entry, " ");
        entry += *entry == ' ';
    }
    if (!*entry)
        return fe_onnx_error(g, "the attribute '%.100s' is none of those "
                             "known of %s", name, op->name);
    if (a->ref_attr_name && *a->ref_attr_name)
        return fe_onnx_error(g, "the attribute '%s' refers to one of a "
                             "function, and there is none", name);
    const char kind = entry[n + 1], given = kind_of(a);
    if (given != kind || !has_what_it_says(a, kind))
        return fe_onnx_error(g, "the attribute '%s' is %s, not %s", name,
                             given == kind ? "without its value"
                                           : kind_name(given),
                             kind_name(kind));
    return true;
}

static bool check_attributes(struct fe_onnx *g, const struct op *op)
{
    if (g->node->n_attribute > 64)
        return fe_onnx_error(g, "it has %zu attributes (%s has no more than "
                             "64)", g->node->n_attribute, op->name);
    for (size_t i = 0; i < g->node->n_attribute; i++) {
        const Onnx__AttributeProto *a = g->node->attribute[i];
        if (fe_onnx_attribute(g, text_of(a->name)) != a)
            return fe_onnx_error(g, "the attribute '%.100s' comes twice",
                                 text_of(a->name));
        if (!check_attribute(g, op, a))
            return false;
    }
    return true;
}

/* ---------------------------------------------------------------- graph -- */

/* One message for all ops that are not read, each named once. */
static bool check_ops(struct fe_onnx *g)
{
    const Onnx__GraphProto *graph = g->model->graph;
    struct ir_text text;
    ir_text_init(&text);
    int n = 0;
    for (size_t i = 0; i < graph->n_node && n < 100; i++) {
        const Onnx__NodeProto *node = graph->node[i];
        if (find_op(node))
            continue;
        char name[160];
        const char *domain = text_of(node->domain);
        snprintf(name, sizeof name, "%.60s%s%.80s", domain, *domain ? "." : "",
                 text_of(node->op_type));
        char *quoted = ir_sprintf(&g->scratch, " %s,", name);
        if (text.data && strstr(text.data, quoted))
            continue;
        ir_text_puts(&text, quoted);
        n++;
    }
    if (n)
        fe_onnx_error(g, "%s not read:%.*s", n == 1 ? "this op is"
                      : n == 100 ? "these ops and more are" : "these ops are",
                      (int)text.length - 1, text.data);
    ir_text_release(&text);
    return n == 0;
}

static bool build_node(struct fe_onnx *g)
{
    const struct op *op = find_op(g->node);
    const size_t n = g->node->n_input;
    if (n < (size_t)op->min_inputs || n > (size_t)op->max_inputs)
        return fe_onnx_error(g, "%zu inputs (%d to %d are expected)", n,
                             op->min_inputs, op->max_inputs);
    for (size_t i = (size_t)op->max_outputs; i < g->node->n_output; i++)
        if (*g->node->output[i])
            return fe_onnx_error(g, "its output %zu, '%.200s', is not built",
                                 i, g->node->output[i]);
    if (g->node->n_output == 0)
        return fe_onnx_error(g, "it gives no output");
    return check_attributes(g, op) && op->build(g);
}

/* Every constant of the graph is in it, so this is the sum of all. */
static bool check_size(struct fe_onnx *g)
{
    int64_t n = 0;
    for (int i = 0; i < g->module->n_ops; i++)
        for (int r = 0; r < g->module->ops[i]->n_results; r++)
            n += ir_type_volume(&g->module->ops[i]->result[r].type);
    return n <= IR_MAX_VALUES ||
           fe_onnx_error(g, "the values of a row have %lld elements (the "
                         "limit is %d)", (long long)n, IR_MAX_VALUES);
}

bool fe_onnx_build(struct fe_onnx *g)
{
    const Onnx__GraphProto *graph = g->model->graph;
    if (!check_ops(g))
        return false;
    make_table(g);
    if (!define_initializers(g) || !fe_onnx_build_inputs(g))
        return false;
    for (size_t i = 0; i < graph->n_node; i++) {
        g->node = graph->node[i];
        g->node_index = i;
        if (!build_node(g))
            return false;
    }
    g->node = NULL;
    if (!fe_onnx_build_outputs(g))
        return false;
    ir_remove_dead_ops(g->module);
    return check_size(g);
}
