/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Listening: a door for questions at each address, all on one port, which can
 * be closed while the port is kept.
 */

#include "responder.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

door_t doors[DOORS_MAX];
int doors_count;

unsigned port_of(const struct sockaddr_storage *addr)
{
    return ntohs(addr->ss_family == AF_INET6
                 ? ((const struct sockaddr_in6 *)addr)->sin6_port
                 : ((const struct sockaddr_in *)addr)->sin_port);
}

/* Returns -1 if it cannot be had. */
static int try_socket(struct sockaddr_storage *addr, socklen_t *len)
{
    int fd = socket(addr->ss_family, SOCK_STREAM | SOCK_CLOEXEC
                    | SOCK_NONBLOCK, 0);
    int one = 1;

    if (fd >= 0
        && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one))
            || bind(fd, (struct sockaddr *)addr, *len)
            || getsockname(fd, (struct sockaddr *)addr, len))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static int bind_socket(struct sockaddr_storage *addr, socklen_t *len)
{
    int fd = try_socket(addr, len);

    if (fd < 0) {
        die("cannot bind: %s", strerror(errno));
    }
    return fd;
}

static void read_name(const char *host, const char *port,
                      struct sockaddr_storage *addr, socklen_t *len)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
    struct addrinfo *found;

    if (getaddrinfo(host, port, &hints, &found)) {
        die("no address: %s port %s", host, port);
    }
    memcpy(addr, found->ai_addr, found->ai_addrlen);
    *len = found->ai_addrlen;
    freeaddrinfo(found);
}

int bind_name(const char *host, const char *port,
              struct sockaddr_storage *addr, socklen_t *len)
{
    read_name(host, port, addr, len);
    return bind_socket(addr, len);
}

void address_text(const struct sockaddr_storage *addr, char *text)
{
    const void *bytes = addr->ss_family == AF_INET6
        ? (const void *)&((const struct sockaddr_in6 *)addr)->sin6_addr
        : (const void *)&((const struct sockaddr_in *)addr)->sin_addr;

    if (!inet_ntop(addr->ss_family, bytes, text, ADDRESS_LEN)) {
        die("no address: %s", strerror(errno));
    }
}

/* The first door has a port from the kernel where `port` is "0"; another may
 * find it taken at its own address. Returns whether all are there. */
static int try_doors(const char *const *hosts, int count, const char *port)
{
    char text[16];

    for (doors_count = 0; doors_count < count; doors_count++) {
        door_t *door = &doors[doors_count];

        read_name(hosts[doors_count], port, &door->addr, &door->len);
        door->fd = try_socket(&door->addr, &door->len);
        if (door->fd < 0) {
            return 0;
        }
        address_text(&door->addr, door->address);
        snprintf(text, sizeof(text), "%u", port_of(&door->addr));
        port = text;
    }
    return 1;
}

void make_doors(const char *const *hosts, int count, const char *port)
{
    int i, tries = 0;

    while (!try_doors(hosts, count, port)) {
        if (++tries == 20) {
            die("cannot bind: %s", strerror(errno));
        }
        for (i = 0; i < doors_count; i++) {
            close(doors[i].fd);
        }
    }
    open_doors("");
}

/* Do something with a door, or with all. */
static const char *with_doors(const char *address, void (*act)(door_t *))
{
    char target[SERIAL_LEN] = "";
    const char *problem = *address ? normalize_target(address, target) : NULL;
    int i, found = 0;

    for (i = 0; !problem && i < doors_count; i++) {
        if (!*target || !strcmp(doors[i].address, target)) {
            act(&doors[i]);
            found = 1;
        }
    }
    if (problem || found) {
        return problem;
    }
    return "no such address here";
}

/* Bound again, with nobody in its backlog. */
static void renew(door_t *door)
{
    if (door->is_open) {
        int i;

        for (i = 0; i < FILLERS; i++) {
            if (door->fillers[i] > 0) {
                close(door->fillers[i]);
                door->fillers[i] = 0;
            }
        }
        close(door->fd);
        door->fd = bind_socket(&door->addr, &door->len);
        door->is_open = door->is_blocked = 0;
    }
}

static void open_one(door_t *door)
{
    if (door->is_blocked) {
        renew(door);
    }
    if (!door->is_open && listen(door->fd, 1024)) {
        die("cannot listen: %s", strerror(errno));
    }
    door->is_open = 1;
}

static void close_one(door_t *door)
{
    renew(door);
    end_conns(door->address);
}

/* Our own connections fill the backlog; the others' are not completed. */
static void block_one(door_t *door)
{
    int i;

    close_one(door);
    if (listen(door->fd, 0)) {
        die("cannot listen: %s", strerror(errno));
    }
    for (i = 0; i < FILLERS; i++) {
        int fd = socket(door->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC
                        | SOCK_NONBLOCK, 0);

        if (fd >= 0) {
            connect(fd, (struct sockaddr *)&door->addr, door->len);
            door->fillers[i] = fd;
        }
    }
    door->is_open = door->is_blocked = 1;
}

const char *open_doors(const char *address)
{
    return with_doors(address, open_one);
}

const char *close_doors(const char *address)
{
    return with_doors(address, close_one);
}

const char *block_doors(const char *address)
{
    return with_doors(address, block_one);
}
