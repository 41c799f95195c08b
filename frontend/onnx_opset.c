/* onnx_opset.c: which versions of the operator sets are read.
 *
 * A version may change what an op means without a trace in its attributes, as
 * 13 did with Softmax and 28 with Mod: a set newer than those that are known is
 * refused, whatever its ops. An old one is read for the ops that have the
 * meaning already which version 7 has. A set that the model does not import is
 * version 1 of it, as files had it before there were versions.
 */
#include "frontend/onnx.h"

#include <string.h>

enum { N_SETS = 3, WHOLE_SINCE = 7 };

static const struct set {
    const char *domain, *name; /* in the file, and in messages */
    int64_t newest;
} sets[N_SETS] = {
    {"", "ai.onnx", 28},
    {"ai.onnx.ml", "ai.onnx.ml", 5},
    {"com.microsoft", "com.microsoft", 1},
};

/* The ops of ai.onnx that are what they are since one of the versions to 7. */
static const struct change {
    int64_t version;
    const char *ops; /* each between blanks */
} changes[] = {
    {2, " GlobalLpPool LpPool Pad Split "},
    {4, " Concat "},
    {5, " Reshape "},
    {6, " Abs Cast Ceil Clip Elu Exp Floor HardSigmoid InstanceNormalization "
        "LeakyRelu Log Max Mean Min Neg Reciprocal Relu Selu Sigmoid Sqrt Sum "
        "Tanh Tile "},
    {7, " Acos Add And Asin Atan AveragePool BatchNormalization Cos Div "
        "Dropout Equal GRU Gemm Greater LSTM Less Mul Multinomial Or PRelu Pow "
        "RNN Sin Sub Tan Upsample Xor "},
};
enum { N_CHANGES = sizeof changes / sizeof *changes };

/* Which set a domain names; N_SETS for another one. */
static int set_of(const char *domain)
{
    int i = 0;
    if (!strcmp(domain, "ai.onnx"))
        return 0;
    while (i < N_SETS && strcmp(sets[i].domain, domain) != 0)
        i++;
    return i;
}

static bool has_word(const char *list, const char *word)
{
    const size_t n = strlen(word);
    for (const char *at = strstr(list, word); at; at = strstr(at + 1, word))
        if (n && at[-1] == ' ' && at[n] == ' ')
            return true;
    return false;
}

/* Which sets the graph's nodes are of, and those of graphs in it. */
static void mark_used(const Onnx__GraphProto *graph, bool *used)
{
    for (size_t i = 0; i < graph->n_node; i++) {
        const Onnx__NodeProto *node = graph->node[i];
        used[set_of(fe_onnx_text(node->domain))] = true;
        for (size_t k = 0; k < node->n_attribute; k++)
            if (node->attribute[k]->g)
                mark_used(node->attribute[k]->g, used);
    }
}

static bool read_imports(struct fe_onnx *g, int64_t *version)
{
    bool given[N_SETS] = {false};
    for (size_t i = 0; i < g->model->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *import = g->model->opset_import[i];
        const int set = set_of(fe_onnx_text(import->domain));
        const int64_t number = import->has_version ? import->version : 1;
        if (set == N_SETS)
            continue;
        if (given[set] && number != version[set])
            return fe_onnx_error(g, "the model imports versions %lld and %lld "
                                 "of the operator set %s",
                                 (long long)version[set], (long long)number,
                                 sets[set].name);
        given[set] = true;
        version[set] = number;
    }
    return true;
}

bool fe_onnx_read_opsets(struct fe_onnx *g)
{
    int64_t version[N_SETS] = {1, 1, 1};
    bool used[N_SETS + 1] = {false};
    if (!read_imports(g, version))
        return false;
    mark_used(g->model->graph, used);
    for (int i = 0; i < N_SETS; i++)
        if (used[i] && (version[i] < 1 || version[i] > sets[i].newest))
            return fe_onnx_error(g, "the model is of version %lld of the "
                                 "operator set %s (versions up to %lld are "
                                 "known)", (long long)version[i], sets[i].name,
                                 (long long)sets[i].newest);
    g->opset = version[0];
    g->ml_opset = version[1];
    return true;
}

bool fe_onnx_check_version(struct fe_onnx *g)
{
    if (g->opset >= WHOLE_SINCE ||
        set_of(fe_onnx_text(g->node->domain)) != 0)
        return true;
    for (int i = 0; i < N_CHANGES; i++)
        if (changes[i].version > g->opset &&
            has_word(changes[i].ops, g->node->op_type))
            return fe_onnx_error(g, "the model is of version %lld of the "
                                 "operator set ai.onnx, whose %s is another "
                                 "one (that of %lld and later is read)",
                                 (long long)g->opset, g->node->op_type,
                                 (long long)changes[i].version);
    return true;
}
