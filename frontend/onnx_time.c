/* onnx_time.c: which dims of an input are open, and what they are: the batch,
 * or time, of which the user says how many steps there are (fe_import_time).
 *
 * The batch is the first dim, or the second of three and more, which is where
 * recurrent layers have it; where that leaves a choice, names tell. */
#include "frontend/onnx.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

bool fe_onnx_is_open(const Onnx__TensorShapeProto__Dimension *dim)
{
    return dim->value_case !=
           ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
}

/* An open dim's name, "" without one. */
static const char *name_of(const Onnx__TensorShapeProto__Dimension *dim)
{
    return dim->value_case ==
                       ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM &&
                   dim->dim_param
               ? dim->dim_param
               : "";
}

static bool says(const char *name, const char *word)
{
    const size_t n = strlen(word);
    for (; *name; name++)
        if (strncasecmp(name, word, n) == 0)
            return true;
    return false;
}

static bool says_batch(const char *name)
{
    return says(name, "batch") || !strcasecmp(name, "n") ||
           !strcasecmp(name, "b");
}

static bool says_time(const char *name)
{
    return says(name, "time") || says(name, "seq") || says(name, "step") ||
           says(name, "frame") || says(name, "length") ||
           !strcasecmp(name, "t") || !strcasecmp(name, "l");
}

/* "0 ('N'), 1, 2 ('T')" */
static const char *open_dims(struct fe_onnx *g,
                             const Onnx__TensorShapeProto *shape)
{
    const char *text = "";
    for (size_t i = 0; i < shape->n_dim; i++) {
        const char *name = name_of(shape->dim[i]);
        if (!fe_onnx_is_open(shape->dim[i]))
            continue;
        text = ir_sprintf(&g->scratch, "%s%s%zu", text, *text ? ", " : "", i);
        if (*name)
            text = ir_sprintf(&g->scratch, "%s ('%.60s')", text, name);
    }
    return text;
}

/* Of two open dims, which is the batch. */
static int batch_of(const Onnx__TensorShapeProto *shape, const int open[2])
{
    const char *a = name_of(shape->dim[open[0]]);
    const char *b = name_of(shape->dim[open[1]]);
    const bool second = (says_batch(b) && !says_batch(a)) ||
                        (says_time(a) && !says_time(b));
    return open[second];
}

/* Whether a single open dim is time, when there is to be one. */
static bool is_time(const Onnx__TensorShapeProto *shape, int open)
{
    const char *name = name_of(shape->dim[open]);
    const bool may_be_batch = open == 0 || (open == 1 && shape->n_dim >= 3);
    return !may_be_batch || says_time(name) || (open > 0 && !says_batch(name));
}

bool fe_onnx_find_open(struct fe_onnx *g, const char *name,
                       const Onnx__TensorShapeProto *shape, int *batch,
                       int *time)
{
    int open[2] = {-1, -1}, n = 0;
    const bool is_first = g->batch == FE_ONNX_FIRST;
    *batch = *time = -1;
    for (size_t i = 0; i < shape->n_dim; i++)
        if (fe_onnx_is_open(shape->dim[i]) && n++ < 2)
            open[n - 1] = (int)i;
    if (n > 2 || (n == 2 && is_first))
        return fe_onnx_error(g, "input '%.200s': dims %s are open (the batch "
                             "and a dim of time may be)", name,
                             open_dims(g, shape));
    if (n == 2)
        *batch = batch_of(shape, open);
    if (n == 2)
        *time = open[0] + open[1] - *batch;
    else if (n == 1 && (g->steps ? is_time(shape, open[0])
                                 : !(open[0] == 0 || (open[0] == 1 &&
                                                      shape->n_dim >= 3))))
        *time = open[0];
    else if (n == 1)
        *batch = open[0];
    if (*time >= 0 && g->steps == 0)
        return fe_onnx_error(g, "input '%.200s': dims %s are open, so there is "
                             "no telling how many columns it has; say how many "
                             "steps dim %d has (--time N)", name,
                             open_dims(g, shape), *time);
    g->has_time = g->has_time || *time >= 0;
    return true;
}
