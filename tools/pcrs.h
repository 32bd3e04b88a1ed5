/* PCRs of a TPM on a command line: "0,2,7", and "7=DIGITS" for a value. */
#ifndef COFFER_TOOLS_PCRS_H
#define COFFER_TOOLS_PCRS_H

#include <stdint.h>

#include "base/error.h"
#include "crypto/tpm.h"

#define PCRS_TEXT_SIZE (4 * TPM_PCRS)

/* Bit n of `pcrs` for PCR n. ERROR_INVALID, which names the option. */
enum error pcrs_parse(const char *option, const char *text, uint32_t *pcrs) CHECKED;
/* Adds a PCR to `*pcrs` and its value to `values`. */
enum error pcr_value_parse(const char *option, const char *text, uint32_t *pcrs,
                           uint8_t values[TPM_PCRS][TPM_PCR_SIZE]) CHECKED;
/* "0, 2, 7" */
void pcrs_format(uint32_t pcrs, char text[PCRS_TEXT_SIZE]);

#endif
