/* onnx_fused.c: ops of the domain com.microsoft that ONNX Runtime's optimiser
 * writes into a model that it saves: two or three of the standard's in one.
 * They are built as these; so are products with weights of few bits, which
 * become floats. */
#include "frontend/onnx.h"

#include <math.h>
#include <string.h>

static bool give(struct fe_onnx *g, const struct fe_onnx_value *y)
{
    return y && fe_onnx_give(g, 0, y);
}

/* Input i, or x plus it, where it is there. */
static struct fe_onnx_value *add_input(struct fe_onnx *g,
                                       struct fe_onnx_value *x, size_t i)
{
    return fe_onnx_has_input(g, i)
               ? fe_onnx_apply_two(g, "Add", x, fe_onnx_input(g, i)) : x;
}

/* ----------------------------------------------------------- activations -- */

/* FastGelu, BiasGelu and QuickGelu. */
bool fe_onnx_gelu_of(struct fe_onnx *g)
{
    struct fe_onnx_value *x = add_input(g, fe_onnx_input(g, 0), 1);
    if (!strcmp(g->node->op_type, "QuickGelu"))
        return give(g, fe_onnx_apply(g, "Swish", 1, &x, "alpha=%.9g",
                                     fe_onnx_float(g, "alpha",
                                                   (double)1.702f)));
    return give(g, fe_onnx_apply(g, "Gelu", 1, &x, "approximate=%s",
                                 !strcmp(g->node->op_type, "FastGelu")
                                     ? "tanh" : "none"));
}

/* Number i of the list activation_params, or the attribute that has it. */
static double parameter(const struct fe_onnx *g, size_t i, const char *name,
                        double fallback)
{
    const Onnx__AttributeProto *list =
        fe_onnx_attribute(g, "activation_params");
    if (list)
        return i < list->n_floats ? (double)list->floats[i] : fallback;
    return fe_onnx_float(g, name, fallback);
}

/* y through the op that the attribute `activation` names. */
static struct fe_onnx_value *activate(struct fe_onnx *g,
                                      struct fe_onnx_value *y)
{
    static const char *const plain[] = {"Relu", "Tanh", "Sigmoid"};
    if (!fe_onnx_attribute(g, "activation"))
        return y;
    for (int i = 0; i < 3; i++)
        if (fe_onnx_says(g, "activation", plain[i], false))
            return fe_onnx_apply_one(g, plain[i], y);
    if (fe_onnx_says(g, "activation", "LeakyRelu", false))
        return fe_onnx_apply(
            g, "LeakyRelu", 1, &y, "alpha=%.9g",
            parameter(g, 0, "activation_alpha", (double)0.01f));
    if (fe_onnx_says(g, "activation", "HardSigmoid", false))
        return fe_onnx_apply(
            g, "HardSigmoid", 1, &y, "alpha=%.9g beta=%.9g",
            parameter(g, 0, "activation_alpha", (double)0.2f),
            parameter(g, 1, "activation_beta", 0.5));
    if (fe_onnx_says(g, "activation", "Clip", false) &&
        fe_onnx_attribute(g, "activation_params"))
        return fe_onnx_apply(g, "Clip", 1, &y, "min=%.9g max=%.9g",
                             parameter(g, 0, "", -INFINITY),
                             parameter(g, 1, "", INFINITY));
    fe_onnx_error(g, "its activation is not read");
    return NULL;
}

/* A convolution, plus input 3, through an activation. */
bool fe_onnx_fused_conv(struct fe_onnx *g)
{
    struct fe_onnx_value *y = fe_onnx_apply_as(g, "Conv", 3);
    return give(g, activate(g, add_input(g, y, 3)));
}

bool fe_onnx_fused_gemm(struct fe_onnx *g)
{
    return give(g, activate(g, fe_onnx_apply_as(g, "Gemm", 3)));
}

/* --------------------------------------------------------------- products -- */

/* x as a factor: `batch` brings its first dim before the last one, and `turn`
 * then changes the last two. */
static struct fe_onnx_value *arrange(struct fe_onnx *g,
                                     struct fe_onnx_value *x, bool batch,
                                     bool turn)
{
    char order[2 * IR_MAX_RANK] = "";
    if (!x || (!batch && !turn))
        return x;
    if (x->rank < 2) {
        fe_onnx_error(g, "'%.200s' has %d dims", x->name, x->rank);
        return NULL;
    }
    const int last = x->rank - 1;
    int at[IR_MAX_RANK];
    for (int i = 0; i <= last; i++)
        at[i] = !batch || i == last ? i : i == last - 1 ? 0 : i + 1;
    if (turn) {
        const int other = at[last];
        at[last] = at[last - 1];
        at[last - 1] = other;
    }
    for (int i = 0; i <= last && i < IR_MAX_RANK; i++) {
        order[2 * i] = (char)('0' + at[i]);
        order[2 * i + 1] = ',';
    }
    order[2 * last + 1] = 0;
    return fe_onnx_apply(g, "Transpose", 1, &x, "perm=%s", order);
}

bool fe_onnx_fused_matmul(struct fe_onnx *g)
{
    struct fe_onnx_value *a = fe_onnx_input(g, 0);
    struct fe_onnx_value *b = a ? fe_onnx_input(g, 1) : NULL;
    const double alpha = fe_onnx_float(g, "alpha", 1);
    if (!b)
        return false;
    a = arrange(g, a, fe_onnx_int(g, "transBatchA", 0),
                fe_onnx_int(g, "transA", 0));
    b = arrange(g, b, fe_onnx_int(g, "transBatchB", 0),
                fe_onnx_int(g, "transB", 0));
    struct fe_onnx_value *y = fe_onnx_apply_two(g, "MatMul", a, b);
    return give(g, alpha == 1 || !y ? y : fe_onnx_apply_two(
                       g, "Mul", y, fe_onnx_number(g, y->type, alpha)));
}

/* ------------------------------------------------------------------ norms -- */

/* The norm of x, by input `scale` and, of a layer norm, input `shift`. */
static struct fe_onnx_value *norm(struct fe_onnx *g, struct fe_onnx_value *x,
                                  size_t scale, size_t shift, bool centre)
{
    struct fe_onnx_value *const of[] = {
        x, x ? fe_onnx_input(g, scale) : NULL,
        centre && fe_onnx_has_input(g, shift) ? fe_onnx_input(g, shift)
                                              : NULL};
    return fe_onnx_apply(g, centre ? "LayerNormalization" : "RMSNormalization",
                         of[2] ? 3 : 2, of, "axis=-1 epsilon=%.9g",
                         fe_onnx_float(g, "epsilon", (double)1e-12f));
}

/* Of a sum, which is output 3. */
bool fe_onnx_skip_normalization(struct fe_onnx *g)
{
    const bool centre = !strcmp(g->node->op_type, "SkipLayerNormalization");
    struct fe_onnx_value *x = add_input(g, fe_onnx_input(g, 0), 1);
    x = x ? add_input(g, x, centre ? 4 : 3) : NULL;
    for (size_t i = 1; i < 3 && i < g->node->n_output; i++)
        if (*g->node->output[i])
            return fe_onnx_error(g, "its output %zu is not built", i);
    return x && fe_onnx_give(g, 3, x) && give(g, norm(g, x, 2, 3, centre));
}

/* A row of a table, input `table`, for each number. */
static struct fe_onnx_value *look_up(struct fe_onnx *g, size_t table,
                                     struct fe_onnx_value *numbers)
{
    struct fe_onnx_value *const both[] = {fe_onnx_input(g, table), numbers};
    return fe_onnx_apply(g, "Gather", 2, both, "axis=0");
}

/* 0, 1.. as many as there are words in a row. */
static struct fe_onnx_value *count_words(struct fe_onnx *g,
                                         const struct fe_onnx_value *words)
{
    const int64_t dim[] = {1, words->dim[1]};
    if (!fe_onnx_take_elements(g, dim[1]))
        return NULL;
    struct fe_onnx_tensor *t = fe_onnx_new_tensor(g, FE_ONNX_INT64, 2, dim);
    for (int64_t i = 0; i < t->n; i++)
        t->real[i] = (double)(t->whole[i] = i);
    return fe_onnx_constant_value(g, t);
}

/* The norm of what stands in tables of words, places and segments. */
bool fe_onnx_embed_normalization(struct fe_onnx *g)
{
    enum { WORDS, SEGMENTS, OF_WORDS, OF_PLACES, OF_SEGMENTS, SCALE, SHIFT,
           MASK, PLACES };
    struct fe_onnx_value *words = fe_onnx_input(g, WORDS), *places;
    if (!words)
        return false;
    if (words->rank != 2 || (g->node->n_output > 1 && *g->node->output[1] &&
                             fe_onnx_has_input(g, MASK)))
        return fe_onnx_error(g, "'%.200s' has %d dims, or there is a mask",
                             words->name, words->rank);
    places = fe_onnx_has_input(g, PLACES) ? fe_onnx_input(g, PLACES)
                                          : count_words(g, words);
    struct fe_onnx_value *sum =
        fe_onnx_apply_two(g, "Add", look_up(g, OF_WORDS, words),
                          look_up(g, OF_PLACES, places));
    if (fe_onnx_has_input(g, SEGMENTS) && fe_onnx_has_input(g, OF_SEGMENTS))
        sum = fe_onnx_apply_two(
            g, "Add", sum,
            look_up(g, OF_SEGMENTS, fe_onnx_input(g, SEGMENTS)));
    return sum && fe_onnx_give(g, 2, sum) &&
           give(g, norm(g, sum, SCALE, SHIFT, true));
}

/* ------------------------------------------------- weights of a few bits -- */

/* What an op of weights [N][blocks of K] says of them. */
struct packed {
    int64_t k, n, blocks, block, bits;
    const struct fe_onnx_tensor *weights, *scales, *zeros;
};

/* Number i of a list of bits, in bytes that begin with the lowest. */
static int64_t unpack(const struct fe_onnx_tensor *t, int64_t byte, int64_t i,
                      int64_t bits)
{
    const int64_t each = 8 / bits;
    return t->whole[byte + i / each] >> i % each * bits &
           ((INT64_C(1) << bits) - 1);
}

static bool read_packed(struct fe_onnx *g, struct packed *p)
{
    *p = (struct packed){.k = fe_onnx_int(g, "K", 0),
                         .n = fe_onnx_int(g, "N", 0),
                         .block = fe_onnx_int(g, "block_size", 0),
                         .bits = fe_onnx_int(g, "bits", 4)};
    if ((p->bits != 2 && p->bits != 4 && p->bits != 8) || p->block < 8 ||
        p->block > 1 << 16 || p->k < 1 || p->n < 1 || p->k > IR_MAX_ELEMENTS ||
        p->n > IR_MAX_ELEMENTS)
        return fe_onnx_error(g, "K, N, bits and block_size are %lld, %lld, "
                             "%lld and %lld", (long long)p->k,
                             (long long)p->n, (long long)p->bits,
                             (long long)p->block);
    p->blocks = (p->k + p->block - 1) / p->block;
    p->weights = fe_onnx_constant_input(g, 1);
    p->scales = p->weights ? fe_onnx_constant_input(g, 2) : NULL;
    if (!p->scales || (fe_onnx_has_input(g, 3) &&
                       !(p->zeros = fe_onnx_constant_input(g, 3))))
        return false;
    const int64_t bytes = p->block * p->bits / 8;
    const int64_t of_zeros = p->n * ((p->blocks * p->bits + 7) / 8);
    if (p->weights->type != FE_ONNX_UINT8 || p->block * p->bits % 8 ||
        p->weights->n != p->n * p->blocks * bytes ||
        p->scales->type != FE_ONNX_FLOAT ||
        p->scales->n != p->n * p->blocks ||
        (p->zeros &&
         (p->zeros->type == FE_ONNX_UINT8 ? p->zeros->n != of_zeros
          : p->zeros->type != FE_ONNX_FLOAT ||
                p->zeros->n != p->n * p->blocks)))
        return fe_onnx_error(g, "its weights, scales or zero points are not as "
                             "many as K, N and block_size say");
    return true;
}

static double zero_of(const struct packed *p, int64_t row, int64_t block)
{
    if (!p->zeros)
        return (double)(INT64_C(1) << (p->bits - 1));
    if (p->zeros->type == FE_ONNX_FLOAT)
        return p->zeros->real[row * p->blocks + block];
    return (double)unpack(p->zeros, row * ((p->blocks * p->bits + 7) / 8),
                          block, p->bits);
}

/* The weights as floats, [K][N]. */
static struct fe_onnx_value *unpack_weights(struct fe_onnx *g,
                                            const struct packed *p)
{
    const int64_t dim[] = {p->k, p->n}, bytes = p->block * p->bits / 8;
    if (fe_onnx_volume(g, 2, dim, 1) < 0 ||
        !fe_onnx_take_elements(g, p->k * p->n))
        return NULL;
    struct fe_onnx_tensor *t = fe_onnx_new_tensor(g, FE_ONNX_FLOAT, 2, dim);
    for (int64_t i = 0; i < p->n; i++)
        for (int64_t j = 0; j < p->k; j++) {
            const int64_t at = i * p->blocks + j / p->block;
            const double q = (double)unpack(p->weights, at * bytes,
                                            j % p->block, p->bits);
            const double less = q - zero_of(p, i, j / p->block);
            t->real[j * p->n + i] =
                (double)((float)less * (float)p->scales->real[at]);
        }
    return fe_onnx_constant_value(g, t);
}

bool fe_onnx_matmul_bits(struct fe_onnx *g)
{
    struct packed p;
    struct fe_onnx_value *x = fe_onnx_input(g, 0);
    if (!x || !read_packed(g, &p))
        return false;
    if (fe_onnx_has_input(g, 4))
        return fe_onnx_error(g, "g_idx is not read");
    struct fe_onnx_value *y =
        fe_onnx_apply_two(g, "MatMul", x, unpack_weights(g, &p));
    return give(g, y ? add_input(g, y, 5) : NULL);
}
