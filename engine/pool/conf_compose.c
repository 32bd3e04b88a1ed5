/*
 * The text of a new coffer.conf. It says what a person may change and what must stay, since this file, not a manual, is
 * what people open. What it writes pool_conf_parse() reads: create.c proves that before anything reaches a disk.
 */
#include "engine/pool/conf.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/tpm.h"

#define PATH_BYTES_MAX 1024 /* of a path in a conf: far from the longest line, and copies fit into a superblock */

static const char head[] =
    "# Coffer: what this pool is and how it is served. Lines that begin with '#' are comments; a commented-out\n"
    "# setting shows its default. Changes count from the next start of cofferd, but for key-period,\n"
    "# cryptoperiod, rekey-every, tpm-cache and [control], which count within a minute. What the disks say\n"
    "# about encryption and keys must agree with this file; a disk never overrules it.\n"
    "\n";

static const char pool_settings[] = "# Of it, for finding duplicates; a quarter by default.\n"
                                    "#index-memory = 64M\n"
                                    "# How long deleted disks stay in the trash.\n"
                                    "#trash = 7d\n"
                                    "# How old the key may become before health asks for a new one (key rekey); off: any age.\n"
                                    "#key-period = 365d\n"
                                    "# The same of data keys and the root key (NIST SP 800-57 part 1: two years); off: any age.\n"
                                    "#cryptoperiod = 730d\n"
                                    "# How old the key becomes before cofferd makes a new one by itself (90d, say); off: it does not.\n"
                                    "#rekey-every = off\n"
                                    "# auto (by load), none, lz4, or a fixed zstd-1 to zstd-19.\n"
                                    "#compression = auto\n"
                                    "# What auto compressed fast is compressed harder while nobody writes: on, off, or\n"
                                    "# zstd-1 to zstd-19.\n"
                                    "#recompress = on\n"
                                    "\n"
                                    "[server]\n"
                                    "# Where NBD is served; may be given several times: unix:PATH or tcp:HOST:PORT.\n"
                                    "#nbd = unix:nbd.sock\n"
                                    "# Where the coffer command reaches the daemon.\n"
                                    "#control = control.sock\n"
                                    "# TCP without TLS is refused unless this says yes.\n"
                                    "#insecure = no\n"
                                    "\n"
                                    "[control]\n"
                                    "# Who beside root and the user of cofferd may look, change disks, change keys: user:NAME,\n"
                                    "# group:NAME, by numbers too. By default nobody: these lines are examples. They need a control\n"
                                    "# socket elsewhere: this directory is closed.\n"
                                    "#observe = group:NAME\n"
                                    "#operate = group:NAME\n"
                                    "#keys = user:NAME\n";

static void put_uuid(FILE *out, const char *name, struct uuid uuid)
{
    char text[UUID_TEXT_SIZE];
    uuid_format(uuid, text);
    fprintf(out, "%s = %s\n", name, text);
}

static void put_memory(FILE *out, uint64_t memory)
{
    fputs("\n# Memory for tables, index, buffers and caches together; at least 64M.\n", out);
    if (memory == 0)
        fputs("#memory = 256M\n", out);
    else
        fprintf(out, "# Devices as large as these need more than the default of 256M.\nmemory = %" PRIu64 "M\n", memory >> 20);
}

static void put_pool(FILE *out, const struct pool_conf_new *new)
{
    fputs("[pool]\n# Fixed at creation: identity, and how duplicates are recognised.\n", out);
    put_uuid(out, "uuid", new->pool);
    fprintf(out, "fingerprint = %s\n", new->fingerprint == POOL_FINGERPRINT_XXH3 ? "xxh3" : "hmac-sha256");
    if (new->provider == NULL) {
        fputs("# Nothing is encrypted: who has the disks can read and change them.\nencryption = off\n", out);
    } else {
        fputs("# on, or required: then it cannot be turned off while that line stands.\nencryption = on\n", out);
        fprintf(out, "# Who keeps the key.\nprovider = %s\n", new->provider->name);
    }
    put_memory(out, new->memory);
    fputs(pool_settings, out);
}

static void put_kmip(FILE *out, const struct provider_config *provider)
{
    fprintf(out, "type = %s\n# Tried in this order; HOST, HOST:PORT or [IPV6]:PORT. Without them, or without the key\n"
                 "# coffer/POOL-UUID/kek/NUMBER on them, the data is lost.\n", provider->type);
    for (size_t i = 0; i < provider->server_count; i++)
        fprintf(out, "servers = %s\n", provider->servers[i]);
    fprintf(out, "# Whom to trust, and who this side is; the key is its owner's alone (0600).\nca = %s\ncertificate = %s\n"
                 "key = %s\n", provider->ca, provider->certificate, provider->key);
    fprintf(out, "# How long each step may take.\n%stimeout = %us\n",
            provider->timeout == PROVIDER_TIMEOUT_DEFAULT ? "#" : "", provider->timeout / 1000);
    fprintf(out, "# Whether what one server makes the others have, too.\n%sreplicated = %s\n",
            provider->separate ? "" : "#", provider->separate ? "no" : "yes");
    fprintf(out, "# How long after it was fetched the key opens the pool while no server answers, kept sealed in the TPM\n"
                 "# (7d, say); off: it is not kept. tcti: how the TPM is reached.\n");
    if (provider->cache_seconds == 0)
        fputs("#tpm-cache = off\n", out);
    else
        fprintf(out, "tpm-cache = %" PRIu64 "s\n", provider->cache_seconds);
    fprintf(out, "%stcti = %s\n", provider->tcti == NULL ? "#" : "", provider->tcti == NULL ? TPM_TCTI_DEFAULT : provider->tcti);
}

static void put_pcrs(FILE *out, uint32_t pcrs)
{
    for (unsigned i = 0; i < TPM_PCRS; i++)
        if (pcrs & UINT32_C(1) << i)
            fprintf(out, "%s%u", pcrs & ((UINT32_C(1) << i) - 1) ? ", " : "pcrs = ", i);
    if (pcrs != 0)
        fputc('\n', out);
}

static void put_provider(FILE *out, const void *what)
{
    const struct provider_config *provider = what;
    fprintf(out, "\n[provider %s]\n", provider->name);
    put_uuid(out, "id", provider->id);
    if (provider->server_count > 0) {
        put_kmip(out, provider);
        return;
    }
    fprintf(out, "type = %s\nseal = %s\n", provider->type, provider->seal);
    if (strcmp(provider->seal, "tpm") == 0) {
        fputs("# How the TPM is reached: device:PATH, or swtpm:, mssim: or tabrmd: with settings.\n", out);
        fprintf(out, provider->tcti == NULL ? "#tcti = %s\n" : "tcti = %s\n",
                provider->tcti == NULL ? TPM_TCTI_DEFAULT : provider->tcti);
        fputs("# A new key that is sealed here is bound to these PCRs; what the present one is bound to, its file says.\n",
              out);
        put_pcrs(out, provider->pcrs);
    }
    fprintf(out, "# Without this file the data is lost: keep a copy elsewhere.\npath = %s\n", provider->path);
}

static void put_group(FILE *out, const struct pool_conf_new *new)
{
    fprintf(out, "\n[group %s]\n", new->group_name);
    put_uuid(out, "uuid", new->group);
    fputs("# Relative to this directory, or absolute and stable (/dev/disk/by-id/...). Paths may change when disks\n"
          "# move; ids and order may not.\n",
          out);
    for (size_t i = 0; i < new->device_count; i++) {
        fprintf(out, "devices = %s\n", new->device_paths[i]);
        put_uuid(out, "device-ids", new->device_ids[i]);
    }
}

static enum error compose(void (*put)(FILE *out, const void *what), const void *what, char **text)
{
    char *buffer = NULL;
    size_t size;
    FILE *out = open_memstream(&buffer, &size);
    if (out == NULL)
        return ERROR_NO_MEMORY;
    put(out, what);
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(buffer);
        return ERROR_NO_MEMORY;
    }
    *text = buffer;
    return ERROR_NONE;
}

static void put_all(FILE *out, const void *what)
{
    const struct pool_conf_new *new = what;
    fputs(head, out);
    put_pool(out, new);
    if (new->provider != NULL)
        put_provider(out, new->provider);
    put_group(out, new);
}

enum error pool_conf_compose(const struct pool_conf_new *new, char **text) { return compose(put_all, new, text); }

enum error pool_conf_provider_compose(const struct provider_config *provider, char **text)
{
    return compose(put_provider, provider, text);
}

bool pool_conf_can_hold(const char *path)
{
    size_t length = strlen(path);
    if (length == 0 || length > PATH_BYTES_MAX || path[0] == ' ' || path[length - 1] == ' ')
        return false;
    for (const char *c = path; *c != 0; c++)
        if (*c == ',' || (unsigned char)*c < ' ' || *c == 0x7f)
            return false;
    return true;
}
