/*
 * Seals 32 bytes in a TPM as nobody should, without a session that encrypts, so that they go over the wire as they are:
 * for the test that must find them there.
 *
 *     tpm_plain TCTI HEXADECIMAL
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/tpm_link.h"

static void succeed(struct tpm_link *link, TSS2_RC code)
{
    if (tpm_link_error(link, code, "seal") == ERROR_NONE)
        return;
    fprintf(stderr, "tpm_plain: %s\n", error_sentence(tpm_link_error(link, code, "seal")));
    _Exit(1);
}

int main(int count, char **arguments)
{
    static const TPM2B_DATA outside;
    static const TPML_PCR_SELECTION pcrs;
    struct tpm_link link;
    TPM2B_SENSITIVE_CREATE sensitive = {.sensitive = {.data = {.size = KEY_SIZE}}};
    TPM2B_PUBLIC template = {
        .publicArea = {.type = TPM2_ALG_KEYEDHASH,
                       .nameAlg = TPM2_ALG_SHA256,
                       .objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_USERWITHAUTH,
                       .parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL}};
    if (count < 3 || strlen(arguments[2]) != 2 * KEY_SIZE)
        return 2;
    for (size_t i = 0; i < KEY_SIZE; i++)
        if (sscanf(arguments[2] + 2 * i, "%2hhx", &sensitive.sensitive.data.buffer[i]) != 1)
            return 2;
    if (tpm_link_open(arguments[1], &link) != ERROR_NONE || tpm_link_primary(&link, NULL) != ERROR_NONE) {
        fprintf(stderr, "tpm_plain: no TPM\n");
        return 1;
    }
    succeed(&link, Esys_Create(link.esys, link.primary, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive,
                               &template, &outside, &pcrs, NULL, NULL, NULL, NULL, NULL));
    tpm_link_close(&link);
    return 0;
}
