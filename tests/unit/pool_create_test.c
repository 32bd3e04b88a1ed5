/*
 * Creating a pool: whatever is refused is refused with nothing written, whatever fails leaves nothing behind, and what
 * was made opens: conf, witness, key, superblocks and first checkpoints agree.
 */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/memory.h"
#include "engine/coffer.h"
#include "engine/group/checkpoint.h"
#include "engine/pool/keys.h"

#define SIZE (UINT64_C(200) << 20)

static char root[64], pool[128], disks[3][128];
static const char *paths[3] = {disks[0], disks[1], disks[2]};
static struct pool_create_options options;

/* Making a key takes minutes where servers are slow: what others do in that time. */
static void (*meanwhile)(void);

static int setup(void **context)
{
    (void)context;
    const char *parent = getenv("TMPDIR");
    snprintf(root, sizeof root, "%.40s/coffer-XXXXXX", parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(root));
    snprintf(pool, sizeof pool, "%s/pool", root);
    for (unsigned i = 0; i < 3; i++) {
        snprintf(disks[i], sizeof disks[i], "%s/disk%u", root, i);
        assert_int_equal(device_create_file(disks[i], SIZE + i * 8192), ERROR_NONE);
    }
    options = (struct pool_create_options){
        .directory = pool, .size = SIZE, .encryption = true, .fingerprint = POOL_FINGERPRINT_XXH3, .seal = "file"};
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static int teardown(void **context)
{
    (void)context;
    meanwhile = NULL;
    return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void use_disks(size_t count)
{
    options.device_paths = paths;
    options.device_count = count;
}

static void assert_refused(enum error expected, const char *words)
{
    error_forget();
    enum error error = pool_create(&options);
    assert_string_equal(error_name(error), error_name(expected));
    if (strstr(error_sentence(error), words) == NULL)
        fail_msg("\"%s\" is not in: %s", words, error_sentence(error));
    assert_int_not_equal(access(pool, F_OK), 0);
}

static void make(void)
{
    enum error error = pool_create(&options);
    if (error != ERROR_NONE)
        fail_msg("%s", error_sentence(error));
}

/* Opens what was made as a pool would, up to the checkpoints. */
static enum error open_device(const struct pool_conf *conf, struct witness *witness, size_t index,
                              const struct provider_secret *secret)
{
    const struct pool_conf_group *group = &conf->groups[0];
    struct superblock_probe probe;
    struct superblock superblock = {0};
    struct keyring *keyring = NULL;
    struct checkpoint checkpoint;
    struct k_pools k_pools;
    uint8_t kek[KEY_SIZE];
    unsigned bad;
    struct device *device;
    TRY(device_open_file(group->devices[index].path, 0, &device));
    enum error error = superblock_probe(device, &probe);
    if (error == ERROR_NONE)
        error = pool_device_check(conf, group, index, &probe);
    if (error == ERROR_NONE)
        error = pool_keys_open(conf, witness, superblock_newest(&probe), secret, kek, &(enum kek_state){KEK_ACTIVE});
    if (error == ERROR_NONE)
        error = superblock_open(device, &probe, kek, &superblock, &keyring, &bad);
    if (error == ERROR_NONE && witness->key == NULL)
        error = k_pools_gather(&superblock, &keyring, 1, &k_pools);
    if (error == ERROR_NONE && witness->key == NULL)
        error = witness_verify(witness, &k_pools);
    if (error == ERROR_NONE)
        error = witness_superblock_check(witness, device->path, &superblock, false);
    if (error == ERROR_NONE)
        error = checkpoint_read(device, &superblock, keyring, &checkpoint);
    if (error == ERROR_NONE) {
        assert_int_equal(bad, 0);
        assert_true(checkpoint.number == 1 && checkpoint.cid_end == 256 && checkpoint.component_lease == 2);
        assert_int_equal(superblock.encryption, options.encryption);
        assert_int_equal(superblock.fingerprint, options.fingerprint);
        assert_non_null(strstr(superblock.json, "\"conf\""));
        error = witness_checkpoint_check(witness, device->path, superblock.device, checkpoint.number, false);
    }
    keyring_destroy(keyring);
    superblock_forget(&superblock);
    device_close(device);
    return error;
}

static enum error open_pool(const struct provider_secret *secret)
{
    struct pool_conf *conf;
    struct witness *witness;
    TRY(pool_conf_read(pool, &conf));
    enum error error = witness_load(pool, conf->pool, &witness);
    if (error == ERROR_NONE) {
        for (size_t i = 0; i < conf->groups[0].device_count && error == ERROR_NONE; i++)
            error = open_device(conf, witness, i, secret);
        witness_destroy(witness);
    }
    pool_conf_destroy(conf);
    return error;
}

static mode_t mode_of(const char *name)
{
    struct stat status;
    char path[256];
    snprintf(path, sizeof path, "%s/%s", pool, name);
    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 07777;
}

static bool is_all_zero(const char *path)
{
    uint8_t block[4096];
    static const uint8_t zero[4096];
    int descriptor = open(path, O_RDONLY);
    bool same = read(descriptor, block, sizeof block) == sizeof block && memcmp(block, zero, sizeof block) == 0;
    close(descriptor);
    return same;
}

static void scribble(const char *path, const char *text)
{
    int descriptor = open(path, O_WRONLY);
    assert_int_equal(pwrite(descriptor, text, strlen(text), 0), (ssize_t)strlen(text));
    close(descriptor);
}

static void read_start(const char *path, void *bytes, size_t size)
{
    int descriptor = open(path, O_RDONLY);
    assert_int_equal(read(descriptor, bytes, size), (ssize_t)size);
    close(descriptor);
}

enum error __wrap_provider_kek_create(const struct provider_config *config, const struct provider_secret *secret,
                                      struct provider_kek *which, uint8_t kek[KEY_SIZE]);
enum error __real_provider_kek_create(const struct provider_config *config, const struct provider_secret *secret,
                                      struct provider_kek *which, uint8_t kek[KEY_SIZE]);
enum error __wrap_provider_kek_create(const struct provider_config *config, const struct provider_secret *secret,
                                      struct provider_kek *which, uint8_t kek[KEY_SIZE])
{
    if (meanwhile != NULL)
        meanwhile();
    return __real_provider_kek_create(config, secret, which, kek);
}

/* ---- refused --- */

static void bad_names_are_refused(void **context)
{
    (void)context;
    static const char *const names[] = {
        "", "a b", "a]", "../x", "-g", "a123456789012345678901234567890123456789012345678901234567890123"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        options.group_name = names[i];
        assert_refused(ERROR_INVALID, "group");
    }
    options.group_name = NULL;
    options.directory = "";
    assert_refused(ERROR_INVALID, "directory");
    options.directory = NULL;
    assert_refused(ERROR_INVALID, "directory");
}

static void bad_choices_are_refused(void **context)
{
    (void)context;
    options.seal = "wax";
    assert_refused(ERROR_UNSUPPORTED, "wax");
    options.seal = "passphrase";
    assert_refused(ERROR_INVALID, "passphrase");
    options.passphrase = "";
    assert_refused(ERROR_INVALID, "passphrase");
    options.seal = "file";
    options.fingerprint = 0;
    assert_refused(ERROR_INVALID, "fingerprint");
}

/* Nobody is asked for one that seals nothing. */
static void a_dry_run_needs_no_passphrase(void **context)
{
    (void)context;
    options.seal = "passphrase";
    options.dry_run = true;
    assert_int_equal(pool_create(&options), ERROR_NONE);
    assert_int_not_equal(access(pool, F_OK), 0);
    options.passphrase = "";
    assert_refused(ERROR_INVALID, "passphrase");
}

static void small_sizes_are_refused(void **context)
{
    (void)context;
    options.size = 0;
    assert_refused(ERROR_INVALID, "too small");
    options.size = UINT64_C(129) << 20;
    assert_refused(ERROR_INVALID, "130 MiB");
    use_disks(2);
    assert_int_equal(truncate(disks[1], 1 << 20), 0);
    assert_refused(ERROR_INVALID, disks[1]);
    assert_true(is_all_zero(disks[0]));
}

static void a_missing_device_is_refused(void **context)
{
    (void)context;
    use_disks(3);
    unlink(disks[2]);
    assert_refused(ERROR_NOT_FOUND, disks[2]);
}

static void a_device_that_carries_something_is_refused_unless_overwritten(void **context)
{
    (void)context;
    use_disks(1);
    make();
    assert_int_equal(nftw(pool, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    assert_refused(ERROR_NOT_EMPTY, "--overwrite");
    options.overwrite = paths;
    options.overwrite_count = 1;
    make();
    assert_int_equal(open_pool(NULL), ERROR_NONE);
}

/* A disk image, an archive: what libblkid has no name for. */
static void a_file_full_of_data_is_left_as_it_is(void **context)
{
    (void)context;
    char before[5] = "";
    use_disks(2);
    scribble(disks[1], "QFI\xfb");
    options.dry_run = true;
    assert_refused(ERROR_NOT_EMPTY, disks[1]);
    options.dry_run = false;
    assert_refused(ERROR_NOT_EMPTY, "--overwrite");
    read_start(disks[1], before, 4);
    assert_string_equal(before, "QFI\xfb");
    assert_true(is_all_zero(disks[0]));
    options.overwrite = &paths[1];
    options.overwrite_count = 1;
    make();
    assert_int_equal(open_pool(NULL), ERROR_NONE);
}

static void an_overwrite_of_something_else_is_refused(void **context)
{
    (void)context;
    use_disks(1);
    options.overwrite = &paths[1];
    options.overwrite_count = 1;
    assert_refused(ERROR_INVALID, disks[1]);
    options.device_paths = NULL;
    options.device_count = 0;
    assert_refused(ERROR_INVALID, disks[1]);
}

static void one_device_under_two_names_is_refused(void **context)
{
    (void)context;
    assert_int_equal(unlink(disks[1]), 0);
    assert_int_equal(symlink(disks[0], disks[1]), 0);
    use_disks(2);
    assert_refused(ERROR_INVALID, "same device");
    assert_int_equal(unlink(disks[1]), 0);
    assert_int_equal(link(disks[0], disks[1]), 0);
    assert_refused(ERROR_INVALID, "same device");
}

static void too_many_devices_are_refused(void **context)
{
    (void)context;
    use_disks(GROUP_DEVICES_MAX + 1);
    assert_refused(ERROR_INVALID, "at most 64");
}

static void a_device_in_use_is_refused(void **context)
{
    (void)context;
    struct device *held;
    assert_int_equal(device_open_file(disks[1], 0, &held), ERROR_NONE);
    use_disks(2);
    assert_refused(ERROR_IN_USE, disks[1]);
    options.overwrite = &paths[1];
    options.overwrite_count = 1;
    assert_refused(ERROR_IN_USE, disks[1]);
    device_close(held);
    assert_true(is_all_zero(disks[0]) && is_all_zero(disks[1]));
}

static void a_path_that_the_conf_cannot_hold_is_refused(void **context)
{
    (void)context;
    char odd[160];
    snprintf(odd, sizeof odd, "%s/a,b", root);
    assert_int_equal(rename(disks[0], odd), 0);
    const char *odd_paths[] = {odd};
    options.device_paths = odd_paths;
    options.device_count = 1;
    assert_refused(ERROR_INVALID, "commas");
    snprintf(odd, sizeof odd, "%s/\xff\xfe", root);
    assert_int_equal(rename(disks[1], odd), 0);
    assert_refused(ERROR_INVALID, "UTF-8");
}

static void a_directory_that_is_taken_is_refused(void **context)
{
    (void)context;
    options.directory = root;
    assert_refused(ERROR_EXISTS, "not empty");
    options.directory = disks[0];
    assert_refused(ERROR_EXISTS, "not a directory");
    char deep[160];
    snprintf(deep, sizeof deep, "%s/none/pool", root);
    options.directory = deep;
    assert_refused(ERROR_NOT_FOUND, "none");
    options.directory = pool;
    make();
    assert_int_equal(pool_create(&options), ERROR_EXISTS);
    assert_non_null(strstr(error_sentence(ERROR_EXISTS), "is a pool directory already: `cofferd "));
    assert_int_equal(open_pool(NULL), ERROR_NONE);
}

static void a_dry_run_writes_nothing(void **context)
{
    (void)context;
    options.dry_run = true;
    use_disks(3);
    make();
    assert_int_not_equal(access(pool, F_OK), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_true(is_all_zero(disks[i]));
    scribble(disks[1], "COFFERSB");
    assert_refused(ERROR_NOT_EMPTY, disks[1]);
}

/* ---- failed half way --- */

/* A limit on the size of files lets small files and the heads of devices through and fails the ends of larger ones. */
static void limit_file_size(rlim_t size)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_failure_at_the_last_device_leaves_nothing(void **context)
{
    (void)context;
    assert_int_equal(truncate(disks[1], 2 * SIZE), 0);
    use_disks(2);
    limit_file_size(SIZE + SIZE / 2);
    enum error error = pool_create(&options);
    limit_file_size(RLIM_INFINITY);
    assert_int_not_equal(error, ERROR_NONE);
    assert_non_null(strstr(error_sentence(error), disks[1]));
    assert_int_not_equal(access(pool, F_OK), 0);
    assert_true(is_all_zero(disks[0]) && is_all_zero(disks[1]));
    make();
    assert_int_equal(open_pool(NULL), ERROR_NONE);
}

static void a_failure_in_a_directory_that_was_there_leaves_it_as_it_was(void **context)
{
    (void)context;
    assert_int_equal(mkdir(pool, 0755), 0);
    assert_int_equal(chmod(pool, 0755), 0);
    limit_file_size(SIZE / 2);
    assert_int_not_equal(pool_create(&options), ERROR_NONE);
    limit_file_size(RLIM_INFINITY);
    assert_int_equal(mode_of("."), 0755);
    assert_int_equal(rmdir(pool), 0);
}

/* ---- others meanwhile --- */

static void write_to_a_disk(void) { scribble(disks[1], "theirs"); }

static void put_file(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", pool, name);
    int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_int_equal(write(descriptor, "theirs", 6), 6);
    close(descriptor);
}

static void make_a_conf(void) { put_file("coffer.conf"); }
static void make_a_witness(void) { put_file("witness"); }

static void what_is_on_a_device_by_now_is_left_as_it_is(void **context)
{
    (void)context;
    char text[7] = "";
    use_disks(3);
    meanwhile = write_to_a_disk;
    assert_refused(ERROR_NOT_EMPTY, disks[1]);
    read_start(disks[1], text, 6);
    assert_string_equal(text, "theirs");
    assert_true(is_all_zero(disks[0]) && is_all_zero(disks[2]));
}

static void what_is_on_a_device_that_was_wiped_is_given_up(void **context)
{
    (void)context;
    use_disks(2);
    options.overwrite = &paths[1];
    options.overwrite_count = 1;
    meanwhile = write_to_a_disk;
    make();
    assert_int_equal(open_pool(NULL), ERROR_NONE);
}

static void files_of_a_pool_that_others_made_meanwhile_stay(void **context)
{
    (void)context;
    void (*const made[])(void) = {make_a_conf, make_a_witness};
    const char *const names[] = {"coffer.conf", "witness"};
    for (size_t i = 0; i < COUNT_OF(made); i++) {
        char path[256], text[7] = "";
        snprintf(path, sizeof path, "%s/%s", pool, names[i]);
        meanwhile = made[i];
        assert_int_equal(pool_create(&options), ERROR_EXISTS);
        assert_int_equal(access(path, F_OK), 0);
        read_start(path, text, 6);
        assert_string_equal(text, "theirs");
        assert_int_equal(unlink(path), 0);
        assert_int_equal(rmdir(pool), 0);
    }
}

/* ---- made --- */

static void what_is_made_opens(void **context)
{
    (void)context;
    make();
    assert_int_equal(open_pool(NULL), ERROR_NONE);
    assert_int_equal(mode_of("."), 0700);
    assert_int_equal(mode_of("coffer.conf"), 0600);
    assert_int_equal(mode_of("witness"), 0600);
    assert_int_equal(mode_of("native.key"), 0600);
    assert_int_equal(mode_of("disk"), 0600);
}

static void an_empty_directory_is_taken_and_closed_to_others(void **context)
{
    (void)context;
    assert_int_equal(mkdir(pool, 0755), 0);
    make();
    assert_int_equal(mode_of("."), 0700);
    assert_int_equal(open_pool(NULL), ERROR_NONE);
}

static void several_devices_make_a_group(void **context)
{
    (void)context;
    use_disks(3);
    options.group_name = "fast";
    options.fingerprint = POOL_FINGERPRINT_HMAC_SHA256;
    make();
    assert_int_equal(open_pool(NULL), ERROR_NONE);
}

static void a_plaintext_pool_has_no_key_file(void **context)
{
    (void)context;
    options.encryption = false;
    make();
    assert_int_equal(open_pool(NULL), ERROR_NONE);
    char key[256];
    snprintf(key, sizeof key, "%s/native.key", pool);
    assert_int_not_equal(access(key, F_OK), 0);
}

static void a_passphrase_opens_and_another_does_not(void **context)
{
    (void)context;
    struct provider_secret right = {"open sesame", 11}, wrong = {"open barley", 11};
    options.seal = "passphrase";
    options.passphrase = right.passphrase;
    options.passphrase_size = right.passphrase_size;
    make();
    assert_int_equal(open_pool(NULL), ERROR_LOCKED);
    assert_int_equal(open_pool(&wrong), ERROR_WRONG_KEY);
    assert_int_equal(open_pool(&right), ERROR_NONE);
}

/* Makes two pools and puts a file of the second in the place of the first one's. */
static void make_with_file_of_another(const char *name)
{
    char other[128], theirs[160], ours[160];
    make();
    snprintf(other, sizeof other, "%s/other", root);
    options.directory = other;
    make();
    snprintf(theirs, sizeof theirs, "%s/%s", other, name);
    snprintf(ours, sizeof ours, "%s/%s", pool, name);
    assert_int_equal(rename(theirs, ours), 0);
}

static void two_pools_do_not_open_each_others_devices(void **context)
{
    (void)context;
    make_with_file_of_another("disk");
    assert_int_equal(open_pool(NULL), ERROR_FOREIGN);
}

static void another_pools_key_file_is_foreign(void **context)
{
    (void)context;
    make_with_file_of_another("native.key");
    assert_int_equal(open_pool(NULL), ERROR_FOREIGN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bad_names_are_refused),
        TEST(a_dry_run_needs_no_passphrase),
        TEST(bad_choices_are_refused),
        TEST(small_sizes_are_refused),
        TEST(a_missing_device_is_refused),
        TEST(a_device_that_carries_something_is_refused_unless_overwritten),
        TEST(a_file_full_of_data_is_left_as_it_is),
        TEST(an_overwrite_of_something_else_is_refused),
        TEST(one_device_under_two_names_is_refused),
        TEST(too_many_devices_are_refused),
        TEST(a_device_in_use_is_refused),
        TEST(a_path_that_the_conf_cannot_hold_is_refused),
        TEST(a_directory_that_is_taken_is_refused),
        TEST(a_dry_run_writes_nothing),
        TEST(a_failure_at_the_last_device_leaves_nothing),
        TEST(a_failure_in_a_directory_that_was_there_leaves_it_as_it_was),
        TEST(what_is_on_a_device_by_now_is_left_as_it_is),
        TEST(what_is_on_a_device_that_was_wiped_is_given_up),
        TEST(files_of_a_pool_that_others_made_meanwhile_stay),
        TEST(what_is_made_opens),
        TEST(an_empty_directory_is_taken_and_closed_to_others),
        TEST(several_devices_make_a_group),
        TEST(a_plaintext_pool_has_no_key_file),
        TEST(a_passphrase_opens_and_another_does_not),
        TEST(two_pools_do_not_open_each_others_devices),
        TEST(another_pools_key_file_is_foreign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
