/* onnx_match.c: what a recurrent cell looks like, written out in ops of the IR.
 *
 * Values are taken for rows of numbers, whatever their dims; a part of one is
 * followed through views, gathers and joins to where it is computed. Sums of
 * products with constant matrices are collected into one matrix for each value
 * that is multiplied, whichever way they were split or joined; what is left are
 * a handful of forms:
 *
 *   rnn   h' = f(A)
 *   gru   h' = z * h + (1 - z) * n, or n + z * (h - n)
 *         n = g(A + R (r * h)), or g(A + r * (R h + b))
 *   lstm  c' = f * c + i * g(A), h' = o * h(c')
 *
 * Whatever is not exactly one of these is none: there is no guessing, as a loop
 * that is no cell can be made step by step. */
#include "frontend/onnx_loop.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_TERMS = 4,   /* values that a sum multiplies with matrices */
    MAX_ADDENDS = 8, /* of a sum of other things */
    MAX_DEPTH = 64,  /* ops that are followed, one behind the other */
    MAX_PROGRAM = 600
};

/* n elements of a value, from the one numbered `at` on. */
struct part {
    struct ir_value *v;
    int64_t at, n;
};

static struct part whole(struct ir_value *v)
{
    return (struct part){v, 0, ir_type_volume(&v->type)};
}

/* ----------------------------------------------------------------- parts -- */

/* Whether a view is elements offset, offset + 1.. of its operand. */
static bool is_run(const struct ir_op *op, int64_t *offset)
{
    const struct ir_tensor *strides = ir_attr_tensor(op, "strides");
    const int64_t *stride = strides->data;
    const struct ir_type *type = &op->result[0].type;
    int64_t step = 1;
    for (int i = type->rank; i-- > 0;) {
        if (type->dim[i] != 1 && stride[i] != step)
            return false;
        step *= type->dim[i];
    }
    *offset = ir_attr_int(op, "offset");
    return true;
}

static bool is_run_of_gather(const struct ir_op *op, int64_t *offset)
{
    const struct ir_tensor *index = ir_attr_tensor(op, "index");
    const int32_t *list = index->data;
    for (int64_t i = 1; i < index->type.dim[0]; i++)
        if (list[i] != list[0] + i)
            return false;
    *offset = list[0];
    return true;
}

/* Whether a concat has its operands' elements one behind the other. */
static bool is_flat_join(const struct ir_op *op)
{
    const int64_t axis = ir_attr_int_or(op, "axis", 0);
    for (int64_t d = 0; d < axis; d++)
        if (op->result[0].type.dim[d] != 1)
            return false;
    return op->kind == IR_OP_concat;
}

/* The piece of a join that has the part, or false. */
static bool find_piece(struct part *p)
{
    const struct ir_op *op = p->v->op;
    int64_t from = 0;
    if (!is_flat_join(op))
        return false;
    for (int i = 0; i < op->n_operands; i++) {
        const int64_t n = ir_type_volume(&op->operand[i]->type);
        if (p->at >= from && p->at + p->n <= from + n) {
            p->v = op->operand[i];
            p->at -= from;
            return true;
        }
        from += n;
    }
    return false;
}

static const char *program_of(const struct ir_value *v)
{
    return v->op->kind == IR_OP_map ? ir_attr_string(v->op, "program") : "";
}

/* The part where it is computed. */
static struct part resolve(struct part p)
{
    for (;;) {
        const struct ir_op *op = p.v->op;
        int64_t offset;
        if ((op->kind == IR_OP_view && is_run(op, &offset)) ||
            (op->kind == IR_OP_gather && is_run_of_gather(op, &offset))) {
            p.at += offset;
            p.v = op->operand[0];
        } else if (!strcmp(program_of(p.v), "x0") &&
                   op->operand[0]->type.dtype == p.v->type.dtype) {
            p.v = op->operand[0];
        } else if (!find_piece(&p)) {
            return p;
        }
    }
}

static bool is_equal(struct part a, struct part b)
{
    a = resolve(a);
    b = resolve(b);
    return a.v == b.v && a.at == b.at && a.n == b.n;
}

bool fe_onnx_is_same(struct ir_value *a, struct ir_value *b)
{
    return is_equal(whole(a), whole(b));
}

/* The part of operand i of a map that goes into part p of its result; false
 * when it is spread in some other way than as one element for all, or is of
 * another dtype, which the map would round. */
static bool operand_part(struct part p, int i, struct part *x)
{
    *x = whole(p.v->op->operand[i]);
    if (x->v->type.dtype != p.v->type.dtype)
        return false;
    if (x->n == 1)
        return true;
    const bool fits = x->n == ir_type_volume(&p.v->type);
    x->at = p.at;
    x->n = p.n;
    return fits;
}

/* The two parts that a map of this program has. */
static bool operands_of(struct part p, const char *program, struct part x[2])
{
    p = resolve(p);
    if (strcmp(program_of(p.v), program) != 0 || p.v->op->n_operands != 2 ||
        !operand_part(p, 0, &x[0]) || !operand_part(p, 1, &x[1]))
        return false;
    x[0] = resolve(x[0]);
    x[1] = resolve(x[1]);
    return true;
}

/* A constant of one element. */
static bool is_number(struct part p, double *number)
{
    p = resolve(p);
    if (p.v->op->kind != IR_OP_constant || p.n != 1)
        return false;
    const struct ir_tensor *t = ir_attr_tensor(p.v->op, "value");
    if (t->type.dtype != IR_F32 && t->type.dtype != IR_F64)
        return false;
    *number = ir_real(t->data, t->type.dtype, (size_t)p.at);
    return true;
}

/* ------------------------------------------------------ sums of products -- */

/* bias + sum of term[i] * matrix[i], each of [elements of term][n]. */
struct sum {
    int64_t n;
    int n_terms;
    struct part term[MAX_TERMS];
    double *matrix[MAX_TERMS];
    double *bias; /* [n] */
};

/* Adds a term, which may not be there yet. */
static bool add_term(struct sum *s, struct part term, double *matrix)
{
    for (int i = 0; i < s->n_terms; i++)
        if (is_equal(s->term[i], term))
            return false;
    if (s->n_terms == MAX_TERMS || !matrix)
        return false;
    s->term[s->n_terms] = resolve(term);
    s->matrix[s->n_terms++] = matrix;
    return true;
}

/* Rows [row, row + k) and the part's columns of a gemm's weights; NULL when
 * that is too much. */
static double *columns(struct fe_onnx *g, const struct ir_tensor *w,
                       int64_t row, int64_t k, struct part p)
{
    const int64_t width = w->type.dim[1];
    if (!fe_onnx_take_elements(g, k * p.n))
        return NULL;
    double *m = ir_alloc_array(&g->scratch, (size_t)(k * p.n), sizeof *m);
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < p.n; j++)
            m[i * p.n + j] = ir_real(w->data, w->type.dtype,
                                     (size_t)((row + i) * width + p.at + j));
    return m;
}

/* Part p of what a gemm of one row gives: a term for each piece of its
 * operand. */
static bool add_gemm(struct fe_onnx *g, struct sum *s, struct part p)
{
    const struct ir_op *op = p.v->op;
    const struct ir_tensor *w = ir_attr_tensor(op, "weights");
    const struct ir_tensor *bias = ir_attr_tensor(op, "bias");
    const struct part x = resolve(whole(op->operand[0]));
    if (ir_type_volume(&p.v->type) != w->type.dim[1] ||
        w->type.dtype != p.v->type.dtype)
        return false;
    for (int64_t j = 0; bias && j < p.n; j++)
        s->bias[j] += ir_real(bias->data, bias->type.dtype,
                              (size_t)(p.at + j));
    if (!is_flat_join(x.v->op) || x.n != ir_type_volume(&x.v->type))
        return add_term(s, x, columns(g, w, 0, x.n, p));
    int64_t row = 0;
    for (int i = 0; i < x.v->op->n_operands; i++) {
        const struct part piece = whole(x.v->op->operand[i]);
        if (!add_term(s, (struct part){x.v, row, piece.n},
                      columns(g, w, row, piece.n, p)))
            return false;
        row += piece.n;
    }
    return true;
}

/* Adds p to the sum; false when it is no sum of products. */
static bool add_part(struct fe_onnx *g, struct sum *s, struct part p,
                     int depth)
{
    struct part x[2];
    /* A sum may be asked for twice by one that is itself, and so on. */
    if (depth == MAX_DEPTH || !fe_onnx_take_elements(g, 1 + p.n))
        return false;
    p = resolve(p);
    if (p.v->op->kind == IR_OP_constant) {
        const struct ir_tensor *t = ir_attr_tensor(p.v->op, "value");
        if (t->type.dtype != IR_F32 && t->type.dtype != IR_F64)
            return false;
        for (int64_t j = 0; j < s->n; j++)
            s->bias[j] += ir_real(t->data, t->type.dtype,
                                  (size_t)(p.at + (p.n == 1 ? 0 : j)));
        return true;
    }
    if (p.n != s->n)
        return false;
    if (p.v->op->kind == IR_OP_gemm)
        return add_gemm(g, s, p);
    return (operands_of(p, "x0 x1 add", x) ||
            operands_of(p, "x0 1 x1 mul add", x)) &&
           add_part(g, s, x[0], depth + 1) && add_part(g, s, x[1], depth + 1);
}

/* A sum of nothing yet; false when it is too much. */
static bool start_sum(struct fe_onnx *g, int64_t n, struct sum *s)
{
    *s = (struct sum){.n = n};
    if (!fe_onnx_take_elements(g, n))
        return false;
    s->bias = ir_alloc_array(&g->scratch, (size_t)n, sizeof *s->bias);
    return true;
}

static bool read_sum(struct fe_onnx *g, struct part p, struct sum *s)
{
    return start_sum(g, p.n, s) && add_part(g, s, p, 0) && s->n_terms > 0;
}

/* The matrix of a term, or NULL. */
static const double *matrix_of(const struct sum *s, struct part term)
{
    for (int i = 0; i < s->n_terms; i++)
        if (is_equal(s->term[i], term))
            return s->matrix[i];
    return NULL;
}

/* ----------------------------------------------------------- activations -- */

/* `outer` with `inner` where it says x0, and the number where it says x1 (x0
 * and x1 the other way round with `turned`); NULL when it gets too long. */
static const char *compose(struct fe_onnx *g, const char *outer,
                           const char *inner, bool turned, const char *number)
{
    struct ir_text text;
    ir_text_init(&text);
    while (*outer && text.length < MAX_PROGRAM) {
        const size_t n = strcspn(outer, " ");
        const bool x0 = n == 2 && !memcmp(outer, "x0", 2);
        const bool x1 = n == 2 && !memcmp(outer, "x1", 2);
        if (x0 || x1)
            ir_text_puts(&text, x0 != turned ? inner : number);
        else
            ir_text_append(&text, outer, n);
        outer += n;
        if (*outer == ' ')
            ir_text_puts(&text, " ");
        outer += *outer == ' ';
    }
    const char *program = text.length < MAX_PROGRAM
                              ? ir_strdup(&g->scratch, text.data) : NULL;
    ir_text_release(&text);
    return program;
}

/* A map of one part and, perhaps, a number: the part, and the map's program of
 * it alone around `program`. */
static bool peel(struct fe_onnx *g, struct part p, struct part *inner,
                 const char **program)
{
    const struct ir_op *op = p.v->op;
    struct part x[2];
    double number = 0;
    bool turned = false;
    if (op->kind != IR_OP_map || op->n_operands > 2 ||
        !operand_part(p, 0, &x[0]) ||
        (op->n_operands == 2 && !operand_part(p, 1, &x[1])))
        return false;
    if (op->n_operands == 2) {
        turned = is_number(x[0], &number);
        if (!turned && !is_number(x[1], &number))
            return false;
    }
    *inner = x[turned];
    *program = compose(g, *program,
                       compose(g, program_of(p.v), "x0", turned,
                               ir_sprintf(&g->scratch, "%.17g", number)),
                       false, "");
    return *program && inner->n == p.n;
}

/* p as a program of a part that is no map of one part: of a sum of products, as
 * *s with n_terms > 0, or of something else. NULL when there is no program. */
static const char *read_activation(struct fe_onnx *g, struct part p,
                                   struct part *base, struct sum *s)
{
    const char *program = "x0";
    for (int i = 0; i < MAX_DEPTH; i++) {
        p = resolve(p);
        *base = p;
        if (read_sum(g, p, s))
            return program;
        s->n_terms = 0;
        struct part inner;
        const char *more = program;
        if (!peel(g, p, &inner, &more))
            return program;
        p = inner;
        program = more;
    }
    return NULL;
}

/* ----------------------------------------------------------------- cells -- */

struct match {
    struct fe_onnx *g;
    struct part x, h, c; /* before the step */
    struct fe_onnx_cell *cell;
};

/* Puts the sum as gate k of the cell. Its terms are x and `of`, or one of them;
 * the matrix of `of` is R's. */
static bool set_gate(struct match *m, int k, const struct sum *s,
                     struct part of)
{
    struct fe_onnx_cell *cell = m->cell;
    const int64_t h = cell->hidden, n = cell->n_gates * h;
    const double *w = matrix_of(s, m->x), *r = matrix_of(s, of);
    if (s->n_terms != (w != NULL) + (r != NULL) || s->n != h)
        return false;
    for (int64_t j = 0; j < h; j++) {
        for (int64_t i = 0; i < cell->inputs; i++)
            cell->w[i * n + k * h + j] = w ? w[i * h + j] : 0;
        for (int64_t i = 0; i < h; i++)
            cell->r[i * n + k * h + j] = r ? r[i * h + j] : 0;
        cell->bias[k * h + j] = s->bias[j];
    }
    return true;
}

/* Room for the matrices; what was there before of another kind is forgotten. */
static bool start_cell(struct match *m, const char *kind, int n_gates,
                       int n_states)
{
    struct fe_onnx_cell *cell = m->cell;
    struct fe_onnx *g = m->g;
    const int64_t h = m->h.n, i = m->x.n, n = n_gates * h;
    *cell = (struct fe_onnx_cell){.kind = kind, .n_gates = n_gates,
                                  .n_states = n_states, .inputs = i,
                                  .hidden = h};
    if (n > IR_MAX_ELEMENTS / (i + h + 2) ||
        !fe_onnx_take_elements(g, n * (i + h + 2)))
        return false;
    cell->w = ir_alloc_array(&g->scratch, (size_t)(i * n), sizeof *cell->w);
    cell->r = ir_alloc_array(&g->scratch, (size_t)(h * n), sizeof *cell->r);
    cell->bias = ir_alloc_array(&g->scratch, (size_t)n, sizeof *cell->bias);
    return true;
}

static bool match_rnn(struct match *m, struct part out)
{
    struct part base;
    struct sum s;
    const char *program = read_activation(m->g, out, &base, &s);
    if (!program || !s.n_terms || !matrix_of(&s, m->h) ||
        !start_cell(m, "rnn", 1, 1))
        return false;
    m->cell->gate = program;
    return set_gate(m, 0, &s, m->h);
}

/* A gate: an activation of a sum, of the program that the others have. */
static bool match_gate(struct match *m, int k, struct part p)
{
    struct part base;
    struct sum s;
    const char *program = read_activation(m->g, p, &base, &s);
    if (!program || !s.n_terms ||
        (m->cell->gate && strcmp(program, m->cell->gate) != 0))
        return false;
    m->cell->gate = program;
    return set_gate(m, k, &s, m->h);
}

static bool is_rest(struct part p, struct part z)
{
    struct part x[2];
    double one;
    return operands_of(p, "x0 x1 sub", x) && is_number(x[0], &one) &&
           one == 1 && is_equal(x[1], z);
}

/* p = a * b, with a for what `is` says of a. */
static bool is_product(struct part p, struct part a, struct part *b)
{
    struct part x[2];
    if (!operands_of(p, "x0 x1 mul", x))
        return false;
    const bool first = is_equal(x[0], a);
    *b = x[first];
    return first || is_equal(x[1], a);
}

/* h' = z * h + (1 - z) * n, or n + z * (h - n): z and n. */
static bool find_update(const struct match *m, struct part out, struct part *z,
                        struct part *n)
{
    struct part sum[2], of[2], d[2];
    if (!operands_of(out, "x0 x1 add", sum))
        return false;
    for (int i = 0; i < 2; i++) {
        if (is_product(sum[i], m->h, z) &&
            operands_of(sum[!i], "x0 x1 mul", of))
            for (int k = 0; k < 2; k++)
                if (is_rest(of[k], *z)) {
                    *n = of[!k];
                    return true;
                }
        if (!operands_of(sum[i], "x0 x1 mul", of))
            continue;
        for (int k = 0; k < 2; k++)
            if (operands_of(of[k], "x0 x1 sub", d) &&
                is_equal(d[0], m->h) && is_equal(d[1], sum[!i])) {
                *z = of[!k];
                *n = sum[!i];
                return true;
            }
    }
    return false;
}

/* The addends of a sum of anything. */
static bool read_addends(struct part p, struct part *list, int *n, int depth)
{
    struct part x[2];
    if (depth < MAX_ADDENDS && operands_of(p, "x0 x1 add", x))
        return read_addends(x[0], list, n, depth + 1) &&
               read_addends(x[1], list, n, depth + 1);
    if (*n == MAX_ADDENDS)
        return false;
    list[(*n)++] = p;
    return true;
}

/* p = r * (R h + b), as gate 2's matrix and recurrent bias. */
static bool match_reset(struct match *m, struct part p, struct sum *of_x)
{
    struct fe_onnx_cell *cell = m->cell;
    struct part x[2];
    struct sum s;
    if (!operands_of(p, "x0 x1 mul", x))
        return false;
    for (int i = 0; i < 2; i++) {
        if (!read_sum(m->g, x[i], &s) || s.n_terms != 1 ||
            !matrix_of(&s, m->h) || !match_gate(m, 1, x[!i]))
            continue;
        cell->recurrent_bias = s.bias;
        cell->reset_after = true;
        return add_term(of_x, m->h, s.matrix[0]) &&
               set_gate(m, 2, of_x, m->h);
    }
    return false;
}

/* The candidate's operand A + r * (R h + b), with A of x alone. */
static bool match_after(struct match *m, struct part base)
{
    struct part list[MAX_ADDENDS];
    struct sum s;
    int n = 0, reset = -1;
    if (!start_sum(m->g, base.n, &s) || !read_addends(base, list, &n, 0))
        return false;
    for (int i = 0; i < n; i++)
        if (!add_part(m->g, &s, list[i], 0)) {
            if (reset >= 0)
                return false;
            reset = i;
        }
    return reset >= 0 && !matrix_of(&s, m->h) &&
           match_reset(m, list[reset], &s);
}

/* The candidate's operand A + R (r * h). */
static bool match_before(struct match *m, const struct sum *s)
{
    for (int i = 0; i < s->n_terms; i++) {
        struct part r;
        if (is_product(s->term[i], m->h, &r) && match_gate(m, 1, r))
            return set_gate(m, 2, s, s->term[i]);
    }
    return false;
}

static bool match_gru(struct match *m, struct part out)
{
    struct part z, n, base;
    struct sum s;
    if (!find_update(m, out, &z, &n) || !start_cell(m, "gru", 3, 1) ||
        !match_gate(m, 0, z))
        return false;
    m->cell->candidate = read_activation(m->g, n, &base, &s);
    if (!m->cell->candidate)
        return false;
    return s.n_terms ? match_before(m, &s) : match_after(m, base);
}

/* c' = f * c + i * g. */
static bool match_memory(struct match *m, struct part c)
{
    struct part sum[2], forget, x[2], base;
    struct sum s;
    if (!operands_of(c, "x0 x1 add", sum))
        return false;
    const int k = is_product(sum[0], m->c, &forget) ? 0 : 1;
    if ((k && !is_product(sum[1], m->c, &forget)) ||
        !match_gate(m, 2, forget) || !operands_of(sum[!k], "x0 x1 mul", x))
        return false;
    for (int i = 0; i < 2; i++) { /* the gate is whose program is the gates' */
        const char *program = read_activation(m->g, x[!i], &base, &s);
        if (program && s.n_terms && set_gate(m, 3, &s, m->h) &&
            match_gate(m, 0, x[i])) {
            m->cell->candidate = program;
            return true;
        }
    }
    return false;
}

static bool match_lstm(struct match *m, struct part h, struct part c)
{
    struct part x[2], base;
    struct sum s;
    if (!operands_of(h, "x0 x1 mul", x) || !start_cell(m, "lstm", 4, 2))
        return false;
    for (int i = 0; i < 2; i++) {
        m->cell->gate = NULL;
        if (!match_gate(m, 1, x[i]))
            continue;
        const char *program = read_activation(m->g, x[!i], &base, &s);
        if (program && !s.n_terms && is_equal(base, c) &&
            match_memory(m, c)) {
            m->cell->output = program;
            return true;
        }
    }
    return false;
}

bool fe_onnx_match_cell(struct fe_onnx *g, int n_states, struct ir_value *x,
                        struct ir_value *const *in,
                        struct ir_value *const *out,
                        struct fe_onnx_cell *cell)
{
    struct match m = {.g = g, .x = whole(x), .h = whole(in[0]), .cell = cell};
    const struct part h = resolve(whole(out[0]));
    if (n_states == 1)
        return match_gru(&m, h) || match_rnn(&m, h);
    m.c = whole(in[1]);
    return m.c.n == m.h.n && match_lstm(&m, h, resolve(whole(out[1])));
}
