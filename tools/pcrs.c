/* PCRs on a command line. No state. */
#include "tools/pcrs.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"

/* A number below TPM_PCRS that ends at `end`; *after what follows it. */
static bool number_take(const char *text, const char *end, unsigned *number, const char **after)
{
    *number = 0;
    *after = text;
    while (**after >= '0' && **after <= '9' && *after - text < 2)
        *number = 10 * *number + (unsigned)(*(*after)++ - '0');
    return *after > text && *number < TPM_PCRS && (**after == '\0' || strchr(end, **after) != NULL);
}

enum error pcrs_parse(const char *option, const char *text, uint32_t *pcrs)
{
    uint32_t found = 0;
    unsigned number;
    for (const char *at = text; at != NULL; at = *at == ',' ? at + 1 : NULL) {
        if (!number_take(at, ",", &number, &at))
            return error_explain(ERROR_INVALID, "--%s %s: write numbers from 0 to %d with commas between them, like 7 or 0,2,7",
                                 option, text, TPM_PCRS - 1);
        found |= UINT32_C(1) << number;
    }
    *pcrs = found;
    return ERROR_NONE;
}

enum error pcr_value_parse(const char *option, const char *text, uint32_t *pcrs, uint8_t values[TPM_PCRS][TPM_PCR_SIZE])
{
    unsigned number;
    const char *after;
    if (!number_take(text, "=", &number, &after) || *after != '=' ||
        !hex_parse_typed(after + 1, strlen(after + 1), values[number], TPM_PCR_SIZE))
        return error_explain(ERROR_INVALID, "--%s %s: write NUMBER=VALUE, with a value of 64 hexadecimal digits", option, text);
    *pcrs |= UINT32_C(1) << number;
    return ERROR_NONE;
}

void pcrs_format(uint32_t pcrs, char text[PCRS_TEXT_SIZE])
{
    size_t used = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < TPM_PCRS; i++)
        if (pcrs & UINT32_C(1) << i)
            used += (size_t)snprintf(text + used, PCRS_TEXT_SIZE - used, "%s%u", used == 0 ? "" : ", ", i);
}
