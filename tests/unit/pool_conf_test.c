/* coffer.conf: what is unknown, missing, doubled or out of range is refused with its line; what is written reads back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/memory.h"
#include "engine/pool/conf.h"

#define POOL "uuid = 11111111-1111-4111-8111-111111111111\n"
#define PROVIDER                                                                                                       \
    "[provider native]\nid = 22222222-2222-4222-8222-222222222222\ntype = native\nseal = file\npath = native.key\n"
#define GROUP_HEAD "[group g1]\nuuid = 33333333-3333-4333-8333-333333333333\n"
#define DISK_ID    "44444444-4444-4444-8444-444444444444"
#define DISK_ID_2  "55555555-5555-4555-8555-555555555555"
#define GROUP      GROUP_HEAD "devices = disk\ndevice-ids = " DISK_ID "\n"
#define SMALLEST   "[pool]\n" POOL "provider = native\n" PROVIDER GROUP

static void assert_refused(const char *text, const char *words)
{
    struct pool_conf *conf;
    error_forget();
    assert_int_equal(pool_conf_parse("/pool", text, &conf), ERROR_INVALID);
    if (strstr(error_sentence(ERROR_INVALID), words) == NULL)
        fail_msg("\"%s\" is not in: %s", words, error_sentence(ERROR_INVALID));
    assert_non_null(strstr(error_sentence(ERROR_INVALID), "coffer.conf"));
}

static struct pool_conf *parsed(const char *text)
{
    struct pool_conf *conf;
    if (pool_conf_parse("/pool", text, &conf) != ERROR_NONE)
        fail_msg("%s", error_sentence(ERROR_INVALID));
    return conf;
}

static void unknown_keys_and_sections_are_refused(void **context)
{
    (void)context;
    assert_refused("[pool]\n" POOL "provider = native\nmemry = 1G\n" PROVIDER GROUP, "memory");
    assert_refused(SMALLEST "[sever]\nnbd = unix:x\n", "[server]");
    assert_refused(SMALLEST "colour = red\n", "colour");
    assert_refused("garbage\n", "coffer.conf");
    assert_refused("", "missing");
}

static void what_is_missing_is_named(void **context)
{
    (void)context;
    assert_refused("[pool]\nprovider = native\n" PROVIDER GROUP, "uuid in [pool]: is missing");
    assert_refused("[pool]\n" POOL PROVIDER GROUP, "provider in [pool]");
    assert_refused("[pool]\n" POOL "provider = native\n" PROVIDER, "group");
    assert_refused("[pool]\n" POOL "provider = native\n[provider native]\ntype = native\n" GROUP, "id in");
    assert_refused("[pool]\n" POOL "provider = native\n" PROVIDER GROUP_HEAD "devices = a\n", "device-ids");
    assert_refused("[pool]\n" POOL "provider = native\n" PROVIDER GROUP_HEAD "device-ids = " DISK_ID "\n", "devices");
    assert_refused("[pool]\n" POOL "provider = native\n" PROVIDER "[group g1]\ndevices = a\n", "uuid in [group g1]");
}

static void what_does_not_fit_together_is_refused(void **context)
{
    (void)context;
    assert_refused("[pool]\n" POOL "provider = other\n" PROVIDER GROUP, "[provider other]");
    assert_refused("[pool]\n" POOL "provider = native\n" PROVIDER "tcti = cmd:sh\n" GROUP, "there is no TCTI \"cmd:sh\"");
    assert_refused("[pool]\nuuid = nonsense\nprovider = native\n" PROVIDER GROUP, "not a UUID");
    assert_refused("[pool]\nuuid = 00000000-0000-0000-0000-000000000000\nprovider = native\n" PROVIDER GROUP, "UUID");
    assert_refused("[pool]\n" POOL "provider = native\n" PROVIDER GROUP_HEAD "devices = a, b\ndevice-ids = " DISK_ID
                   "\n",
                   "1 are given for 2");
    assert_refused("[pool]\n" POOL "provider = native\n" PROVIDER GROUP_HEAD "devices = a, b\ndevice-ids = " DISK_ID
                   "," DISK_ID "\n",
                   "twice");
    assert_refused("[pool]\n" POOL "provider = native\n" PROVIDER GROUP_HEAD
                   "devices = a, /pool/a\ndevice-ids = " DISK_ID "," DISK_ID_2 "\n",
                   "twice");
    assert_refused("[pool]\n" POOL "provider = native\n" PROVIDER GROUP_HEAD "devices = a,,b\ndevice-ids = " DISK_ID
                   "\n",
                   "two commas");
    assert_refused("[pool]\n" POOL "provider = native\n" PROVIDER GROUP_HEAD "devices = a\ndevice-ids = x\n", "UUID");
    assert_refused(SMALLEST
                   "[group g2]\nuuid = 33333333-3333-4333-8333-333333333333\ndevices = b\ndevice-ids = " DISK_ID_2 "\n",
                   "group g1");
    assert_refused(SMALLEST "[group .g2]\nuuid = 33333333-3333-4333-8333-333333333334\n", "named");
    assert_refused(SMALLEST "[provider p2]\nid = 22222222-2222-4222-8222-222222222222\ntype = native\nseal = file\n"
                            "path = x\n",
                   "provider native");
}

static void who_may_use_the_control_socket_is_read(void **context)
{
    (void)context;
    struct pool_conf *conf = parsed(SMALLEST "[control]\nobserve = group:monitoring , user:0\nkeys = user:DOM\\alice smith\n"
                                             "observe = group:4294967294\n");
    const struct pool_conf_grant *list = conf->grants.list;
    assert_int_equal(conf->grants.count, 4);
    assert_true(list[0].role == POOL_ROLE_OBSERVE && list[0].group && list[0].by_name);
    assert_string_equal(list[0].name, "monitoring");
    assert_true(list[1].role == POOL_ROLE_OBSERVE && !list[1].group && !list[1].by_name && list[1].id == 0);
    assert_true(list[2].group && !list[2].by_name && list[2].id == 4294967294u);
    assert_true(list[3].role == POOL_ROLE_KEYS && !list[3].group && list[3].by_name);
    assert_string_equal(list[3].name, "DOM\\alice smith");
    pool_conf_destroy(conf);
    assert_refused(SMALLEST "[controll]\nkeys = user:a\n", "[control]");
}

/* Such a pool is served, and the line told. */
static void assert_forgiven(const char *text, const char *words)
{
    struct pool_conf *conf = parsed(text);
    assert_non_null(conf->grants.fault);
    if (strstr(conf->grants.fault, words) == NULL)
        fail_msg("\"%s\" is not in: %s", words, conf->grants.fault);
    assert_non_null(strstr(conf->grants.fault, "coffer.conf:"));
    assert_int_equal(conf->grants.count, 0);
    assert_int_equal(conf->group_count, 1);
    pool_conf_destroy(conf);
}

static void a_wrong_line_of_roles_takes_them_and_nothing_else(void **context)
{
    (void)context;
    assert_forgiven(SMALLEST "[control]\nobserve = alice\n",
                    "observe in [control]: \"alice\" is neither user:NAME nor group:NAME");
    assert_forgiven(SMALLEST "[control]\noperate = user:\n", "does not name a user");
    assert_forgiven(SMALLEST "[control]\noperate = group: x\n", "does not name a group");
    assert_forgiven(SMALLEST "[control]\nkeys = user:4294967295\n", "the largest number");
    assert_forgiven(SMALLEST "[control]\nkeys = user:99999999999999999999999\n", "the largest number");
    assert_forgiven(SMALLEST "[control]\nkeys = user:a,,user:b\n", "two commas");
    assert_forgiven(SMALLEST "[control]\noperator = user:a\n", "operate");
    assert_forgiven("[control]\nobserve = user:a\nkeys =\n" SMALLEST, "coffer.conf:3: keys has no value");
    assert_forgiven("[control]\nalice\noperate = user:a\n" SMALLEST, "coffer.conf:2: neither");
    assert_forgiven("[control]\nmemory = 1G\n" SMALLEST, "does not belong into [control]");
    assert_refused("[control]\nmemory = 1G\nobserve = x\n" SMALLEST "colour = red\n", "colour");
}

#define KMIP_HEAD   "[provider kms]\nid = 22222222-2222-4222-8222-222222222222\ntype = kmip\n"
#define KMIP_FILES  "ca = ca.pem\ncertificate = /etc/host.pem\nkey = host.key\n"
#define WITH_KMIP(provider) "[pool]\n" POOL "provider = kms\n" KMIP_HEAD provider GROUP

static void what_does_not_go_with_a_kmip_provider_is_refused(void **context)
{
    (void)context;
    assert_refused(WITH_KMIP(KMIP_FILES), "servers in [provider kms]: is missing");
    assert_refused(WITH_KMIP("servers = a,\n" KMIP_FILES), "two commas");
    assert_refused(WITH_KMIP("servers = a:b\n" KMIP_FILES), "HOST:PORT");
    assert_refused(WITH_KMIP("servers = a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q\n" KMIP_FILES), "more than 16");
    assert_refused(WITH_KMIP("servers = a\ncertificate = b\nkey = c\n"), "ca in [provider kms]: is missing");
    assert_refused(WITH_KMIP("servers = a\nca = b\nkey = c\n"), "certificate in [provider kms]: is missing");
    assert_refused(WITH_KMIP("servers = a\nca = b\ncertificate = c\n"), "key in [provider kms]: is missing");
    assert_refused(WITH_KMIP("servers = a\nseal = file\n" KMIP_FILES), "seal in [provider kms]");
    assert_refused(WITH_KMIP("servers = a\npath = x\n" KMIP_FILES), "path in [provider kms]");
    assert_refused(WITH_KMIP("servers = a\ntimeout = 0\n" KMIP_FILES), "timeout");
    assert_refused(WITH_KMIP("servers = a\ntimeout = 61s\n" KMIP_FILES), "60s");
    assert_refused(WITH_KMIP("servers = a\ntcti = device:/dev/tpm0\n" KMIP_FILES), "tcti in [provider kms]");
    assert_refused(WITH_KMIP("servers = a\npcrs = 7\ntpm-cache = 7d\n" KMIP_FILES), "pcrs in [provider kms]");
    assert_refused(WITH_KMIP("servers = a\ntpm-cache = 59m\n" KMIP_FILES), "from 1h to 366d");
    assert_refused(WITH_KMIP("servers = a\ntpm-cache = 367d\n" KMIP_FILES), "from 1h to 366d");
    assert_refused(WITH_KMIP("servers = a\ntpm-cache = 7d\ntcti = /tmp/mine.so\n" KMIP_FILES), "there is no TCTI");
    assert_refused("[pool]\n" POOL "provider = native\n" PROVIDER "tpm-cache = 7d\n" GROUP, "type = kmip only");
    assert_refused("[pool]\n" POOL "provider = native\n" PROVIDER "servers = a\n" GROUP, "type = kmip only");
    assert_refused("[pool]\n" POOL "provider = native\n" PROVIDER "timeout = 3s\n" GROUP, "type = kmip only");
}

static void a_kmip_provider_has_servers_files_and_a_timeout(void **context)
{
    (void)context;
    struct pool_conf *conf = parsed(WITH_KMIP("servers = kms1, [::1]:1\nservers = kms3:5\n" KMIP_FILES));
    const struct provider_config *provider = conf->provider;
    assert_int_equal(provider->server_count, 3);
    assert_string_equal(provider->servers[1], "[::1]:1");
    assert_string_equal(provider->servers[2], "kms3:5");
    assert_string_equal(provider->ca, "/pool/ca.pem");
    assert_string_equal(provider->certificate, "/etc/host.pem");
    assert_string_equal(provider->key, "/pool/host.key");
    assert_int_equal(provider->timeout, PROVIDER_TIMEOUT_DEFAULT);
    assert_false(provider->separate);
    assert_null(provider->seal);
    assert_null(provider->path);
    assert_string_equal(provider->cache, "/pool/kms.cache"); /* of before, perhaps */
    assert_int_equal(provider->cache_seconds, 0);
    assert_null(provider->tcti);
    pool_conf_destroy(conf);
    conf = parsed(WITH_KMIP("servers = a\ntpm-cache = 7d\ntcti = device:/dev/tpm0\n" KMIP_FILES));
    assert_int_equal(conf->provider->cache_seconds, 7 * 86400);
    assert_string_equal(conf->provider->tcti, "device:/dev/tpm0");
    pool_conf_destroy(conf);
    conf = parsed(WITH_KMIP("servers = a\ntpm-cache = 0\n" KMIP_FILES));
    assert_int_equal(conf->provider->cache_seconds, 0);
    pool_conf_destroy(conf);
    conf = parsed(WITH_KMIP("servers = a\ntpm-cache = off\n" KMIP_FILES));
    assert_int_equal(conf->provider->cache_seconds, 0);
    pool_conf_destroy(conf);
    conf = parsed(WITH_KMIP("servers = a\ntimeout = 1m\nreplicated = no\n" KMIP_FILES));
    assert_int_equal(conf->provider->timeout, 60000);
    assert_true(conf->provider->separate);
    pool_conf_destroy(conf);
}

/* It would be overwritten, and removed. */
static void nothing_else_is_where_a_key_is_cached(void **context)
{
    (void)context;
#define KMIP(ca, certificate, key)                                                                                              \
    KMIP_HEAD "servers = kms1\nca = " ca "\ncertificate = " certificate "\nkey = " key "\n"
#define NATIVE(path) "[provider native]\nid = 22222222-2222-4222-8222-222222222223\ntype = native\nseal = file\npath = " path "\n"
#define DISK(path)   GROUP_HEAD "devices = " path "\ndevice-ids = " DISK_ID "\n"
#define HEAD         "[pool]\n" POOL "provider = native\n"
#define FINE         KMIP("ca", "certificate", "key")
    static const char words[] = "/kms.cache is the file in which the key of provider kms is cached";
    assert_refused(HEAD FINE NATIVE("kms.cache") GROUP, words);
    assert_refused(HEAD FINE NATIVE("kms.cache") GROUP, "path in [provider native]");
    assert_refused(HEAD NATIVE("/pool/kms.cache") FINE GROUP, words);
    assert_refused(HEAD NATIVE("kms.cache.new") FINE GROUP, "/pool/kms.cache.new is the file");
    assert_refused(HEAD NATIVE("a") FINE DISK("kms.cache"), "devices in [group g1]");
    assert_refused(HEAD NATIVE("a") KMIP("kms.cache", "certificate", "key") GROUP, "ca in [provider kms]");
    assert_refused(HEAD NATIVE("a") KMIP("ca", "kms.cache", "key") GROUP, "certificate in [provider kms]");
    assert_refused(HEAD NATIVE("a") KMIP("ca", "certificate", "kms.cache.new") GROUP, "key in [provider kms]");
    assert_refused(HEAD NATIVE("a") FINE GROUP "[server]\ncontrol = kms.cache\n", "control in [server]");
    assert_refused(HEAD NATIVE("a") FINE GROUP "[server]\nnbd = unix:kms.cache\n", "nbd in [server]");
    pool_conf_destroy(parsed(HEAD NATIVE("kms.cache.key") FINE DISK("other.cache")));
    pool_conf_destroy(parsed(HEAD NATIVE("/elsewhere/kms.cache") FINE DISK("native.cache")));
    struct pool_conf *conf; /* however the directory is spelled */
    assert_int_equal(pool_conf_parse("/tmp", HEAD NATIVE("/usr/../tmp/./kms.cache") FINE GROUP, &conf), ERROR_INVALID);
}

static void a_kmip_provider_that_is_composed_reads_back(void **context)
{
    (void)context;
    static const char *const servers[] = {"kms1", "[::1]:5697"};
    struct provider_config provider = {.name = "kmip", .id = uuid_random(), .type = "kmip", .servers = servers,
                                       .server_count = 2, .ca = "/c a", .certificate = "/b", .key = "/k",
                                       .timeout = 7000, .separate = true, .cache_seconds = 86400, .tcti = "swtpm:port=1"};
    struct uuid id = uuid_random();
    struct pool_conf_new new = {.pool = uuid_random(), .fingerprint = POOL_FINGERPRINT_XXH3, .provider = &provider,
                                .group_name = "g1", .group = uuid_random(), .device_count = 1,
                                .device_paths = (const char *const[]){"disk"}, .device_ids = &id};
    for (int defaults = 0; defaults < 2; defaults++) {
        AUTO_FREE char *text = NULL;
        if (defaults) {
            provider.timeout = PROVIDER_TIMEOUT_DEFAULT;
            provider.separate = false;
            provider.cache_seconds = 0;
            provider.tcti = NULL;
        }
        assert_int_equal(pool_conf_compose(&new, &text), ERROR_NONE);
        struct pool_conf *conf = parsed(text);
        assert_true(uuid_equal(conf->provider->id, provider.id));
        assert_int_equal(conf->provider->server_count, 2);
        assert_string_equal(conf->provider->servers[1], servers[1]);
        assert_string_equal(conf->provider->ca, "/c a");
        assert_int_equal(conf->provider->timeout, provider.timeout);
        assert_int_equal(conf->provider->separate, provider.separate);
        assert_int_equal(conf->provider->cache_seconds, provider.cache_seconds);
        assert_int_equal(conf->provider->tcti != NULL, provider.tcti != NULL);
        pool_conf_destroy(conf);
    }
}

static void settings_have_their_limits(void **context)
{
    (void)context;
    assert_refused("[pool]\n" POOL "memory = 63M\nprovider = native\n" PROVIDER GROUP, "64M");
    assert_refused("[pool]\n" POOL "memory = 1000T\nprovider = native\n" PROVIDER GROUP, "16T");
    assert_refused("[pool]\n" POOL "memory = 1G\nindex-memory = 600M\nprovider = native\n" PROVIDER GROUP, "half");
    assert_refused("[pool]\n" POOL "index-memory = 4K\nprovider = native\n" PROVIDER GROUP, "1M");
    assert_refused("[pool]\n" POOL "compression = zstd-20\nprovider = native\n" PROVIDER GROUP, "zstd-19");
    assert_refused("[pool]\n" POOL "compression = zstd-0\nprovider = native\n" PROVIDER GROUP, "compression");
    assert_refused("[pool]\n" POOL "encryption = null\nprovider = native\n" PROVIDER GROUP, "required");
    assert_refused("[pool]\n" POOL "fingerprint = md5\nprovider = native\n" PROVIDER GROUP, "hmac-sha256");
    assert_refused("[pool]\n" POOL "rekey-every = 59m\nprovider = native\n" PROVIDER GROUP, "an hour");
    assert_refused("[pool]\n" POOL "rekey-every = 90\nprovider = native\n" PROVIDER GROUP, "or off");
    assert_refused("[pool]\n" POOL "cryptoperiod = long\nprovider = native\n" PROVIDER GROUP, "cryptoperiod");
    assert_refused("[pool]\n" POOL "trash = soon\nprovider = native\n" PROVIDER GROUP, "trash");
    assert_refused(SMALLEST "[server]\nnbd = http:x\n", "unix:PATH");
    assert_refused(SMALLEST "[server]\nnbd = tcp:\n", "unix:PATH");
    assert_refused(SMALLEST "[server]\ninsecure = perhaps\n", "insecure");
}

static void the_smallest_conf_gets_the_defaults(void **context)
{
    (void)context;
    struct pool_conf *conf = parsed(SMALLEST);
    assert_int_equal(conf->encryption, POOL_ENCRYPTION_ON);
    assert_int_equal(conf->fingerprint, POOL_FINGERPRINT_XXH3);
    assert_int_equal(conf->memory, 256 << 20);
    assert_int_equal(conf->index_memory, 64 << 20);
    assert_int_equal(conf->trash, 7 * 86400);
    assert_int_equal(conf->key_period, 365 * 86400);
    assert_int_equal(conf->cryptoperiod, 730 * 86400);
    assert_int_equal(conf->rekey_every, 0);
    assert_int_equal(conf->codec, POOL_CODEC_AUTO);
    assert_int_equal(conf->recompress, POOL_RECOMPRESS_DEFAULT);
    assert_int_equal(conf->nbd_count, 1);
    assert_string_equal(conf->nbd[0], "unix:/pool/nbd.sock");
    assert_string_equal(conf->control, "/pool/control.sock");
    assert_false(conf->insecure);
    assert_string_equal(conf->provider->name, "native");
    assert_string_equal(conf->provider->path, "/pool/native.key");
    assert_int_equal(conf->group_count, 1);
    assert_string_equal(conf->groups[0].name, "g1");
    assert_string_equal(conf->groups[0].devices[0].path, "/pool/disk");
    pool_conf_destroy(conf);
}

static void periods_can_be_off(void **context)
{
    (void)context;
    struct pool_conf *conf =
        parsed("[pool]\n" POOL "provider = native\nkey-period = off\ncryptoperiod = off\nrekey-every = off\n" PROVIDER GROUP);
    assert_int_equal(conf->key_period, 0);
    assert_int_equal(conf->cryptoperiod, 0);
    assert_int_equal(conf->rekey_every, 0);
    pool_conf_destroy(conf);
}

static void everything_can_be_set(void **context)
{
    (void)context;
    struct pool_conf *conf = parsed(
        "[pool]\n" POOL "encryption = required\nfingerprint = hmac-sha256\nprovider = native\nmemory = 64M\n"
        "index-memory = 8M\ntrash = 0\ncompression = zstd-19\nkey-period = 2d\ncryptoperiod = 0\nrekey-every = 1h\n"
        "[server]\nnbd = unix:/run/a.sock\nnbd = tcp:localhost:10809\ncontrol = c\ninsecure = yes\n" PROVIDER GROUP_HEAD
        "devices = disk , /dev/disk/by-id/x\ndevice-ids = " DISK_ID "\ndevice-ids = " DISK_ID_2 "\n");
    assert_int_equal(conf->encryption, POOL_ENCRYPTION_REQUIRED);
    assert_int_equal(conf->fingerprint, POOL_FINGERPRINT_HMAC_SHA256);
    assert_int_equal(conf->index_memory, 8 << 20);
    assert_int_equal(conf->trash, 0);
    assert_int_equal(conf->key_period, 2 * 86400);
    assert_int_equal(conf->cryptoperiod, 0);
    assert_int_equal(conf->rekey_every, 3600);
    assert_int_equal(conf->codec, POOL_CODEC_ZSTD);
    assert_int_equal(conf->zstd_level, 19);
    assert_int_equal(conf->recompress, 0);
    assert_int_equal(conf->nbd_count, 2);
    assert_string_equal(conf->nbd[0], "unix:/run/a.sock");
    assert_string_equal(conf->nbd[1], "tcp:localhost:10809");
    assert_string_equal(conf->control, "/pool/c");
    assert_true(conf->insecure);
    assert_int_equal(conf->groups[0].device_count, 2);
    assert_string_equal(conf->groups[0].devices[0].path, "/pool/disk");
    assert_string_equal(conf->groups[0].devices[1].path, "/dev/disk/by-id/x");
    pool_conf_destroy(conf);
}

static int recompress_of(const char *lines)
{
    char text[1024];
    snprintf(text, sizeof(text), "[pool]\n" POOL "%sencryption = off\n" GROUP, lines);
    struct pool_conf *conf = parsed(text);
    int level = conf->recompress;
    pool_conf_destroy(conf);
    return level;
}

static void what_lz4_compressed_is_compressed_harder_where_nobody_asked_for_lz4(void **context)
{
    (void)context;
    assert_refused("[pool]\n" POOL "recompress = zstd-20\nencryption = off\n" GROUP, "zstd-19");
    assert_int_equal(recompress_of("recompress = on\n"), POOL_RECOMPRESS_DEFAULT);
    assert_int_equal(recompress_of("recompress = off\n"), 0);
    assert_int_equal(recompress_of("recompress = zstd-1\n"), 1);
    assert_int_equal(recompress_of("recompress = zstd-19\n"), 19);
    assert_int_equal(recompress_of("compression = lz4\n"), 0);
    assert_int_equal(recompress_of("compression = lz4\nrecompress = zstd-9\n"), 9);
}

static void each_compression_has_its_level(void **context)
{
    (void)context;
    struct pool_conf *conf = parsed("[pool]\n" POOL "compression = zstd-1\nencryption = off\n" GROUP);
    assert_int_equal(conf->zstd_level, 1);
    assert_null(conf->provider);
    pool_conf_destroy(conf);
    conf = parsed("[pool]\n" POOL "compression = lz4\nencryption = off\n" GROUP);
    assert_int_equal(conf->codec, POOL_CODEC_LZ4);
    pool_conf_destroy(conf);
    conf = parsed("[pool]\n" POOL "compression = none\nencryption = off\n" GROUP);
    assert_int_equal(conf->codec, POOL_CODEC_NONE);
    pool_conf_destroy(conf);
}

static void a_directory_without_conf_is_no_pool(void **context)
{
    (void)context;
    struct pool_conf *conf;
    assert_int_equal(pool_conf_read("/nonexistent", &conf), ERROR_NOT_FOUND);
    assert_non_null(strstr(error_sentence(ERROR_NOT_FOUND), "not a pool directory"));
}

static void the_way_to_a_tpm_is_read_and_written(void **context)
{
    (void)context;
    static const char *const ways[] = {NULL, "swtpm:host=127.0.0.1,port=2321"};
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        struct provider_config provider = {
            .name = "native", .id = uuid_random(), .type = "native", .seal = "tpm", .path = "native.key", .tcti = ways[i]};
        const char *path = "/disk";
        struct uuid id = uuid_random();
        struct pool_conf_new new = {.pool = uuid_random(),
                                    .fingerprint = POOL_FINGERPRINT_XXH3,
                                    .provider = &provider,
                                    .group_name = "g1",
                                    .group = uuid_random(),
                                    .device_count = 1,
                                    .device_paths = &path,
                                    .device_ids = &id};
        AUTO_FREE char *text = NULL;
        assert_int_equal(pool_conf_compose(&new, &text), ERROR_NONE);
        struct pool_conf *conf = parsed(text);
        assert_string_equal(conf->provider->seal, "tpm");
        if (ways[i] == NULL)
            assert_null(conf->provider->tcti);
        else
            assert_string_equal(conf->provider->tcti, ways[i]);
        assert_non_null(strstr(text, ways[i] == NULL ? "#tcti = device:/dev/tpmrm0" : "\ntcti = swtpm:host"));
        pool_conf_destroy(conf);
    }
}

/* A setting that is written as a comment is one that can be had by taking its '#' away. */
static void uncommented(char *text)
{
    char *out = text, *line = text;
    for (char *next = text; next != NULL; line = next) {
        next = strchr(line, '\n');
        next = next == NULL ? NULL : next + 1;
        size_t name = *line == '#' ? strspn(line + 1, "abcdefghijklmnopqrstuvwxyz-") : 0;
        bool setting = name > 0 && strncmp(line + 1 + name, " =", 2) == 0;
        size_t size = (next == NULL ? strlen(line) : (size_t)(next - line)) - setting;
        memmove(out, line + setting, size);
        out += size;
    }
    *out = '\0';
    struct pool_conf *conf = parsed(text);
    assert_null(conf->grants.fault);
    assert_int_equal(conf->grants.count, 3);
    pool_conf_destroy(conf);
}

static void composed(bool encrypted, size_t devices)
{
    struct provider_config provider = {
        .name = "native", .id = uuid_random(), .type = "native", .seal = "passphrase", .path = "native.key"};
    const char *paths[GROUP_DEVICES_MAX];
    struct uuid ids[GROUP_DEVICES_MAX];
    char names[GROUP_DEVICES_MAX][1024];
    for (size_t i = 0; i < devices; i++) {
        memset(names[i], 'x', 1000);
        snprintf(names[i] + 1000, 24, "%zu", i);
        names[i][0] = '/';
        paths[i] = names[i];
        ids[i] = uuid_random();
    }
    struct pool_conf_new new = {
        .pool = uuid_random(),
        .fingerprint = POOL_FINGERPRINT_HMAC_SHA256,
        .provider = encrypted ? &provider : NULL,
        .group_name = "g-1",
        .group = uuid_random(),
        .device_count = devices,
        .device_paths = paths,
        .device_ids = ids,
    };
    AUTO_FREE char *text = NULL;
    assert_int_equal(pool_conf_compose(&new, &text), ERROR_NONE);
    struct pool_conf *conf = parsed(text);
    assert_true(uuid_equal(conf->pool, new.pool));
    assert_int_equal(conf->encryption, encrypted ? POOL_ENCRYPTION_ON : POOL_ENCRYPTION_OFF);
    assert_int_equal(conf->fingerprint, POOL_FINGERPRINT_HMAC_SHA256);
    assert_int_equal(conf->memory, POOL_MEMORY_DEFAULT);
    assert_int_equal(conf->groups[0].device_count, devices);
    for (size_t i = 0; i < devices; i++) {
        assert_string_equal(conf->groups[0].devices[i].path, paths[i]);
        assert_true(uuid_equal(conf->groups[0].devices[i].id, ids[i]));
    }
    if (encrypted)
        assert_true(uuid_equal(conf->provider->id, provider.id));
    pool_conf_destroy(conf);
    uncommented(text);
}

static void what_is_composed_reads_back(void **context)
{
    (void)context;
    composed(true, 1);
    composed(false, 3);
    composed(true, GROUP_DEVICES_MAX);
}

static void paths_that_a_conf_cannot_hold_are_known(void **context)
{
    (void)context;
    char long_path[1100];
    memset(long_path, 'x', sizeof long_path);
    long_path[sizeof long_path - 1] = 0;
    assert_false(pool_conf_can_hold(""));
    assert_false(pool_conf_can_hold("a,b"));
    assert_false(pool_conf_can_hold("a\nb"));
    assert_false(pool_conf_can_hold(" a"));
    assert_false(pool_conf_can_hold("a "));
    assert_false(pool_conf_can_hold(long_path));
    assert_true(pool_conf_can_hold("/dev/disk/by-id/a b;c#d=e"));
    assert_false(pool_conf_name_is_valid("", 63));
    assert_false(pool_conf_name_is_valid("a b", 63));
    assert_false(pool_conf_name_is_valid("a]", 63));
    assert_false(pool_conf_name_is_valid("-a", 63));
    assert_false(pool_conf_name_is_valid("abcd", 3));
    assert_true(pool_conf_name_is_valid("a-b_c.D9", 63));
}

/* The lines of the manual between .Bd and .Ed behind .Sh EXAMPLES; malloc'ed. */
static char *example_of_the_manual(void)
{
    char line[512], *text = NULL;
    size_t size;
    bool examples = false, inside = false;
    FILE *manual = fopen(CONF_MANUAL, "re");
    FILE *out = open_memstream(&text, &size);
    assert_non_null(manual);
    assert_non_null(out);
    while (fgets(line, sizeof line, manual)) {
        examples |= strcmp(line, ".Sh EXAMPLES\n") == 0;
        inside &= strcmp(line, ".Ed\n") != 0;
        if (inside)
            fputs(line, out);
        inside |= examples && strncmp(line, ".Bd ", 4) == 0;
    }
    fclose(manual);
    fclose(out);
    return text;
}

static void the_example_of_the_manual_is_a_conf(void **context)
{
    (void)context;
    AUTO_FREE char *text = example_of_the_manual();
    struct pool_conf *conf = parsed(text);
    assert_int_equal(conf->encryption, POOL_ENCRYPTION_REQUIRED);
    assert_string_equal(conf->provider->name, "main");
    assert_int_equal(conf->groups[0].device_count, 2);
    assert_int_equal(conf->nbd_count, 2);
    pool_conf_destroy(conf);
}

/* The whole of a conf in whose place a part stands in the text. */
static void assert_part(const char *part)
{
    AUTO_FREE char *text = NULL;
    const char *rest = strstr(part, "seal =") == NULL ? SMALLEST : "[pool]\n" POOL "provider = native\n"
                       "[provider native]\nid = 22222222-2222-4222-8222-222222222222\ntype = native\n" GROUP;
    assert_true(asprintf(&text, "%s%s", rest, part) > 0);
    struct pool_conf *conf = parsed(text);
    if (conf->grants.fault != NULL)
        fail_msg("%s", conf->grants.fault);
    assert_true(conf->grants.count == (strstr(part, "[control]") == NULL ? 0 : 4));
    pool_conf_destroy(conf);
}

/* Blocks that begin with a section. */
static void the_parts_of_a_conf_in_the_guide_can_be_copied(void **context)
{
    (void)context;
    char line[1024], part[4096] = "";
    bool block = false, ours = false;
    int parts = 0;
    FILE *guide = fopen(GUIDE, "re");
    assert_non_null(guide);
    while (fgets(line, sizeof line, guide)) {
        bool fence = strncmp(line, "```", 3) == 0;
        if (fence && ours) {
            assert_part(part);
            parts++;
        }
        if (block && !fence && part[0] == '\0')
            ours = line[0] == '[';
        ours = ours && !fence;
        block = block != fence;
        if (fence)
            part[0] = '\0';
        else if (block && strlen(part) + strlen(line) < sizeof part)
            memcpy(part + strlen(part), line, strlen(line) + 1);
    }
    fclose(guide);
    assert_int_equal(parts, 3);
}

static void what_the_manual_says_of_each_key_is_true(void **context)
{
    (void)context;
    struct pool_conf *conf =
        parsed("[pool]\n" POOL "provider = native\nmemory = 1.5GiB\nindex-memory = 1M\ntrash = 90s\n" PROVIDER GROUP
               "[server]\ninsecure = on\nnbd = unix:a\n[pool]\nencryption = required\n"
               "[server]\nnbd = unix:b\ncontrol = unix:c\n");
    assert_int_equal(conf->memory, 1536 << 20);
    assert_int_equal(conf->trash, 90);
    assert_true(conf->insecure);
    assert_string_equal(conf->nbd[1], "unix:/pool/b");
    assert_string_equal(conf->control, "/pool/unix:c");
    pool_conf_destroy(conf);
    assert_refused(SMALLEST "[server]\nnbd = unix:a,tcp:b:1\nnbd = b\n", "neither unix:PATH nor");
    assert_refused(SMALLEST "[pool]\ntrash = 30\n", "no unit");
    assert_refused(SMALLEST "[pool]\nencryption = on\nencryption = on\n", "second time");
    assert_refused("[pool]\n" POOL "memory = 256M ; much\nprovider = native\n" PROVIDER GROUP, "memory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_way_to_a_tpm_is_read_and_written),
        cmocka_unit_test(unknown_keys_and_sections_are_refused),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(what_does_not_fit_together_is_refused),
        cmocka_unit_test(who_may_use_the_control_socket_is_read),
        cmocka_unit_test(a_wrong_line_of_roles_takes_them_and_nothing_else),
        cmocka_unit_test(what_does_not_go_with_a_kmip_provider_is_refused),
        cmocka_unit_test(a_kmip_provider_has_servers_files_and_a_timeout),
        cmocka_unit_test(nothing_else_is_where_a_key_is_cached),
        cmocka_unit_test(a_kmip_provider_that_is_composed_reads_back),
        cmocka_unit_test(settings_have_their_limits),
        cmocka_unit_test(a_directory_without_conf_is_no_pool),
        cmocka_unit_test(the_smallest_conf_gets_the_defaults),
        cmocka_unit_test(periods_can_be_off),
        cmocka_unit_test(everything_can_be_set),
        cmocka_unit_test(each_compression_has_its_level),
        cmocka_unit_test(what_lz4_compressed_is_compressed_harder_where_nobody_asked_for_lz4),
        cmocka_unit_test(what_is_composed_reads_back),
        cmocka_unit_test(paths_that_a_conf_cannot_hold_are_known),
        cmocka_unit_test(the_example_of_the_manual_is_a_conf),
        cmocka_unit_test(the_parts_of_a_conf_in_the_guide_can_be_copied),
        cmocka_unit_test(what_the_manual_says_of_each_key_is_true),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
