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
#include <errno.h>
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

/* What the kernel says of the other end of a socket. */
enum other_end {
    END_UNKNOWN, /* it could not be asked */
    END_GONE,    /* it knows no such socket, or has no such table */
    END_FOUND,   /* *inode is told; 0: not connected */
};

static enum other_end answer_take(const struct nlmsghdr *head, size_t size, uint64_t *inode)
{
    if (!NLMSG_OK(head, size))
        return END_UNKNOWN;
    if (head->nlmsg_type == NLMSG_ERROR && head->nlmsg_len >= NLMSG_LENGTH(sizeof(struct nlmsgerr)))
        return ((const struct nlmsgerr *)NLMSG_DATA(head))->error == -ENOENT ? END_GONE : END_UNKNOWN;
    if (head->nlmsg_type != SOCK_DIAG_BY_FAMILY || head->nlmsg_len < NLMSG_LENGTH(sizeof(struct unix_diag_msg)))
        return END_UNKNOWN;
    const struct unix_diag_msg *message = NLMSG_DATA(head);
    const struct rtattr *attribute = (const struct rtattr *)(message + 1);
    size_t left = head->nlmsg_len - NLMSG_LENGTH(sizeof *message);
    *inode = 0;
    for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left))
        if (attribute->rta_type == UNIX_DIAG_PEER && RTA_PAYLOAD(attribute) >= sizeof(uint32_t))
            *inode = *(const uint32_t *)RTA_DATA(attribute);
    return END_FOUND;
}

/* Of a Unix socket of this process. */
static enum other_end other_end_ask(uint64_t inode, uint64_t *other)
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
        return END_UNKNOWN; /* a unit that allows no AF_NETLINK */
    enum other_end end = END_UNKNOWN;
    if (send(diag, &question, sizeof question, 0) == (ssize_t)sizeof question) {
        ssize_t size = recv(diag, answer, sizeof answer, MSG_DONTWAIT); /* the kernel answers within send() */
        end = size > 0 ? answer_take((const struct nlmsghdr *)answer, (size_t)size, other) : END_UNKNOWN;
    }
    close(diag);
    return end;
}

/* A kernel without unix_diag calls each socket one that there is not: so it is asked for one that there is. */
static bool diag_works(void)
{
    int ends[2];
    struct stat here;
    uint64_t other;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return false;
    bool works = fstat(ends[0], &here) == 0 && other_end_ask(here.st_ino, &other) == END_FOUND;
    close(ends[0]);
    close(ends[1]);
    return works;
}

/* False where the kernel cannot be asked; *other is 0 where there is none. */
static bool unix_other_end(uint64_t inode, uint64_t *other)
{
    *other = 0;
    enum other_end end = other_end_ask(inode, other);
    return end == END_FOUND || (end == END_GONE && diag_works());
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

/* Whether this end of one of its sockets is the address of a client of ours. There is no table of IPv6 where that is off. */
static enum nbd_owner tcp_owner(int pid, const char *proc, const char *table, const struct sockets *sockets,
                                const struct nbd_peer *peers, size_t count)
{
    char path[PATH_MAX], line[512], here[64];
    snprintf(path, sizeof path, "%s/%d/net/%s", proc, pid, table);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return errno == ENOENT && strcmp(table, "tcp6") == 0 ? NBD_OWNER_OTHER : NBD_OWNER_UNKNOWN;
    bool ours = false;
    while (!ours && fgets(line, sizeof line, file) != NULL) {
        unsigned long long inode;
        struct sockaddr_storage address;
        ours = sscanf(line, " %*d: %63s %*s %*s %*s %*s %*s %*s %*s %llu", here, &inode) == 2 && has(sockets, inode) &&
               tcp_address(here, &address) && is_peer(&address, peers, count);
    }
    bool all = !ferror(file);
    fclose(file);
    return ours ? NBD_OWNER_THIS : all ? NBD_OWNER_OTHER : NBD_OWNER_UNKNOWN;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------- */

static enum nbd_owner unix_owner(const struct sockets *sockets, const struct nbd_peer *peers, size_t count)
{
    enum nbd_owner owner = NBD_OWNER_OTHER;
    for (size_t i = 0; i < count; i++) {
        uint64_t other = 0;
        if (peers[i].address.ss_family == AF_UNIX && !unix_other_end(peers[i].inode, &other))
            owner = NBD_OWNER_UNKNOWN;
        if (other != 0 && has(sockets, other))
            return NBD_OWNER_THIS;
    }
    return owner;
}

static bool any_is_tcp(const struct nbd_peer *peers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (peers[i].address.ss_family != AF_UNIX)
            return true;
    return false;
}

/* That it is ours is sure where any way says so; that it is not, where all do. */
static enum nbd_owner sockets_owner(int pid, const char *proc, const struct sockets *sockets, const struct nbd_peer *peers,
                                    size_t count)
{
    enum nbd_owner found[] = {unix_owner(sockets, peers, count), NBD_OWNER_OTHER, NBD_OWNER_OTHER};
    enum nbd_owner owner = NBD_OWNER_OTHER;
    if (any_is_tcp(peers, count)) {
        found[1] = tcp_owner(pid, proc, "tcp", sockets, peers, count);
        found[2] = tcp_owner(pid, proc, "tcp6", sockets, peers, count);
    }
    for (size_t i = 0; i < COUNT_OF(found); i++) {
        if (found[i] == NBD_OWNER_THIS)
            return NBD_OWNER_THIS;
        if (found[i] == NBD_OWNER_UNKNOWN)
            owner = NBD_OWNER_UNKNOWN;
    }
    return owner;
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
    return sockets_owner(pid, proc, sockets, peers, count);
}
