/*
 * An NBD device of the kernel is a socket that a process connected and gave away. The kernel keeps the number of that process:
 * of nbd-client over netlink the one that connected, which may have ended; of the older way one that was forked from it and
 * stays.
 *
 *   this    a client of ours on a Unix socket has that number; or the process has a socket whose other end is one of ours:
 *           of Unix sockets the kernel's sock_diag(7) tells the inode of the other end, of TCP /proc/PID/net/tcp its address
 *   other   the process can be looked into and none of its sockets is ours; or nobody is connected to us, or nobody whose
 *           process is not known
 *   unknown else, and where this daemon sees numbers of another PID namespace than the kernel's
 *
 * Whatever cannot be read makes it unknown. No locks; nothing waits, nothing is kept.
 */
#include "server/nbd_owner.h"

#include <dirent.h>
#include <limits.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

#define INODES_MAX          64         /* sockets of one nbd-client: one for each connection */
#define PID_NAMESPACE_FIRST 0xEFFFFFFCu /* inode of the first PID namespace: PROC_PID_INIT_INO of the kernel */

struct sockets {
    uint64_t inodes[INODES_MAX];
    size_t count;
};

static bool has(const struct sockets *sockets, uint64_t inode)
{
    for (size_t i = 0; i < sockets->count; i++)
        if (sockets->inodes[i] == inode)
            return true;
    return false;
}

/* False where it cannot be looked into, or has more of them. */
static bool sockets_read(int pid, const char *proc, struct sockets *sockets)
{
    char path[PATH_MAX], target[64];
    sockets->count = 0;
    snprintf(path, sizeof path, "%s/%d/fd", proc, pid);
    DIR *folder = opendir(path);
    if (folder == NULL)
        return false;
    bool all = true;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL && all;) {
        ssize_t size = readlinkat(dirfd(folder), entry->d_name, target, sizeof target - 1);
        target[size > 0 ? size : 0] = '\0';
        unsigned long long inode;
        if (sscanf(target, "socket:[%llu]", &inode) != 1)
            continue;
        all = sockets->count < INODES_MAX;
        if (all)
            sockets->inodes[sockets->count++] = inode;
    }
    closedir(folder);
    return all;
}

/* ---- Unix ------------------------------------------------------------------------------------------------------------ */

static uint64_t peer_of_answer(const struct nlmsghdr *head, size_t size)
{
    if (!NLMSG_OK(head, size) || head->nlmsg_type != SOCK_DIAG_BY_FAMILY || head->nlmsg_len < NLMSG_LENGTH(sizeof(struct unix_diag_msg)))
        return 0;
    const struct unix_diag_msg *message = NLMSG_DATA(head);
    const struct rtattr *attribute = (const struct rtattr *)(message + 1);
    size_t left = head->nlmsg_len - NLMSG_LENGTH(sizeof *message);
    for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left))
        if (attribute->rta_type == UNIX_DIAG_PEER && RTA_PAYLOAD(attribute) >= sizeof(uint32_t))
            return *(const uint32_t *)RTA_DATA(attribute);
    return 0;
}

/* The inode of the other end of a Unix socket of this process; 0: not to be had. */
static uint64_t unix_other_end(uint64_t inode)
{
    struct {
        struct nlmsghdr head;
        struct unix_diag_req request;
    } question = {
        .head = {.nlmsg_len = sizeof question, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST},
        .request = {.sdiag_family = AF_UNIX, .udiag_states = UINT32_MAX, .udiag_ino = (uint32_t)inode,
                    .udiag_show = UDIAG_SHOW_PEER, .udiag_cookie = {UINT32_MAX, UINT32_MAX}},
    };
    _Alignas(struct nlmsghdr) char answer[1024];
    int diag = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (diag < 0)
        return 0;
    uint64_t other = 0;
    if (send(diag, &question, sizeof question, 0) == (ssize_t)sizeof question) {
        ssize_t size = recv(diag, answer, sizeof answer, MSG_DONTWAIT); /* the kernel answers within send() */
        other = size > 0 ? peer_of_answer((const struct nlmsghdr *)answer, (size_t)size) : 0;
    }
    close(diag);
    return other;
}

/* ---- TCP ------------------------------------------------------------------------------------------------------------- */

/* "0100007F:C350", IPv6 with 32 digits: words as they lie in memory. */
static bool tcp_address(const char *text, struct sockaddr_storage *address)
{
    const char *colon = strchr(text, ':');
    size_t digits = colon == NULL ? 0 : (size_t)(colon - text);
    uint32_t words[4];
    if (digits != 8 && digits != 32)
        return false;
    for (size_t i = 0; i < digits / 8; i++) {
        char part[9] = {0};
        memcpy(part, text + 8 * i, 8);
        words[i] = (uint32_t)strtoul(part, NULL, 16);
    }
    in_port_t port = htons((uint16_t)strtoul(colon + 1, NULL, 16));
    *address = (struct sockaddr_storage){.ss_family = digits == 8 ? AF_INET : AF_INET6};
    if (digits == 8) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)address;
        v4->sin_port = port;
        v4->sin_addr.s_addr = words[0];
    } else {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
        v6->sin6_port = port;
        memcpy(&v6->sin6_addr, words, sizeof words);
    }
    return true;
}

/* As IPv6, with the port: how one side calls an address, the other may call its IPv4 form. */
static void key_of(const struct sockaddr_storage *address, uint8_t key[18])
{
    memset(key, 0, 18);
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        key[10] = key[11] = 0xff;
        memcpy(key + 12, &v4->sin_addr, 4);
        memcpy(key + 16, &v4->sin_port, 2);
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
        memcpy(key, &v6->sin6_addr, 16);
        memcpy(key + 16, &v6->sin6_port, 2);
    }
}

static bool is_peer(const struct sockaddr_storage *address, const struct nbd_peer *peers, size_t count)
{
    uint8_t a[18], b[18];
    key_of(address, a);
    for (size_t i = 0; i < count; i++) {
        key_of(&peers[i].address, b);
        if (peers[i].address.ss_family != AF_UNIX && memcmp(a, b, sizeof a) == 0)
            return true;
    }
    return false;
}

/* Whether this end of one of its sockets is the address of a client of ours. */
static bool tcp_is_ours(int pid, const char *proc, const char *table, const struct sockets *sockets, const struct nbd_peer *peers,
                        size_t count)
{
    char path[PATH_MAX], line[512], here[64];
    snprintf(path, sizeof path, "%s/%d/net/%s", proc, pid, table);
    FILE *file = fopen(path, "re");
    bool ours = false;
    while (file != NULL && !ours && fgets(line, sizeof line, file) != NULL) {
        unsigned long long inode;
        struct sockaddr_storage address;
        ours = sscanf(line, " %*d: %63s %*s %*s %*s %*s %*s %*s %*s %llu", here, &inode) == 2 && has(sockets, inode) &&
               tcp_address(here, &address) && is_peer(&address, peers, count);
    }
    if (file != NULL)
        fclose(file);
    return ours;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------- */

static bool unix_is_ours(const struct sockets *sockets, const struct nbd_peer *peers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t other = peers[i].address.ss_family == AF_UNIX ? unix_other_end(peers[i].inode) : 0;
        if (other != 0 && has(sockets, other))
            return true;
    }
    return false;
}

static bool sees_all(const char *proc)
{
    char path[PATH_MAX];
    struct stat status;
    snprintf(path, sizeof path, "%s/self/ns/pid", proc);
    return stat(path, &status) == 0 && status.st_ino == PID_NAMESPACE_FIRST;
}

enum nbd_owner nbd_owner_find(int pid, const char *proc, const struct nbd_peer *peers, size_t count)
{
    AUTO_FREE struct sockets *sockets = memory_zeroed(1, sizeof *sockets);
    if (count == 0)
        return NBD_OWNER_OTHER;
    if (pid <= 0 || sockets == NULL || !sees_all(proc))
        return NBD_OWNER_UNKNOWN;
    for (size_t i = 0; i < count; i++)
        if (peers[i].pid == pid)
            return NBD_OWNER_THIS;
    if (!sockets_read(pid, proc, sockets) || sockets->count == 0)
        return NBD_OWNER_UNKNOWN;
    if (unix_is_ours(sockets, peers, count) || tcp_is_ours(pid, proc, "tcp", sockets, peers, count) ||
        tcp_is_ours(pid, proc, "tcp6", sockets, peers, count))
        return NBD_OWNER_THIS;
    return NBD_OWNER_OTHER;
}
