/* net_spec.c: the text of layers -> a net's layers with their shapes.
 *
 *     conv 16 3x3 pad same relu; maxpool 2; dense 64 relu; dropout 0.2
 *
 * A layer is its name and what its kind reads after it. An activation is a
 * layer, too; the `;` between layers may be left out, so that it can stand
 * beside what it is of. Layers that only change a shape are put in between
 * where one needs it: a dense layer after channels flattens them.
 */
#include "trainer/private.h"

#include <stdlib.h>
#include <string.h>

const struct tr_layer_kind *const tr_layer_kinds[] = {
    &tr_kind_dense,   &tr_kind_conv,      &tr_kind_maxpool, &tr_kind_avgpool,
    &tr_kind_rnn,     &tr_kind_lstm,      &tr_kind_gru,     &tr_kind_batchnorm,
    &tr_kind_dropout, &tr_kind_flatten,   &tr_kind_transpose,
    &tr_kind_laststep,
};
const int tr_layer_kind_count =
    (int)(sizeof(tr_layer_kinds) / sizeof(tr_layer_kinds[0]));

const char *const tr_activation_name[TR_N_ACTIVATIONS] = {
    "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "sigmoid",
    "tanh"};

const char *tr_layer_usage(int i)
{
    return i < tr_layer_kind_count ? tr_layer_kinds[i]->usage
           : i < tr_layer_kind_count + TR_N_ACTIVATIONS
               ? tr_activation_name[i - tr_layer_kind_count]
               : NULL;
}

/* -------------------------------------------------------------- messages -- */

static bool verror(int place, struct ir_diag *diag, const char *fmt,
                   va_list args)
{
    const struct ir_loc loc =
        place ? ir_loc_line("layers", 1, (uint32_t)place) : ir_loc_file(NULL);
    return ir_verror(diag, loc, fmt, args);
}

bool tr_layer_error(const struct tr_layer *layer, struct ir_diag *diag,
                    const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    verror(layer->place, diag, fmt, args);
    va_end(args);
    return false;
}

IR_PRINTF(2, 3)
static bool word_error(const struct tr_words *words, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    verror((int)(words->at - words->text) + 1, words->diag, fmt, args);
    va_end(args);
    return false;
}

/* ----------------------------------------------------------------- words -- */

static void skip_blanks(struct tr_words *words)
{
    words->at += strspn(words->at, " \t\r\n");
}

/* Bytes of the next word; 0 at a `;` or the end. */
static size_t next_word(struct tr_words *words)
{
    skip_blanks(words);
    return strcspn(words->at, " \t\r\n;");
}

bool tr_words_take(struct tr_words *words, const char *word)
{
    const size_t n = next_word(words);
    if (n == 0 || n != strlen(word) || memcmp(words->at, word, n) != 0)
        return false;
    words->at += n;
    return true;
}

/* Reads [at, at + n) as a number of the range. */
static bool read_int(const char *at, size_t n, int64_t least, int64_t most,
                     int64_t *number)
{
    return ir_parse_int(at, at + n, number) && *number >= least &&
           *number <= most;
}

static bool wrong_word(const struct tr_words *words, size_t n,
                       const char *what, const char *wanted)
{
    const char *kind = words->layer->kind->name;
    if (n == 0)
        return word_error(words, "%s: the %s is missing (%s)", kind, what,
                          wanted);
    return word_error(words, "%s: the %s \"%.*s\" is not %s", kind, what,
                      (int)n, words->at, wanted);
}

bool tr_words_int(struct tr_words *words, const char *what, int64_t least,
                  int64_t most, int64_t *number)
{
    char wanted[80];
    const size_t n = next_word(words);
    snprintf(wanted, sizeof(wanted), "a whole number of %lld to %lld",
             (long long)least, (long long)most);
    if (!read_int(words->at, n, least, most, number))
        return wrong_word(words, n, what, wanted);
    words->at += n;
    return true;
}

bool tr_words_pair(struct tr_words *words, const char *what, int64_t least,
                   int64_t most, int64_t pair[2])
{
    char wanted[80];
    const size_t n = next_word(words);
    const char *x = n ? memchr(words->at, 'x', n) : NULL;
    const size_t first = x ? (size_t)(x - words->at) : n;
    snprintf(wanted, sizeof(wanted),
             "one or two whole numbers of %lld to %lld, as 3x3",
             (long long)least, (long long)most);
    if (!read_int(words->at, first, least, most, &pair[0]) ||
        (x && !read_int(x + 1, n - first - 1, least, most, &pair[1])))
        return wrong_word(words, n, what, wanted);
    if (!x)
        pair[1] = pair[0];
    words->at += n;
    return true;
}

bool tr_words_real(struct tr_words *words, const char *what, double *number)
{
    const size_t n = next_word(words);
    if (!ir_parse_double(words->at, words->at + n, number) ||
        !(*number >= 0 && *number < 1))
        return wrong_word(words, n, what, "a number of [0, 1)");
    words->at += n;
    return true;
}

/* ---------------------------------------------------------------- shapes -- */

struct tr_shape tr_shape_vector(int64_t n)
{
    return (struct tr_shape){TR_VECTOR, 1, {n, 0, 0}, 1, n};
}

struct tr_shape tr_shape_series(int64_t steps, int64_t features)
{
    return (struct tr_shape){TR_SERIES, 2, {steps, features, 0}, steps,
                             features};
}

struct tr_shape tr_shape_channels(int rank, const int64_t *dim)
{
    struct tr_shape s = {TR_CHANNELS, rank, {0}, dim[0], 1};
    for (int i = 0; i < rank; i++)
        s.dim[i] = dim[i];
    for (int i = 1; i < rank; i++)
        s.inner *= dim[i];
    return s;
}

int64_t tr_shape_elements(const struct tr_shape *shape)
{
    return shape->lead * shape->inner;
}

const char *tr_shape_text(const struct tr_shape *shape,
                          struct ir_arena *arena)
{
    const int64_t *d = shape->dim;
    if (shape->rank == 1)
        return ir_sprintf(arena, "%lld", (long long)d[0]);
    if (shape->rank == 2)
        return ir_sprintf(arena, "%lldx%lld", (long long)d[0],
                          (long long)d[1]);
    return ir_sprintf(arena, "%lldx%lldx%lld", (long long)d[0],
                      (long long)d[1], (long long)d[2]);
}

int tr_shape_parse(const char *text, int64_t dim[3], struct ir_diag *diag)
{
    int rank = 0;
    int64_t volume = 1;
    for (const char *at = text;; at++) {
        const size_t n = strcspn(at, "x");
        if (rank == 3 || !read_int(at, n, 1, IR_MAX_COLUMNS, &dim[rank]))
            break;
        volume *= dim[rank++];
        if (volume > IR_MAX_COLUMNS)
            break;
        at += n;
        if (!*at)
            return rank;
    }
    ir_error(diag, ir_loc_file(NULL),
             "parameter input_shape: \"%s\" is no shape: one to three whole "
             "numbers with an x between them, %d elements at most", text,
             IR_MAX_COLUMNS);
    return -1;
}

void tr_layer_block(struct tr_layer *layer, int64_t n, bool trained,
                    bool decays)
{
    if (layer->n_blocks == TR_MAX_BLOCKS)
        ir_bug("layer %s has too many blocks", layer->kind->name);
    layer->block[layer->n_blocks++] =
        (struct tr_block){.n = n, .trained = trained, .decays = decays};
}

void tr_layer_work(struct tr_layer *layer, int64_t n)
{
    if (layer->n_work == TR_MAX_WORK)
        ir_bug("layer %s has too much work", layer->kind->name);
    layer->work_elements[layer->n_work++] = n;
}

/* ---------------------------------------------------------------- layers -- */

static struct tr_layer *add_layer(struct tr_net *net,
                                  const struct tr_layer_kind *kind, int place)
{
    struct tr_layer *layer = &net->layer[net->n_layers++];
    *layer = (struct tr_layer){.kind = kind, .place = place};
    return layer;
}

static bool unknown_layer(const struct tr_words *words, size_t n)
{
    struct ir_text names;
    ir_text_init(&names);
    for (int i = 0; i < tr_layer_kind_count; i++)
        ir_text_printf(&names, "%s%s", i ? ", " : "", tr_layer_kinds[i]->name);
    for (int i = 0; i < TR_N_ACTIVATIONS; i++)
        ir_text_printf(&names, ", %s", tr_activation_name[i]);
    word_error(words, "\"%.*s\" is no layer, nor does the one before it take "
               "it (layers are: %s)", (int)n, words->at, names.data);
    ir_text_release(&names);
    return false;
}

/* Starts the layer whose name is next; NULL with a message. */
static struct tr_layer *read_name(struct tr_words *words, struct tr_net *net)
{
    const size_t n = next_word(words);
    const int place = (int)(words->at - words->text) + 1;
    if (net->n_layers > TR_MAX_LAYERS / 2) {
        word_error(words, "more than %d layers", TR_MAX_LAYERS / 2);
        return NULL;
    }
    for (int i = 0; i < tr_layer_kind_count; i++)
        if (tr_words_take(words, tr_layer_kinds[i]->name))
            return add_layer(net, tr_layer_kinds[i], place);
    for (int i = 0; i < TR_N_ACTIVATIONS; i++)
        if (tr_words_take(words, tr_activation_name[i])) {
            struct tr_layer *layer =
                add_layer(net, &tr_kind_activation, place);
            layer->activation = (enum tr_activation)i;
            return layer;
        }
    unknown_layer(words, n);
    return NULL;
}

static bool read_layers(struct tr_words *words, struct tr_net *net)
{
    for (;;) {
        const size_t n = next_word(words);
        if (n == 0 && !*words->at)
            return true;
        if (n == 0) {
            words->at++; /* a `;` */
            continue;
        }
        struct tr_layer *layer = read_name(words, net);
        if (!layer)
            return false;
        words->layer = layer;
        if (layer->kind->parse && !layer->kind->parse(words, layer))
            return false;
    }
}

bool tr_layers_check(const char *text, struct ir_diag *diag)
{
    struct tr_net *net = ir_realloc_array(NULL, 1, sizeof(*net));
    struct tr_words words = {.text = text, .at = text, .diag = diag};
    net->n_layers = 0;
    const bool good = read_layers(&words, net);
    free(net);
    return good;
}

/* ------------------------------------------------------------ what fits -- */

static bool is_recurrent(const struct tr_layer *layer)
{
    return layer->kind == &tr_kind_rnn || layer->kind == &tr_kind_lstm ||
           layer->kind == &tr_kind_gru;
}

static bool wants_channels(const struct tr_layer *layer)
{
    return layer->kind == &tr_kind_conv || layer->kind == &tr_kind_maxpool ||
           layer->kind == &tr_kind_avgpool;
}

/* A recurrent layer gives all of its steps when the next layer that is not
 * done number by number goes over them. */
static void choose_steps(struct tr_net *net, int i)
{
    struct tr_layer *layer = &net->layer[i];
    if (!is_recurrent(layer) || layer->chosen)
        return;
    layer->one_step = true;
    for (int k = i + 1; k < net->n_layers; k++) {
        const struct tr_layer *next = &net->layer[k];
        if (next->kind == &tr_kind_activation ||
            next->kind == &tr_kind_dropout ||
            next->kind == &tr_kind_batchnorm)
            continue;
        layer->one_step = !is_recurrent(next) &&
                          next->kind != &tr_kind_transpose &&
                          next->kind != &tr_kind_flatten &&
                          next->kind != &tr_kind_laststep;
        return;
    }
}

/* The shape of the rows: two dims are a series when the first layer that goes
 * over either is recurrent, or goes over channels behind a transpose. */
static struct tr_shape first_shape(const struct tr_net *net, int from,
                                   int rank, const int64_t *dim)
{
    if (rank == 1)
        return tr_shape_vector(dim[0]);
    bool turned = false;
    for (int i = from; rank == 2 && i < net->n_layers; i++) {
        const struct tr_layer *layer = &net->layer[i];
        turned ^= layer->kind == &tr_kind_transpose;
        if (!wants_channels(layer) && !is_recurrent(layer))
            continue;
        if (is_recurrent(layer) != turned)
            return tr_shape_series(dim[0], dim[1]);
        break;
    }
    return tr_shape_channels(rank, dim);
}

static bool check_size(struct tr_net *net, struct tr_layer *layer,
                       struct ir_diag *diag)
{
    const int64_t n = tr_shape_elements(&layer->out);
    if (n < 1 || n > IR_MAX_ELEMENTS)
        return tr_layer_error(layer, diag,
                              "%s: a row's result has %lld elements (the "
                              "limit is %d)", layer->kind->name,
                              (long long)n, IR_MAX_ELEMENTS);
    for (int i = 0; i < layer->n_blocks; i++) {
        layer->block[i].first = net->n_params;
        net->n_params += layer->block[i].n;
        if (net->n_params > IR_MAX_ELEMENTS)
            return tr_layer_error(layer, diag,
                                  "%s: the net has more than %d parameters, "
                                  "which is the limit", layer->kind->name,
                                  IR_MAX_ELEMENTS);
    }
    return true;
}

/* Ends the net's new layers with one whose input is `in`. */
static bool shape_layer(struct tr_net *net, struct tr_layer layer,
                        struct tr_shape *in, struct ir_diag *diag)
{
    if (net->n_layers == TR_MAX_LAYERS)
        ir_bug("more than %d layers", TR_MAX_LAYERS);
    layer.in = *in;
    if (!layer.kind->shape(&layer, diag) || !check_size(net, &layer, diag))
        return false;
    *in = layer.out;
    net->layer[net->n_layers++] = layer;
    return true;
}

/* Gives the layers from `from` on their shapes; flattens where dense needs
 * it. */
static bool shape_layers(struct tr_net *net, int from, struct tr_shape in,
                         struct ir_diag *diag)
{
    const int n = net->n_layers - from;
    struct tr_layer *text = ir_realloc_array(NULL, (size_t)n, sizeof(*text));
    memcpy(text, net->layer + from, (size_t)n * sizeof(*text));
    net->n_layers = from;
    bool good = true;
    for (int i = 0; good && i < n; i++) {
        const bool flat = text[i].kind == &tr_kind_dense &&
                          (in.kind == TR_CHANNELS ||
                           (in.kind == TR_SERIES && text[i].place == 0));
        if (flat)
            good = shape_layer(net, (struct tr_layer){.kind =
                                                      &tr_kind_flatten},
                               &in, diag);
        good = good && shape_layer(net, text[i], &in, diag);
    }
    free(text);
    return good;
}

bool tr_net_parse(struct tr_net *net, const char *text, int rank,
                  const int64_t *dim, int64_t n_outputs,
                  struct ir_diag *diag)
{
    const int from = net->n_layers;
    struct tr_words words = {.text = text, .at = text, .diag = diag};
    if (!read_layers(&words, net))
        return false;
    for (int i = from; i < net->n_layers; i++)
        choose_steps(net, i);
    struct tr_shape in = first_shape(net, from, rank, dim);
    add_layer(net, &tr_kind_dense, 0)->units = n_outputs;
    return shape_layers(net, from, in, diag);
}
