/* Names of files in coffer.conf that must not be the same. */
#ifndef COFFER_ENGINE_POOL_CONF_NAMES_H
#define COFFER_ENGINE_POOL_CONF_NAMES_H

#include "base/error.h"
#include "engine/pool/conf.h"

/* Refuses a conf in which the file where a provider's key is cached in the TPM, or that under which a new one is written, is also a
 * device, a key, a certificate or a socket. ERROR_INVALID. */
enum error conf_names_check(const struct pool_conf *conf) CHECKED;

#endif
