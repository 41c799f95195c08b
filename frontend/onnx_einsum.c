/* onnx_einsum.c: Einsum of two operands as a product of matrices: letters of
 * both and of the result are matrices side by side, those of one of them rows
 * or columns, and one that the result lacks is summed over. Of one operand it
 * is a Transpose. No letter comes twice in an operand, and none is summed by
 * itself. */
#include "frontend/onnx.h"

#include <ctype.h>
#include <string.h>

/* An operand, or the result, and the letters of its dims. */
struct term {
    char letters[IR_MAX_RANK + 1];
    int n;
    struct fe_onnx_value value;
};

/* The letters up to the end of a term; *at goes on behind them. */
static bool read_letters(struct fe_onnx *g, const char **at, struct term *t)
{
    t->n = 0;
    while (isalpha((unsigned char)**at) || **at == ' ') {
        const char c = *(*at)++;
        if (c == ' ')
            continue;
        if (t->n == IR_MAX_RANK || memchr(t->letters, c, (size_t)t->n))
            return fe_onnx_error(g, "the letter %c comes twice in a term, or "
                                 "there are more than %d", c, IR_MAX_RANK);
        t->letters[t->n++] = c;
    }
    t->letters[t->n] = 0;
    return true;
}

/* "ij,jk->ik" of n operands. */
static bool read_equation(struct fe_onnx *g, size_t n, struct term *in,
                          struct term *out)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, "equation");
    const char *text = a ? fe_onnx_string(g, &a->s, "equation") : "";
    if (!text)
        return false;
    const char *at = text;
    for (size_t i = 0; i < n; i++) {
        if (!read_letters(g, &at, &in[i]))
            return false;
        if (i + 1 < n && *at++ != ',')
            return fe_onnx_error(g, "the equation '%.60s' has no terms of "
                                 "letters for its %zu inputs", text, n);
    }
    if (strncmp(at, "->", 2) != 0)
        return fe_onnx_error(g, "the equation '%.60s' is not terms of letters, "
                             "-> and a result", text);
    at += 2;
    return read_letters(g, &at, out) &&
           (!*at || fe_onnx_error(g, "the equation '%.60s' has more than a "
                                  "result", text));
}

static int place_of(const struct term *t, char c)
{
    const char *at = memchr(t->letters, c, (size_t)t->n);
    return at ? (int)(at - t->letters) : -1;
}

/* t with its dims in this order; a letter that it lacks is a dim of 1. */
static bool arrange(struct fe_onnx *g, struct term *t, const char *order)
{
    const struct fe_onnx_value x = t->value;
    struct fe_onnx_shape shape = fe_onnx_shape_of(&x);
    int64_t own[IR_MAX_RANK], stride[IR_MAX_RANK];
    const int n = (int)strlen(order);
    if (n > IR_MAX_RANK)
        return fe_onnx_error(g, "a term takes %d dims (the limit is %d)", n,
                             IR_MAX_RANK);
    fe_onnx_strides(x.rank, x.dim, own);
    shape.rank = n;
    for (int d = 0; d < n; d++) {
        const int from = place_of(t, order[d]);
        shape.dim[d] = from < 0 ? 1 : x.dim[from];
        stride[d] = from < 0 ? 0 : own[from];
        if (from >= 0 && x.batched && from == x.batch)
            shape.batch = d;
    }
    t->n = n;
    memcpy(t->letters, order, (size_t)n + 1);
    return fe_onnx_view(g, &x, &shape, stride, 0, &t->value);
}

/* The letters that are in a, or with `not` are not, of all that `from` has. */
static void pick_letters(char *to, const struct term *from,
                         const struct term *a, bool in_a,
                         const struct term *b, bool in_b)
{
    size_t n = strlen(to);
    for (int i = 0; i < from->n; i++)
        if ((place_of(a, from->letters[i]) >= 0) == in_a &&
            (place_of(b, from->letters[i]) >= 0) == in_b && n < IR_MAX_RANK)
            to[n++] = from->letters[i];
    to[n] = 0;
}

static bool check_term(struct fe_onnx *g, const struct term *t)
{
    return t->n == t->value.rank ||
           fe_onnx_error(g, "'%.200s' has %d dims and %d letters",
                         t->value.name, t->value.rank, t->n);
}

/* Two terms as [shared..][rows][sum] times [shared..][sum][columns]; what there
 * is none of has a dim of 1. */
static bool multiply(struct fe_onnx *g, struct term *a, struct term *b,
                     const struct term *out)
{
    char shared[IR_MAX_RANK + 1] = "", rows[IR_MAX_RANK + 1] = "";
    char columns[IR_MAX_RANK + 1] = "", sum[IR_MAX_RANK + 1] = "";
    char order[4 * IR_MAX_RANK + 1];
    pick_letters(shared, a, b, true, out, true);
    pick_letters(rows, a, b, false, out, true);
    pick_letters(columns, b, a, false, out, true);
    pick_letters(sum, a, b, true, out, false);
    const size_t n = strlen(shared) + strlen(sum);
    const bool fits = n + strlen(rows) == (size_t)a->n &&
                      n + strlen(columns) == (size_t)b->n &&
                      strlen(shared) + strlen(rows) + strlen(columns) ==
                          (size_t)out->n;
    if (!fits || strlen(sum) > 1 || strlen(columns) > 1 ||
        (strlen(rows) > 1 && *shared))
        return fe_onnx_error(g, "%s,%s->%s is no product of matrices",
                             a->letters, b->letters, out->letters);
    const char *const row = *rows ? rows : "<", *const by = *sum ? sum : "+";
    const char *const column = *columns ? columns : ">";
    struct term y = {.n = (int)(strlen(shared) + strlen(row) + 1)};
    if (y.n > IR_MAX_RANK)
        return fe_onnx_error(g, "its result takes %d dims (the limit is %d)",
                             y.n, IR_MAX_RANK);
    snprintf(order, sizeof order, "%s%s%s", shared, row, by);
    if (!arrange(g, a, order))
        return false;
    snprintf(order, sizeof order, "%s%s%s", shared, by, column);
    if (!arrange(g, b, order))
        return false;
    snprintf(order, sizeof order, "%s%s%s", shared, row, column);
    memcpy(y.letters, order, (size_t)y.n + 1);
    return fe_onnx_multiply(g, &a->value, &b->value, &y.value) &&
           arrange(g, &y, out->letters) && fe_onnx_give(g, 0, &y.value);
}

bool fe_onnx_einsum(struct fe_onnx *g)
{
    const size_t n = g->node->n_input;
    struct term in[2], out;
    if (!read_equation(g, n, in, &out))
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct fe_onnx_value *x = fe_onnx_input(g, i);
        if (!x)
            return false;
        in[i].value = *x;
        if (!check_term(g, &in[i]))
            return false;
        if (x->type != FE_ONNX_FLOAT && x->type != FE_ONNX_DOUBLE)
            return fe_onnx_error(g, "'%.200s' is of type %s, not FLOAT or "
                                 "DOUBLE", x->name,
                                 fe_onnx_type_name(x->type));
    }
    if (n == 1) {
        if (out.n != in[0].n || strspn(out.letters, in[0].letters) !=
                                    (size_t)out.n)
            return fe_onnx_error(g, "%s->%s is no order of dims",
                                 in[0].letters, out.letters);
        return arrange(g, &in[0], out.letters) &&
               fe_onnx_give(g, 0, &in[0].value);
    }
    if (in[0].value.type != in[1].value.type)
        return fe_onnx_error(g, "its inputs are of types %s and %s",
                             fe_onnx_type_name(in[0].value.type),
                             fe_onnx_type_name(in[1].value.type));
    const bool turned = in[0].value.constant && !in[1].value.constant;
    return multiply(g, &in[turned], &in[!turned], &out);
}
