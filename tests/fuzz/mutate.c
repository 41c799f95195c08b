/* mutate.c: see mutate.h. */
#include "fuzz/mutate.h"

#include "frontend/frontend.h"

#include <stdlib.h>
#include <string.h>

size_t mutate_model(uint8_t *data, size_t size, size_t most,
                    struct mutate_file other, uint64_t seed)
{
    const bool is_onnx = fe_detect_onnx(data, size);
    const uint64_t rounds = 1 + ir_random(seed, 0) % 3;
    size_t changed = 0;
    uint8_t *copy = ir_realloc_array(NULL, other.size + 1, 1);
    memcpy(copy, other.data, other.size);
    other.data = copy; /* the file changes */
    for (uint64_t i = 0; i < rounds && size > 0; i++) {
        const uint64_t s = ir_random(seed, 1 + i);
        const size_t n = is_onnx ? mutate_onnx(data, size, most, other, s)
                                 : mutate_text(data, size, most, other, s);
        size = changed = n ? n : changed;
    }
    free(copy);
    return changed;
}
