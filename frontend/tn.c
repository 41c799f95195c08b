/* tn.c: our own binary model file, the safetensors container. What is in it
 * is ir/container.c's business; here it only joins the table of importers.
 */
#include "frontend/frontend.h"

bool fe_detect_tn(const uint8_t *data, size_t size)
{
    return ir_container_detect(data, size);
}

struct ir_module *fe_import_tn(struct ir_file file, struct ir_diag *diag)
{
    return ir_container_read(file, diag);
}
