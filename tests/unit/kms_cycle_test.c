/*
 * What opens a pool and lies on a disk of it: told by pictures of /proc and /sys, of clients and of key servers. The file system
 * of this test plays the one that the pool directory lies on, this process its nbd-client.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"
#include "crypto/kmip/link.h"
#include "server/health_check.h"
#include "server/kms_cycle.h"
#include "server/nbd_owner.h"
#include "tests/unit/control_fake.h"
#include "tests/unit/silent_resolver.h"

static char root[64], pool_directory_path[96], mounts[96], devices[96];
static struct provider_config providers[2];
static struct pool_conf conf;
static struct kms_cycle_source source;
static struct kms_cycle_facts facts;
static struct nbd_peer peers[4];
static struct kms_address addresses[4];
static struct pool_status status;
static struct finding finding;

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void attribute(unsigned above, unsigned below, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%u:%u", devices, above, below);
    mkdir(path, 0700);
    snprintf(path + strlen(path), sizeof path - strlen(path), "/%s", name);
    put(path, text);
}

/* The pool directory's file system lies on nbd0, which that process set up. */
static void lies_on_nbd(int pid)
{
    struct stat about;
    char text[32];
    assert_int_equal(stat(root, &about), 0);
    snprintf(text, sizeof text, "%d\n", pid);
    attribute(major(about.st_dev), minor(about.st_dev), "uevent", "DEVNAME=nbd0\n");
    attribute(major(about.st_dev), minor(about.st_dev), "pid", text);
}

static int set_up(void **state)
{
    static const char *const servers[] = {"192.0.2.1", "[2001:db8::2]:5696"};
    (void)state;
    snprintf(root, sizeof root, "/tmp/coffer-kms-XXXXXX");
    assert_non_null(mkdtemp(root));
    snprintf(pool_directory_path, sizeof pool_directory_path, "%s/pool", root);
    snprintf(mounts, sizeof mounts, "%s/mountinfo", root);
    snprintf(devices, sizeof devices, "%s/block", root);
    assert_int_equal(mkdir(devices, 0700), 0);
    assert_int_equal(mkdir(pool_directory_path, 0700), 0);
    put(mounts, "");
    memset(providers, 0, sizeof providers);
    providers[0] = (struct provider_config){.name = "corp", .type = "kmip", .servers = servers, .server_count = 2};
    providers[1] = (struct provider_config){.name = "board", .type = "native", .seal = "tpm", .path = "/nowhere"};
    conf = (struct pool_conf){.directory = pool_directory_path, .provider = providers, .provider_count = 2, .providers = providers};
    source = (struct kms_cycle_source){.roots = {mounts, devices}, .proc = "/proc", .peers = peers, .addresses = addresses};
    status.encryption = true;
    return 0;
}

static int forget(const char *path, const struct stat *about, int kind, struct FTW *walk)
{
    (void)about, (void)kind, (void)walk;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(root, forget, 8, FTW_DEPTH | FTW_PHYS);
}

static const char *told(void)
{
    struct health_facts all = {.status = &status, .self = "coffer", .looked = true};
    kms_cycle_find(&conf, &source, &facts);
    all.cycle = facts;
    finding = (struct finding){.severity = "ok"};
    check_kms_on_pool(&all, &finding);
    return finding.severity;
}

static struct sockaddr_storage address(const char *text)
{
    struct sockaddr_storage storage = {.ss_family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET};
    void *where = storage.ss_family == AF_INET ? (void *)&((struct sockaddr_in *)&storage)->sin_addr
                                               : (void *)&((struct sockaddr_in6 *)&storage)->sin6_addr;
    assert_int_equal(inet_pton(storage.ss_family, text, where), 1);
    return storage;
}

/* ---- files --------------------------------------------------------------------------------------------------------- */

static void a_disk_of_this_machine_is_well(void **state)
{
    (void)state;
    assert_string_equal(told(), "ok");
    peers[0] = (struct nbd_peer){.pid = 1, .address.ss_family = AF_UNIX};
    source.peer_count = 1;
    assert_string_equal(told(), "ok");
}

/* nbd-client over netlink: its number is that of who connected, which may be gone. */
static void an_nbd_device_of_a_client_of_ours_is_an_error(void **state)
{
    (void)state;
    lies_on_nbd(4194303);
    peers[0] = (struct nbd_peer){.pid = 4194303, .address.ss_family = AF_UNIX};
    source.peer_count = 1;
    assert_string_equal(told(), "error");
    assert_non_null(strstr(finding.evidence, "the pool directory"));
    assert_non_null(strstr(finding.evidence, "/dev/nbd0"));
    assert_non_null(strstr(finding.evidence, "after a power loss"));
    assert_non_null(strstr(finding.command, "move it"));
}

static void an_nbd_device_of_nobody_here_is_another_servers(void **state)
{
    (void)state;
    lies_on_nbd(4194303);
    assert_string_equal(told(), "ok");
}

static void an_nbd_device_whose_client_is_gone_may_be_ours(void **state)
{
    (void)state;
    lies_on_nbd(4194303);
    peers[0] = (struct nbd_peer){.pid = 7, .address.ss_family = AF_UNIX};
    source.peer_count = 1;
    assert_string_equal(told(), "warning");
    assert_non_null(strstr(finding.evidence, "cannot be told"));
}

/* The older way: a process forked from the one that connected keeps the socket, whose other end is a client's of ours. */
static void a_process_is_known_by_its_sockets(void **state)
{
    int ends[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    nbd_peer_look(ends[0], &peers[0]);
    assert_int_equal(peers[0].address.ss_family, AF_UNIX);
    assert_int_equal(peers[0].pid, getpid());
    assert_int_not_equal(peers[0].inode, 0);
    peers[0].pid = 7;
    assert_int_equal(nbd_owner_find(getpid(), "/proc", peers, 1), NBD_OWNER_THIS);
    peers[0].inode = 1; /* of no socket */
    enum nbd_owner other = nbd_owner_find(getpid(), "/proc", peers, 1);
    assert_int_equal(other, NBD_OWNER_OTHER);
    assert_int_equal(nbd_owner_find(getpid(), "/none", peers, 1), NBD_OWNER_UNKNOWN);
    assert_int_equal(nbd_owner_find(0, "/proc", peers, 1), NBD_OWNER_UNKNOWN);
    close(ends[0]);
    close(ends[1]);
}

static void and_by_those_of_tcp(void **state)
{
    (void)state;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    int listening = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listening, (struct sockaddr *)&here, size), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&here, &size), 0);
    assert_int_equal(connect(client, (struct sockaddr *)&here, size), 0);
    int accepted = accept(listening, NULL, NULL);
    nbd_peer_look(accepted, &peers[0]);
    assert_int_equal(peers[0].address.ss_family, AF_INET);
    assert_int_equal(nbd_owner_find(getpid(), "/proc", peers, 1), NBD_OWNER_THIS);
    ((struct sockaddr_in *)&peers[0].address)->sin_port ^= 1;
    assert_int_equal(nbd_owner_find(getpid(), "/proc", peers, 1), NBD_OWNER_OTHER);
    close(accepted);
    close(client);
    close(listening);
}

/* As under a unit whose RestrictAddressFamilies has no AF_NETLINK. */
static void forbid_netlink(void)
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_socket, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {COUNT_OF(program), program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
        _exit(99);
}

static void what_the_kernel_does_not_tell_is_unknown(void **state)
{
    int ends[2], status_of_child;
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    nbd_peer_look(ends[0], &peers[0]);
    peers[0].pid = 7;
    pid_t child = fork();
    if (child == 0) {
        forbid_netlink();
        _exit(nbd_owner_find(getppid(), "/proc", peers, 1) == NBD_OWNER_UNKNOWN ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status_of_child, 0), child);
    assert_int_equal(status_of_child, 0);
    close(ends[0]);
    close(ends[1]);
}

/* The sockets can be looked into, the tables of addresses cannot. */
static void nor_is_a_client_over_tcp_ruled_out_unseen(void **state)
{
    char path[128], target[64];
    int any = socket(AF_INET, SOCK_STREAM, 0);
    (void)state;
    snprintf(path, sizeof path, "%s/self", root);
    assert_int_equal(symlink("/proc/self", path), 0);
    snprintf(path, sizeof path, "%s/%d", root, getpid());
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/%d/fd", root, getpid());
    snprintf(target, sizeof target, "/proc/%d/fd", getpid());
    assert_int_equal(symlink(target, path), 0);
    peers[0] = (struct nbd_peer){.pid = 7, .address.ss_family = AF_INET};
    assert_int_equal(nbd_owner_find(getpid(), root, peers, 1), NBD_OWNER_UNKNOWN);
    assert_int_equal(nbd_owner_find(getpid(), "/proc", peers, 1), NBD_OWNER_OTHER);
    close(any);
}

/* ---- clients ------------------------------------------------------------------------------------------------------- */

static void clients(const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        peers[i] = (struct nbd_peer){.address = address(texts[i])};
    source.peer_count = count;
}

static void servers_are(void)
{
    addresses[0] = (struct kms_address){&providers[0], 0, address("192.0.2.1")};
    addresses[1] = (struct kms_address){&providers[0], 1, address("2001:db8::2")};
    source.address_count = 2;
}

static void a_client_at_the_address_of_a_key_server_is_told(void **state)
{
    (void)state;
    servers_are();
    clients((const char *const[]){"192.0.2.9"}, 1);
    assert_string_equal(told(), "ok");
    clients((const char *const[]){"192.0.2.9", "192.0.2.1"}, 2);
    assert_string_equal(told(), "warning");
    assert_non_null(strstr(finding.evidence, "192.0.2.1"));
    assert_non_null(strstr(finding.evidence, "provider corp"));
    assert_string_equal(finding.command, "coffer key provider use board --new-recovery print");
    clients((const char *const[]){"::ffff:192.0.2.1", "2001:db8::2"}, 2);
    assert_string_equal(told(), "error");
    assert_non_null(strstr(finding.evidence, "no other server"));
}

static void a_provider_that_is_not_in_force_is_told_too(void **state)
{
    (void)state;
    servers_are();
    conf.provider = &providers[1];
    clients((const char *const[]){"192.0.2.1"}, 1);
    assert_string_equal(told(), "warning");
    assert_string_equal(finding.command, "coffer key provider add NAME --type native --seal tpm");
}

/* ---- disks --------------------------------------------------------------------------------------------------------- */

static void a_tagged_disk_is_told_before_a_client(void **state)
{
    struct health_facts all = {.status = &status, .self = "coffer", .looked = true};
    (void)state;
    snprintf(all.cycle.disk, sizeof all.cycle.disk, "vm-kms");
    snprintf(all.cycle.client, sizeof all.cycle.client, "a client");
    snprintf(all.cycle.provider, sizeof all.cycle.provider, "corp");
    all.cycle.disks = 3;
    check_kms_on_pool(&all, &finding);
    assert_string_equal(finding.severity, "error");
    assert_non_null(strstr(finding.evidence, "'vm-kms' (and 2 more) is the disk of key provider corp"));
    all.looked = false;
    finding = (struct finding){.severity = "ok"};
    check_kms_on_pool(&all, &finding);
    assert_string_equal(finding.severity, "note");
}

/* ---- names, by a resolver that says nothing until it is told to ------------------------------------------------------ */

#define ROUNDS 1000 /* of 10 ms, for what must come */

static atomic_bool stopped;

static void stop_run(void *unused)
{
    (void)unused;
    kms_cycle_stop();
    atomic_store(&stopped, true);
}

static void conf_with_names(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/coffer.conf", pool_directory_path);
    put(path, "[pool]\nuuid = 11111111-1111-4111-8111-111111111111\nprovider = kms\n[provider kms]\n"
              "id = 22222222-2222-4222-8222-222222222222\ntype = kmip\nservers = kms1.example, kms2.example, kms3.example\n"
              "ca = ca\ncertificate = c\nkey = host.key\n[group g1]\nuuid = 33333333-3333-4333-8333-333333333333\n"
              "devices = disk\ndevice-ids = 44444444-4444-4444-8444-444444444444\n");
}

static size_t nobody(struct nbd_server *nbd, struct nbd_peer *found, size_t max)
{
    (void)nbd, (void)found, (void)max;
    return 0;
}

static void the_end_waits_for_no_resolver(void **state)
{
    struct pool *pool = fake_create();
    struct thread stopper;
    (void)state;
    conf_with_names();
    pool->directory = pool_directory_path;
    pthread_mutex_lock(&resolver);
    assert_int_equal(kms_cycle_start(pool, NULL, nobody), ERROR_NONE);
    for (unsigned i = 0; i < ROUNDS && atomic_load(&asked) == 0; i++)
        clock_sleep(10 * CLOCK_MILLISECOND);
    kms_cycle_leave();
    kmip_links_abandon(); /* for all of this process: the last test */
    assert_int_equal(thread_start(&stopper, "stopper", stop_run, NULL), ERROR_NONE);
    for (unsigned i = 0; i < ROUNDS && !atomic_load(&stopped); i++)
        clock_sleep(10 * CLOCK_MILLISECOND);
    bool in_time = atomic_load(&stopped);
    pthread_mutex_unlock(&resolver);
    thread_join(&stopper);
    while (atomic_load(&answered) < atomic_load(&asked))
        clock_sleep(10 * CLOCK_MILLISECOND);
    fake_destroy(pool);
    assert_true(in_time);
    assert_int_equal(atomic_load(&asked), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_disk_of_this_machine_is_well),
        TEST(an_nbd_device_of_a_client_of_ours_is_an_error),
        TEST(an_nbd_device_of_nobody_here_is_another_servers),
        TEST(an_nbd_device_whose_client_is_gone_may_be_ours),
        TEST(a_process_is_known_by_its_sockets),
        TEST(and_by_those_of_tcp),
        TEST(what_the_kernel_does_not_tell_is_unknown),
        TEST(nor_is_a_client_over_tcp_ruled_out_unseen),
        TEST(a_client_at_the_address_of_a_key_server_is_told),
        TEST(a_provider_that_is_not_in_force_is_told_too),
        TEST(a_tagged_disk_is_told_before_a_client),
        TEST(the_end_waits_for_no_resolver),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
