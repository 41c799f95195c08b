/* onnx_window.c: where windows lie: the attributes that convolutions and pools
 * share. A window is of `kernel` taps along each dim, `dilation` apart.
 */
#include "frontend/onnx.h"

#include <string.h>

/* A list of one number a dim, or of `fallback` everywhere. */
static bool read_list(struct fe_onnx *g, const char *name, int n,
                      int64_t fallback, int64_t least, int64_t *list)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, name);
    if (a && a->n_ints != (size_t)n)
        return fe_onnx_error(g, "%s has %zu elements, not %d", name,
                             a->n_ints, n);
    for (int i = 0; i < n; i++) {
        list[i] = a ? a->ints[i] : fallback;
        if (list[i] < least || list[i] > IR_MAX_ELEMENTS)
            return fe_onnx_error(g, "%s[%d] is %lld (%lld to %d are read)",
                                 name, i, (long long)list[i],
                                 (long long)least, IR_MAX_ELEMENTS);
    }
    return true;
}

bool fe_onnx_read_window(struct fe_onnx *g, const struct fe_onnx_value *x,
                         const int64_t *kernel, struct fe_onnx_window *w)
{
    *w = (struct fe_onnx_window){.n = x->rank - 2};
    if (w->n < 1 || w->n > IR_MAX_SPACE)
        return fe_onnx_error(g, "'%.200s' has %d dims (3 to %d are read)",
                             x->name, x->rank, IR_MAX_SPACE + 2);
    if (x->batched && x->batch != 0)
        return fe_onnx_error(g, "the batch is not the first dim of "
                             "'%.200s'", x->name);
    const int n = w->n;
    if (!read_list(g, "kernel_shape", n, kernel ? 0 : -1, kernel ? 0 : 1,
                   w->kernel) ||
        !read_list(g, "strides", n, 1, 1, w->stride) ||
        !read_list(g, "dilations", n, 1, 1, w->dilation) ||
        !read_list(g, "pads", 2 * n, 0, 0, w->pad))
        return false;
    for (int i = 0; kernel && i < n; i++) {
        if (w->kernel[i] && w->kernel[i] != kernel[i])
            return fe_onnx_error(g, "kernel_shape[%d] is %lld, the weights "
                                 "have %lld", i, (long long)w->kernel[i],
                                 (long long)kernel[i]);
        w->kernel[i] = kernel[i];
    }
    if (fe_onnx_says(g, "auto_pad", "SAME_UPPER", false))
        w->auto_pad = FE_ONNX_SAME_UPPER;
    else if (fe_onnx_says(g, "auto_pad", "SAME_LOWER", false))
        w->auto_pad = FE_ONNX_SAME_LOWER;
    else if (fe_onnx_says(g, "auto_pad", "VALID", false))
        w->auto_pad = FE_ONNX_VALID;
    else if (!fe_onnx_says(g, "auto_pad", "NOTSET", true))
        return fe_onnx_error(g, "auto_pad is not NOTSET, SAME_UPPER, "
                             "SAME_LOWER or VALID");
    return true;
}

void fe_onnx_split_pad(struct fe_onnx_window *w, int64_t total, int i,
                       bool upper)
{
    w->pad[i] = upper ? total / 2 : total - total / 2;
    w->pad[w->n + i] = total - w->pad[i];
}

void fe_onnx_auto_pad(struct fe_onnx_window *w, const int64_t *in)
{
    for (int i = 0; i < w->n && w->auto_pad; i++) {
        const int64_t reach = (w->kernel[i] - 1) * w->dilation[i] + 1;
        const int64_t out = (in[i] + w->stride[i] - 1) / w->stride[i];
        int64_t total = (out - 1) * w->stride[i] + reach - in[i];
        if (total < 0 || w->auto_pad == FE_ONNX_VALID)
            total = 0;
        fe_onnx_split_pad(w, total, i, w->auto_pad == FE_ONNX_SAME_UPPER);
    }
}

bool fe_onnx_each_item(struct fe_onnx *g, const struct fe_onnx_value *x,
                       int rank, const int64_t *dim,
                       fe_onnx_item_builder *build, const void *context,
                       struct ir_value **y)
{
    const int64_t n = x->dim[0], each = x->n / n;
    if (n > IR_MAX_OPERANDS)
        return fe_onnx_error(g, "a batch of %lld", (long long)n);
    struct ir_value **parts =
        ir_alloc_array(&g->scratch, (size_t)n, sizeof *parts);
    for (int64_t i = 0; i < n; i++) {
        struct ir_value *item =
            x->rows ? fe_onnx_part(g, x->rows, i * each, rank, dim) : NULL;
        item = item ? build(g, item, context) : NULL;
        if (item && n > 1) {
            const int64_t volume = ir_type_volume(&item->type);
            item = fe_onnx_shaped(g, item, 1, &volume);
        }
        parts[i] = item;
        if (!item)
            return false;
    }
    *y = fe_onnx_concat(g, (int)n, parts);
    return *y != NULL;
}
