/*
 * The only place that reads OpenSSL's error queue. The queue is emptied on each report, so that an old entry can
 * never be taken for the reason of a later failure. Reasons of OpenSSL name algorithms and sizes, never key bytes.
 */
#include "crypto/openssl_error.h"

#include <openssl/err.h>
#include <stdio.h>

enum error error_from_openssl(const char *action)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);
    enum error error = code != 0 && ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE ? ERROR_NO_MEMORY : ERROR_BUG;
    error_explain(error, "OpenSSL could not %s: %s", action, reason == NULL ? "no reason given" : reason);
    ERR_clear_error();
    return error;
}

void openssl_reason(char reason[OPENSSL_REASON_SIZE])
{
    unsigned long code = ERR_peek_last_error();
    const char *words = code == 0 ? NULL : ERR_reason_error_string(code);
    snprintf(reason, OPENSSL_REASON_SIZE, "%s", words == NULL ? "no reason given" : words);
    ERR_clear_error();
}

bool openssl_reason_is(int library, int reason)
{
    unsigned long code = ERR_peek_last_error();
    return ERR_GET_LIB(code) == library && ERR_GET_REASON(code) == reason;
}
